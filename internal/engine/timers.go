package engine

import "time"

// timer is one due time of a live run.
type timer struct {
	at    time.Time
	order uint64 // of starting, so that timers due together fire in order
	run   *run
	id    string
	place int // in the heap; -1: stopped
}

// timers is a heap by due time.
type timers struct {
	heap  []*timer
	order uint64
}

func (h *timers) next() (time.Time, bool) {
	if len(h.heap) == 0 {
		return time.Time{}, false
	}
	return h.heap[0].at, true
}

func (h *timers) add(t *timer) {
	h.order++
	t.order = h.order
	t.place = len(h.heap)
	h.heap = append(h.heap, t)
	h.up(t.place)
}

func (h *timers) remove(t *timer) {
	i := t.place
	if i < 0 {
		return
	}
	last := len(h.heap) - 1
	if i != last {
		h.swap(i, last)
	}
	h.heap[last] = nil
	h.heap = h.heap[:last]
	t.place = -1
	if i != last {
		h.down(i)
		h.up(i)
	}
}

func (h *timers) less(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.order < b.order
}

func (h *timers) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].place, h.heap[j].place = i, j
}

func (h *timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timers) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.heap) {
			return
		}
		if child+1 < len(h.heap) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// startTimer makes the run hear of at; a timer of the same id is replaced.
func (r *run) startTimer(id string, at time.Time) {
	r.stopTimer(id)
	t := &timer{at: at, run: r, id: id}
	r.s.timers.add(t)
	r.timers = append(r.timers, t)
	if r.byTimer != nil {
		r.byTimer[id] = t
	} else if len(r.timers) > 32 {
		r.byTimer = make(map[string]*timer, 2*len(r.timers))
		for _, t := range r.timers {
			r.byTimer[t.id] = t
		}
	}
}

func (r *run) stopTimer(id string) {
	if r.byTimer != nil {
		if t := r.byTimer[id]; t != nil {
			r.s.timers.remove(t)
			delete(r.byTimer, id)
		}
		r.compact()
		return
	}
	for i, t := range r.timers {
		if t.id == id {
			r.s.timers.remove(t)
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
		if t.place >= 0 {
			kept = append(kept, t)
		}
	}
	clear(r.timers[len(kept):])
	r.timers = kept
}

func (r *run) stopTimers() {
	for _, t := range r.timers {
		r.s.timers.remove(t)
	}
	r.timers, r.byTimer = nil, nil
}

// fire applies the timers that are due, in order of due time. The clock may
// have gone back: a timer never fires early (D39).
func (s *shard) fire() {
	for {
		at, ok := s.timers.next()
		if !ok || at.After(s.now) {
			return
		}
		t := s.timers.heap[0]
		t.run.stopTimer(t.id)
		t.run.offer(timerFired(t.id))
	}
}
