package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// message is something for a shard to do.
type message struct {
	kind msgKind
	id   event.RunID
	body event.Body        // of msgEvent
	call func(s *shard)    // of msgCall: what is rare
	init *start            // of msgStart
	fact *journal.InboxRow // of msgFact
}

type msgKind uint8

const (
	msgStart msgKind = iota + 1 // a new run
	msgEvent                    // an answer for a run
	msgFact                     // an inbox row that this process has just stored
	msgCall
	msgStop
)

// shard owns runs and applies their events one after another. Others only send
// to it; everything below the mailbox belongs to its goroutine.
type shard struct {
	e      *Engine
	index  int
	wakeup chan struct{}
	// squeezing: somebody has asked for memory and the shard has not looked yet.
	squeezing atomic.Bool
	ended     chan struct{}
	mail      struct {
		sync.Mutex
		in     []message
		closed bool
	}

	over      *journal.Queue // requests that are durable, or failed
	taken     []*journal.Request
	guard     lifecycle.Guard // of the slice that is being applied
	stopGuard func() bool

	runs      map[event.RunID]*run
	timers    lifecycle.Alarms[lifecycle.Named[*run]]
	dirty     []*run // have something to commit
	spare     []*run
	ready     []*run // the machine yielded and wants to continue
	flying    int    // requests on their way
	stopping  bool
	now       time.Time
	sleeping  time.Time     // when the sleep timer goes off
	sliceEnd  time.Time     // when the last continuation ended,
	sliceTook time.Duration // and how long it took
	arena     []byte
	request   executor.Request // for immediate executors
}

func newShard(e *Engine, index int) *shard {
	s := &shard{
		e: e, index: index, wakeup: make(chan struct{}, 1), ended: make(chan struct{}),
		runs: make(map[event.RunID]*run), over: journal.NewQueue(),
	}
	s.guard = lifecycle.Guard{Clock: e.o.Clock, Time: e.o.Limits.Guard, Heap: e.o.Limits.GuardHeap}
	s.stopGuard = s.guard.Over
	return s
}

// send puts a message in the mailbox; false when the shard has ended.
func (s *shard) send(m message) bool {
	s.mail.Lock()
	if s.mail.closed {
		s.mail.Unlock()
		return false
	}
	s.mail.in = append(s.mail.in, m)
	first := len(s.mail.in) == 1
	s.mail.Unlock()
	if first {
		select {
		case s.wakeup <- struct{}{}:
		default:
		}
	}
	return true
}

// ask runs f on the shard's goroutine and waits for it.
func (s *shard) ask(f func(s *shard)) error {
	done := make(chan struct{})
	if !s.send(message{kind: msgCall, call: func(s *shard) { f(s); close(done) }}) {
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-s.ended:
		return ErrStopped
	}
}

const longSleep = time.Minute // at most: so that a clock that jumps is noticed

// loop is the shard's goroutine.
func (s *shard) loop() {
	defer close(s.ended)
	clock := s.e.o.Clock
	sleep := clock.NewTimer(longSleep)
	defer sleep.Stop()
	var batch []message
	for {
		s.mail.Lock()
		batch, s.mail.in = s.mail.in, batch[:0]
		s.mail.Unlock()
		s.now = clock.Now()
		s.taken = s.over.Take(s.taken[:0])
		for i, q := range s.taken {
			s.taken[i] = nil
			if r, ok := q.Tag.(*run); ok {
				s.committed(r, q.Err)
			}
		}
		for i := range batch {
			s.handle(&batch[i])
			batch[i] = message{}
		}
		if !s.stopping {
			s.fire()
		}
		share := s.proceed()
		s.flush()
		if s.stopping && s.flying == 0 && s.close() {
			return
		}
		if share == 0 || !s.idle() {
			continue
		}
		wait := share
		if t := s.timers.Next(); t != nil {
			wait = max(0, min(wait, t.At.Sub(clock.Now())))
		}
		if until := s.now.Add(wait); s.sleeping.IsZero() || until.Before(s.sleeping) || s.now.After(s.sleeping) {
			sleep.Reset(wait)
			s.sleeping = until
		}
		select {
		case <-s.wakeup:
		case <-s.over.Wake():
		case <-sleep.C:
			s.sleeping = time.Time{}
		}
	}
}

func (s *shard) idle() bool {
	s.mail.Lock()
	defer s.mail.Unlock()
	return len(s.mail.in) == 0
}

// close ends the mailbox when it is empty, and tells everybody who still waits.
func (s *shard) close() bool {
	s.mail.Lock()
	if len(s.mail.in) > 0 {
		s.mail.Unlock()
		return false
	}
	s.mail.closed = true
	s.mail.Unlock()
	err := s.e.Err()
	if err == nil {
		err = ErrStopped
	}
	for _, r := range s.runs {
		r.abandon(err)
	}
	return true
}

func (s *shard) handle(m *message) {
	switch m.kind {
	case msgStart:
		s.start(m.init)
	case msgEvent:
		// A run that is not here has ended: an attempt that nobody awaited came to its end.
		if r := s.runs[m.id]; r != nil {
			r.offer(m.body)
		}
	case msgFact:
		s.fact(m.fact)
	case msgCall:
		m.call(s)
	case msgStop:
		s.stopping = true
	}
}

// proceed continues the run that has waited longest for its next slice, and
// returns how long the shard may rest: 0 when there is more to do at once.
// After a slice, other runs have the shard for as long as the slice took,
// while any of them waits for a commit.
func (s *shard) proceed() time.Duration {
	if len(s.ready) == 0 || s.stopping {
		return longSleep
	}
	clock := s.e.o.Clock
	if left := s.sliceTook - clock.Since(s.sliceEnd); left > 0 && s.flying > 0 {
		return left
	}
	r := s.ready[0]
	copy(s.ready, s.ready[1:])
	s.ready = s.ready[:len(s.ready)-1]
	r.ready = false
	if r.state == live {
		begin := clock.Monotonic()
		r.proceed()
		s.sliceEnd = clock.Monotonic()
		s.sliceTook = s.sliceEnd.Sub(begin)
	}
	return 0
}

// touch notes that a run has something to commit.
func (s *shard) touch(r *run) {
	if !r.dirty {
		r.dirty = true
		s.dirty = append(s.dirty, r)
	}
}

// flush submits what the runs have gathered, one request a run at a time.
func (s *shard) flush() {
	for len(s.dirty) > 0 { // submitting may touch the run again
		batch := s.dirty
		s.dirty, s.spare = s.spare[:0], batch
		for i, r := range batch {
			batch[i], r.dirty = nil, false
			if r.present() && !r.inflight && !r.more {
				r.submit()
			}
		}
	}
}

// bytes cuts n bytes of capacity from the arena, so that a row costs no
// allocation of its own. The arena is garbage when its last row is.
func (s *shard) bytes(n int) []byte {
	const chunk = 64 << 10
	if n > chunk/4 {
		return make([]byte, 0, n)
	}
	if len(s.arena)+n > cap(s.arena) {
		s.arena = make([]byte, 0, chunk)
	}
	at := len(s.arena)
	s.arena = s.arena[:at+n]
	return s.arena[at : at : at+n]
}

// fire applies the timers that are due, in order of due time. The clock may
// have gone back: a timer never fires early (D39).
func (s *shard) fire() {
	for {
		t := s.timers.Next()
		if t == nil || t.At.After(s.now) {
			return
		}
		r, id := t.What.Owner, t.What.ID
		r.timers.Stop(&s.timers, id)
		r.offer(&event.TimerFired{Timer: id})
	}
}
