package lifecycle

import "time"

// Named is what an alarm means to the owner who started it.
type Named[O any] struct {
	Owner O
	ID    string
}

// Timers are one owner's alarms, by id, among those of many owners. The zero
// Timers has none. One goroutine uses it, and the alarms, at a time.
type Timers[O any] struct {
	list []*Alarm[Named[O]]
	by   map[string]*Alarm[Named[O]] // once there are many
}

// Start makes the owner hear of at; a timer of the same id is replaced.
func (t *Timers[O]) Start(among *Alarms[Named[O]], owner O, id string, at time.Time) {
	t.Stop(among, id)
	a := among.Start(at, Named[O]{owner, id})
	t.list = append(t.list, a)
	if t.by != nil {
		t.by[id] = a
	} else if len(t.list) > 32 {
		t.by = make(map[string]*Alarm[Named[O]], 2*len(t.list))
		for _, a := range t.list {
			t.by[a.What.ID] = a
		}
	}
}

// Stop ends a timer; an id that no timer has is left alone.
func (t *Timers[O]) Stop(among *Alarms[Named[O]], id string) {
	if t.by != nil {
		if a := t.by[id]; a != nil {
			among.Stop(a)
			delete(t.by, id)
		}
		t.compact()
		return
	}
	for i, a := range t.list {
		if a.What.ID == id {
			among.Stop(a)
			last := len(t.list) - 1
			t.list[i] = t.list[last]
			t.list[last] = nil
			t.list = t.list[:last]
			return
		}
	}
}

// compact drops stopped timers from the list once most of it is stopped.
func (t *Timers[O]) compact() {
	if len(t.list) < 2*len(t.by)+32 {
		return
	}
	kept := t.list[:0]
	for _, a := range t.list {
		if a.Running() {
			kept = append(kept, a)
		}
	}
	clear(t.list[len(kept):])
	t.list = kept
}

// StopAll ends every timer of the owner.
func (t *Timers[O]) StopAll(among *Alarms[Named[O]]) {
	for _, a := range t.list {
		among.Stop(a)
	}
	t.list, t.by = nil, nil
}
