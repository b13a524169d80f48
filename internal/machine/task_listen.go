package machine

import (
	"encoding/base64"
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// listenState is where a listen task is.
type listenState struct {
	met      []bool         // of `all`: filters that an event was consumed for
	untilMet []bool         // the same of the strategy that ends it
	keys     map[string]any // correlation keys that are fixed
	read     []any          // events of the output so far, in read form
	results  []any          // of foreach
	queue    []any          // events that foreach has yet to handle
	index    int            // of the event that foreach handles
	handling bool
	closed   bool // wants no more events
	listed   bool // among the machine's listeners
	order    uint64
	bytes    int
}

// performListen waits for events (DSL 119-129).
func (m *Machine) performListen(f *frame) {
	l := f.node.Listen
	st := &listenState{listed: true, met: make([]bool, len(l.To.Filters))}
	if l.To.UntilOther != nil {
		st.untilMet = make([]bool, len(l.To.UntilOther.Filters))
	}
	f.listen = st
	f.phase = listening
	m.entered(f, 0)
	m.setWaiting(f, true)
	m.order++
	st.order = m.order
	m.listeners = append(m.listeners, f)
	m.command(&Listen{Activation: f.id, Types: l.Types})
	if l.Correlates { // DSL 128
		m.transition(f, Transition{Change: Correlates, Status: event.Running})
	}
}

// unlisten ends the subscription of f, once.
func (m *Machine) unlisten(f *frame) {
	st := f.listen
	st.closed = true
	if !st.listed {
		return
	}
	st.listed = false
	m.listeners = slices.DeleteFunc(m.listeners, func(o *frame) bool { return o == f })
	m.command(&Unlisten{Activation: f.id})
}

// cloudEvent offers an event to the listeners (D41).
func (m *Machine) cloudEvent(b *event.CloudEventReceived) {
	at, known := slices.BinarySearch(m.consumed, b.Sequence)
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
	for _, f := range slices.Clone(m.listeners) {
		if (b.Listener == "" || b.Listener == f.id) && f.listen.listed {
			taken = m.offer(f, ev) || taken
		}
	}
	if taken {
		m.consumed = slices.Insert(m.consumed, at, b.Sequence)
	}
}

// Wants reports whether a listener would consume the cloud event now; with ""
// whether any would. It changes nothing.
func (m *Machine) Wants(ev map[string]any, listener event.Activation) bool {
	saved := m.eval0
	defer func() { m.eval0 = saved }()
	m.eval0.newSlice()
	for _, f := range m.listeners {
		if listener != "" && f.id != listener {
			continue
		}
		l, st := &f.node.Listen.To, f.listen
		if i, _ := m.match(f, l, st.met, ev, st.keys); i >= 0 {
			return true
		}
		if l.UntilOther != nil {
			if i, _ := m.match(f, l.UntilOther, st.untilMet, ev, st.keys); i >= 0 {
				return true
			}
		}
	}
	return false
}

// offer gives an event to a listener and reports whether it was consumed.
func (m *Machine) offer(f *frame, ev map[string]any) bool {
	l, st := &f.node.Listen.To, f.listen
	i, keys := m.match(f, l, st.met, ev, st.keys)
	consumed := i >= 0
	if consumed {
		st.keys = keys
		if len(st.met) > 0 {
			st.met[i] = true
		}
	}
	ends := consumed && m.satisfied(l, st.met)
	ended := false // by the other strategy
	if u := l.UntilOther; u != nil {
		if j, keys := m.match(f, u, st.untilMet, ev, st.keys); j >= 0 {
			st.keys = keys
			if len(st.untilMet) > 0 {
				st.untilMet[j] = true
			}
			ended = u.Mode != workflow.All || !slices.Contains(st.untilMet, false)
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
		m.consume(f, readAs(f.node.Listen.Read, ev))
		return true
	}
	m.heard(f)
	return true
}

// consume adds an event in read form to the output, or hands it to foreach.
func (m *Machine) consume(f *frame, v any) {
	st := f.listen
	if p := m.collect(f, &st.bytes, v); p != nil {
		m.fault(f, p, "")
		return
	}
	if f.node.Listen.Foreach {
		st.queue = append(st.queue, v)
		m.handleNext(f)
		return
	}
	st.read = append(st.read, v)
	if !m.untilHolds(f) {
		m.heard(f)
	}
}

// untilHolds checks the condition of `until` after an event, and reports whether
// the task faulted on it.
func (m *Machine) untilHolds(f *frame) bool {
	u := f.node.Listen.To.Until
	if u == nil || f.listen.closed {
		return false
	}
	m.aim(f)
	ok, p := m.conditionAs(u, slices.Clone(f.listen.read))
	if p != nil {
		m.fault(f, p, "")
		return true
	}
	if ok {
		m.unlisten(f)
		f.listen.queue = nil
	}
	return false
}

// heard completes the task when nothing more is wanted and handled.
func (m *Machine) heard(f *frame) {
	st := f.listen
	if !st.closed || st.handling || len(st.queue) > 0 {
		return
	}
	if f.node.Listen.Correlates {
		keys := st.keys
		if keys == nil {
			keys = map[string]any{}
		}
		m.transition(f, Transition{Change: Correlates, Status: event.Completed, Output: rawOf(maps.Clone(keys))})
	}
	if f.waits {
		m.setWaiting(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
	}
	out := st.read
	if f.node.Listen.Foreach {
		out = st.results
	}
	if out == nil {
		out = []any{}
	}
	m.complete(f, out)
}

// handleNext runs the foreach for the next event, strictly one after another (DSL 125).
func (m *Machine) handleNext(f *frame) {
	st := f.listen
	if st.handling || len(st.queue) == 0 {
		return
	}
	v := st.queue[0]
	st.queue = st.queue[1:]
	st.handling = true
	st.read = append(st.read, v)
	if f.waits {
		m.setWaiting(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
	}
	l := f.node.Listen
	s := m.child(f, f.node.Body, body, 0, eventQualifier(st.index))
	s.vars = bind(l.At, st.index, bind(l.Each, v, f.vars))
	s.iter = appendIndex(s.iter, st.index)
	m.start(s, v)
}

// eventHandled takes the output of an iteration of foreach (D34).
func (m *Machine) eventHandled(f *frame, s *sequence, v any) {
	st, l := f.listen, f.node.Listen
	was := f.vars
	f.vars = s.vars
	var p *event.Problem
	if l.Output != nil {
		v, p = m.transform(f, l.Output, v, "output")
	}
	if p == nil && l.Export != nil {
		p = m.export(f, l.Export, s.vars, v, f.seq)
	}
	if p == nil {
		p = m.collect(f, &st.bytes, v)
	}
	st.handling = false
	st.index++
	st.results = append(st.results, v)
	faulted := p == nil && m.untilHolds(f)
	f.vars = was
	switch {
	case p != nil:
		m.fault(f, p, "")
	case faulted:
	case len(st.queue) > 0:
		m.handleNext(f)
	case st.closed:
		m.heard(f)
	default:
		m.setWaiting(f, true)
		m.transition(f, Transition{Change: Waits, Status: event.Waiting})
	}
}

// satisfied reports whether the events consumed so far end the task.
func (m *Machine) satisfied(s *program.Strategy, met []bool) bool {
	switch s.Mode {
	case workflow.One:
		return true
	case workflow.Any:
		return s.Until == nil && s.UntilOther == nil && !s.Forever // DSL 121
	case workflow.All:
		return !slices.Contains(met, false)
	}
	return false
}

// match finds the filter of a strategy that an event is for, -1 when none, and
// the correlation keys as they would be then.
func (m *Machine) match(f *frame, s *program.Strategy, met []bool, ev, keys map[string]any) (int, map[string]any) {
	if len(s.Filters) == 0 && s.Mode == workflow.Any {
		return 0, keys // DSL 120
	}
	for i := range s.Filters {
		if s.Mode == workflow.All && met[i] {
			continue
		}
		if !m.holds(f, s.Filters[i].Attributes, ev, ev) {
			continue
		}
		if k, ok := m.correlate(f, s.Filters[i].Correlate, ev, keys); ok {
			return i, k
		}
	}
	return -1, keys
}

// correlate checks the keys of a filter: they must be as expected, or as the
// first event fixed them (DSL 127, D22).
func (m *Machine) correlate(f *frame, list []program.Correlation, ev, keys map[string]any) (map[string]any, bool) {
	copied := false
	for _, c := range list {
		got, p := m.quiet(f, c.From, ev)
		if p || got == nil {
			return nil, false
		}
		if c.Expect != nil {
			want, p := m.quiet(f, c.Expect, f.input)
			if p || !value.Equal(want, got) {
				return nil, false
			}
		} else if want, fixed := keys[c.Name]; fixed {
			if !value.Equal(want, got) {
				return nil, false
			}
			continue
		}
		if !copied {
			keys, copied = maps.Clone(keys), true
			if keys == nil {
				keys = map[string]any{}
			}
		}
		keys[c.Name] = got
	}
	return keys, true
}

// quiet evaluates an expression about a foreign event: one that fails on it
// means no match, not a fault.
func (m *Machine) quiet(f *frame, v *program.Value, input any) (any, bool) {
	r, p := m.eval(f, v, input)
	return r, p != nil
}

// holds reports whether each attribute that a filter names is as it wants (DSL 126, D22).
func (m *Machine) holds(f *frame, want []program.Attribute, got map[string]any, subject any) bool {
	for i := range want {
		a := &want[i]
		v, ok := got[a.Name]
		if a.Name == "data" && a.Value != nil || len(a.Fields) > 0 && a.Name == "data" {
			subject = v
		}
		if !ok && a.Value == nil || !m.fits(f, &a.Match, v, subject) {
			return false
		}
	}
	return true
}

func (m *Machine) fits(f *frame, a *program.Match, v, subject any) bool {
	switch {
	case a.Value != nil:
		r, failed := m.quiet(f, a.Value, subject)
		if failed {
			return false
		}
		if b, ok := r.(bool); ok {
			return b
		}
		return value.Equal(r, v)
	case a.Fields != nil:
		fields, ok := v.(map[string]any)
		return ok && m.holds(f, a.Fields, fields, subject)
	case a.Pattern != nil:
		s, ok := v.(string)
		return ok && (s == a.Literal || a.Pattern.MatchString(s))
	}
	return value.Equal(a.Literal, v)
}

// readAs is an event as the task reads it (DSL 124). Raw data is base64, as the
// raw output of a call is.
func readAs(form string, ev map[string]any) any {
	switch form {
	case "envelope":
		return ev
	case "raw":
		if s, ok := ev["data_base64"].(string); ok {
			return s
		}
		data, ok := ev["data"]
		if !ok {
			return nil
		}
		text, isText := data.(string)
		if !isText {
			text = string(value.JSON(data))
		}
		return base64.StdEncoding.EncodeToString([]byte(text))
	}
	if v, ok := ev["data"]; ok {
		return v
	}
	if v, ok := ev["data_base64"]; ok {
		return v
	}
	return nil
}
