package machine

import (
	"fmt"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// fanState is where a fork or map is.
type fanState struct {
	items   []any // of a map
	results []any // by branch or item
	next    int   // the item that begins next
	ended   int
	first   *event.Problem // of a race: the first fault
	bytes   int            // of the results
}

// performFork runs all branches at once (DSL 103-107).
func (m *Machine) performFork(f *frame) {
	n := len(f.node.Branches)
	m.entered(f, n)
	if n == 0 {
		m.complete(f, f.input)
		return
	}
	f.fan = &fanState{results: make([]any, n)}
	f.seqs = make([]*sequence, n)
	for i, l := range f.node.Branches {
		s := m.child(f, l, body, i, "b"+strconv.Itoa(i)+".")
		s.ctx = &cell{value: f.seq.ctx.value} // D6
		m.start(s, f.input)
	}
}

// performMap runs its list for each item, at most `limit` at once (D36).
func (m *Machine) performMap(f *frame) {
	h := f.node.Map
	items, p := m.items(f, h.In)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	limit := 10
	if h.Limit != nil {
		v, p := m.eval(f, h.Limit, f.input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		n, ok := wholeNumber(v)
		if !ok || n < 1 {
			m.fault(f, m.wrongType(f, "`limit`", "an integer of at least 1", v), "")
			return
		}
		limit = n
	}
	m.entered(f, len(items))
	f.fan = &fanState{items: items, results: make([]any, len(items))}
	f.seqs = make([]*sequence, len(items))
	if len(items) == 0 {
		m.complete(f, []any{})
		return
	}
	for range min(limit, len(items)) {
		m.beginItem(f)
	}
}

func (m *Machine) beginItem(f *frame) {
	h, i := f.node.Map, f.fan.next
	f.fan.next++
	m.sliceTasks++
	s := m.child(f, f.node.Body, body, i, "m"+strconv.Itoa(i)+".")
	s.vars = bind(h.At, i, bind(h.Each, f.fan.items[i], f.vars))
	s.ctx = &cell{value: f.seq.ctx.value}
	s.iter = appendIndex(s.iter, i)
	m.start(s, f.input)
}

// branchEnded takes the output of a branch or item.
func (m *Machine) branchEnded(f *frame, slot int, v any) {
	if f.node.Op == program.Fork && f.node.Compete { // D4
		f.stop, f.out = stopComplete, v
		m.halt(f, reasonRace)
		m.settle(f)
		return
	}
	m.branchDone(f, slot, v)
}

func (m *Machine) branchDone(f *frame, slot int, v any) {
	st := f.fan
	st.results[slot] = v
	if p := m.collect(f, &st.bytes, v); p != nil {
		m.fault(f, p, "")
		return
	}
	st.ended++
	if st.ended == len(st.results) {
		m.complete(f, st.results)
		return
	}
	if f.node.Op == program.Map && st.next < len(st.items) {
		m.beginItem(f)
	}
}

// branchFaulted takes the fault of a branch or item (D5, D36).
func (m *Machine) branchFaulted(f *frame, slot int, p *event.Problem) {
	st := f.fan
	switch {
	case f.node.Op == program.Map && f.node.Map.Continue:
		m.branchDone(f, slot, map[string]any{"error": problemValue(p)})
	case f.node.Op == program.Fork && f.node.Compete:
		if st.first == nil {
			st.first = p
		}
		if st.ended++; st.ended == len(st.results) {
			m.fault(f, st.first, "")
		}
	default:
		m.fault(f, p, reasonSibling)
	}
}

// collect accounts for a value that a task gathers; the run's live state is bounded.
func (m *Machine) collect(f *frame, bytes *int, v any) *event.Problem {
	n := value.Size(v)
	*bytes += n
	m.live += n
	if m.live > maxLive {
		return m.problem(event.Runtime, 500, "Too much live state", f.node.Reference,
			fmt.Sprintf("the run holds more than %d MiB of collected outputs at once; let the tasks output less, or work in portions", maxLive>>20))
	}
	return nil
}

// freeCollections gives back what collect counted.
func (m *Machine) freeCollections(f *frame) {
	if f.fan != nil {
		m.live -= f.fan.bytes
		f.fan.bytes = 0
	}
	if f.listen != nil {
		m.live -= f.listen.bytes
		f.listen.bytes = 0
	}
}
