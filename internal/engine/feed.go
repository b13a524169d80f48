package engine

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/feed"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// What callers follow runs by.
type (
	// Feed follows a run live.
	Feed = feed.Feed
	// Update is one thing that a feed shows.
	Update = feed.Update
	// LogLine is one line of output of an attempt, masked.
	LogLine = feed.Line
)

// NewFeed returns a feed that holds at most limit updates; 0: 65,536.
func NewFeed(limit int) *Feed { return feed.New(limit) }

// shown is a transition that waits for its commit.
type shown struct {
	at         time.Time
	transition machine.Transition
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
	for _, to := range r.feeds {
		to.Put(us)
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
				f.Put([]Update{{Run: id, At: at, Log: &line}})
			}
		}
	}})
}
