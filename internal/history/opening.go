package history

import (
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
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

// Forks reports whether a new run begins in the past of another.
func (q *Reopening) Forks() bool {
	_, forks := q.Body.(*event.RunForked)
	return forks
}

// Host is the process that opens a run again.
type Host struct {
	Now      time.Time
	Version  string
	Embedded bool
}

// StoreReopening puts what makes one run live into a batch. The event is applied
// when the run is read again, so the hash of its row is left open.
func (h *History) StoreReopening(q *Reopening, host Host, b *journal.Batch) error {
	at := host.Now
	if at.Before(q.At) {
		at = q.At
	}
	switch body := q.Body.(type) {
	case *event.RunForked:
		start := &body.Start
		start.Runtime = host.Version
		group, err := q.Definition.Group(start.Input)
		if err != nil {
			return err
		}
		b.Starts = append(b.Starts, journal.StartRow{
			ID: q.Run, Digest: start.Definition, Workflow: q.Definition.ID, Trigger: start.Trigger, At: at, Priority: q.Definition.Priority,
			Concurrency: group, Status: event.Pending, Embedded: host.Embedded, Directory: start.Directory, Owned: true, Labels: start.Labels,
		})
	default:
		b.Updates = append(b.Updates, journal.RunUpdate{ID: q.Run, Status: event.Pending, Digest: q.Definition.Digest})
	}
	for _, d := range append(q.With, q.Definition) {
		if !d.Kept() {
			b.Definitions = append(b.Definitions, journal.Definition{Digest: d.Digest, Source: d.Workflow.Source})
		}
	}
	data := event.Append(nil, []event.Event{{At: at, Body: q.Body}}, nil)
	if q.Sealed || q.Definition.Sealed {
		if err := h.Seals(); err != nil {
			return err
		}
		data = h.Seal(q.Run, data)
	}
	b.Appends = append(b.Appends, journal.Row{Run: q.Run, Sequence: q.After + 1, At: at, Revision: machine.Revision, Data: data})
	return nil
}

// Opening is what an event says that opens a run.
type Opening struct {
	Started *event.RunStarted // nil: nothing new
	First   time.Time         // when the run began
	Again   bool              // it had begun before: First is older than the event
	View    *view.Builder     // what had happened; nil: nothing
}

// Open reads an event that opens a run: for the first time, again, or in the
// past of another.
func Open(p *program.Program, ev event.Event) (Opening, error) {
	o := Opening{First: ev.At}
	switch b := ev.Body.(type) {
	case *event.RunStarted:
		o.Started = b
	case *event.RunForked:
		o.Started = &b.Start
	case *event.RunReopened:
		m, err := machine.Restore(p, b.State)
		if err != nil {
			return o, fmt.Errorf("the run was opened again: %w", err)
		}
		if o.Started = m.Started(); o.Started == nil {
			return o, fmt.Errorf("the run was opened again with the state of none: %w", journal.ErrCorrupt)
		}
		o.First, o.Again = m.State().StartedAt, true
	}
	if tasks := Tasks(ev.Body); len(tasks) > 0 {
		before, err := view.Decode(tasks)
		if err != nil {
			return o, fmt.Errorf("read the task list: %w", err)
		}
		o.View = before
	}
	return o, nil
}
