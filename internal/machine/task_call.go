package machine

import (
	"fmt"
	"maps"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// performCall dispatches an attempt: a call or a process.
func (m *Machine) performCall(f *state.Frame) {
	m.entered(f, 0)
	args, p := m.arguments(f, f.Node.Call)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	n := f.Node
	f.Args = args
	d := m.dispatchOf(f)
	if !n.Call.Await { // DSL 131: the run goes on, and its end does not wait for the process
		m.r.Order++
		m.r.Background = append(m.r.Background, state.Background{Activation: f.ID, Attempt: f.Attempt, Node: n, Arguments: args, Iteration: f.Seq.Iter, Order: m.r.Order})
		m.transition(f, Transition{Change: Dispatched, Status: event.Running})
		m.command(d)
		m.complete(f, f.Input)
		return
	}
	f.Phase = state.Dispatched
	m.r.Expect(f)
	m.transition(f, Transition{Change: Dispatched, Status: event.Running})
	m.command(d)
}

// dispatchOf makes the command of a dispatched frame, also when it is given again.
func (m *Machine) dispatchOf(f *state.Frame) *Dispatch {
	d := m.newDispatch(f.Node, f.ID, f.Attempt, f.Args, f.Seq.Iter)
	if f.Node.Call.Await {
		d.Deadline = m.r.Deadline(f)
	}
	if s := f.Node.Call.Subscription; s != nil {
		m.aim(f)
		d.Scope = s.Scope(f.Node.Reference, m.variable)
	}
	return d
}

func (m *Machine) newDispatch(n *program.Node, id event.Activation, attempt int, args any, iteration []int) *Dispatch {
	return &Dispatch{
		Activation: id, Attempt: attempt, Reference: n.Reference, Name: n.Name, Kind: n.Call.Kind, Arguments: args,
		IdempotencyKey: m.r.IdempotencyKey(id), MayRepeat: n.MayRepeat, WantsAuthorization: n.WantsAuthorization,
		Labels: n.Labels, Workspace: n.Workspace, Iteration: iteration,
	}
}

// arguments evaluates what the executor gets.
func (m *Machine) arguments(f *state.Frame, c *program.Call) (any, *event.Problem) {
	if c.PassInput {
		return f.Input, nil
	}
	args, p := m.eval(f, c.With, f.Input)
	if p != nil || c.Endpoint == nil && c.Code == nil && c.Extra == nil && c.Subscription == nil {
		return args, p
	}
	given, _ := args.(map[string]any)
	out := make(map[string]any, len(given)+3)
	maps.Copy(out, given)
	maps.Copy(out, c.Extra)
	if c.Subscription != nil {
		out["subscription"] = c.Subscription.Complete(out["subscription"])
	}
	if c.Code != nil {
		if out["code"], p = m.eval(f, c.Code, f.Input); p != nil {
			return nil, p
		}
	}
	if c.Endpoint != nil {
		if out["endpoint"], p = m.endpoint(f, c.Endpoint); p != nil {
			return nil, p
		}
	}
	return out, nil
}

// endpoint is {uri, authentication}, the URI expanded (DSL 59, 205, 153).
func (m *Machine) endpoint(f *state.Frame, e *program.Endpoint) (any, *event.Problem) {
	out := make(map[string]any, 2)
	if e.URI == nil {
		uri, err := value.URITemplate(e.Template, f.Input)
		if err != nil {
			return nil, program.NewProblem(event.Expression, 400, "URI template failed", f.Node.Reference, fmt.Sprintf("endpoint %q: %v", e.Template, err))
		}
		out["uri"] = uri
	} else {
		v, p := m.eval(f, e.URI, f.Input)
		if p != nil {
			return nil, p
		}
		switch v := v.(type) {
		case string:
			out["uri"] = v
		case map[string]any: // an expression may give the whole endpoint
			maps.Copy(out, v)
		default:
			return nil, program.WrongType(f.Node.Reference, "the endpoint", "a URI", v)
		}
	}
	if e.Authentication != nil {
		auth, p := m.eval(f, e.Authentication, f.Input)
		if p != nil {
			return nil, p
		}
		out["authentication"] = auth
	}
	return out, nil
}

// release drops what an ended frame still has registered.
func (m *Machine) release(f *state.Frame) {
	m.r.Forget(f)
	if f.Listen != nil {
		m.unlisten(f)
	}
	m.freeCollections(f)
}

// answered finds the frame that an answer is for. An answer to a stopping
// frame only ends its waiting.
func (m *Machine) answeredFrame(a event.Activation, attempt int) *state.Frame {
	f := m.r.Waiting[a]
	if f == nil || f.Attempt != attempt {
		return nil
	}
	m.r.Forget(f)
	f.Outstanding, f.Answered = false, false
	return f
}

func (m *Machine) taskCompleted(b *event.TaskCompleted) {
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		m.backgroundAnswered(b.Activation, b.Attempt)
		return
	}
	if f.Stop != state.NotStopping {
		m.settle(f)
		return
	}
	f.Auth = b.Authorization
	out, p := m.outside(f, b.Output, "the output")
	if p != nil {
		m.fault(f, p, "")
		return
	}
	if f.Node.Listen != nil {
		m.iterateMessages(f, out)
		return
	}
	m.complete(f, out)
}

// outside reads a value that came from outside.
func (m *Machine) outside(f *state.Frame, r value.Raw, what string) (any, *event.Problem) {
	if n := r.Size(); n > maxValue {
		return nil, program.NewProblem(event.Runtime, 500, "Value too large", f.Node.Reference, fmt.Sprintf("%s has %d bytes, more than the limit of %d (16 MiB)", what, n, maxValue))
	}
	v, err := r.Any()
	if err != nil {
		return nil, program.NewProblem(event.Runtime, 500, "Not JSON", f.Node.Reference, fmt.Sprintf("%s is not JSON: %v", what, err))
	}
	return v, nil
}

func (m *Machine) taskFailed(b *event.TaskFailed) {
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		m.backgroundAnswered(b.Activation, b.Attempt)
		return
	}
	if f.Stop != state.NotStopping {
		m.settle(f)
		return
	}
	p := b.Error
	if p.Instance == "" {
		p.Instance = f.Node.Reference
	}
	if p.Type == "" {
		p.Type = event.TypePrefix + event.Runtime
	}
	if p.Status == 0 {
		p.Status = 500
	}
	m.fault(f, &p, "")
}

func (m *Machine) taskCancelled(b *event.TaskCancelled) {
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		m.backgroundAnswered(b.Activation, b.Attempt)
		return
	}
	f.Unknown = b.Unknown
	if f.Stop != state.NotStopping {
		m.settle(f)
		return
	}
	detail := "the attempt was cancelled from outside"
	if b.Unknown {
		detail += "; whether it took effect is not known"
	}
	m.fault(f, program.NewProblem(event.Runtime, 500, "Attempt cancelled", f.Node.Reference, detail), "")
}

// backgroundAnswered ends an attempt that nobody waits for.
func (m *Machine) backgroundAnswered(a event.Activation, attempt int) {
	for i, b := range m.r.Background {
		if b.Activation == a && b.Attempt == attempt {
			m.r.Background = append(m.r.Background[:i], m.r.Background[i+1:]...)
			break
		}
	}
	if len(m.r.Background) == 0 && m.r.Ending != nil && (m.r.Root == nil || m.r.Root.Current == nil) {
		m.rootStopped()
	}
}

func (m *Machine) settleBackground(e event.Event) {
	switch b := e.Body.(type) {
	case *event.TaskCompleted:
		m.backgroundAnswered(b.Activation, b.Attempt)
	case *event.TaskFailed:
		m.backgroundAnswered(b.Activation, b.Attempt)
	case *event.TaskCancelled:
		m.backgroundAnswered(b.Activation, b.Attempt)
	}
}
