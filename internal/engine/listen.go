package engine

import (
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
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

const eventPage = 256

// again forgets, after a replay, that listeners have been offered early events:
// the machine knows which ones the run has consumed.
func (l *listening) again(r *run) { l.known = l.cursor > 0 }

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
	q := question{listens: len(r.listen.on) > 0, cursor: r.listen.cursor, known: r.listen.known, since: r.begunAt(), types: r.listen.types()}
	for i := range r.listen.on {
		q.early = q.early || r.listen.on[i].behind
	}
	e.loader.do(func() {
		found := e.answer(id, q)
		s.send(message{kind: msgCall, call: func(s *shard) {
			if s.runs[id] == r {
				r.found(found)
			}
		}})
	})
}

// question is what a run wants to know of the store.
type question struct {
	listens, known, early bool
	cursor                int64
	since                 time.Time
	types                 []string
}

// answers are what the store said.
type answers struct {
	facts  []journal.InboxRow
	early  []journal.CloudEvent // accepted since the run started, up to the cursor
	fresh  []journal.CloudEvent // after the cursor
	cursor int64                // everything up to here is in fresh, or of no wanted type
	more   bool
	asked  bool
	err    error
}

// answer runs on a loader.
func (e *Engine) answer(id event.RunID, q question) (a answers) {
	store := e.o.Store
	if a.facts, a.err = store.Inbox(e.ctx, id); a.err != nil || !q.listens {
		return a
	}
	begin, err := int64(0), error(nil)
	if !q.known || q.early {
		if begin, err = e.sequenceAt(q.since); err != nil {
			a.err = err
			return a
		}
	}
	if !q.known {
		q.cursor = max(q.cursor, begin)
	}
	a.asked, a.cursor = true, q.cursor
	if q.early && begin < q.cursor {
		if a.early, a.err = e.eventsBetween(begin, q.cursor, q.types); a.err != nil {
			return a
		}
	}
	if a.fresh, a.err = store.CloudEvents(e.ctx, q.cursor, q.types, eventPage); a.err != nil {
		return a
	}
	if n := len(a.fresh); n > 0 {
		a.cursor = a.fresh[n-1].Sequence
		a.more = n == eventPage
	}
	return a
}

func (e *Engine) eventsBetween(after, upTo int64, types []string) ([]journal.CloudEvent, error) {
	var out []journal.CloudEvent
	for after < upTo {
		page, err := e.o.Store.CloudEvents(e.ctx, after, types, eventPage)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, ev := range page {
			if ev.Sequence > upTo {
				return out, nil
			}
			out = append(out, ev)
			after = ev.Sequence
		}
	}
	return out, nil
}

// sequenceAt is the sequence before the first cloud event accepted at or after
// a time. Acceptance times rise with the sequence, so halving finds it.
func (e *Engine) sequenceAt(since time.Time) (int64, error) {
	before := func(after int64) (bool, error) { // is the first event beyond after an older one?
		page, err := e.o.Store.CloudEvents(e.ctx, after, nil, 1)
		return err == nil && len(page) > 0 && page[0].At.Before(since), err
	}
	low, high := int64(0), int64(1)
	older, err := before(0)
	if err != nil || !older {
		return 0, err
	}
	for {
		if older, err = before(high); err != nil {
			return 0, err
		}
		if !older {
			break
		}
		low, high = high, high*2
	}
	for low < high { // before(low) holds or low is 0, before(high) does not
		mid := low + (high-low)/2
		if older, err = before(mid); err != nil {
			return 0, err
		}
		if older {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// found applies what look has read.
func (r *run) found(a answers) {
	r.looking = false
	if !r.present() || r.end != nil {
		return
	}
	if a.err != nil {
		if r.s.e.Err() == nil && !r.s.stopping {
			r.s.e.o.Logger.Warn("run cannot read its inbox", errAttr(a.err))
		}
		return
	}
	for i := range a.facts {
		r.take(&a.facts[i])
	}
	if a.asked {
		for i := range a.early {
			r.offerEarly(&a.early[i])
		}
		for i := range r.listen.on {
			r.listen.on[i].behind = r.listen.on[i].behind && r.lookMore
		}
		r.listen.known = true
		for i := range a.fresh {
			if ev := &a.fresh[i]; ev.Sequence > r.listen.cursor {
				r.offerFresh(ev)
			}
		}
		r.listen.cursor = max(r.listen.cursor, a.cursor)
	}
	if r.lookMore || a.more {
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
	case r.present() && r.end == nil && !(r.inflight && r.flight.sleep):
		r.take(row)
	default:
		// It is read with the inbox when the run is live again.
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

// begunAt is when the run started: its first event's time.
func (r *run) begunAt() time.Time {
	if !r.first.IsZero() {
		return r.first
	}
	return r.at
}
