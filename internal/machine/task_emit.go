package machine

import (
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
)

func eventQualifier(i int) string { return "e" + strconv.Itoa(i) + "." }

// performEmit publishes a cloud event (DSL 95-97, D26).
func (m *Machine) performEmit(f *frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.node.Emit, f.input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	with, ok := v.(map[string]any)
	if !ok {
		m.fault(f, m.wrongType(f, "the event", "an object", v), "")
		return
	}
	ev := make(map[string]any, len(with)+4)
	for k, x := range with {
		ev[k] = x
	}
	doc := m.p.Definition.Document
	put := func(k, v string) {
		if ev[k] == nil {
			ev[k] = v
		}
	}
	ev["specversion"] = "1.0"
	id := m.derivedID("emit", f.id, f.attempt)
	put("id", id.String())
	put("source", "https://downbeat.dev/workflows/"+doc.Namespace+"/"+doc.Name)
	put("time", formatTime(m.now))
	var texts [3]string
	for i, k := range []string{"id", "type", "source"} {
		s, ok := ev[k].(string)
		if !ok || s == "" {
			m.fault(f, m.wrongType(f, "the attribute "+quote(k)+" of the event", "a non-empty string", ev[k]), "")
			return
		}
		texts[i] = s
	}
	m.command(&Emit{Activation: f.id, ID: texts[0], Type: texts[1], Source: texts[2], Event: rawOf(ev)})
	m.complete(f, ev)
}

// childID is the id of the run that a run task starts.
func (m *Machine) childID(f *frame) event.RunID { return m.derivedID("child", f.id, f.attempt) }

// performChild starts a run of another workflow (DSL 141, D25).
func (m *Machine) performChild(f *frame) {
	m.entered(f, 0)
	c := f.node.Child
	in, p := m.eval(f, c.Input, f.input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	if m.begun.Depth+1 > maxChildDepth {
		m.fault(f, m.problem(event.Runtime, 500, "Nested too deep", f.node.Reference, "runs start each other more than 32 deep; a workflow that starts itself without an end is the usual cause"), "")
		return
	}
	f.args = in
	if !c.Await {
		m.command(m.startOf(f))
		m.complete(f, f.input)
		return
	}
	f.phase = awaiting
	m.expect(f)
	m.transition(f, Transition{Change: Dispatched, Status: event.Running})
	m.command(m.startOf(f))
}

func (m *Machine) startOf(f *frame) *StartChild {
	c := f.node.Child
	return &StartChild{
		Activation: f.id, Attempt: f.attempt, Reference: f.node.Reference, Child: m.childID(f),
		Name: c.Name, Input: rawOf(f.args), Await: c.Await,
	}
}

func (m *Machine) childEnded(b *event.ChildEnded) {
	if f := m.waiting[b.Activation]; f == nil || f.phase != awaiting {
		return
	}
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		return
	}
	if f.stop != notStopping {
		m.settle(f)
		return
	}
	name := f.node.Child.Name
	switch b.Status {
	case event.Completed:
		out, p := m.outside(f, b.Output, "the output of "+name)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.complete(f, out)
	case event.Faulted:
		p := m.problem(event.Runtime, 500, "Child run faulted", f.node.Reference, "the run of "+name+" faulted")
		if b.Error != nil {
			copied := *b.Error
			p = &copied
			p.Detail = "in " + name
			if b.Error.Instance != "" {
				p.Detail += " at " + b.Error.Instance
			}
			if b.Error.Detail != "" {
				p.Detail += ": " + b.Error.Detail
			}
			p.Instance = f.node.Reference
		}
		m.fault(f, p, "")
	case event.Pending, event.Running, event.Waiting, event.Suspended, event.Cancelled:
		m.fault(f, m.problem(event.Runtime, 500, "Child run cancelled", f.node.Reference, "the run of "+name+" was cancelled"), "")
	}
}

// tellChildren hands suspension and resumption on to awaited children (D40).
func (m *Machine) tellChildren(act string) {
	for _, f := range m.inOrder() {
		if f.phase == awaiting && !f.told && !f.answered {
			m.command(&CancelChild{Activation: f.id, Child: m.childID(f), Act: act})
		}
	}
}
