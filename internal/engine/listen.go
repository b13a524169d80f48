package engine

import (
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// listening is what a run knows of the cloud events that it has been offered.
type listening struct {
	on     []listener
	cursor int64 // events up to here were offered to all listeners of their time
	known  bool  // cursor is at least the place of the run's start
}

// listener is one task that listens. Until it has been offered what was accepted
// between the run's start and the cursor, it has a place of its own (D41).
type listener struct {
	activation event.Activation
	types      []string
	behind     bool
}

// listenTo begins to offer events to a listener, the early ones first.
func (r *run) listenTo(c *machine.Listen) {
	r.listen.on = append(r.listen.on, listener{activation: c.Activation, types: c.Types, behind: true})
	r.look()
}

func (r *run) unlisten(a event.Activation) {
	r.listen.on = slices.DeleteFunc(r.listen.on, func(l listener) bool { return l.activation == a })
}

// types are the types that any listener wants; none: every type.
func (l *listening) types() []string {
	var all []string
	for i := range l.on {
		if len(l.on[i].types) == 0 {
			return nil
		}
		for _, t := range l.on[i].types {
			if !slices.Contains(all, t) {
				all = append(all, t)
			}
		}
	}
	return all
}

// look reads the inbox and the cloud events that the run may want.
func (r *run) look() {
	if !r.present() {
		return
	}
	if r.looking {
		r.lookMore = true
		return
	}
	r.looking = true
	e, s, id := r.s.e, r.s, r.id
	q := history.Question{Listens: len(r.listen.on) > 0, Cursor: r.listen.cursor, Known: r.listen.known, Since: r.first, Types: r.listen.types()}
	for i := range r.listen.on {
		q.Early = q.Early || r.listen.on[i].behind
	}
	e.crew.Do(func() {
		found := e.Ask(e.ctx, id, q)
		s.send(message{kind: msgCall, call: func(s *shard) {
			if s.runs[id] == r {
				r.found(found)
			}
		}})
	})
}

// found applies what look has read.
func (r *run) found(a history.Answer) {
	r.looking = false
	if !r.present() || r.end != nil {
		return
	}
	if a.Err != nil {
		if r.s.e.Err() == nil && !r.s.stopping {
			r.s.e.o.Logger.Warn("run cannot read its inbox", errAttr(a.Err))
		}
		return
	}
	for i := range a.Facts {
		r.take(&a.Facts[i])
	}
	if a.Asked {
		for i := range a.Early {
			r.offerEarly(&a.Early[i])
		}
		for i := range r.listen.on {
			r.listen.on[i].behind = r.listen.on[i].behind && r.lookMore
		}
		r.listen.known = true
		for i := range a.Fresh {
			if ev := &a.Fresh[i]; ev.Sequence > r.listen.cursor {
				r.offerFresh(ev)
			}
		}
		r.listen.cursor = max(r.listen.cursor, a.Cursor)
	}
	if r.lookMore || a.More {
		r.lookMore = false
		r.look()
		return
	}
	r.s.touch(r)
}

func (r *run) offerEarly(ev *journal.CloudEvent) {
	envelope := value.FromJSON(ev.Data)
	for i := range r.listen.on {
		l := &r.listen.on[i]
		if l.behind && r.wants(&envelope, l.activation) {
			r.offer(&event.CloudEventReceived{Sequence: ev.Sequence, Event: envelope, Listener: l.activation})
		}
	}
}

func (r *run) offerFresh(ev *journal.CloudEvent) {
	envelope := value.FromJSON(ev.Data)
	for i := range r.listen.on {
		if r.wants(&envelope, r.listen.on[i].activation) {
			r.offer(&event.CloudEventReceived{Sequence: ev.Sequence, Event: envelope})
			return
		}
	}
}

// wants asks the machine whether a listener would consume an event now. A
// machine that has yielded is asked to finish first, for its answer may change.
func (r *run) wants(envelope *value.Raw, listener event.Activation) bool {
	for r.more && r.state == live && r.end == nil {
		r.proceed()
	}
	if r.state != live || r.end != nil {
		return false
	}
	v, err := envelope.Any()
	if err != nil {
		return false
	}
	object, ok := v.(map[string]any)
	return ok && r.m.Wants(object, listener)
}

// fact takes an inbox row that this process has just stored.
func (s *shard) fact(row *journal.InboxRow) {
	r := s.runs[row.Run]
	switch {
	case r == nil || s.stopping:
		s.e.waker.poke()
	case !r.present() || r.end != nil || r.inflight && r.flight.sleep:
		// It is read with the inbox when the run is live again.
	default:
		r.take(row)
	}
}

// take applies an inbox row, once.
func (r *run) take(row *journal.InboxRow) {
	if slices.Contains(r.seen, row.ID) || r.end != nil {
		return
	}
	r.seen = append(r.seen, row.ID)
	r.facts = append(r.facts, row.ID)
	r.s.touch(r)
	if row.Kind == journal.InboxEvents {
		r.look()
		return
	}
	events, err := r.s.e.Decode(r.s.e.ctx, r.id, row.Data)
	if err != nil {
		r.s.e.o.Logger.Error("fact in the inbox cannot be read", errAttr(err))
		return
	}
	for _, ev := range events {
		r.offer(ev.Body)
	}
}

// factsDone forgets rows whose removal is durable.
func (r *run) factsDone(ids []int64) {
	r.seen = slices.DeleteFunc(r.seen, func(id int64) bool { return slices.Contains(ids, id) })
}
