package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/downbeat-dev/downbeat/internal/journal"
)

// turn makes processes that write to one file take turns. SQLite lets who asks
// at the right moment have the lock, so a process that commits one transaction
// after the other leaves others hardly a chance. Whoever waits therefore holds
// a shared lock on a file, and whoever has written looks whether anybody does,
// and if so lets a moment pass before it writes again.
type turn struct {
	file *os.File
	wait bool // somebody else waited after our last transaction
}

const (
	waitingFile = "waiting.lock"
	askAgain    = 500 * time.Microsecond
	courtesy    = 3 * askAgain
)

func (t *turn) open(dir string) (err error) {
	t.file, err = os.OpenFile(filepath.Join(dir, waitingFile), os.O_CREATE|os.O_RDWR, 0o600)
	return err
}

func (t *turn) close() error {
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}

// take begins a transaction that writes, and waits for its turn.
func (t *turn) take(begin func() error) error {
	if t.wait {
		t.wait = false
		pause(courtesy)
	}
	err := begin()
	if !errors.Is(err, journal.ErrBusy) {
		return err
	}
	shown := false
	over, cancel := context.WithTimeout(context.Background(), busyTimeout) //nolint:forbidigo // a bound of its own
	defer cancel()
	for errors.Is(err, journal.ErrBusy) && over.Err() == nil {
		shown = shown || lockFile(t.file, false) == nil
		pause(askAgain)
		err = begin()
	}
	if shown {
		unlockFile(t.file)
	}
	return err
}

// pass looks, after a transaction, whether somebody waits.
func (t *turn) pass() {
	if t.wait = lockFile(t.file, true) != nil; !t.wait {
		unlockFile(t.file)
	}
}

func pause(d time.Duration) {
	wait, stop := context.WithTimeout(context.Background(), d) //nolint:forbidigo // nothing but a pause
	<-wait.Done()
	stop()
}
