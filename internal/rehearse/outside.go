package rehearse

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

// Call is one call of something outside that a run made.
type Call struct {
	Workflow   string // "namespace/name:version"
	Reference  string
	Name       string
	Kind       string
	Activation event.Activation
	Attempt    int
	Arguments  any
}

// dispatch answers an attempt by its mock.
func (h *host) dispatch(r *run, c *machine.Dispatch) {
	k := Call{Workflow: r.d.id(), Reference: c.Reference, Name: c.Name, Kind: c.Kind, Activation: c.Activation, Attempt: c.Attempt, Arguments: c.Arguments}
	h.res.Calls = append(h.res.Calls, k)
	o, out, ok := h.outcome(r, &k, c.Iteration)
	if h.res.Stopped {
		return
	}
	if !ok {
		if c.Kind != program.PassThrough {
			h.unmocked(&k)
			return
		}
		o, out = &Outcome{}, c.Arguments
	}
	at := o.Delay.AddTo(h.now)
	if o.Error != nil {
		h.answer(r, c.Activation, c.Attempt, at, &event.TaskFailed{Activation: c.Activation, Attempt: c.Attempt, Error: *o.Error})
		return
	}
	body := &event.TaskCompleted{Activation: c.Activation, Attempt: c.Attempt, Output: value.FromAny(out)}
	if c.WantsAuthorization {
		body.Authorization = o.Authorization
	}
	h.answer(r, c.Activation, c.Attempt, at, body)
}

// outcome asks the mocks of a task; ok is false when none answers.
func (h *host) outcome(r *run, k *Call, iteration []int) (o *Outcome, out any, ok bool) {
	at := target{r.d, k.Reference}
	where := place{r.id, k.Reference, fmt.Sprint(iteration), nil}
	indexes := make([]any, len(iteration))
	for i, x := range iteration {
		indexes[i] = x
	}
	lookup := func(name string) any {
		switch name {
		case "$iteration":
			return indexes
		case "$attempt":
			return h.answers[where] + 1
		case expr.NowVariable:
			return float64(h.now.UnixMicro()) / 1e6
		}
		return nil
	}
	for _, list := range [2][]*Mock{h.c.Mocks, h.r.suite.Mocks} {
		for _, m := range list {
			if m.at != at {
				continue
			}
			if m.When != nil {
				holds, err := m.When.EvalBool(budget(), k.Arguments, lookup)
				if err != nil {
					h.stop(m.Pos, "the mock's when fails: "+err.Error(), "its input are the arguments of the call")
					return nil, nil, false
				}
				if !holds {
					continue
				}
			}
			own := where
			own.mock = m // those that another mock answers do not count: a function has one task for many uses
			n := h.answers[own]
			i := min(n, len(m.Attempts)-1)
			h.asked[m] = max(h.asked[m], i+1)
			o = &m.Attempts[i]
			out = o.Output
			if o.template != nil {
				var err error
				if out, err = o.template.Eval(budget(), k.Arguments, lookup); err != nil {
					h.stop(o.Pos, "the mock's output fails: "+err.Error(), "the input of its expressions are the arguments of the call")
					return nil, nil, false
				}
			}
			h.answers[own]++
			h.answers[where]++
			return o, out, true
		}
	}
	return nil, nil, false
}

func budget() *expr.Budget { return &expr.Budget{Steps: expr.DefaultSteps} }

// unmocked stops the case: nothing is ever done for real.
func (h *host) unmocked(k *Call) {
	h.stop(h.c.Pos, fmt.Sprintf("the task %s (%s of %s%s) acts on the outside, and has no mock", k.Reference, k.Kind, k.Workflow, shortArguments(k)), h.suggest(k))
}

func shortArguments(k *Call) string {
	m, _ := k.Arguments.(map[string]any)
	switch k.Kind {
	case "http":
		e, _ := m["endpoint"].(map[string]any)
		return fmt.Sprintf(": %s %v", strings.ToUpper(fmt.Sprint(m["method"])), e["uri"])
	case "shell":
		return fmt.Sprintf(": %v", m["command"])
	}
	return ""
}

// suggest is the mock that is missing, to be copied into the test file.
func (h *host) suggest(k *Call) string {
	output := "{}"
	switch k.Kind {
	case "shell", "script", "container":
		output = `"what it prints"`
	}
	var b strings.Builder
	b.WriteString("add to the case:\n    mocks:\n      - task: " + h.shortName(k) + "\n")
	if k.Workflow != h.r.root.id() {
		name, _, _ := strings.Cut(k.Workflow, ":")
		b.WriteString("        workflow: " + name + "\n")
	}
	b.WriteString("        output: " + output)
	return b.String()
}

// shortName is the name of a task where that is enough, else its reference.
func (h *host) shortName(k *Call) string {
	if d := h.r.find(k.Workflow); d != nil {
		return yamledit.Text(d.Short(k.Reference))
	}
	return k.Reference
}

// startChild starts a run of another workflow, or asks the mock of the task.
func (h *host) startChild(r *run, c *machine.StartChild) {
	in, err := c.Input.Any()
	if err != nil {
		in = nil
	}
	t := r.d.tasks[c.Reference]
	k := Call{Workflow: r.d.id(), Reference: c.Reference, Kind: "workflow", Activation: c.Activation, Attempt: c.Attempt, Arguments: in}
	if t != nil {
		k.Name = t.Name
	}
	h.res.Calls = append(h.res.Calls, k)
	o, out, ok := h.outcome(r, &k, nil)
	if h.res.Stopped {
		return
	}
	if ok {
		if !c.Await {
			return
		}
		body := &event.ChildEnded{Activation: c.Activation, Attempt: c.Attempt, Child: c.Child, Status: event.Completed, Output: value.FromAny(out)}
		if o.Error != nil {
			body.Status, body.Output, body.Error = event.Faulted, value.Raw{}, o.Error
		}
		h.childEnded(r, c, o.Delay.AddTo(h.now), body)
		return
	}
	d := h.r.find(c.Name)
	if d == nil {
		h.stop(h.c.Pos, fmt.Sprintf("the task %s starts the workflow %s, which is not known", c.Reference, c.Name), "name the directory of its definition by workflows: at the top of the test file, or "+h.suggest(&k))
		return
	}
	if err := d.compile(h.r.options); err != nil {
		h.stop(h.c.Pos, fmt.Sprintf("the task %s starts the workflow %s: %v", c.Reference, c.Name, err), "")
		return
	}
	start := *c
	h.soon(func() {
		child := h.begin(d, start.Child, r, &start)
		doc := d.Workflow.Document
		h.apply(child, &event.RunStarted{
			Run: start.Child, Revision: machine.Revision, Definition: d.Workflow.Digest, Namespace: doc.Namespace, Name: doc.Name, Version: doc.Version,
			Input: start.Input, Trigger: "child", Depth: r.m.Started().Depth + 1, Runtime: "test",
			Parent: &event.Parent{Run: r.id, Activation: start.Activation, Attempt: start.Attempt, Await: start.Await},
		})
	})
}

// tellChild hands an act of a run on to a child that it awaits.
func (h *host) tellChild(r *run, c *machine.CancelChild) {
	id, act, activation := c.Child, c.Act, c.Activation
	h.soon(func() {
		child := h.byID[id]
		if child == nil { // played by a mock
			it := r.pending[childKey(activation)]
			if act == "cancel" && it != nil && !it.dead {
				attempt := 0
				for _, k := range h.res.Calls {
					if k.Activation == activation && k.Kind == "workflow" {
						attempt = k.Attempt
					}
				}
				h.childEnded(r, &machine.StartChild{Activation: activation}, h.now, &event.ChildEnded{Activation: activation, Attempt: attempt, Child: id, Status: event.Cancelled})
			}
			return
		}
		switch act {
		case "suspend":
			h.apply(child, &event.SuspendRequested{By: "parent"})
		case "resume":
			h.apply(child, &event.ResumeRequested{By: "parent"})
		default:
			h.apply(child, &event.CancelRequested{By: "parent"})
		}
	})
}

// incoming takes a cloud event of the case.
func (h *host) incoming(root *run, in *Incoming) {
	m := maps.Clone(in.Envelope)
	if m["time"] == nil {
		m["time"] = h.now.Format(time.RFC3339Nano)
	}
	sequence := h.accept(m)
	// Whether somebody takes it may turn out later (D41): look when all is over.
	h.after = append(h.after, func() {
		switch consumed := h.bus[sequence-1].consumed; {
		case in.Ignored && consumed:
			h.fail(in.Pos, fmt.Sprintf("the event %v was to be ignored, but a run has consumed it", m["type"]), nil)
		case !in.Ignored && !consumed && root.ended && in.After.AddTo(h.c.Start).After(h.res.Ended):
			h.fail(in.Pos, fmt.Sprintf("the event %v comes too late: the run ended after %s", m["type"], h.since()), nil)
		case !in.Ignored && !consumed:
			h.fail(in.Pos, fmt.Sprintf("nothing consumed the event %v; write ignored: true if that is meant", m["type"]), nil)
		}
	})
}

// accept offers a cloud event to the runs that listen.
func (h *host) accept(envelope map[string]any) int64 {
	h.bus = append(h.bus, accepted{envelope: envelope})
	sequence := int64(len(h.bus))
	for _, r := range h.runs {
		if r.ended || len(r.journal) == 0 || !r.m.Wants(envelope, "") {
			continue
		}
		h.bus[sequence-1].consumed, r.taken[len(h.bus)-1] = true, true
		h.apply(r, &event.CloudEventReceived{Sequence: sequence, Event: value.FromAny(envelope)})
	}
	return sequence
}

// early offers to a new listener what was accepted since its run began (D41).
func (h *host) early(r *run, a event.Activation) {
	for i := r.since; i < len(h.bus); i++ {
		if r.taken[i] || r.ended || h.res.Stopped || !r.m.Wants(h.bus[i].envelope, a) {
			continue
		}
		h.bus[i].consumed, r.taken[i] = true, true
		h.apply(r, &event.CloudEventReceived{Sequence: int64(i + 1), Event: value.FromAny(h.bus[i].envelope), Listener: a})
	}
}
