package machine

import (
	"slices"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// items evaluates what a for or map goes through (D12).
func (m *Machine) items(f *state.Frame, v *program.Value) ([]any, *event.Problem) {
	in, p := m.eval(f, v, f.Input)
	if p != nil || in == nil {
		return nil, p
	}
	items, ok := in.([]any)
	if !ok {
		p := program.WrongType(f.Node.Reference, "`in`", "an array (or null, for none)", in)
		if _, ok := in.(map[string]any); ok {
			p.Detail += "; to go through an object's fields use to_entries"
		}
		return nil, p
	}
	return items, nil
}

// performFor runs its list once for each item, one after another (DSL 98-102).
func (m *Machine) performFor(f *state.Frame) {
	items, p := m.items(f, f.Node.For.In)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	m.entered(f, len(items))
	f.Loop = &state.Loop{Items: items}
	m.iterate(f, f.Input)
}

// iterate begins the next iteration with v as its input, or ends the loop with it.
func (m *Machine) iterate(f *state.Frame, v any) {
	l, h := f.Loop, f.Node.For
	if l.Next >= len(l.Items) {
		m.complete(f, v)
		return
	}
	i := l.Next
	vars := state.Bind(h.At, i, state.Bind(h.Each, l.Items[i], f.Vars))
	if h.While != nil { // D11
		ok, p := m.conditionIn(f, vars, h.While, v)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		if !ok {
			m.complete(f, v)
			return
		}
	}
	l.Next++
	m.sliceTasks++
	s := f.Child(f.Node.Body, state.Body, 0, "i"+strconv.Itoa(i)+".")
	s.Vars = vars
	s.Iter = appendIndex(s.Iter, i)
	m.start(s, v)
}

// appendIndex never shares the array of the sequence around.
func appendIndex(iter []int, i int) []int { return append(slices.Clip(iter), i) }
