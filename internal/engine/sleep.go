package engine

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// maySleep reports whether the run can leave memory with the request that is
// being made, and when it must be woken.
func (r *run) maySleep() (time.Time, bool) {
	if r.state != live || r.end != nil || r.more || r.looking || r.resume != nil || r.flight.look || len(r.waits) > 0 || len(r.feeds) > 0 || r.group != "" {
		return time.Time{}, false
	}
	status := r.m.Status()
	if status != event.Waiting && status != event.Suspended || r.m.Busy() {
		return time.Time{}, false
	}
	for _, c := range r.flight.commands {
		switch c.(type) {
		case *machine.Dispatch, *machine.CancelAttempt, *machine.Listen, *machine.StartChild, *machine.ResolveSecrets:
			return time.Time{}, false
		}
	}
	at, ok := r.m.NextTimer()
	if enough := r.s.e.patience(); ok && at.Sub(r.s.now) <= enough {
		return time.Time{}, false
	}
	if !ok {
		at = journal.NoWake
	}
	return at, true
}

// rest lets a run that has nothing to do leave memory when it waits for long.
func (r *run) rest() {
	if r.state != live || r.inflight || r.dirty {
		return
	}
	r.flight.commands = r.flight.commands[:0]
	r.flight.look = false
	if _, ok := r.maySleep(); ok {
		r.sleep = true
		r.s.touch(r)
	}
}

// fallAsleep forgets a run that has been stored as waiting. When something has
// come for it meanwhile it is taken back.
func (r *run) fallAsleep() {
	s, early, acks, waits, feeds := r.s, r.early, r.acks, r.waits, r.feeds
	r.waits, r.feeds = nil, nil
	r.drop()
	if len(early) == 0 && len(acks) == 0 && len(waits) == 0 && len(feeds) == 0 {
		return
	}
	n := s.newLoading(r.id)
	n.early, n.acks, n.waits, n.feeds = early, acks, waits, feeds
	s.e.crew.Do(func() {
		if err := s.e.o.Store.Claim(s.e.ctx, r.id); err != nil {
			s.send(message{kind: msgCall, call: func(*shard) { n.abandon(ErrElsewhere); n.drop() }})
			return
		}
		s.e.read(r.id)
	})
}

// patience is how long a run must wait to leave memory: less when it is short.
func (e *Engine) patience() time.Duration {
	if e.live.Load() >= e.o.Limits.LiveBytes*9/10 {
		return min(time.Second, e.o.Limits.Evict)
	}
	return e.o.Limits.Evict
}

// squeeze evicts what waits, however soon it is due, while live runs hold too much memory.
func (s *shard) squeeze() {
	for _, r := range s.runs {
		if s.e.live.Load() < s.e.o.Limits.LiveBytes*9/10 {
			return
		}
		r.rest()
	}
}
