package machine

import (
	"slices"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// loopState is where a for task is.
type loopState struct {
	items []any
	next  int // index of the iteration that runs next
}

// items evaluates what a for or map goes through (D12).
func (m *Machine) items(f *frame, v *program.Value) ([]any, *event.Problem) {
	in, p := m.eval(f, v, f.input)
	if p != nil || in == nil {
		return nil, p
	}
	items, ok := in.([]any)
	if !ok {
		p := m.wrongType(f, "`in`", "an array (or null, for none)", in)
		if _, ok := in.(map[string]any); ok {
			p.Detail += "; to go through an object's fields use to_entries"
		}
		return nil, p
	}
	return items, nil
}

// performFor runs its list once for each item, one after another (DSL 98-102).
func (m *Machine) performFor(f *frame) {
	items, p := m.items(f, f.node.For.In)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	m.entered(f, len(items))
	f.loop = &loopState{items: items}
	m.iterate(f, f.input)
}

// iterate begins the next iteration with v as its input, or ends the loop with it.
func (m *Machine) iterate(f *frame, v any) {
	l, h := f.loop, f.node.For
	if l.next >= len(l.items) {
		m.complete(f, v)
		return
	}
	i := l.next
	vars := bind(h.At, i, bind(h.Each, l.items[i], f.vars))
	if h.While != nil { // D11
		m.aim(f)
		m.eval0.vars = vars
		ok, p := m.conditionAs(h.While, v)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		if !ok {
			m.complete(f, v)
			return
		}
	}
	l.next++
	m.sliceTasks++
	s := m.child(f, f.node.Body, body, 0, "i"+strconv.Itoa(i)+".")
	s.vars = vars
	s.iter = appendIndex(s.iter, i)
	m.start(s, v)
}

// appendIndex never shares the array of the sequence around.
func appendIndex(iter []int, i int) []int { return append(slices.Clip(iter), i) }
