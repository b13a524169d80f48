package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// RefusedError says why a run cannot be retried or forked, and what would be right.
type RefusedError struct {
	Reason, Hint string
	err          error
}

// Error is the reason.
func (e *RefusedError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.err }

func refused(hint, format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...), Hint: hint}
}

// RetryRequest asks for an ended run to go on.
type RetryRequest struct {
	Run  event.RunID
	From *Place // nil: where it failed, also within the child whose fault it was
	// Definition corrects that of the run, or of the child or parent that is
	// opened again with it, whichever has its name.
	Definition *workflow.Definition
	By         string
}

// ForkRequest asks for a new run that begins in the past of another.
type ForkRequest struct {
	Run        event.RunID
	At         Place
	Input      func(any) (any, error) // changes the input of the task; nil: not
	Definition *workflow.Definition
}

// Repair is a retry or fork that is ready to begin.
type Repair struct {
	Runs []RepairedRun // the root first
	list []engine.Reopening
}

// RepairedRun is what becomes of the tasks of one run.
type RepairedRun struct {
	ID       event.RunID // of the run that goes on: the new one of a fork
	Workflow string
	Items    []rewind.Item
	Child    event.RunID // the child that goes on with it; zero: none
	Tasks    []view.Task // those that it begins with
}

// add puts a run into the plan that people see.
func (r *Repair) add(id event.RunID, workflow string, child event.RunID, plan *rewind.Plan) error {
	tasks, _, err := view.DecodeTasks(plan.Tasks)
	if err != nil {
		return fmt.Errorf("read the task list of run %s: %w", id, err)
	}
	r.Runs = append(r.Runs, RepairedRun{ID: id, Workflow: workflow, Items: plan.Items, Child: child, Tasks: tasks})
	return nil
}

// BeginRepair opens the runs again, or begins the fork: durable when it returns
// nil. The feed gets the updates of the first.
func (c *Control) BeginRepair(ctx context.Context, r *Repair, f *engine.Feed) error {
	return c.o.Engine.Reopen(ctx, r.list, f)
}

// link is one run of a chain of parents and children.
type link struct {
	*past
	failure *rewind.Failure
	child   event.RunID
}

// PrepareRetry finds out what a retry would keep and redo. Nothing changes yet.
func (c *Control) PrepareRetry(ctx context.Context, q RetryRequest) (*Repair, error) {
	p, err := c.past(ctx, q.Run)
	if err != nil {
		return nil, err
	}
	if err := retryable(p, q.From != nil); err != nil {
		return nil, err
	}
	chain, err := c.parents(ctx, p)
	if err != nil {
		return nil, err
	}
	choice := rewind.Choice{}
	if q.From != nil {
		r, err := p.find(*q.From)
		if err != nil {
			return nil, err
		}
		choice.At = r.Activation
	} else if chain, err = c.children(ctx, chain); err != nil {
		return nil, err
	}
	out := &Repair{}
	corrected := q.Definition == nil
	for i, l := range chain {
		def := l.definition()
		mine := choice
		if i < len(chain)-1 {
			mine = rewind.Choice{Awaits: &event.Parent{Activation: l.failure.Activation, Attempt: l.failure.Attempt}}
		}
		if q.Definition != nil && sameName(q.Definition, l.row.Workflow) {
			corrected = true
			if def, err = c.correct(l.past, q.Definition); err != nil {
				return nil, err
			}
		}
		if err := c.retry(ctx, out, l, mine, def, q.By); err != nil {
			return nil, err
		}
	}
	if !corrected {
		return nil, refused("give the corrected definition of "+family(p.row.Workflow), "the definition is %s, but run %s is of %s", q.Definition.Document.ID(), q.Run, p.row.Workflow)
	}
	return out, nil
}

// retryable refuses what has not ended, and a completed run without a place.
func retryable(p *past, chosen bool) error {
	id := p.row.ID.String()
	switch s := p.row.Status; {
	case s == event.Completed && !chosen:
		return refused("'--from REF' says what is to be done again", "run %s completed; nothing in it failed", id)
	case s.Ended():
		return nil
	case s == event.Suspended:
		return refused("'downbeat runs resume "+id+"' lets it go on; 'downbeat runs cancel "+id+"' ends it, and then it can be retried", "run %s is suspended, not ended", id)
	case p.row.Interrupted || p.row.Embedded && !p.row.OwnerAlive:
		return refused("'downbeat runs resume "+id+"' goes on with it", "run %s was interrupted, not ended", id)
	}
	return refused("'downbeat runs watch "+id+"' follows it; 'downbeat runs cancel "+id+"' ends it, and then it can be retried", "run %s is %s", id, p.row.Status)
}

// parents is the chain of the runs that wait for this one, the root first, and
// the run itself. Each must have failed by the failure of the next.
func (c *Control) parents(ctx context.Context, p *past) ([]*link, error) {
	chain := []*link{{past: p}}
	for p.started.Parent != nil && p.started.Parent.Await {
		child := p.row.ID
		up, err := c.past(ctx, p.started.Parent.Run)
		if errors.Is(err, journal.ErrNotFound) {
			return nil, refused("'downbeat runs fork "+child.String()+" --at REF' begins a new run from its past", "the parent of run %s, %s, is gone", child, p.started.Parent.Run)
		}
		if err != nil {
			return nil, err
		}
		l := &link{past: up, child: child}
		if up.row.Status == event.Faulted {
			if l.failure, err = rewind.FailureOf(up.segments); err != nil {
				return nil, err
			}
		}
		if l.failure == nil || l.failure.Child != child {
			return nil, refused("'downbeat runs fork "+child.String()+" --at REF' begins a new run from its past",
				"run %s is a child, and its parent %s has moved on since (it is %s), so nobody waits for it any more", child, up.row.ID, up.row.Status)
		}
		chain = slices.Insert(chain, 0, l)
		p = up
	}
	return chain, nil
}

// children goes on with the chain down to the run that failed itself.
func (c *Control) children(ctx context.Context, chain []*link) ([]*link, error) {
	for {
		l := chain[len(chain)-1]
		if l.row.Status != event.Faulted {
			return chain, nil
		}
		f, err := rewind.FailureOf(l.segments)
		if err != nil || f == nil || f.Child.IsZero() {
			return chain, err
		}
		down, err := c.past(ctx, f.Child)
		if errors.Is(err, journal.ErrNotFound) {
			return chain, nil // it was pruned: another one begins
		}
		if err != nil {
			return nil, err
		}
		if down.row.Status != event.Faulted {
			return chain, nil
		}
		l.failure, l.child = f, f.Child
		chain = append(chain, &link{past: down})
	}
}

// correct compiles a corrected definition for a run.
func (c *Control) correct(p *past, d *workflow.Definition) (*definitions.Definition, error) {
	def, err := c.o.Engine.Definitions().Take(d)
	if err != nil {
		return nil, err
	}
	if p.sealed() && !def.Sealed {
		return nil, refused("", "what is stored of run %s is encrypted, because its definition uses secrets or authentication; the corrected one must too", p.row.ID)
	}
	return def, nil
}

// rewind finds the state of one run and takes it to its definition.
func (c *Control) rewind(ctx context.Context, p *past, choice rewind.Choice, def *definitions.Definition) (*rewind.Plan, []byte, *engine.Reopening, error) {
	plan, err := rewind.Rewind(p.segments, choice)
	switch {
	case errors.Is(err, rewind.ErrNothing):
		return nil, nil, nil, refused("correct its input or definition and start a new run", "run %s ended before its first task, so there is nothing to repeat", p.row.ID)
	case errors.Is(err, rewind.ErrNeverEntered) && !p.from.IsZero():
		return nil, nil, nil, refused("'downbeat runs fork "+p.from.String()+" --at REF' begins there", "run %s took that task over from run %s", p.row.ID, p.from)
	case err != nil:
		return nil, nil, nil, err
	}
	names, with, err := c.names(ctx, p.started, def)
	if err != nil {
		return nil, nil, nil, err
	}
	state, err := plan.Carry(def.Program, func(b *event.RunStarted) {
		b.Definition, b.Version = def.Digest, def.Workflow.Document.Version
		kept := slices.Clone(b.Definitions)
		for _, n := range names {
			if !slices.ContainsFunc(kept, func(k event.Named) bool { return k.Name == n.Name }) {
				kept = append(kept, n)
			}
		}
		b.Definitions = kept
	})
	if err != nil {
		return nil, nil, nil, &RefusedError{Reason: fmt.Sprintf("%s does not fit run %s: %s", def.ID, p.row.ID, strings.TrimPrefix(err.Error(), "restore: ")), Hint: "'downbeat runs fork' can begin at an earlier task, and a new run at the beginning", err: err}
	}
	return plan, state, &engine.Reopening{Run: p.row.ID, After: p.last, At: p.at, Definition: def, With: with, Sealed: p.sealed()}, nil
}

// names are the definitions that the run can name: those that it recorded, and
// what a corrected definition names beside them.
func (c *Control) names(ctx context.Context, started *event.RunStarted, def *definitions.Definition) ([]event.Named, []*definitions.Definition, error) {
	names := slices.Clone(started.Definitions)
	known := func(name string) bool {
		return slices.ContainsFunc(names, func(n event.Named) bool { return n.Name == name })
	}
	if !slices.ContainsFunc(def.Children, func(name string) bool { return !known(name) }) {
		return names, nil, nil
	}
	more, with, err := c.o.Engine.Definitions().Closure(ctx, def)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range more {
		if !known(n.Name) {
			names = append(names, n)
		}
	}
	return names, with, nil
}

func (c *Control) retry(ctx context.Context, out *Repair, l *link, choice rewind.Choice, def *definitions.Definition, by string) error {
	plan, state, q, err := c.rewind(ctx, l.past, choice, def)
	if err != nil {
		return err
	}
	q.Body = &event.RunReopened{Definition: def.Digest, State: state, By: by, Child: l.child, Tasks: plan.Tasks}
	out.list = append(out.list, *q)
	return out.add(l.row.ID, l.row.Workflow, l.child, plan)
}

// PrepareFork finds out what a fork would take over and redo. Nothing changes yet.
func (c *Control) PrepareFork(ctx context.Context, q ForkRequest) (*Repair, error) {
	p, err := c.past(ctx, q.Run)
	if err != nil {
		return nil, err
	}
	r, err := p.find(q.At)
	if err != nil {
		return nil, err
	}
	def := p.definition()
	if q.Definition != nil {
		if !sameName(q.Definition, p.row.Workflow) {
			return nil, refused("give the corrected definition of "+family(p.row.Workflow), "the definition is %s, but run %s is of %s", q.Definition.Document.ID(), q.Run, p.row.Workflow)
		}
		if def, err = c.correct(p, q.Definition); err != nil {
			return nil, err
		}
	}
	plan, state, o, err := c.rewind(ctx, p, rewind.Choice{At: r.Activation, Input: q.Input}, def)
	if err != nil {
		return nil, err
	}
	names, _, err := c.names(ctx, p.started, def)
	if err != nil {
		return nil, err
	}
	id := engine.NewRunID(c.o.Clock.Now())
	doc := def.Workflow.Document
	start := event.RunStarted{
		Run: id, Revision: machine.Revision, Definition: def.Digest, Namespace: doc.Namespace, Name: doc.Name, Version: doc.Version,
		Definitions: names, Input: p.started.Input, Trigger: "fork", Labels: p.started.Labels, Directory: p.started.Directory,
	}
	o.Body = &event.RunForked{Start: start, From: q.Run, Sequence: p.last, State: state, Tasks: plan.Tasks}
	o.Run, o.After = id, 0
	out := &Repair{list: []engine.Reopening{*o}}
	return out, out.add(id, def.ID, event.RunID{}, plan)
}

func sameName(d *workflow.Definition, workflow string) bool {
	return d.Document.Namespace+"/"+d.Document.Name == family(workflow)
}

// family is a workflow without its version.
func family(workflow string) string {
	for i := range workflow {
		if workflow[i] == ':' {
			return workflow[:i]
		}
	}
	return workflow
}
