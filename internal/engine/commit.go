package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// Snapshots are written when the journal since the last one exceeds these, and
// half the size of the last one, so that big states are not written often.
const (
	snapshotEvents = 100
	snapshotBytes  = 256 << 10
)

// submit hands what the run has gathered to the committer, as one request.
func (r *run) submit() {
	f := &r.flight
	if len(r.events) == 0 && len(r.commands) == 0 && len(r.acks) == 0 && len(r.facts) == 0 && !r.wakes && !r.sleep {
		r.rest()
		return
	}
	f.commands, r.commands = r.commands, f.commands[:0]
	f.shown, r.shown = r.shown, f.shown[:0]
	f.acks, r.acks = r.acks, f.acks[:0]
	f.facts, r.facts = r.facts, f.facts[:0]
	f.end, f.at, f.sleep, f.look = r.end, r.at, false, r.wakes || len(f.facts) > 0
	b := &f.request.Batch
	*b = journal.Batch{InboxDone: f.facts, Starts: b.Starts[:0], Subscriptions: b.Subscriptions[:0], Unsubscribe: b.Unsubscribe[:0]}
	f.updates[0] = journal.RunUpdate{ID: r.id}
	for _, c := range f.commands {
		r.store(b, c)
	}
	if f.first = r.sequence == 0; f.first {
		r.storeStart(b)
	}
	update := f.end != nil
	if update {
		r.storeEnd(b, f.end)
	} else {
		update = r.storeStatus(f)
	}
	r.sleep = false
	if len(r.events) > 0 {
		r.storeRow(b)
	}
	if update {
		b.Updates = f.updates[:1]
	}
	r.inflight = true
	r.s.flying++
	if mutantEarly {
		for _, c := range f.commands {
			r.carry(c)
		}
		f.commands = f.commands[:0]
	}
	r.s.e.o.Committer.Submit(&f.request)
}

// storeStatus fills in the update of the run's row and reports whether there is anything to update.
func (r *run) storeStatus(f *flight) bool {
	update := false
	u := &f.updates[0]
	if status := r.m.Status(); status != r.status {
		r.status = status
		u.Status = status
		update = true
	}
	if r.wakes || len(f.facts) > 0 {
		u.WakeAt, r.wakes = journal.NoWake, false
		update = true
	}
	if at, ok := r.maySleep(); ok {
		f.sleep = true
		u.WakeAt, u.Release, u.Asleep = at, !r.embedded, true
		update = true
	}
	if f.first {
		start := &f.request.Batch.Starts[0]
		start.Status = r.status
		if f.sleep {
			start.Owned, start.WakeAt = r.embedded, u.WakeAt
		}
		return false
	}
	return update
}

// storeRow appends the events as one journal row and, now and then, a snapshot.
func (r *run) storeRow(b *journal.Batch) {
	r.sequence++
	n := 64
	for i := range r.events {
		n += sizeOf(r.events[i].Body)
	}
	data := r.encode(b, r.s.bytes(n), r.events)
	hash := r.m.Hash()
	if r.state == queued {
		hash = 0 // the event is applied when the run begins
	}
	r.flight.rows[0] = journal.Row{
		Run: r.id, Sequence: r.sequence, At: r.at, Revision: machine.Revision, Hash: hash, Data: data,
	}
	b.Appends = append(r.flight.rows[:1], b.Appends...)
	r.grown.events += len(r.events)
	r.grow(len(data))
	clear(r.events)
	r.events, r.last = r.events[:0], 0
	if r.flight.end == nil && (r.grown.events > snapshotEvents || r.grown.bytes > snapshotBytes) && r.grown.bytes > r.grown.last/2 {
		r.storeSnapshot(b)
	}
}

func (r *run) storeStart(b *journal.Batch) {
	st := r.started
	row := journal.StartRow{
		ID: r.id, Digest: st.Definition, Workflow: r.workflow, Trigger: st.Trigger, At: r.at, Priority: r.def.Priority,
		Concurrency: r.group, Status: event.Running, Embedded: r.embedded, Directory: st.Directory, Owned: true, Labels: st.Labels,
	}
	if st.Parent != nil {
		row.Parent = st.Parent.Run
	}
	b.Starts = append([]journal.StartRow{row}, b.Starts...)
	b.Definitions = r.unstored()
	if r.key != nil {
		b.Keys = append(b.Keys, *r.key)
		r.key = nil
	}
}

// storeEnd journals the end as a fact, with the compact task list.
func (r *run) storeEnd(b *journal.Batch, end *machine.End) {
	r.events = append(r.events, event.Event{At: r.at, Body: &event.RunEnded{
		Status: end.Status, Output: end.Output, Error: end.Error, Tasks: r.view.AppendTasks(nil),
	}})
	u := &r.flight.updates[0]
	u.Status, u.EndedAt, u.Ended = end.Status, r.at, true
	if end.Error != nil {
		u.Error = cmp.Or(end.Error.Title, end.Error.Detail)
	}
	if p := r.parent; p != nil && p.Await {
		body := &event.ChildEnded{
			Activation: p.Activation, Attempt: p.Attempt, Child: r.id, Status: end.Status, Output: end.Output, Error: end.Error,
		}
		b.Inbox = append(b.Inbox, r.factFor(p.Run, journal.InboxChildEnded, "child "+commandKey(p.Activation, p.Attempt), body))
	}
}

// committed goes on after a request: everything in it is durable, or nothing is.
func (s *shard) committed(r *run, err error) {
	s.flying--
	r.inflight = false
	f := &r.flight
	if err != nil {
		s.failed(r, err)
		return
	}
	b := &f.request.Batch
	if f.first {
		if b.Starts[0].Existed {
			s.failed(r, fmt.Errorf("start run %s: %w", r.id, journal.ErrConflict))
			return
		}
		r.stored()
	}
	for _, a := range f.acks {
		a <- nil
	}
	f.acks = f.acks[:0]
	r.show(f)
	for i := range b.Inbox {
		s.e.tell(&b.Inbox[i])
	}
	if len(b.Events) > 0 {
		s.e.waker.poke()
	}
	if r.load != nil {
		r.load.finish(nil)
		r.load = nil
	}
	if r.state == gone {
		return
	}
	switch {
	case f.end != nil:
		r.ended(f)
		return
	case f.sleep:
		r.fallAsleep()
		return
	}
	if s.stopping {
		clear(f.commands)
		f.commands = f.commands[:0]
		return
	}
	if len(f.facts) > 0 {
		r.factsDone(f.facts)
	}
	r.carryResumed()
	if f.look {
		r.look()
	}
	r.unsent(f.commands)
	for i, c := range f.commands {
		f.commands[i] = nil
		if c != nil {
			r.carry(c)
		}
	}
	f.commands = f.commands[:0]
	if len(r.events) > 0 || len(r.commands) > 0 || len(r.facts) > 0 || len(r.acks) > 0 || r.wakes {
		s.touch(r)
	} else {
		r.rest()
	}
}

// ended tells everybody how the run ended and forgets it.
func (r *run) ended(f *flight) {
	res := outcome{Result: Result{ID: r.id, Status: f.end.Status, Output: f.end.Output, Error: f.end.Error}}
	for _, w := range r.waits {
		w <- res
	}
	r.waits = nil
	for _, a := range r.acks {
		a <- ErrEnded
	}
	r.acks = nil
	if r.spaces {
		r.s.e.o.Worker.Forget(r.id)
	}
	r.drop()
}

// failed drops the memory of a run whose request failed; its journal is the truth.
func (s *shard) failed(r *run, err error) {
	if r.state == gone {
		r.abandon(err)
		return
	}
	acks := append(r.flight.acks, r.acks...)
	r.flight.acks, r.acks = nil, nil
	for _, a := range acks {
		a <- err
	}
	if errors.Is(err, journal.ErrClosed) || errors.Is(err, journal.ErrCorrupt) {
		s.e.fail(err)
		r.abandon(err)
		r.drop()
		return
	}
	if r.flight.first { // who wanted the start has been told
		r.abandon(err)
		r.drop()
		return
	}
	s.e.o.Logger.Warn("commit failed", slog.String("run", r.id.String()), slog.String("error", err.Error()))
	r.reload(err)
}

// reload drops what memory knows and reads the run again, a little later.
func (r *run) reload(cause error) {
	const pause = time.Second
	s := r.s
	waits, feeds, early := r.waits, r.feeds, r.early
	r.waits, r.feeds = nil, nil
	if errors.Is(cause, journal.ErrNotOwner) {
		for _, w := range waits {
			w <- outcome{err: ErrElsewhere}
		}
		r.drop()
		return
	}
	r.drop()
	n := s.newLoading(r.id)
	n.waits, n.feeds, n.early = waits, feeds, early
	s.e.o.Clock.AfterFunc(pause, func() { s.e.read(r.id) })
}
