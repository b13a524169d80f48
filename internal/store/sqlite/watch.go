package sqlite

import (
	"context"
	"net"
	"sync"
	"time"
)

// watch notices that another process wrote: by a datagram on the owner's
// socket, and by a look at the database's version now and then.
type watch struct {
	changed chan struct{}

	once   sync.Once
	mu     sync.Mutex
	cancel context.CancelFunc
	socket *net.UnixConn
	over   bool
	all    sync.WaitGroup
}

const lookEvery = 200 * time.Millisecond

// Changed implements journal.Store. Two goroutines feed the channel from the
// first call on until Close.
func (s *Store) Changed() <-chan struct{} {
	s.watch.once.Do(func() { s.watch.start(s) })
	return s.watch.changed
}

func (w *watch) start(s *Store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // lives as long as the store, which Close ends
	w.cancel = cancel
	if w.socket = s.me.listen(s.dir); w.socket != nil {
		w.all.Go(w.receive)
	}
	w.all.Go(func() { w.look(ctx, s) })
}

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watch) receive() {
	var b [16]byte
	for {
		if _, err := w.socket.Read(b[:]); err != nil {
			return // closed
		}
		w.tell()
	}
}

// look asks for data_version, which changes when another connection writes;
// one of this process too, so it is a hint that costs a look, no more.
func (w *watch) look(ctx context.Context, s *Store) {
	c, err := s.connect(reads)
	if err != nil {
		return
	}
	defer c.Close() //nolint:errcheck // it only read
	before := int64(0)
	for {
		wait, stop := context.WithTimeout(ctx, lookEvery)
		<-wait.Done()
		stop()
		if ctx.Err() != nil || s.err() != nil {
			return
		}
		now, err := c.number("pragma data_version")
		if err != nil {
			continue
		}
		if before != 0 && now != before {
			w.tell()
		}
		before = now
	}
}

func (w *watch) close() {
	w.mu.Lock()
	w.over = true
	if w.cancel != nil {
		w.cancel()
	}
	if w.socket != nil {
		_ = w.socket.Close() // only read from
	}
	w.mu.Unlock()
	w.all.Wait()
}
