package engine

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
	Log        *LogLine
}

// LogLine is one line of output of an attempt, masked.
type LogLine struct {
	Activation   event.Activation
	Attempt      int
	Reference    string
	Stream, Text string
}

// shown is a transition that waits for its commit.
type shown struct {
	at         time.Time
	transition machine.Transition
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

// NewFeed returns a feed that holds at most limit updates; 0: 65,536.
func NewFeed(limit int) *Feed {
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
func (f *Feed) Close() { f.end() }

func (f *Feed) end() {
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

func (f *Feed) put(us []Update) {
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

// show gives the feeds of a run what has become durable.
func (r *run) show(f *flight) {
	if len(f.shown) == 0 {
		return
	}
	us := make([]Update, len(f.shown))
	for i := range f.shown {
		t := f.shown[i].transition
		us[i] = Update{Run: r.id, At: f.shown[i].at, Transition: &t}
	}
	for _, feed := range r.feeds {
		feed.put(us)
	}
	clear(f.shown)
	f.shown = f.shown[:0]
}

// log gives the feeds of a run a line that an attempt printed.
func (s *shard) log(id event.RunID, line LogLine) {
	at := s.e.o.Clock.Now()
	s.send(message{kind: msgCall, call: func(s *shard) {
		if r := s.runs[id]; r != nil {
			for _, f := range r.feeds {
				f.put([]Update{{Run: id, At: at, Log: &line}})
			}
		}
	}})
}
