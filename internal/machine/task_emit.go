package machine

import (
	"maps"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

func eventQualifier(i int) string { return "e" + strconv.Itoa(i) + "." }

// performEmit publishes a cloud event (DSL 95-97, D26).
func (m *Machine) performEmit(f *state.Frame) {
	m.entered(f, 0)
	v, p := m.eval(f, f.Node.Emit, f.Input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	with, ok := v.(map[string]any)
	if !ok {
		m.fault(f, program.WrongType(f.Node.Reference, "the event", "an object", v), "")
		return
	}
	ev := make(map[string]any, len(with)+4)
	maps.Copy(ev, with)
	doc := m.p.Definition.Document
	put := func(k, v string) {
		if ev[k] == nil {
			ev[k] = v
		}
	}
	ev["specversion"] = "1.0"
	id := m.r.DerivedID("emit", f.ID, f.Attempt)
	put("id", id.String())
	put("source", "https://downbeat.dev/workflows/"+doc.Namespace+"/"+doc.Name)
	put("time", program.FormatTime(m.r.Now))
	var texts [3]string
	for i, k := range []string{"id", "type", "source"} {
		s, ok := ev[k].(string)
		if !ok || s == "" {
			m.fault(f, program.WrongType(f.Node.Reference, "the attribute "+strconv.Quote(k)+" of the event", "a non-empty string", ev[k]), "")
			return
		}
		texts[i] = s
	}
	m.command(&Emit{Activation: f.ID, ID: texts[0], Type: texts[1], Source: texts[2], Event: rawOf(ev)})
	m.complete(f, ev)
}

// childID is the id of the run that a run task starts.
func (m *Machine) childID(f *state.Frame) event.RunID { return m.r.DerivedID("child", f.ID, f.Attempt) }

// performChild starts a run of another workflow (DSL 141, D25).
func (m *Machine) performChild(f *state.Frame) {
	m.entered(f, 0)
	c := f.Node.Child
	in, p := m.eval(f, c.Input, f.Input)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	if m.r.Begun.Depth+1 > maxChildDepth {
		m.fault(f, program.NewProblem(event.Runtime, 500, "Nested too deep", f.Node.Reference, "runs start each other more than 32 deep; a workflow that starts itself without an end is the usual cause"), "")
		return
	}
	f.Args = in
	if !c.Await {
		m.command(m.startOf(f))
		m.complete(f, f.Input)
		return
	}
	f.Phase = state.Awaiting
	m.r.Expect(f)
	m.transition(f, Transition{Change: Dispatched, Status: event.Running})
	m.command(m.startOf(f))
}

func (m *Machine) startOf(f *state.Frame) *StartChild {
	c := f.Node.Child
	return &StartChild{
		Activation: f.ID, Attempt: f.Attempt, Reference: f.Node.Reference, Child: m.childID(f),
		Name: c.Name, Input: rawOf(f.Args), Await: c.Await,
	}
}

func (m *Machine) childEnded(b *event.ChildEnded) {
	if f := m.r.Waiting[b.Activation]; f == nil || f.Phase != state.Awaiting {
		return
	}
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		return
	}
	if f.Stop != state.NotStopping {
		m.settle(f)
		return
	}
	name := f.Node.Child.Name
	switch b.Status {
	case event.Completed:
		out, p := m.outside(f, b.Output, "the output of "+name)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.complete(f, out)
	case event.Faulted:
		p := program.NewProblem(event.Runtime, 500, "Child run faulted", f.Node.Reference, "the run of "+name+" faulted")
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
			p.Instance = f.Node.Reference
		}
		m.fault(f, p, "")
	case event.Pending, event.Running, event.Waiting, event.Suspended, event.Cancelled:
		m.fault(f, program.NewProblem(event.Runtime, 500, "Child run cancelled", f.Node.Reference, "the run of "+name+" was cancelled"), "")
	}
}

// tellChildren hands suspension and resumption on to awaited children (D40).
func (m *Machine) tellChildren(act string) {
	for _, f := range m.inOrder() {
		if f.Phase == state.Awaiting && !f.Told && !f.Answered {
			m.command(&CancelChild{Activation: f.ID, Child: m.childID(f), Act: act})
		}
	}
}
