package rewind

import (
	"errors"
	"fmt"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Record is one activation with its data.
type Record struct {
	Item
	Status  event.Status // of a task that has not ended: running
	Skipped bool
	Kept    bool // taken over from another run, whose journal has its data
	Input   any  // what its body saw
	Output  any  // of a completed task, transformed
	Error   *event.Problem
}

// tracer collects records.
type tracer struct {
	list []Record
	at   map[event.Activation]int
}

// Hold implements machine.Hook.
func (*tracer) Hold(state.Action) bool { return false }

// Saw implements machine.Hook.
func (t *tracer) Saw(f *state.Frame, x *machine.Transition) {
	i, ok := t.at[f.ID]
	if !ok {
		i = len(t.list)
		t.at[f.ID] = i
		t.list = append(t.list, Record{Item: itemOf(f)})
	}
	r := &t.list[i]
	switch x.Change {
	case machine.Entered:
		*r = Record{Item: r.Item, Status: event.Running, Input: f.Input}
	case machine.Skipped:
		*r = Record{Item: r.Item, Status: event.Completed, Skipped: true, Input: f.Raw, Output: f.Raw}
	case machine.TaskEnds:
		r.Status, r.Error = x.Status, x.Error
		if x.Status == event.Completed && !x.Output.IsZero() {
			r.Output, _ = x.Output.Any() // the machine's own value
		}
	case machine.Dispatched, machine.Retried, machine.Waits, machine.Resumes, machine.RunChanges, machine.Correlates:
	}
}

// Trace lists what the run did: every task in the order of entering, with the
// data of the last time. What a retry has dropped is not in it.
func Trace(segments []Segment) ([]Record, error) {
	t := &tracer{at: map[event.Activation]int{}}
	for _, s := range segments {
		if len(s.Events) == 0 {
			continue
		}
		if err := t.keep(s.Events[0].Body); err != nil {
			return nil, err
		}
		if err := replay(s, func(*machine.Machine) machine.Hook { return t }); err != nil {
			return nil, err
		}
	}
	return t.list, nil
}

// keep reduces the list to what a retry or fork has kept.
func (t *tracer) keep(b event.Body) error {
	var data []byte
	switch b := b.(type) {
	case *event.RunReopened:
		data = b.Tasks
	case *event.RunForked:
		data = b.Tasks
	default:
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	tasks, _, err := view.DecodeTasks(data)
	if err != nil {
		return fmt.Errorf("read the task list of the journal: %w", err)
	}
	old := *t
	t.list, t.at = nil, map[event.Activation]int{}
	for i := range tasks {
		x := &tasks[i]
		r := Record{
			Item:   Item{Activation: x.Activation, Reference: x.Reference, Name: x.Name, Kind: x.Kind, Iteration: x.Iteration},
			Status: x.Status, Skipped: x.Skipped, Error: x.Error, Kept: true,
		}
		if k, ok := old.at[x.Activation]; ok {
			r = old.list[k]
			r.Status, r.Error = x.Status, x.Error
		}
		t.at[x.Activation] = len(t.list)
		t.list = append(t.list, r)
	}
	return nil
}

func replay(s Segment, hook func(*machine.Machine) machine.Hook) error {
	m := machine.New(s.Program)
	m.SetHook(hook(m))
	for i, e := range s.Events {
		if _, err := m.Apply(e); err != nil {
			return fmt.Errorf("replay event %d of %d: %w", i+1, len(s.Events), err)
		}
	}
	for {
		if step, err := m.Continue(); err != nil || !step.More {
			return err
		}
	}
}

// ErrSecrets says that an expression on recorded data may not read secrets.
var ErrSecrets = errors.New("the expression reads $secrets, which are not shown")

// evaluating evaluates an expression when the task comes by.
type evaluating struct {
	m      *machine.Machine
	at     event.Activation
	e      *expr.Expr
	output bool
	*answer
}

type answer struct {
	seen, ok bool // the task was there; it has the data
	value    any
	err      error
}

// Hold implements machine.Hook.
func (*evaluating) Hold(state.Action) bool { return false }

// Saw implements machine.Hook.
func (v *evaluating) Saw(f *state.Frame, t *machine.Transition) {
	if f.ID != v.at {
		return
	}
	v.seen = true
	in := f.Input
	switch {
	case t.Change == machine.Skipped:
		in = f.Raw
	case v.output && t.Change == machine.TaskEnds && t.Status == event.Completed:
		in, _ = t.Output.Any() // the machine's own value
	case !v.output && t.Change == machine.Entered:
	default:
		return
	}
	v.ok = true
	v.value, v.err = v.m.Evaluate(f, v.e, in)
}

// Evaluate evaluates an expression on the recorded data of a task: its input, or
// with output its output, and in its scope: $context and the variables of loops
// are as they were for it. Of a task that was entered more than once, the last time counts.
func Evaluate(segments []Segment, at event.Activation, source string, output bool) (any, error) {
	for _, s := range slices.Backward(segments) {
		e, err := expr.Compile(source, scope(s.Program))
		if err != nil {
			return nil, err
		}
		if e.ReadsSecrets() {
			return nil, ErrSecrets
		}
		a := &answer{}
		if err := replay(s, func(m *machine.Machine) machine.Hook { return &evaluating{m, at, e, output, a} }); err != nil {
			return nil, err
		}
		switch {
		case a.ok:
			return a.value, a.err
		case a.seen:
			return nil, errors.New("the task has no output: it has not completed")
		}
	}
	return nil, ErrNeverEntered
}

// scope is every name that an expression of some task may read.
func scope(p *program.Program) []string {
	names := workflow.Scope(workflow.ExportSite, nil)
	add := func(more ...string) {
		for _, n := range more {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	for _, n := range p.Nodes {
		switch {
		case n.For != nil:
			add(n.For.Each, n.For.At)
		case n.Map != nil:
			add(n.Map.Each, n.Map.At)
		case n.Try != nil:
			add(n.Try.As)
		case n.Listen != nil:
			add(n.Listen.Each, n.Listen.At)
		}
	}
	return names
}
