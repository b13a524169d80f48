package machine

import (
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// performListen waits for events (DSL 119-129).
func (m *Machine) performListen(f *state.Frame) {
	l := f.Node.Listen
	st := &state.Listen{Listed: true, Met: make([]bool, len(l.To.Filters))}
	if l.To.UntilOther != nil {
		st.UntilMet = make([]bool, len(l.To.UntilOther.Filters))
	}
	f.Listen = st
	f.Phase = state.Listening
	m.entered(f, 0)
	m.r.SetWaits(f, true)
	m.r.Order++
	st.Order = m.r.Order
	m.r.Listeners = append(m.r.Listeners, f)
	m.command(&Listen{Activation: f.ID, Types: l.Types})
	if l.Correlates { // DSL 128
		m.transition(f, Transition{Change: Correlates, Status: event.Running})
	}
}

// unlisten ends the subscription of f, once.
func (m *Machine) unlisten(f *state.Frame) {
	st := f.Listen
	st.Closed = true
	if !st.Listed {
		return
	}
	st.Listed = false
	m.r.Listeners = slices.DeleteFunc(m.r.Listeners, func(o *state.Frame) bool { return o == f })
	m.command(&Unlisten{Activation: f.ID})
}

// cloudEvent offers an event to the listeners (D41).
func (m *Machine) cloudEvent(b *event.CloudEventReceived) {
	at, known := slices.BinarySearch(m.r.Consumed, b.Sequence)
	if known {
		return
	}
	v, err := b.Event.Any()
	if err != nil || b.Event.Size() > maxValue {
		return // the host checks events before it accepts them
	}
	ev, ok := v.(map[string]any)
	if !ok {
		return
	}
	taken := false
	for _, f := range slices.Clone(m.r.Listeners) {
		if (b.Listener == "" || b.Listener == f.ID) && f.Listen.Listed {
			taken = m.offer(f, ev) || taken
		}
	}
	if taken {
		m.r.Consumed = slices.Insert(m.r.Consumed, at, b.Sequence)
	}
}

// Wants reports whether a listener would consume the cloud event now; with ""
// whether any would. It changes nothing.
func (m *Machine) Wants(ev map[string]any, listener event.Activation) bool {
	saved := m.ev
	defer func() { m.ev = saved }()
	var ordinal uint64
	m.ev.Ordinal, m.ev.Stopped = &ordinal, new([]uint64)
	m.ev.NewSlice()
	for _, f := range m.r.Listeners {
		if listener != "" && f.ID != listener {
			continue
		}
		l, st := &f.Node.Listen.To, f.Listen
		if i, _ := m.matcher(f).Match(l, st.Met, ev, st.Keys); i >= 0 {
			return true
		}
		if l.UntilOther != nil {
			if i, _ := m.matcher(f).Match(l.UntilOther, st.UntilMet, ev, st.Keys); i >= 0 {
				return true
			}
		}
	}
	return false
}

// matcher matches events for f.
func (m *Machine) matcher(f *state.Frame) program.Matcher {
	return program.Matcher{Input: f.Input, Eval: func(v *program.Value, input any) (any, bool) {
		r, p := m.eval(f, v, input)
		return r, p == nil
	}}
}

// offer gives an event to a listener and reports whether it was consumed.
func (m *Machine) offer(f *state.Frame, ev map[string]any) bool {
	l, st := &f.Node.Listen.To, f.Listen
	i, keys := m.matcher(f).Match(l, st.Met, ev, st.Keys)
	consumed := i >= 0
	if consumed {
		st.Keys = keys
		if len(st.Met) > 0 {
			st.Met[i] = true
		}
	}
	ends := consumed && l.Satisfied(st.Met)
	ended := false // by the other strategy
	if u := l.UntilOther; u != nil {
		if j, keys := m.matcher(f).Match(u, st.UntilMet, ev, st.Keys); j >= 0 {
			st.Keys = keys
			if len(st.UntilMet) > 0 {
				st.UntilMet[j] = true
			}
			ended = u.Mode != workflow.All || !slices.Contains(st.UntilMet, false)
			if !consumed && !ended {
				return true
			}
		}
	}
	if !consumed && !ended {
		return false
	}
	if ends || ended {
		m.unlisten(f)
	}
	if consumed {
		m.consume(f, program.ReadAs(f.Node.Listen.Read, ev))
		return true
	}
	m.heard(f)
	return true
}

// consume adds an event in read form to the output, or hands it to foreach.
func (m *Machine) consume(f *state.Frame, v any) {
	st := f.Listen
	if p := m.collect(f, &st.Bytes, v); p != nil {
		m.fault(f, p, "")
		return
	}
	if f.Node.Listen.Foreach {
		st.Queue = append(st.Queue, v)
		m.handleNext(f)
		return
	}
	st.Read = append(st.Read, v)
	if !m.untilHolds(f) {
		m.heard(f)
	}
}

// untilHolds checks the condition of `until` after an event, and reports whether
// the task faulted on it.
func (m *Machine) untilHolds(f *state.Frame) bool {
	u := f.Node.Listen.To.Until
	if u == nil || f.Listen.Closed {
		return false
	}
	ok, p := m.condition(f, u, slices.Clone(f.Listen.Read))
	if p != nil {
		m.fault(f, p, "")
		return true
	}
	if ok {
		m.unlisten(f)
		f.Listen.Queue = nil
	}
	return false
}

// heard completes the task when nothing more is wanted and handled.
func (m *Machine) heard(f *state.Frame) {
	st := f.Listen
	if !st.Closed || st.Handling || len(st.Queue) > 0 {
		return
	}
	if f.Node.Listen.Correlates {
		keys := st.Keys
		if keys == nil {
			keys = map[string]any{}
		}
		m.transition(f, Transition{Change: Correlates, Status: event.Completed, Output: rawOf(maps.Clone(keys))})
	}
	if f.Waits {
		m.r.SetWaits(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
	}
	out := st.Read
	if f.Node.Listen.Foreach {
		out = st.Results
	}
	if out == nil {
		out = []any{}
	}
	m.complete(f, out)
}

// handleNext runs the foreach for the next event, strictly one after another (DSL 125).
func (m *Machine) handleNext(f *state.Frame) {
	st := f.Listen
	if st.Handling || len(st.Queue) == 0 {
		return
	}
	v := st.Queue[0]
	st.Queue = st.Queue[1:]
	st.Handling = true
	if f.Node.Listen.To.Until != nil {
		st.Read = append(st.Read, v) // nothing else looks at it, and it may grow for ever
	} else {
		n := value.Size(v)
		st.Bytes -= n
		m.r.Live -= n
	}
	if f.Waits {
		m.r.SetWaits(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
	}
	l := f.Node.Listen
	s := f.Child(f.Node.Body, state.Body, 0, eventQualifier(st.Index))
	s.Vars = state.Bind(l.At, st.Index, state.Bind(l.Each, v, f.Vars))
	s.Iter = appendIndex(s.Iter, st.Index)
	m.start(s, v)
}

// eventHandled takes the output of an iteration of foreach (D34).
func (m *Machine) eventHandled(f *state.Frame, s *state.Sequence, v any) {
	st, l := f.Listen, f.Node.Listen
	was := f.Vars
	f.Vars = s.Vars
	var p *event.Problem
	if l.Output != nil {
		v, p = m.transform(f, l.Output, v, "output")
	}
	if p == nil && l.Export != nil {
		p = m.export(f, l.Export, s.Vars, v, f.Seq)
	}
	if p == nil {
		p = m.collect(f, &st.Bytes, v)
	}
	st.Handling = false
	st.Index++
	st.Results = append(st.Results, v)
	faulted := p == nil && m.untilHolds(f)
	f.Vars = was
	switch {
	case p != nil:
		m.fault(f, p, "")
	case faulted:
	case len(st.Queue) > 0:
		m.handleNext(f)
	case st.Closed:
		m.heard(f)
	default:
		m.r.SetWaits(f, true)
		m.transition(f, Transition{Change: Waits, Status: event.Waiting})
	}
}

// iterateMessages runs the foreach of a subscription over what its attempt has
// received, as that of a listen task over events (DSL 76, D34).
func (m *Machine) iterateMessages(f *state.Frame, received any) {
	list, ok := received.([]any)
	if !ok {
		m.fault(f, program.WrongType(f.Node.Reference, "what the subscription received", "an array of messages", received), "")
		return
	}
	f.Phase = state.Running
	f.Listen = &state.Listen{Queue: slices.Clone(list), Closed: true}
	for _, v := range list {
		if p := m.collect(f, &f.Listen.Bytes, v); p != nil {
			m.fault(f, p, "")
			return
		}
	}
	m.handleNext(f)
	m.heard(f)
}
