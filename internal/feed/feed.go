// Package feed follows runs live: what has become durable of them and what
// their attempts print, in a bounded buffer between the engine and one reader.
package feed

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// Update is something that happened to a run and is durable, or a line that an
// attempt printed. One of Transition and Log is set.
type Update struct {
	Run        event.RunID
	At         time.Time
	Transition *machine.Transition
	Log        *Line
}

// Line is one line of output of an attempt, masked.
type Line struct {
	Activation   event.Activation
	Attempt      int
	Reference    string
	Stream, Text string
}

// Feed follows runs live. It holds a bounded number of updates: when its reader
// is too slow, log lines are left out first, then transitions.
type Feed struct {
	mu      sync.Mutex
	updates []Update
	logs    int // how many of them are log lines
	dropped int
	limit   int
	over    bool
	wake    chan struct{}
}

// New returns a feed that holds at most limit updates; 0: 65,536.
func New(limit int) *Feed {
	if limit <= 0 {
		limit = 1 << 16
	}
	return &Feed{limit: limit, wake: make(chan struct{}, 1)}
}

// Next waits for updates and returns all that are there, and how many were left
// out since the call before. io.EOF: the run has ended, or is no longer
// live in this process, and everything was read.
func (f *Feed) Next(ctx context.Context) (updates []Update, dropped int, err error) {
	for {
		f.mu.Lock()
		updates, dropped = f.updates, f.dropped
		f.updates, f.dropped, f.logs = nil, 0, 0
		over := f.over
		f.mu.Unlock()
		switch {
		case len(updates) > 0 || dropped > 0:
			return updates, dropped, nil
		case over:
			return nil, 0, io.EOF
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

// Close ends the feed for its reader; what comes later is dropped.
func (f *Feed) Close() { f.End() }

// End tells the reader that nothing more comes: what is there can still be read.
func (f *Feed) End() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
	f.ring()
}

func (f *Feed) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Put adds updates.
func (f *Feed) Put(us []Update) {
	f.mu.Lock()
	defer f.ring()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	for _, u := range us {
		if len(f.updates) >= f.limit {
			if u.Log != nil || !f.dropLog() {
				f.dropped++
				continue
			}
		}
		if u.Log != nil {
			f.logs++
		}
		f.updates = append(f.updates, u)
	}
}

// dropLog makes room by leaving all log lines out; false: there are none.
func (f *Feed) dropLog() bool {
	if f.logs == 0 {
		return false
	}
	kept := f.updates[:0]
	for _, u := range f.updates {
		if u.Log == nil {
			kept = append(kept, u)
		}
	}
	clear(f.updates[len(kept):])
	f.updates = kept
	f.dropped += f.logs
	f.logs = 0
	return true
}
