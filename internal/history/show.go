package history

import (
	"context"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Show makes the view of a run from its committed journal, whoever owns it.
func (h *History) Show(ctx context.Context, id event.RunID) (*view.Run, error) {
	row, err := h.reader.Run(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("show run %s: %w", id, err)
	}
	out := &view.Run{
		ID: id.String(), Workflow: row.Workflow, Status: row.Status, StartedAt: row.StartedAt, EndedAt: row.EndedAt,
		Interrupted: row.Interrupted,
	}
	if !row.Parent.IsZero() {
		out.Parent = row.Parent.String()
	}
	def, err := h.definitions.Read(ctx, row.Digest)
	if err != nil {
		return nil, err
	}
	if row.Status.Ended() {
		err = h.showEnded(ctx, id, out)
	} else {
		err = h.showLive(ctx, id, def, out)
	}
	if err != nil {
		return nil, err
	}
	if def.Workflow.Downbeat != nil && len(def.Workflow.Downbeat.Sensitive) > 0 {
		hide(out, def.Workflow.Downbeat.Sensitive)
	}
	return out, nil
}

// showEnded reads the first event and the last one, which holds the task list.
func (h *History) showEnded(ctx context.Context, id event.RunID, out *view.Run) error {
	first, err := h.reader.Journal(ctx, id, 0, 1)
	if err != nil {
		return fmt.Errorf("show run %s: %w", id, err)
	}
	if len(first) > 0 {
		events, err := h.Decode(ctx, id, first[0].Data)
		if err != nil {
			return err
		}
		for _, ev := range events {
			noteInput(ev.Body, out)
		}
	}
	events, err := h.Last(ctx, id)
	if err != nil {
		return err
	}
	for _, ev := range events {
		end, ok := ev.Body.(*event.RunEnded)
		if !ok {
			continue
		}
		out.Output, out.Error = end.Output, end.Error
		if out.Tasks, out.TasksTruncated, err = view.DecodeTasks(end.Tasks); err != nil {
			return fmt.Errorf("show run %s: %w", id, err)
		}
	}
	return nil
}

// showLive replays the journal: what is durable, and nothing that is not.
func (h *History) showLive(ctx context.Context, id event.RunID, def *definitions.Definition, out *view.Run) error {
	const page = 256
	b := view.New()
	m := machine.New(def.Program)
	var failed error
	for after := int64(0); ; {
		rows, err := h.reader.Journal(ctx, id, after, page)
		if err != nil {
			return fmt.Errorf("show run %s: %w", id, err)
		}
		for i := range rows {
			after = rows[i].Sequence
			events, err := h.Decode(ctx, id, rows[i].Data)
			if err != nil {
				return err
			}
			if reopens(events) { // nothing before it is replayed
				m, b, failed = machine.New(def.Program), view.New(), nil
			}
			if failed != nil {
				continue
			}
			if err := rehearse(m, &b, events, out); err != nil {
				failed = fmt.Errorf("show run %s: sequence %d: %w", id, rows[i].Sequence, err)
			}
		}
		if len(rows) < page {
			break
		}
	}
	out.Tasks, out.TasksTruncated = b.Tasks(), b.Truncated()
	return failed
}

func rehearse(m *machine.Machine, b **view.Builder, events []event.Event, out *view.Run) error {
	for i, ev := range events {
		noteInput(ev.Body, out)
		if tasks := Tasks(ev.Body); tasks != nil {
			before, err := view.Decode(tasks)
			if err != nil {
				return fmt.Errorf("read the task list: %w", err)
			}
			*b = before
		}
		step, err := m.Apply(ev)
		for {
			if err != nil {
				return err
			}
			for i := range step.Transitions {
				(*b).Add(ev.At, &step.Transitions[i])
			}
			if !step.More || CutAfter(events, i) {
				break
			}
			step, err = m.Continue()
		}
	}
	return nil
}

// Entry is one journal row with its events.
type Entry struct {
	journal.Row
	Events []event.Event
}

// Journal reads rows of a run after a sequence, at most limit.
func (h *History) Journal(ctx context.Context, id event.RunID, after int64, limit int) ([]Entry, error) {
	rows, err := h.reader.Journal(ctx, id, after, limit)
	if err != nil {
		return nil, fmt.Errorf("journal of run %s: %w", id, err)
	}
	out := make([]Entry, 0, len(rows))
	for _, row := range rows {
		events, err := h.Decode(ctx, id, row.Data)
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", row.Sequence, err)
		}
		out = append(out, Entry{row, events})
	}
	return out, nil
}

// hide masks the values that the document calls sensitive in input and output.
func hide(out *view.Run, pointers []string) {
	for _, raw := range []*value.Raw{&out.Input, &out.Output} {
		if raw.IsZero() {
			continue
		}
		if v, err := raw.Any(); err == nil {
			*raw = value.FromAny(view.Mask(v, pointers))
		}
	}
}
