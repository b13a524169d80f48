package machine

import (
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// performDo runs a nested list (DSL 86).
func (m *Machine) performDo(f *frame) {
	m.entered(f, 0)
	m.start(m.child(f, f.node.Body, body, 0, ""), f.input)
}

// performSet gives exactly the value of the task (DSL 87).
func (m *Machine) performSet(f *frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.node.Value, f.input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	m.complete(f, v)
}

// performSwitch takes the first case that holds, else the default, else the
// task's own directive (DSL 88, 89, D7).
func (m *Machine) performSwitch(f *frame) {
	m.entered(f, 0)
	var fallback *program.Flow
	for i := range f.node.Cases {
		c := &f.node.Cases[i]
		if c.When == nil {
			fallback = &c.Then
			continue
		}
		ok, p := m.condition(f, c.When, f.input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		if ok {
			f.flow = &c.Then
			m.complete(f, f.input)
			return
		}
	}
	f.flow = fallback
	m.complete(f, f.input)
}

// performRaise faults with the author's error (DSL 91, 92, D18b).
func (m *Machine) performRaise(f *frame) {
	m.entered(f, 0)
	e := f.node.Error
	p := &event.Problem{}
	text := func(v *program.Value, into *string, what string) bool {
		if v == nil {
			return true
		}
		x, bad := m.eval(f, v, f.input)
		if bad != nil {
			m.fault(f, bad, "")
			return false
		}
		s, ok := x.(string)
		if !ok && x != nil {
			m.fault(f, m.wrongType(f, "the "+what+" of the error", "a string", x), "")
			return false
		}
		*into = s
		return true
	}
	if !text(e.Type, &p.Type, "type") || !text(e.Title, &p.Title, "title") || !text(e.Detail, &p.Detail, "detail") || !text(e.Instance, &p.Instance, "instance") {
		return
	}
	if e.Status != nil {
		x, bad := m.eval(f, e.Status, f.input)
		if bad != nil {
			m.fault(f, bad, "")
			return
		}
		n, ok := wholeNumber(x)
		if !ok {
			m.fault(f, m.wrongType(f, "the status of the error", "an integer", x), "")
			return
		}
		p.Status = n
	}
	if p.Instance == "" {
		p.Instance = f.node.Reference
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
func (m *Machine) performWait(f *frame) {
	d, p := m.duration(f, f.node.Duration, f.input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	f.phase = sleeping
	m.entered(f, 0)
	m.setWaiting(f, true)
	m.startTimer(f, waitTimer, f.attempt, d.AddTo(m.now))
}

// performFunction runs the body of a function of the document (DSL 84, D24).
func (m *Machine) performFunction(f *frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.node.Value, f.input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	if f.seq.calls >= maxCalls {
		m.fault(f, m.problem(event.Runtime, 500, "Nested too deep", f.node.Reference, "functions call each other more than 100 deep; one that calls itself without an end is the usual cause"), "")
		return
	}
	s := m.child(f, f.node.Body, body, 0, "f.")
	s.vars, s.extended, s.fixed = nil, nil, true
	s.calls++
	m.start(s, v)
}

// extend begins the tasks around an extended task (D20). What applies is
// decided before anything runs.
func (m *Machine) extend(f *frame) {
	applied := make([]bool, len(f.node.Extensions))
	some := false
	for i, x := range f.node.Extensions {
		ok := true
		if x.When != nil {
			var p *event.Problem
			if ok, p = m.condition(f, x.When, f.input); p != nil {
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
	f.applied = applied
	m.beforehand(f, 0, f.input)
}

// beforehand runs the next list of tasks before f, or f itself.
func (m *Machine) beforehand(f *frame, from int, v any) {
	for i := from; i < len(f.applied); i++ {
		if f.applied[i] && f.node.Extensions[i].Before != nil {
			f.phase, f.extAt = beforePhase, i
			m.start(m.around(f, f.node.Extensions[i].Before, before, i, "b."), v)
			return
		}
	}
	f.input = v
	m.perform(f)
}

func (m *Machine) around(f *frame, l *program.List, r role, i int, suffix string) *sequence {
	s := m.child(f, l, r, 0, "x"+strconv.Itoa(i)+suffix)
	s.vars, s.inside = nil, true
	if s.extended == nil {
		s.extended = f
	}
	return s
}

// beforeEnded goes on after a list of tasks before f: to the next one, or, if
// it was left by `exit`, past the task itself (DSL 197); only what had begun
// around the task is then closed.
func (m *Machine) beforeEnded(f *frame, v any, exit bool) {
	if !exit {
		m.beforehand(f, f.extAt+1, v)
		return
	}
	for i := f.extAt; i < len(f.applied); i++ {
		f.applied[i] = false
	}
	m.complete(f, v)
}

// afterwards runs the lists of tasks after f in reverse order, then ends f. They
// see its raw output and do not change it.
func (m *Machine) afterwards(f *frame) {
	for i := f.extAt - 1; i >= 0; i-- {
		if f.applied[i] && f.node.Extensions[i].After != nil {
			f.phase, f.extAt = afterPhase, i
			m.start(m.around(f, f.node.Extensions[i].After, after, i, "a."), f.out)
			return
		}
	}
	m.finish(f)
}
