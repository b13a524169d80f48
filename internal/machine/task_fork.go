package machine

import (
	"fmt"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// performFork runs all branches at once (DSL 103-107).
func (m *Machine) performFork(f *state.Frame) {
	n := len(f.Node.Branches)
	m.entered(f, n)
	if n == 0 {
		m.complete(f, f.Input)
		return
	}
	f.Fan = &state.Fan{Results: make([]any, n)}
	f.Seqs = make([]*state.Sequence, n)
	for i, l := range f.Node.Branches {
		s := f.Child(l, state.Body, i, "b"+strconv.Itoa(i)+".")
		s.Ctx = &state.Cell{Value: f.Seq.Ctx.Value} // D6
		m.start(s, f.Input)
	}
}

// performMap runs its list for each item, at most `limit` at once (D36).
func (m *Machine) performMap(f *state.Frame) {
	h := f.Node.Map
	items, p := m.items(f, h.In)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	limit := 10
	if h.Limit != nil {
		v, p := m.eval(f, h.Limit, f.Input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		n, ok := wholeNumber(v)
		if !ok || n < 1 {
			m.fault(f, program.WrongType(f.Node.Reference, "`limit`", "an integer of at least 1", v), "")
			return
		}
		limit = n
	}
	m.entered(f, len(items))
	f.Fan = &state.Fan{Items: items, Results: make([]any, len(items))}
	f.Seqs = make([]*state.Sequence, len(items))
	if len(items) == 0 {
		m.complete(f, []any{})
		return
	}
	for range min(limit, len(items)) {
		m.beginItem(f)
	}
}

func (m *Machine) beginItem(f *state.Frame) {
	h, i := f.Node.Map, f.Fan.Next
	f.Fan.Next++
	m.sliceTasks++
	s := f.Child(f.Node.Body, state.Body, i, "m"+strconv.Itoa(i)+".")
	s.Vars = state.Bind(h.At, i, state.Bind(h.Each, f.Fan.Items[i], f.Vars))
	s.Ctx = &state.Cell{Value: f.Seq.Ctx.Value}
	s.Iter = appendIndex(s.Iter, i)
	m.start(s, f.Input)
}

// branchEnded takes the output of a branch or item.
func (m *Machine) branchEnded(f *state.Frame, slot int, v any) {
	if f.Node.Op == program.Fork && f.Node.Compete { // D4
		f.Stop, f.Out = state.StopComplete, v
		m.halt(f, reasonRace)
		m.settle(f)
		return
	}
	m.branchDone(f, slot, v)
}

func (m *Machine) branchDone(f *state.Frame, slot int, v any) {
	st := f.Fan
	st.Results[slot] = v
	if p := m.collect(f, &st.Bytes, v); p != nil {
		m.fault(f, p, "")
		return
	}
	st.Ended++
	if st.Ended == len(st.Results) {
		m.complete(f, st.Results)
		return
	}
	if f.Node.Op == program.Map && st.Next < len(st.Items) {
		m.beginItem(f)
	}
}

// branchFaulted takes the fault of a branch or item (D5, D36).
func (m *Machine) branchFaulted(f *state.Frame, slot int, p *event.Problem) {
	st := f.Fan
	switch {
	case f.Node.Op == program.Map && f.Node.Map.Continue:
		m.branchDone(f, slot, map[string]any{"error": program.ErrorValue(p)})
	case f.Node.Op == program.Fork && f.Node.Compete:
		if st.First == nil {
			st.First = p
		}
		if st.Ended++; st.Ended == len(st.Results) {
			m.fault(f, st.First, "")
		}
	default:
		m.fault(f, p, reasonSibling)
	}
}

// collect accounts for a value that a task gathers; the run's live state is bounded.
func (m *Machine) collect(f *state.Frame, bytes *int, v any) *event.Problem {
	n := value.Size(v)
	*bytes += n
	m.r.Live += n
	if m.r.Live > maxLive {
		return program.NewProblem(event.Runtime, 500, "Too much live state", f.Node.Reference,
			fmt.Sprintf("the run holds more than %d MiB of collected outputs at once; let the tasks output less, or work in portions", maxLive>>20))
	}
	return nil
}

// freeCollections gives back what collect counted.
func (m *Machine) freeCollections(f *state.Frame) {
	if f.Fan != nil {
		m.r.Live -= f.Fan.Bytes
		f.Fan.Bytes = 0
	}
	if f.Listen != nil {
		m.r.Live -= f.Listen.Bytes
		f.Listen.Bytes = 0
	}
}
