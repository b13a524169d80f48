package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Reopening makes an ended run live again, or begins a run in the past of another.
type Reopening struct {
	Run        event.RunID
	Body       event.Body // *event.RunReopened or *event.RunForked
	After      int64      // the last row of the run's journal; 0 for a new run
	At         time.Time  // when that was
	Definition *definitions.Definition
	With       []*definitions.Definition // that it can name
	Sealed     bool                      // its past is encrypted
}

// Definitions are the compiled definitions of this process.
func (e *Engine) Definitions() *definitions.Cache { return e.defs }

// Reopen makes runs live, all of them or none, and carries them out here. It is
// durable when it returns nil. The feed gets the updates of the first.
func (e *Engine) Reopen(ctx context.Context, list []Reopening, f *Feed) error {
	if err := e.reserve(ctx); err != nil {
		return err
	}
	b := journal.Batch{}
	for i := range list {
		if err := e.reopening(ctx, &list[i], &b); err != nil {
			return err
		}
	}
	if err := e.Commit(ctx, &b); err != nil {
		if errors.Is(err, journal.ErrConflict) {
			err = fmt.Errorf("somebody else opened the run again at the same time: %w", err)
		}
		return fmt.Errorf("open run %s again: %w", list[0].Run, err)
	}
	for i := range list {
		for _, d := range append(list[i].With, list[i].Definition) {
			d.Keep()
		}
	}
	for i := range list {
		if err := e.Continue(ctx, list[i].Run, f); err != nil && !errors.Is(err, ErrEnded) {
			return err
		}
		f = nil
	}
	return nil
}

// reopening puts what makes one run live into a batch. The event is applied
// when the run is read again, so the hash of its row is left open.
func (e *Engine) reopening(ctx context.Context, q *Reopening, b *journal.Batch) error {
	at := e.o.Clock.Now()
	if at.Before(q.At) {
		at = q.At
	}
	switch body := q.Body.(type) {
	case *event.RunForked:
		start := &body.Start
		start.Runtime = e.o.Version
		group, err := q.Definition.Group(start.Input)
		if err != nil {
			return err
		}
		b.Starts = append(b.Starts, journal.StartRow{
			ID: q.Run, Digest: start.Definition, Workflow: q.Definition.ID, Trigger: start.Trigger, At: at, Priority: q.Definition.Priority,
			Concurrency: group, Status: event.Pending, Embedded: e.o.Embedded, Directory: start.Directory, Owned: true, Labels: start.Labels,
		})
	default:
		if err := e.o.Store.Claim(ctx, q.Run); err != nil {
			return fmt.Errorf("open run %s again: %w", q.Run, err)
		}
		b.Updates = append(b.Updates, journal.RunUpdate{ID: q.Run, Status: event.Pending, Digest: q.Definition.Digest})
	}
	for _, d := range append(q.With, q.Definition) {
		if !d.Kept() {
			b.Definitions = append(b.Definitions, journal.Definition{Digest: d.Digest, Source: d.Workflow.Source})
		}
	}
	data := event.Append(nil, []event.Event{{At: at, Body: q.Body}}, nil)
	if q.Sealed || q.Definition.Sealed {
		if err := e.Seals(); err != nil {
			return fmt.Errorf("open run %s again: %w", q.Run, err)
		}
		data = e.Seal(q.Run, data)
	}
	b.Appends = append(b.Appends, journal.Row{Run: q.Run, Sequence: q.After + 1, At: at, Revision: machine.Revision, Data: data})
	return nil
}

// opened takes what an event says that opens a run: for the first time, again, or
// in the past of another.
func (r *run) opened(ev event.Event) error {
	if r.first.IsZero() {
		r.first = ev.At
	}
	switch b := ev.Body.(type) {
	case *event.RunStarted:
		r.started, r.parent = b, b.Parent
	case *event.RunForked:
		r.started, r.parent = &b.Start, b.Start.Parent
	case *event.RunReopened:
		m, err := machine.Restore(r.def.Program, b.State)
		if err != nil {
			return fmt.Errorf("the run was opened again: %w", err)
		}
		if r.started = m.Started(); r.started == nil {
			return fmt.Errorf("the run was opened again with the state of none: %w", journal.ErrCorrupt)
		}
		r.parent, r.first = r.started.Parent, m.State().StartedAt
	}
	if tasks := history.Tasks(ev.Body); len(tasks) > 0 {
		before, err := view.Decode(tasks)
		if err != nil {
			return fmt.Errorf("read the task list: %w", err)
		}
		r.view = before
	}
	return nil
}
