package sqlite

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// owner is this process as an owner of runs: a name that nobody had before, and
// a lock on the file of that name for as long as the process lives.
type owner struct {
	name string
	id   int64 // in table owners

	file   *os.File
	sender sender
}

const (
	ownersDir  = "owners"
	lockSuffix = ".lock"
	sockSuffix = ".sock"
)

func (o *owner) lock(dir string) error {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("name an owner: %w", err)
	}
	name := hex.EncodeToString(b[:])
	f, err := os.OpenFile(filepath.Join(dir, ownersDir, name+lockSuffix), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make the lock file of an owner: %w", err)
	}
	if err := lockFile(f, true); err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w (the data directory must be on a file system with locks)", f.Name(), err), f.Close())
	}
	o.name, o.file = name, f
	return nil
}

// unlock ends the ownership; the process may go on.
func (o *owner) unlock() error {
	o.sender.close()
	if o.file == nil {
		return nil
	}
	f := o.file
	o.file = nil
	// Closed first: Windows removes no open file. Whoever looks between the two
	// finds a lock that it can take, which says the same as none.
	_ = os.Remove(strings.TrimSuffix(f.Name(), lockSuffix) + sockSuffix) // there may be none
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// alive reports whether the owner of that name lives.
func (s *Store) alive(name string) bool {
	if name == s.me.name {
		return true
	}
	f, err := os.OpenFile(s.ownerFile(name), os.O_RDWR, 0)
	if err != nil {
		// No file, no lock. Any other error tells nothing: rather believe that it lives.
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close() //nolint:errcheck // only looked at
	return lockFile(f, false) != nil
}

func (s *Store) ownerFile(name string) string {
	return filepath.Join(s.dir, ownersDir, filepath.Base(name)+lockSuffix)
}

// bury removes what an ended owner without live runs left.
func (s *Store) bury(name string) {
	for _, suffix := range []string{lockSuffix, sockSuffix} {
		_ = os.Remove(strings.TrimSuffix(s.ownerFile(name), lockSuffix) + suffix) // best effort
	}
}

// sender pokes other owners.
type sender struct {
	mu sync.Mutex
	fd int // plus one; 0: none yet
}

// poke tells one owner to look at the database.
func (o *owner) poke(dir, name string) {
	o.sender.send(filepath.Join(dir, ownersDir, filepath.Base(name)+sockSuffix))
}

// pokeAll tells every other owner.
func (o *owner) pokeAll(dir string) {
	entries, err := os.ReadDir(filepath.Join(dir, ownersDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), sockSuffix); ok && name != o.name {
			o.poke(dir, name)
		}
	}
}
