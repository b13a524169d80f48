package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Reopening makes an ended run live again, or begins a run in the past of another.
type Reopening = history.Reopening

// Definitions are the compiled definitions of this process.
func (e *Engine) Definitions() *definitions.Cache { return e.defs }

// Reopen makes runs live, all of them or none, and carries them out here. It is
// durable when it returns nil. The feed gets the updates of the first.
func (e *Engine) Reopen(ctx context.Context, list []Reopening, f *Feed) error {
	if err := e.reserve(ctx); err != nil {
		return err
	}
	b := journal.Batch{}
	host := history.Host{Now: e.o.Clock.Now(), Version: e.o.Version, Embedded: e.o.Embedded}
	for i := range list {
		err := error(nil)
		if !list[i].Forks() {
			err = e.o.Store.Claim(ctx, list[i].Run)
		}
		if err == nil {
			err = e.StoreReopening(&list[i], host, &b)
		}
		if err != nil {
			return fmt.Errorf("open run %s again: %w", list[i].Run, err)
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

// opened takes what an event says that opens a run: for the first time, again, or
// in the past of another.
func (r *run) opened(ev event.Event) error {
	o, err := history.Open(r.def.Program, ev)
	if err != nil {
		return err
	}
	if r.first.IsZero() || o.Again {
		r.first = o.First
	}
	if o.Started != nil {
		r.started, r.parent = o.Started, o.Started.Parent
	}
	if o.View != nil {
		r.view = o.View
	}
	return nil
}
