package state

import "time"

// Purpose tells what a timer is for.
type Purpose uint8

// The purposes.
const (
	Timeout Purpose = iota + 1
	Wait
	Retry
	AttemptLimit // attempt.duration of a retry policy
	Limit        // limit.duration of a retry policy
	RunTimeout
)

var purposeNames = [...]string{"", "timeout", "wait", "retry", "attempt", "limit", "run"}

// String is the name that stands in the ids of timers.
func (p Purpose) String() string { return purposeNames[p] }

// Timer is one timer of the run.
type Timer struct {
	ID    string
	Frame *Frame // nil: of the run
	What  Purpose
	At    time.Time
	Order uint64
	Fired bool // its time came while the run was suspended
	place int  // in the heap
}

// Timers holds the timers of a run: the next one first, each by its id.
type Timers struct {
	list []*Timer
	byID map[string]*Timer
}

// All are the timers that have yet to fire, in no order.
func (h *Timers) All() []*Timer { return h.list }

// Find returns a timer by its id, or nil.
func (h *Timers) Find(id string) *Timer { return h.byID[id] }

// Next is the timer that fires next, or nil.
func (h *Timers) Next() *Timer {
	if len(h.list) == 0 {
		return nil
	}
	return h.list[0]
}

// Add adds a timer.
func (h *Timers) Add(t *Timer) {
	if h.byID == nil {
		h.byID = map[string]*Timer{}
	}
	h.byID[t.ID] = t
	if t.Fired {
		return
	}
	t.place = len(h.list)
	h.list = append(h.list, t)
	h.up(t.place)
}

// Remove takes a timer away.
func (h *Timers) Remove(t *Timer) {
	delete(h.byID, t.ID)
	if !t.Fired {
		h.unlist(t)
	}
}

// Fire marks a timer whose time came while the run was suspended: nobody needs
// to wait for it any more.
func (h *Timers) Fire(t *Timer) {
	h.unlist(t)
	t.Fired = true
}

func (h *Timers) unlist(t *Timer) {
	i, last := t.place, len(h.list)-1
	h.swap(i, last)
	h.list[last] = nil
	h.list = h.list[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *Timers) less(i, j int) bool {
	a, b := h.list[i], h.list[j]
	if !a.At.Equal(b.At) {
		return a.At.Before(b.At)
	}
	return a.Order < b.Order
}

func (h *Timers) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].place, h.list[j].place = i, j
}

func (h *Timers) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *Timers) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.list) {
			return
		}
		if c+1 < len(h.list) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

// Deadline is when the first timeout ends f: its own, one around it, or the
// run's; the zero time when there is none.
func (r *Run) Deadline(f *Frame) (first time.Time) {
	sooner := func(t *Timer) {
		if first.IsZero() || t.At.Before(first) {
			first = t.At
		}
	}
	if r.RunTimer != nil {
		sooner(r.RunTimer)
	}
	for ; f != nil; f = f.Seq.Owner {
		for _, t := range f.Timers {
			if t.What != Wait && t.What != Retry {
				sooner(t)
			}
		}
	}
	return first
}

// Retime changes when the timeouts of tasks are due. What a run waits for by
// itself, a wait or the delay of a retry, is left as it is.
func (r *Run) Retime(due func(*Timer) time.Time) {
	timers := make([]*Timer, 0, len(r.Timers.byID))
	for _, t := range r.Timers.byID {
		timers = append(timers, t)
	}
	r.Timers = Timers{}
	for _, t := range timers {
		if t.Frame != nil && (t.What == Timeout || t.What == AttemptLimit || t.What == Limit) {
			t.At = due(t)
			if t.What == Limit && t.Frame.Try != nil {
				t.Frame.Try.Deadline = t.At
			}
		}
		r.Timers.Add(t)
	}
}
