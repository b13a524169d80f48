package machine

import (
	"maps"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// evaluator evaluates expressions for the frame that is at work.
type evaluator struct {
	program.Evaluator
	frame    *state.Frame
	vars     *state.Binding
	ctx      *state.Cell
	output   any // $output
	runtime  map[string]any
	workflow map[string]any
}

func (ev *evaluator) init(m *Machine) {
	ev.Lookup = m.variable
	ev.Ordinal, ev.Stopped = &m.r.Ordinal, &m.r.Stopped
	ev.HasSecret = func(name string) bool { _, ok := m.r.Secrets[name]; return ok }
	ev.NewSlice()
}

// aim sets the scope of the next evaluations to that of f (nil: the workflow).
func (m *Machine) aim(f *state.Frame) {
	ev := &m.ev
	ev.frame, ev.output = f, nil
	if f == nil {
		ev.vars, ev.ctx, ev.At = nil, m.r.Context, ""
		return
	}
	ev.vars, ev.ctx, ev.At = f.Vars, f.Seq.Ctx, f.Node.Reference
}

// eval evaluates v for f.
func (m *Machine) eval(f *state.Frame, v *program.Value, input any) (any, *event.Problem) {
	if v == nil {
		return input, nil
	}
	if c, ok := v.Constant(); ok {
		return c, nil
	}
	m.aim(f)
	return m.ev.Eval(v, input)
}

// condition evaluates a condition of f.
func (m *Machine) condition(f *state.Frame, v *program.Value, input any) (bool, *event.Problem) {
	m.aim(f)
	return m.ev.Bool(v, input)
}

// conditionIn is condition with other variables in scope.
func (m *Machine) conditionIn(f *state.Frame, vars *state.Binding, v *program.Value, input any) (bool, *event.Problem) {
	m.aim(f)
	m.ev.vars = vars
	return m.ev.Bool(v, input)
}

func (m *Machine) duration(f *state.Frame, d *program.Duration, input any) (value.Duration, *event.Problem) {
	m.aim(f)
	return m.ev.Duration(d, input)
}

// transform applies an output section: as, then schema.
func (m *Machine) transform(f *state.Frame, o *program.Out, v any, what string) (any, *event.Problem) {
	v, p := m.eval(f, o.As, v)
	if p != nil {
		return nil, p
	}
	return v, program.Validate(o.Schema, v, f.Node.Reference, what)
}

// export replaces the context of s by what an export section makes of v (DSL 29, 30).
func (m *Machine) export(f *state.Frame, o *program.Out, vars *state.Binding, v any, s *state.Sequence) *event.Problem {
	if s.Fixed { // D24
		return nil
	}
	next := s.Ctx.Value
	if c, ok := o.As.Constant(); ok {
		next = c
	} else if o.As != nil {
		m.aim(f)
		m.ev.vars, m.ev.output = vars, v
		var p *event.Problem
		if next, p = m.ev.Eval(o.As, v); p != nil {
			return p
		}
	}
	if p := program.Validate(o.Schema, next, f.Node.Reference, "context"); p != nil {
		return p
	}
	s.Ctx.Value = next
	return nil
}

// variable is what an expression reads by name.
func (m *Machine) variable(name string) any {
	ev := &m.ev
	for b := ev.vars; b != nil; b = b.Next {
		if b.Name == name {
			return b.Value
		}
	}
	f := ev.frame
	switch name {
	case "$context":
		if ev.ctx != nil {
			return ev.ctx.Value
		}
	case "$input":
		if f != nil {
			return f.Input
		}
		return m.r.Input
	case "$output":
		return ev.output
	case "$task":
		return taskValue(f)
	case "$workflow":
		if ev.workflow == nil {
			ev.workflow = map[string]any{
				"id": m.r.ID.String(), "definition": m.p.Definition.Literal, "input": m.r.RawInput, "startedAt": program.DateTime(m.r.StartedAt),
			}
		}
		return ev.workflow
	case "$runtime":
		if ev.runtime == nil {
			ev.runtime = map[string]any{"name": "downbeat", "version": m.r.Begun.Runtime, "metadata": map[string]any{}}
		}
		return ev.runtime
	case "$secrets":
		if m.r.Secrets == nil {
			return map[string]any{}
		}
		return m.r.Secrets
	case "$authorization":
		if f != nil && f.Auth != nil {
			return map[string]any{"scheme": f.Auth.Scheme, "parameter": f.Auth.Parameter}
		}
	case "$__now":
		return float64(m.r.Now.UnixMicro()) / 1e6
	}
	return nil
}

// taskValue is $task (DSL 44, D33). Tasks of an extension see the task that is extended.
func taskValue(f *state.Frame) any {
	if f == nil {
		return nil
	}
	if f.Seq.Extended != nil {
		f = f.Seq.Extended
	}
	literal := f.Node.Task.Literal
	t := make(map[string]any, len(literal)+6)
	maps.Copy(t, literal)
	t["name"], t["reference"], t["definition"] = f.Node.Name, f.Node.Reference, literal
	t["input"], t["startedAt"] = f.Raw, program.DateTime(f.Started)
	if _, own := literal["output"]; f.HasOut || own {
		t["output"] = nil
	}
	if f.HasOut {
		t["output"] = f.Out
	}
	return t
}
