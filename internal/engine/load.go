package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// loaders is how many goroutines read the store and resolve secrets beside the shards.
const loaders = 2

// loaded is a run as read from the store, or why it could not be read.
type loaded struct {
	done  chan<- error // told when the run is live again; may be nil
	group *sync.WaitGroup
}

func (l *loaded) finish(err error) {
	if l.done != nil {
		l.done <- err
	}
	if l.group != nil {
		l.group.Done()
	}
}

// adopt takes a run over when its owner has ended, and reads it.
func (e *Engine) adopt(id event.RunID) {
	e.crew.Do(func() {
		err := e.o.Store.Claim(e.ctx, id)
		if err != nil {
			if !errors.Is(err, journal.ErrNotOwner) && !errors.Is(err, journal.ErrNotFound) {
				e.o.Logger.Warn("run cannot be taken over", slog.String("run", id.String()), errAttr(err))
			}
			return
		}
		e.shard(id).send(message{kind: msgCall, call: func(s *shard) {
			if s.runs[id] == nil && !s.stopping {
				s.newLoading(id)
				e.read(id)
			}
		}})
	})
}

// newLoading puts a run in the shard whose state is still to be read.
func (s *shard) newLoading(id event.RunID) *run {
	r := &run{id: id, s: s, state: loading, embedded: s.e.o.Embedded}
	r.flight.request.Tag, r.flight.request.Queue = r, s.over
	s.runs[id] = r
	return r
}

// read reads a run that its shard waits for.
func (e *Engine) read(id event.RunID) {
	e.crew.Do(func() {
		rec, err := e.Load(e.ctx, id)
		e.shard(id).send(message{kind: msgCall, call: func(s *shard) {
			if r := s.runs[id]; r != nil && r.state == loading {
				r.loaded(rec, err)
			}
		}})
	})
}

// loaded makes a run live from what was read.
func (r *run) loaded(rec *history.Record, err error) {
	if err == nil && rec.Run.Status.Ended() {
		r.tellEnd(rec)
		return
	}
	if err == nil {
		err = r.replay(rec)
	}
	if err != nil {
		r.s.e.o.Logger.Error("run cannot go on", slog.String("run", r.id.String()), errAttr(err))
		r.halted(rec != nil, err)
		return
	}
	if r.state == queued {
		return
	}
	r.wakes = true
	r.s.touch(r)
	early := r.early
	r.early = nil
	r.fireDue()
	for _, body := range early {
		r.offer(body)
	}
}

// tellEnd answers those who wait for a run that has ended meanwhile.
func (r *run) tellEnd(rec *history.Record) {
	var res outcome
	res.ID, res.Status = r.id, rec.Run.Status
	for _, events := range rec.Events {
		for _, ev := range events {
			if end, ok := ev.Body.(*event.RunEnded); ok {
				res.Output, res.Error = end.Output, end.Error
			}
		}
	}
	for _, w := range r.waits {
		w <- res
	}
	r.waits = nil
	if r.load != nil {
		r.load.finish(ErrEnded)
		r.load = nil
	}
	r.drop()
}

// halted suspends a run that cannot be continued, so that nobody tries in a
// circle, and says why in its row.
func (r *run) halted(stored bool, cause error) {
	if stored {
		u := journal.RunUpdate{ID: r.id, Status: event.Suspended, Error: cause.Error(), WakeAt: journal.NoWake}
		q := &journal.Request{Batch: journal.Batch{Updates: []journal.RunUpdate{u}}}
		l := r.load
		q.Done = func(*journal.Request) {
			if l != nil {
				l.finish(cause)
			}
		}
		r.load = nil
		r.s.e.o.Committer.Submit(q)
	}
	r.abandon(cause)
	r.drop()
}

// replay rebuilds the machine and compares the hash of every commit (M6).
func (r *run) replay(rec *history.Record) error {
	r.def, r.workflow = rec.Definition, rec.Run.Workflow
	r.embedded, r.directory = rec.Run.Embedded, rec.Run.Directory
	r.status, r.state = rec.Run.Status, live
	if rec.Run.Status == event.Pending {
		return r.replayPending(rec)
	}
	r.m, r.view = machine.New(rec.Definition.Program), view.New()
	if rec.Snapshot != nil {
		if err := r.restore(rec); err != nil {
			return err
		}
	}
	r.m.SetGuard(nil)
	for i := range rec.Events {
		row := &rec.Rows[i]
		if err := r.replayRow(row, rec.Events[i]); err != nil {
			return err
		}
	}
	if r.started == nil {
		return fmt.Errorf("journal of run %s does not begin with its start: %w", r.id, journal.ErrCorrupt)
	}
	r.m.SetGuard(r.s.stopGuard)
	r.grow(baseBytes)
	r.resume = &resumed{before: slices.Clone(r.m.Outstanding())}
	r.listen.known = r.listen.cursor > 0 // the machine knows which events the run has consumed
	return nil
}

func (r *run) replayRow(row *journal.Row, events []event.Event) error {
	for i, ev := range events {
		r.at = ev.At
		if err := r.opened(ev); err != nil {
			return fmt.Errorf("replay sequence %d: %w", row.Sequence, err)
		}
		if b, ok := ev.Body.(*event.CloudEventReceived); ok {
			r.listen.cursor = max(r.listen.cursor, b.Sequence)
		}
		r.handles.Note(ev.Body)
		if err := r.again(ev, history.CutAfter(events, i)); err != nil {
			return fmt.Errorf("replay sequence %d: %w", row.Sequence, err)
		}
	}
	r.sequence = row.Sequence
	r.grown.events += len(events)
	r.grow(len(row.Data))
	if got := r.m.Hash(); row.Hash != 0 && got != row.Hash && !mutantUnhashed {
		return fmt.Errorf("%w at sequence %d: the journal has the hash %016x and this release gives %016x; "+
			"continue the run with the release that wrote it", ErrDiverged, row.Sequence, row.Hash, got)
	}
	return nil
}

// again applies an event of the journal; what it asks for was stored or done
// with it, and what has no answer is in Outstanding afterwards. cut: another
// event came before the machine had come to rest.
func (r *run) again(ev event.Event, cut bool) error {
	step, err := r.step(&ev)
	for {
		if err != nil {
			return err
		}
		for i := range step.Transitions {
			r.view.Add(ev.At, &step.Transitions[i])
		}
		if cut || !step.More {
			return nil
		}
		step, err = r.step(nil)
	}
}

// replayPending takes up a run whose first event is stored and was never applied.
func (r *run) replayPending(rec *history.Record) error {
	if len(rec.Events) == 0 || len(rec.Events[0]) == 0 {
		return fmt.Errorf("journal of run %s is empty: %w", r.id, journal.ErrCorrupt)
	}
	first := rec.Events[0][0]
	r.m, r.view = machine.New(rec.Definition.Program), view.New()
	if err := r.opened(first); err != nil {
		return err
	}
	if r.started == nil {
		return fmt.Errorf("journal of run %s does not begin with its start: %w", r.id, journal.ErrCorrupt)
	}
	r.opening, r.sequence, r.at = first, rec.Rows[0].Sequence, first.At
	r.m.SetGuard(r.s.stopGuard)
	r.grow(baseBytes)
	group, err := r.def.Group(r.started.Input)
	if err != nil {
		return err
	}
	if r.group = group; group != "" && !r.s.e.groups.enter(r) {
		return nil
	}
	r.begin(first)
	return nil
}

// resumed is what an earlier process left without an answer.
type resumed struct{ before []machine.Command }

// fireDue applies the timers that came due while nobody looked, in order of due
// time, before interrupted attempts are repeated (D39).
func (r *run) fireDue() {
	if r.resume == nil {
		return
	}
	var dues []*machine.StartTimer
	for _, c := range r.resume.before {
		t, ok := c.(*machine.StartTimer)
		switch {
		case !ok:
		case t.At.After(r.s.now):
			r.timers.Start(&r.s.timers, r, t.ID, t.At)
		default:
			dues = append(dues, t)
		}
	}
	slices.SortStableFunc(dues, func(a, b *machine.StartTimer) int { return a.At.Compare(b.At) })
	for _, t := range dues {
		r.offer(&event.TimerFired{Timer: t.ID})
	}
}

// carryResumed repeats what an earlier process left, as far as the machine
// still waits for it.
func (r *run) carryResumed() {
	if r.resume == nil {
		return
	}
	before := r.resume.before
	r.resume = nil
	old := make(map[string]bool, len(before))
	for _, c := range before {
		old[outstandingKey(c)] = true
	}
	for _, c := range r.m.Outstanding() {
		if key := outstandingKey(c); key != "" && old[key] {
			r.carryAgain(c)
		}
	}
}

// outstandingKey tells one outstanding command of a run from another; "" for
// those that are not repeated here.
func outstandingKey(c machine.Command) string {
	switch c := c.(type) {
	case *machine.Dispatch:
		return "dispatch " + commandKey(c.Activation, c.Attempt)
	case *machine.CancelAttempt: // what was dispatched before may have to be cancelled now
		return "dispatch " + commandKey(c.Activation, c.Attempt)
	case *machine.Listen:
		return "listen " + string(c.Activation)
	case *machine.StartChild:
		return "child " + commandKey(c.Activation, c.Attempt)
	case *machine.ResolveSecrets:
		return "secrets"
	case *machine.CancelChild:
		return "act " + c.Act + " " + string(c.Activation)
	case *machine.StartTimer, *machine.StopTimer, *machine.Unlisten, *machine.Emit, *machine.End:
		return ""
	}
	return ""
}

// storeSnapshot writes the machine and the task list after this row.
func (r *run) storeSnapshot(b *journal.Batch) {
	st := history.State{First: r.first, At: r.at, Cursor: r.listen.cursor, Started: r.started, Attempts: r.handles, View: r.view, Machine: r.m}
	state := st.Append(nil)
	r.s.e.account(int64(len(state)) - r.bytes)
	r.bytes = int64(len(state))
	r.grown.events, r.grown.bytes, r.grown.last = 0, 0, len(state)
	if r.def.Sealed {
		state = r.s.e.Seal(r.id, state)
	}
	b.Snapshots = []journal.Snapshot{{Run: r.id, Sequence: r.sequence, State: state}}
}

// restore is the opposite of storeSnapshot.
func (r *run) restore(rec *history.Record) error {
	st, err := history.ReadState(rec.Definition.Program, rec.State)
	if err != nil {
		return fmt.Errorf("run %s at sequence %d: %w", r.id, rec.Snapshot.Sequence, err)
	}
	r.first, r.at, r.listen.cursor, r.view, r.m = st.First, st.At, st.Cursor, st.View, st.Machine
	r.started, r.parent, r.handles = st.Started, st.Started.Parent, st.Attempts
	r.sequence = rec.Snapshot.Sequence
	r.grown.last = len(rec.State)
	return nil
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
