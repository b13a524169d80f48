package machine

import (
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// performDo runs a nested list (DSL 86).
func (m *Machine) performDo(f *state.Frame) {
	m.entered(f, 0)
	m.start(f.Child(f.Node.Body, state.Body, 0, ""), f.Input)
}

// performSet gives exactly the value of the task (DSL 87).
func (m *Machine) performSet(f *state.Frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.Node.Value, f.Input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	m.complete(f, v)
}

// performSwitch takes the first case that holds, else the default, else the
// task's own directive (DSL 88, 89, D7).
func (m *Machine) performSwitch(f *state.Frame) {
	m.entered(f, 0)
	var fallback *program.Flow
	for i := range f.Node.Cases {
		c := &f.Node.Cases[i]
		if c.When == nil {
			fallback = &c.Then
			continue
		}
		ok, p := m.condition(f, c.When, f.Input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		if ok {
			f.Flow = &c.Then
			m.complete(f, f.Input)
			return
		}
	}
	f.Flow = fallback
	m.complete(f, f.Input)
}

// performRaise faults with the author's error (DSL 91, 92, D18b).
func (m *Machine) performRaise(f *state.Frame) {
	m.entered(f, 0)
	e := f.Node.Error
	p := &event.Problem{}
	text := func(v *program.Value, into *string, what string) bool {
		if v == nil {
			return true
		}
		x, bad := m.eval(f, v, f.Input)
		if bad != nil {
			m.fault(f, bad, "")
			return false
		}
		s, ok := x.(string)
		if !ok && x != nil {
			m.fault(f, program.WrongType(f.Node.Reference, "the "+what+" of the error", "a string", x), "")
			return false
		}
		*into = s
		return true
	}
	if !text(e.Type, &p.Type, "type") || !text(e.Title, &p.Title, "title") || !text(e.Detail, &p.Detail, "detail") || !text(e.Instance, &p.Instance, "instance") {
		return
	}
	if e.Status != nil {
		x, bad := m.eval(f, e.Status, f.Input)
		if bad != nil {
			m.fault(f, bad, "")
			return
		}
		n, ok := wholeNumber(x)
		if !ok {
			m.fault(f, program.WrongType(f.Node.Reference, "the status of the error", "an integer", x), "")
			return
		}
		p.Status = n
	}
	if p.Instance == "" {
		p.Instance = f.Node.Reference
	}
	m.fault(f, p, "")
}

// wholeNumber reads an integer, also one written as 3.0 or "3".
func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		if n := int(v); float64(n) == v {
			return n, true
		}
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	}
	return 0, false
}

// performWait sleeps (DSL 93, 94).
func (m *Machine) performWait(f *state.Frame) {
	d, p := m.duration(f, f.Node.Duration, f.Input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	f.Phase = state.Sleeping
	m.entered(f, 0)
	m.r.SetWaits(f, true)
	m.startTimer(f, state.Wait, f.Attempt, d.AddTo(m.r.Now))
}

// performFunction runs the body of a function of the document (DSL 84, D24).
func (m *Machine) performFunction(f *state.Frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.Node.Value, f.Input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	if f.Seq.Calls >= maxCalls {
		m.fault(f, program.NewProblem(event.Runtime, 500, "Nested too deep", f.Node.Reference, "functions call each other more than 100 deep; one that calls itself without an end is the usual cause"), "")
		return
	}
	s := f.Child(f.Node.Body, state.Body, 0, "f.")
	s.Vars, s.Extended, s.Fixed = nil, nil, true
	s.Calls++
	m.start(s, v)
}

// extend begins the tasks around an extended task (D20). What applies is
// decided before anything runs.
func (m *Machine) extend(f *state.Frame) {
	applied := make([]bool, len(f.Node.Extensions))
	some := false
	for i, x := range f.Node.Extensions {
		ok := true
		if x.When != nil {
			var p *event.Problem
			if ok, p = m.condition(f, x.When, f.Input); p != nil {
				m.fault(f, p, "")
				return
			}
		}
		applied[i] = ok
		some = some || ok
	}
	if !some {
		m.perform(f)
		return
	}
	m.entered(f, 0)
	f.Applied = applied
	m.beforehand(f, 0, f.Input)
}

// beforehand runs the next list of tasks before f, or f itself.
func (m *Machine) beforehand(f *state.Frame, from int, v any) {
	for i := from; i < len(f.Applied); i++ {
		if f.Applied[i] && f.Node.Extensions[i].Before != nil {
			f.Phase, f.ExtAt = state.BeforeTask, i
			m.start(m.around(f, f.Node.Extensions[i].Before, state.Before, i, "b."), v)
			return
		}
	}
	f.Input = v
	m.perform(f)
}

func (m *Machine) around(f *state.Frame, l *program.List, r state.Role, i int, suffix string) *state.Sequence {
	s := f.Child(l, r, 0, "x"+strconv.Itoa(i)+suffix)
	s.Vars, s.Inside = nil, true
	if s.Extended == nil {
		s.Extended = f
	}
	return s
}

// beforeEnded goes on after a list of tasks before f: to the next one, or, if
// it was left by `exit`, past the task itself (DSL 197); only what had begun
// around the task is then closed.
func (m *Machine) beforeEnded(f *state.Frame, v any, exit bool) {
	if !exit {
		m.beforehand(f, f.ExtAt+1, v)
		return
	}
	for i := f.ExtAt; i < len(f.Applied); i++ {
		f.Applied[i] = false
	}
	m.complete(f, v)
}

// afterwards runs the lists of tasks after f in reverse order, then ends f. They
// see its raw output and do not change it.
func (m *Machine) afterwards(f *state.Frame) {
	for i := f.ExtAt - 1; i >= 0; i-- {
		if f.Applied[i] && f.Node.Extensions[i].After != nil {
			f.Phase, f.ExtAt = state.AfterTask, i
			m.start(m.around(f, f.Node.Extensions[i].After, state.After, i, "a."), f.Out)
			return
		}
	}
	m.finish(f)
}
