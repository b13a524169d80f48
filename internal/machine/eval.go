package machine

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// evaluator evaluates expressions for the frame that is at work.
type evaluator struct {
	budget  expr.Budget
	before  int // budget.Steps at the beginning of the slice
	ordinal uint64
	stopped []uint64 // ordinals that a host's guard ended when they were first evaluated
	lookup  func(string) any

	frame    *frame
	vars     *binding
	ctx      *cell
	output   any // $output
	runtime  map[string]any
	workflow map[string]any
}

// plenty is more steps than a slice has: an expression ends by its own limit.
const plenty = math.MaxInt / 2

func (ev *evaluator) init(m *Machine) {
	ev.lookup = m.variable
	ev.newSlice()
}

func (ev *evaluator) newSlice() {
	ev.budget.Steps, ev.before = plenty, plenty
}

func (ev *evaluator) used() int { return ev.before - ev.budget.Steps }

func (ev *evaluator) stop(ordinal uint64) { ev.stopped = append(ev.stopped, ordinal) }

// stopReason is what EvaluationStopped says.
const stopReason = "the evaluation took too much time or memory, and was stopped"

// eval evaluates v for f (nil: for the workflow).
func (m *Machine) eval(f *frame, v *program.Value, input any) (any, *event.Problem) {
	if c, ok := v.Constant(); ok {
		return c, nil
	}
	m.aim(f)
	return m.evalAs(v, input)
}

// aim sets the scope of the next evaluations to that of f.
func (m *Machine) aim(f *frame) {
	ev := &m.eval0
	ev.frame, ev.output = f, nil
	if f == nil {
		ev.vars, ev.ctx = nil, m.ctx
		return
	}
	ev.vars, ev.ctx = f.vars, f.seq.ctx
}

// evalAs evaluates in the scope that aim set.
func (m *Machine) evalAs(v *program.Value, input any) (any, *event.Problem) {
	if p := m.mayEvaluate(v); p != nil {
		return nil, p
	}
	r, err := v.Eval(&m.eval0.budget, input, m.eval0.lookup)
	if err != nil {
		return nil, m.evalProblem(err)
	}
	return r, nil
}

// mayEvaluate counts an evaluation and refuses it when it was stopped before,
// or reads a secret that is not there (D17).
func (m *Machine) mayEvaluate(v *program.Value) *event.Problem {
	ev := &m.eval0
	ev.ordinal++
	if len(ev.stopped) > 0 && slices.Contains(ev.stopped, ev.ordinal) {
		ev.budget.Steps = 0 // the slice ends here, as it did the first time
		return m.problem(event.Runtime, 500, "Evaluation stopped", m.at(), stopReason)
	}
	for _, name := range v.Secrets() {
		if _, ok := m.secrets[name]; !ok {
			return m.problem(event.Forbidden, 403, "Secret not available", m.at(), "the secret "+quote(name)+
				" is not available: it must be listed in use.secrets and provided to the runtime")
		}
	}
	return nil
}

func (m *Machine) at() string {
	if f := m.eval0.frame; f != nil {
		return f.node.Reference
	}
	return ""
}

func (m *Machine) evalProblem(err error) *event.Problem {
	var bad *program.BadDuration
	if errors.As(err, &bad) {
		return m.problem(event.Expression, 400, "Not a duration", m.at(), "the expression gives no duration: "+bad.Error())
	}
	var e *expr.Error
	if errors.As(err, &e) {
		switch e.Kind {
		case expr.Interrupted:
			m.eval0.budget.Steps = 0
			m.step.Stopped = append(m.step.Stopped, event.EvaluationStopped{Ordinal: m.eval0.ordinal, Reason: stopReason})
			return m.problem(event.Runtime, 500, "Evaluation stopped", m.at(), stopReason)
		case expr.SecretMissing:
			return m.problem(event.Forbidden, 403, "Secret not available", m.at(), e.Error())
		case expr.Failed, expr.BudgetExceeded, expr.TooLarge:
		}
	}
	return m.problem(event.Expression, 400, "Expression failed", m.at(), program.Describe(err))
}

// condition evaluates a condition of f.
func (m *Machine) condition(f *frame, v *program.Value, input any) (bool, *event.Problem) {
	m.aim(f)
	return m.conditionAs(v, input)
}

func (m *Machine) conditionAs(v *program.Value, input any) (bool, *event.Problem) {
	if p := m.mayEvaluate(v); p != nil {
		return false, p
	}
	ok, err := v.EvalBool(&m.eval0.budget, input, m.eval0.lookup)
	if err != nil {
		return false, m.evalProblem(err)
	}
	return ok, nil
}

func (m *Machine) duration(f *frame, d *program.Duration, input any) (value.Duration, *event.Problem) {
	return m.evalDuration(f, d, input)
}

func (m *Machine) evalDuration(f *frame, d *program.Duration, input any) (value.Duration, *event.Problem) {
	m.aim(f)
	m.eval0.ordinal++
	r, err := d.Eval(&m.eval0.budget, input, m.eval0.lookup)
	if err != nil {
		return r, m.evalProblem(err)
	}
	return r, nil
}

// transform applies an output section: as, then schema.
func (m *Machine) transform(f *frame, o *program.Out, v any, what string) (any, *event.Problem) {
	if o.As != nil {
		var p *event.Problem
		if v, p = m.eval(f, o.As, v); p != nil {
			return nil, p
		}
	}
	return v, m.validate(o.Schema, v, f.node.Reference, what)
}

// export replaces the context of s by what an export section makes of v (DSL 29, 30).
func (m *Machine) export(f *frame, o *program.Out, vars *binding, v any, s *sequence) *event.Problem {
	if s.fixed { // D24
		return nil
	}
	next := s.ctx.value
	if o.As != nil {
		m.aim(f)
		m.eval0.vars = vars
		m.eval0.output = v
		if c, ok := o.As.Constant(); ok {
			next = c
		} else {
			var p *event.Problem
			if next, p = m.evalAs(o.As, v); p != nil {
				return p
			}
		}
	}
	if p := m.validate(o.Schema, next, f.node.Reference, "context"); p != nil {
		return p
	}
	s.ctx.value = next
	return nil
}

func (m *Machine) validate(s *program.Schema, v any, reference, what string) *event.Problem {
	if s == nil {
		return nil
	}
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	p := m.problem(event.Validation, 400, "Validation failed", reference, "the "+what+" does not match its schema: "+err.Error())
	var invalid *schema.Invalid
	if errors.As(err, &invalid) {
		list := make([]any, 0, len(invalid.Problems))
		for _, x := range invalid.Problems {
			list = append(list, map[string]any{"pointer": x.Pointer, "message": x.Message})
		}
		p.More = map[string]any{"errors": list}
	}
	return p
}

// variable is what an expression reads by name.
func (m *Machine) variable(name string) any {
	ev := &m.eval0
	for b := ev.vars; b != nil; b = b.next {
		if b.name == name {
			return b.value
		}
	}
	f := ev.frame
	switch name {
	case "$context":
		if ev.ctx != nil {
			return ev.ctx.value
		}
	case "$input":
		if f != nil {
			return f.input
		}
		return m.input
	case "$output":
		return ev.output
	case "$task":
		return m.taskValue(f)
	case "$workflow":
		return m.workflowValue()
	case "$runtime":
		if ev.runtime == nil {
			ev.runtime = map[string]any{"name": "downbeat", "version": m.begun.Runtime, "metadata": map[string]any{}}
		}
		return ev.runtime
	case "$secrets":
		if m.secrets == nil {
			return map[string]any{}
		}
		return m.secrets
	case "$authorization":
		if f != nil && f.auth != nil {
			return map[string]any{"scheme": f.auth.Scheme, "parameter": f.auth.Parameter}
		}
	case "$__now":
		return float64(m.now.UnixMicro()) / 1e6
	}
	return nil
}

// taskValue is $task (DSL 44, D33). Tasks of an extension see the task that is extended.
func (m *Machine) taskValue(f *frame) any {
	if f == nil {
		return nil
	}
	if f.seq.extended != nil {
		f = f.seq.extended
	}
	literal := f.node.Task.Literal
	t := make(map[string]any, len(literal)+6)
	for k, v := range literal {
		t[k] = v
	}
	t["name"], t["reference"], t["definition"] = f.node.Name, f.node.Reference, literal
	t["input"], t["startedAt"] = f.raw, dateTime(f.started)
	if _, own := literal["output"]; f.hasOut || own {
		t["output"] = nil
	}
	if f.hasOut {
		t["output"] = f.out
	}
	return t
}

func (m *Machine) workflowValue() any {
	ev := &m.eval0
	if ev.workflow == nil {
		ev.workflow = map[string]any{
			"id": m.run.String(), "definition": m.p.Definition.Literal, "input": m.rawInput, "startedAt": dateTime(m.startedAt),
		}
	}
	return ev.workflow
}

// dateTime is a date time descriptor (DSL 47).
func dateTime(t time.Time) map[string]any {
	return map[string]any{
		"iso8601": formatTime(t),
		"epoch":   map[string]any{"seconds": int(t.Unix()), "milliseconds": int(t.UnixMilli())},
	}
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }

// problem makes an error of one of the standard types.
func (m *Machine) problem(kind string, status int, title, instance, detail string) *event.Problem {
	return &event.Problem{Type: event.TypePrefix + kind, Status: status, Title: title, Detail: detail, Instance: instance}
}

// problemValue is an error as expressions see it.
func problemValue(p *event.Problem) map[string]any {
	v := make(map[string]any, 5+len(p.More))
	for k, x := range p.More {
		v[k] = x
	}
	v["type"], v["status"] = p.Type, p.Status
	if p.Title != "" {
		v["title"] = p.Title
	}
	if p.Detail != "" {
		v["detail"] = p.Detail
	}
	if p.Instance != "" {
		v["instance"] = p.Instance
	}
	return v
}

func quote(s string) string { return "\"" + strings.ReplaceAll(s, "\"", "\\\"") + "\"" }
