package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/rewind"
)

// Definition is the source of the definition that a run goes by.
func (c *Control) Definition(ctx context.Context, id event.RunID) ([]byte, error) {
	row, err := c.o.Reader.Run(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("definition of run %s: %w", id, err)
	}
	src, err := c.o.Store.Definition(ctx, row.Digest)
	if err != nil {
		return nil, fmt.Errorf("definition of run %s: %w", id, err)
	}
	return src, nil
}

// Place names an activation as people do.
type Place struct {
	Task      string // its reference, or its name when that is unique; an activation is understood too
	Iteration []int  // indexes of the loops around, outermost first; nil: the task says it all
}

// PlaceError says why a place is not one of the run.
type PlaceError struct {
	Reason string
	Hint   string
}

// Error is the reason.
func (e *PlaceError) Error() string { return e.Reason }

// past is a run as its journal tells it.
type past struct {
	row      *journal.RunRow
	segments []rewind.Segment
	defs     []*definitions.Definition // of the segments
	started  *event.RunStarted
	from     event.RunID // the run that it was forked from
	last     int64       // sequence of the last row
	at       time.Time
	records  []rewind.Record
}

// past reads the whole journal of a run.
func (c *Control) past(ctx context.Context, id event.RunID) (*past, error) {
	row, err := c.o.Reader.Run(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	p := &past{row: row}
	const page = 256
	for {
		entries, err := c.o.Engine.Journal(ctx, id, p.last, page)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			if err := c.read(ctx, p, entries[i].Events); err != nil {
				return nil, err
			}
			p.last, p.at = entries[i].Sequence, entries[i].At
		}
		if len(entries) < page {
			break
		}
	}
	if p.started == nil {
		return nil, fmt.Errorf("journal of run %s does not begin with its start: %w", id, journal.ErrCorrupt)
	}
	return p, nil
}

func (c *Control) read(ctx context.Context, p *past, events []event.Event) error {
	for _, e := range events {
		digest := ""
		switch b := e.Body.(type) {
		case *event.RunStarted:
			p.started, digest = b, b.Definition
		case *event.RunForked:
			p.started, p.from, digest = &b.Start, b.From, b.Start.Definition
		case *event.RunReopened:
			digest = b.Definition
		}
		if digest != "" {
			def, err := c.o.Engine.Definitions().Read(ctx, digest)
			if err != nil {
				return err
			}
			p.segments = append(p.segments, rewind.Segment{Program: def.Program})
			p.defs = append(p.defs, def)
		}
		if n := len(p.segments); n > 0 {
			p.segments[n-1].Events = append(p.segments[n-1].Events, e)
		}
	}
	return nil
}

// definition is what the run goes by now.
func (p *past) definition() *definitions.Definition { return p.defs[len(p.defs)-1] }

func (p *past) sealed() bool {
	return slices.ContainsFunc(p.defs, func(d *definitions.Definition) bool { return d.Sealed })
}

// trace lists the tasks of the run with their data.
func (p *past) trace() ([]rewind.Record, error) {
	if p.records == nil {
		records, err := rewind.Trace(p.segments)
		if err != nil {
			return nil, fmt.Errorf("read run %s: %w", p.row.ID, err)
		}
		p.records = records
	}
	return p.records, nil
}

// find turns a place into an activation of the run.
func (p *past) find(at Place) (*rewind.Record, error) {
	records, err := p.trace()
	if err != nil {
		return nil, err
	}
	var found []*rewind.Record
	for _, match := range []func(*rewind.Record) bool{
		func(r *rewind.Record) bool { return r.Reference == at.Task },
		func(r *rewind.Record) bool { return r.Name == at.Task },
		func(r *rewind.Record) bool { return string(r.Activation) == at.Task },
	} {
		for i := range records {
			if match(&records[i]) {
				found = append(found, &records[i])
			}
		}
		if len(found) > 0 {
			break
		}
	}
	if len(found) == 0 {
		return nil, p.unknown(at.Task)
	}
	for _, r := range found {
		if r.Reference != found[0].Reference {
			return nil, &PlaceError{
				fmt.Sprintf("several tasks have the name %q", at.Task), "name one by its reference: " + found[0].Reference + " or " + r.Reference,
			}
		}
	}
	return choose(found, at)
}

// unknown explains a task that the run never entered.
func (p *past) unknown(task string) error {
	e := &PlaceError{Reason: fmt.Sprintf("run %s never entered %s", p.row.ID, task), Hint: "'downbeat runs get " + p.row.ID.String() + " -o json' shows the tasks that it entered"}
	for _, n := range p.definition().Program.Nodes {
		if n.Reference == task || n.Name == task {
			return e
		}
	}
	e.Reason = fmt.Sprintf("the workflow of run %s has no task %s", p.row.ID, task)
	return e
}

// choose picks one of several enterings of a task.
func choose(found []*rewind.Record, at Place) (*rewind.Record, error) {
	same := func(a, b []int) bool { return slices.Equal(a, b) }
	if at.Iteration != nil {
		all := found
		found = slices.DeleteFunc(slices.Clone(found), func(r *rewind.Record) bool { return !same(r.Iteration, at.Iteration) })
		if len(found) == 0 {
			hint := "it was in " + iterations(all)
			if len(all[0].Iteration) == 0 {
				hint = "it is in no loop: leave --iteration out"
			}
			return nil, &PlaceError{fmt.Sprintf("%s was not entered in the iteration %s", all[0].Reference, indexes(at.Iteration)), hint}
		}
	}
	failed := slices.DeleteFunc(slices.Clone(found), func(r *rewind.Record) bool { return r.Status != event.Faulted })
	if len(failed) > 0 && !same(found[0].Iteration, found[len(found)-1].Iteration) {
		found = failed
	}
	last := found[len(found)-1]
	for _, r := range found {
		if !same(r.Iteration, last.Iteration) {
			return nil, &PlaceError{fmt.Sprintf("%s was entered in several iterations", last.Reference), "choose one with --iteration: " + iterations(found)}
		}
	}
	return last, nil
}

func indexes(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}

func iterations(found []*rewind.Record) string {
	const most = 10
	var out []string
	found = slices.SortedStableFunc(slices.Values(found), func(a, b *rewind.Record) int { return slices.Compare(a.Iteration, b.Iteration) })
	for i, r := range found {
		if i == most {
			out = append(out, "…")
			break
		}
		out = append(out, indexes(r.Iteration))
	}
	return strings.Join(slices.Compact(out), "  ")
}

// Evaluate evaluates an expression on the recorded data of a task: its input,
// or with output its output, with $context and variables as the task saw them.
func (c *Control) Evaluate(ctx context.Context, id event.RunID, at Place, expression string, output bool) (any, error) {
	p, err := c.past(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := p.find(at)
	if err != nil {
		return nil, err
	}
	v, err := rewind.Evaluate(p.segments, r.Activation, expression, output)
	if errors.Is(err, rewind.ErrNeverEntered) && !p.from.IsZero() {
		return nil, &PlaceError{
			fmt.Sprintf("run %s took %s over from run %s, which has its data", id, r.Reference, p.from), "evaluate it there",
		}
	}
	return v, err
}
