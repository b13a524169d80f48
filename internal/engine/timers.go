package engine

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// timer is one due time of a live run.
type timer = lifecycle.Alarm[timerOf]

type timerOf struct {
	run *run
	id  string
}

// startTimer makes the run hear of at; a timer of the same id is replaced.
func (r *run) startTimer(id string, at time.Time) {
	r.stopTimer(id)
	t := r.s.timers.Start(at, timerOf{r, id})
	r.timers = append(r.timers, t)
	if r.byTimer != nil {
		r.byTimer[id] = t
	} else if len(r.timers) > 32 {
		r.byTimer = make(map[string]*timer, 2*len(r.timers))
		for _, t := range r.timers {
			r.byTimer[t.What.id] = t
		}
	}
}

func (r *run) stopTimer(id string) {
	if r.byTimer != nil {
		if t := r.byTimer[id]; t != nil {
			r.s.timers.Stop(t)
			delete(r.byTimer, id)
		}
		r.compact()
		return
	}
	for i, t := range r.timers {
		if t.What.id == id {
			r.s.timers.Stop(t)
			last := len(r.timers) - 1
			r.timers[i] = r.timers[last]
			r.timers[last] = nil
			r.timers = r.timers[:last]
			return
		}
	}
}

// compact drops stopped timers from the list once most of it is stopped.
func (r *run) compact() {
	if len(r.timers) < 2*len(r.byTimer)+32 {
		return
	}
	kept := r.timers[:0]
	for _, t := range r.timers {
		if t.Running() {
			kept = append(kept, t)
		}
	}
	clear(r.timers[len(kept):])
	r.timers = kept
}

func (r *run) stopTimers() {
	for _, t := range r.timers {
		r.s.timers.Stop(t)
	}
	r.timers, r.byTimer = nil, nil
}

// fire applies the timers that are due, in order of due time. The clock may
// have gone back: a timer never fires early (D39).
func (s *shard) fire() {
	for {
		t := s.timers.Next()
		if t == nil || t.At.After(s.now) {
			return
		}
		of := t.What
		of.run.stopTimer(of.id)
		of.run.offer(&event.TimerFired{Timer: of.id})
	}
}
