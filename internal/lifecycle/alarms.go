package lifecycle

import "time"

// Alarm is one due time among Alarms.
type Alarm[T any] struct {
	At    time.Time
	What  T
	order uint64 // of starting, so that those due together come in order
	place int    // in the heap; -1: stopped
}

// Running reports that the alarm has neither been stopped nor taken.
func (a *Alarm[T]) Running() bool { return a.place >= 0 }

// Alarms are due times, the earliest first; those due together come in the
// order in which they were started. One goroutine uses it at a time.
type Alarms[T any] struct {
	heap  []*Alarm[T]
	order uint64
}

// Next is the earliest alarm; nil: there is none.
func (h *Alarms[T]) Next() *Alarm[T] {
	if len(h.heap) == 0 {
		return nil
	}
	return h.heap[0]
}

// Start adds an alarm.
func (h *Alarms[T]) Start(at time.Time, what T) *Alarm[T] {
	h.order++
	a := &Alarm[T]{At: at, What: what, order: h.order, place: len(h.heap)}
	h.heap = append(h.heap, a)
	h.up(a.place)
	return a
}

// Stop takes an alarm out; one that is not running is left alone.
func (h *Alarms[T]) Stop(a *Alarm[T]) {
	i := a.place
	if i < 0 {
		return
	}
	last := len(h.heap) - 1
	if i != last {
		h.swap(i, last)
	}
	h.heap[last] = nil
	h.heap = h.heap[:last]
	a.place = -1
	if i != last {
		h.down(i)
		h.up(i)
	}
}

func (h *Alarms[T]) less(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	if !a.At.Equal(b.At) {
		return a.At.Before(b.At)
	}
	return a.order < b.order
}

func (h *Alarms[T]) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].place, h.heap[j].place = i, j
}

func (h *Alarms[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *Alarms[T]) down(i int) {
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
