package engine

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// childStart is the first event of a child: the same whenever it is made again.
// nil: the run did not record what the name stands for.
func (r *run) childStart(c *machine.StartChild) *event.RunStarted {
	var named *event.Named
	for i := range r.started.Definitions {
		if r.started.Definitions[i].Name == c.Name {
			named = &r.started.Definitions[i]
		}
	}
	if named == nil {
		return nil
	}
	ns, name, version := splitID(named.ID)
	return &event.RunStarted{
		Run: c.Child, Revision: machine.Revision, Definition: named.Digest, Namespace: ns, Name: name, Version: version,
		Definitions: r.started.Definitions, Input: c.Input, Trigger: "child", Depth: r.started.Depth + 1,
		Parent:  &event.Parent{Run: r.id, Activation: c.Activation, Attempt: c.Attempt, Await: c.Await},
		Runtime: r.s.e.o.Version, Directory: r.directory,
	}
}

// storeChild puts the child's row and first event into the commit that starts
// it. The child is pending until its own first commit: its machine is made after
// this one, so the hash of its first row is left open.
func (r *run) storeChild(b *journal.Batch, c *machine.StartChild) {
	body := r.childStart(c)
	if body == nil {
		return
	}
	id := body.Namespace + "/" + body.Name + ":" + body.Version
	b.Starts = append(b.Starts, journal.StartRow{
		ID: c.Child, Digest: body.Definition, Workflow: id, Trigger: body.Trigger, Parent: r.id, At: r.at,
		Priority: r.def.Priority, Status: event.Pending, Embedded: r.embedded, Directory: r.directory, Owned: true,
	})
	data := event.Append(nil, []event.Event{{At: r.at, Body: body}}, nil)
	if r.def.Sealed || r.childSealed(body.Definition) {
		data = r.s.e.Seal(c.Child, data)
	}
	b.Appends = append(b.Appends, journal.Row{Run: c.Child, Sequence: 1, At: r.at, Revision: machine.Revision, Data: data})
}

// childSealed reports whether the child's own rows will be encrypted; when its
// definition is not at hand, they are if they can be.
func (r *run) childSealed(digest string) bool {
	if d := r.s.e.defs.Cached(digest); d != nil {
		return d.Sealed
	}
	return r.s.e.Seals() == nil
}

// childStored makes the child live once its first event is durable.
func (r *run) childStored(c *machine.StartChild) {
	body := r.childStart(c)
	if body == nil {
		if c.Await {
			p := &event.Problem{
				Type: event.TypePrefix + event.Configuration, Status: 400, Title: "Workflow not found", Instance: c.Reference,
				Detail: "the run recorded no definition for " + c.Name + " when it started",
			}
			r.offer(&event.ChildEnded{Activation: c.Activation, Attempt: c.Attempt, Child: c.Child, Status: event.Faulted, Error: p})
		}
		return
	}
	e, child, at := r.s.e, c.Child, r.flight.at
	begin := func(def *definition) {
		e.shard(child).send(message{kind: msgCall, call: func(s *shard) {
			if s.runs[child] != nil || s.stopping {
				return
			}
			n := s.fresh(child, def, body)
			n.sequence, n.at, n.first, n.status = 1, at, at, event.Pending
			n.begin(event.Event{At: at, Body: body})
		}})
	}
	if def := e.defs.Cached(body.Definition); def != nil {
		begin(def)
		return
	}
	e.crew.Do(func() {
		def, err := e.defs.Read(e.ctx, body.Definition)
		if err != nil {
			e.o.Logger.Error("child cannot begin", errAttr(err))
			return
		}
		begin(def)
	})
}

// begin applies the first event of a run whose row is stored already.
func (r *run) begin(ev event.Event) {
	step, err := r.step(&ev)
	if err != nil {
		r.broken(err)
		return
	}
	r.took(step)
}

// storeAct puts an act on a child into the commit of the event that asks for it.
func (r *run) storeAct(b *journal.Batch, c *machine.CancelChild) {
	by := "parent " + r.id.String()
	kind, body := journal.InboxCancel, event.Body(&event.CancelRequested{By: by, Reason: "the parent was cancelled"})
	switch c.Act {
	case "suspend":
		kind, body = journal.InboxSuspend, &event.SuspendRequested{By: by}
	case "resume":
		kind, body = journal.InboxResume, &event.ResumeRequested{By: by}
	}
	key := fmt.Sprintf("%s %s at %d", c.Act, c.Activation, r.sequence+1)
	b.Inbox = append(b.Inbox, r.factFor(c.Child, kind, key, body))
}

// splitID takes "namespace/name:version" apart.
func splitID(id string) (ns, name, version string) {
	ns, name, _ = strings.Cut(id, "/")
	name, version, _ = strings.Cut(name, ":")
	return ns, name, version
}
