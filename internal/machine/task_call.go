package machine

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// performCall dispatches an attempt: a call or a process.
func (m *Machine) performCall(f *frame) {
	m.entered(f, 0)
	args, p := m.arguments(f, f.node.Call)
	if p != nil {
		m.fault(f, p, "")
		return
	}
	n := f.node
	d := m.newDispatch(n, f.id, f.attempt, args, f.seq.iter)
	if !n.Call.Await { // DSL 131: the run goes on, and its end does not wait for the process
		m.order++
		m.background = append(m.background, background{f.id, f.attempt, d, m.order})
		m.transition(f, Transition{Change: Dispatched, Status: event.Running})
		m.command(d)
		m.complete(f, f.input)
		return
	}
	f.phase = dispatched
	f.args = args
	m.expect(f)
	m.transition(f, Transition{Change: Dispatched, Status: event.Running})
	m.command(d)
}

// dispatchOf makes the command of a dispatched frame again.
func (m *Machine) dispatchOf(f *frame) *Dispatch {
	return m.newDispatch(f.node, f.id, f.attempt, f.args, f.seq.iter)
}

func (m *Machine) newDispatch(n *program.Node, id event.Activation, attempt int, args any, iteration []int) *Dispatch {
	return &Dispatch{
		Activation: id, Attempt: attempt, Reference: n.Reference, Name: n.Name, Kind: n.Call.Kind, Arguments: args,
		IdempotencyKey: m.idempotencyKey(id), MayRepeat: n.MayRepeat, WantsAuthorization: n.WantsAuthorization,
		Labels: n.Labels, Workspace: n.Workspace, Iteration: iteration,
	}
}

// arguments evaluates what the executor gets.
func (m *Machine) arguments(f *frame, c *program.Call) (any, *event.Problem) {
	if c.PassInput {
		return f.input, nil
	}
	args, p := m.eval(f, c.With, f.input)
	if p != nil || c.Endpoint == nil && c.Code == nil && c.Extra == nil {
		return args, p
	}
	given, _ := args.(map[string]any)
	out := make(map[string]any, len(given)+3)
	for k, v := range given {
		out[k] = v
	}
	for k, v := range c.Extra {
		out[k] = v
	}
	if c.Code != nil {
		if out["code"], p = m.eval(f, c.Code, f.input); p != nil {
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
func (m *Machine) endpoint(f *frame, e *program.Endpoint) (any, *event.Problem) {
	out := make(map[string]any, 2)
	if e.URI == nil {
		uri, err := value.URITemplate(e.Template, f.input)
		if err != nil {
			return nil, m.problem(event.Expression, 400, "URI template failed", f.node.Reference, fmt.Sprintf("endpoint %q: %v", e.Template, err))
		}
		out["uri"] = uri
	} else {
		v, p := m.eval(f, e.URI, f.input)
		if p != nil {
			return nil, p
		}
		switch v := v.(type) {
		case string:
			out["uri"] = v
		case map[string]any: // an expression may give the whole endpoint
			for k, x := range v {
				out[k] = x
			}
		default:
			return nil, m.wrongType(f, "the endpoint", "a URI", v)
		}
	}
	if e.Authentication != nil {
		auth, p := m.eval(f, e.Authentication, f.input)
		if p != nil {
			return nil, p
		}
		out["authentication"] = auth
	}
	return out, nil
}

func (m *Machine) wrongType(f *frame, what, want string, got any) *event.Problem {
	return m.problem(event.Expression, 400, "Wrong type", f.node.Reference, fmt.Sprintf("%s must be %s, but is %s", what, want, described(got)))
}

// described names a value's type for people, with the value when it is short.
func described(v any) string {
	t := value.TypeName(v)
	switch t {
	case "null":
		return "null"
	case "object", "array":
		return "an " + t
	}
	if text := value.JSON(v); len(text) <= 60 {
		return fmt.Sprintf("a %s (%s)", t, text)
	}
	return "a " + t
}

// expect notes that f waits for the answer of an attempt or child.
func (m *Machine) expect(f *frame) {
	if m.waiting == nil {
		m.waiting = map[event.Activation]*frame{}
	}
	m.order++
	f.order = m.order
	f.outstanding = true
	m.waiting[f.id] = f
	m.count(f, 1)
}

// count keeps apart attempts, which need this process, and children, which do not.
func (m *Machine) count(f *frame, by int) {
	if f.phase == awaiting {
		m.children += by
	} else {
		m.busy += by
	}
}

// forget ends what expect began.
func (m *Machine) forget(f *frame) {
	if m.waiting[f.id] == f {
		delete(m.waiting, f.id)
		m.count(f, -1)
	}
}

// release drops what an ended frame still has registered.
func (m *Machine) release(f *frame) {
	m.forget(f)
	if f.listen != nil {
		m.unlisten(f)
	}
	m.freeCollections(f)
}

// answered finds the frame that an answer is for. An answer to a stopping
// frame only ends its waiting.
func (m *Machine) answeredFrame(a event.Activation, attempt int) *frame {
	f := m.waiting[a]
	if f == nil || f.attempt != attempt {
		return nil
	}
	m.forget(f)
	f.outstanding, f.answered = false, false
	return f
}

func (m *Machine) taskCompleted(b *event.TaskCompleted) {
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		m.backgroundAnswered(b.Activation, b.Attempt)
		return
	}
	if f.stop != notStopping {
		m.settle(f)
		return
	}
	f.auth = b.Authorization
	out, p := m.outside(f, b.Output, "the output")
	if p != nil {
		m.fault(f, p, "")
		return
	}
	m.complete(f, out)
}

// outside reads a value that came from outside.
func (m *Machine) outside(f *frame, r value.Raw, what string) (any, *event.Problem) {
	if n := r.Size(); n > maxValue {
		return nil, m.problem(event.Runtime, 500, "Value too large", f.node.Reference, fmt.Sprintf("%s has %d bytes, more than the limit of %d (16 MiB)", what, n, maxValue))
	}
	v, err := r.Any()
	if err != nil {
		return nil, m.problem(event.Runtime, 500, "Not JSON", f.node.Reference, fmt.Sprintf("%s is not JSON: %v", what, err))
	}
	return v, nil
}

func (m *Machine) taskFailed(b *event.TaskFailed) {
	f := m.answeredFrame(b.Activation, b.Attempt)
	if f == nil {
		m.backgroundAnswered(b.Activation, b.Attempt)
		return
	}
	if f.stop != notStopping {
		m.settle(f)
		return
	}
	p := b.Error
	if p.Instance == "" {
		p.Instance = f.node.Reference
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
	f.unknown = b.Unknown
	if f.stop != notStopping {
		m.settle(f)
		return
	}
	detail := "the attempt was cancelled from outside"
	if b.Unknown {
		detail += "; whether it took effect is not known"
	}
	m.fault(f, m.problem(event.Runtime, 500, "Attempt cancelled", f.node.Reference, detail), "")
}

// backgroundAnswered ends an attempt that nobody waits for.
func (m *Machine) backgroundAnswered(a event.Activation, attempt int) {
	for i, b := range m.background {
		if b.activation == a && b.attempt == attempt {
			m.background = append(m.background[:i], m.background[i+1:]...)
			break
		}
	}
	if len(m.background) == 0 && m.ending != nil && (m.root == nil || m.root.current == nil) {
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
