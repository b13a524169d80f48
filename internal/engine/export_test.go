package engine

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// Peek shows a live run's machine on its shard's goroutine; false: it is not in memory.
func (e *Engine) Peek(id event.RunID, look func(m *machine.Machine)) bool {
	found := false
	_ = e.shard(id).ask(func(s *shard) {
		if r := s.runs[id]; r != nil && r.state == live {
			found = true
			look(r.m)
		}
	})
	return found
}

// Put gives updates to a feed.
func (f *Feed) Put(us []Update) { f.put(us) }

// Timers is the heap of timers, with numbers in the place of runs.
type Timers struct {
	h  timers
	by map[*timer]int
}

// Start adds a timer and returns what stops it.
func (t *Timers) Start(at time.Time, n int) (stop func()) {
	if t.by == nil {
		t.by = map[*timer]int{}
	}
	x := &timer{at: at}
	t.by[x] = n
	t.h.add(x)
	return func() { t.h.remove(x) }
}

// Next takes the earliest timer.
func (t *Timers) Next() (int, bool) {
	if len(t.h.heap) == 0 {
		return 0, false
	}
	x := t.h.heap[0]
	t.h.remove(x)
	return t.by[x], true
}
