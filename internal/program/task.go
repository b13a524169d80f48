package program

import (
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// node compiles one task. vars are the loop variables that are in scope.
func (c *compiler) node(t *workflow.Task, index int, tasks workflow.TaskList, vars []string, l *List) *Node {
	was := c.at
	c.at = t.Reference
	defer func() { c.at = was }()
	n := &Node{Index: index, Name: t.Name, Reference: t.Reference, Task: t, Label: t.Kind.String(), MayRepeat: true}
	c.program.Nodes = append(c.program.Nodes, n)
	n.If = c.condition(t.If, workflow.IfSite, vars)
	n.Input = c.in(t.Input, workflow.InputFromSite, vars)
	n.Timeout = c.timeout(t.Timeout, workflow.TimeoutSite, vars)
	n.Then = c.flow(t.Then, tasks, l)
	after := vars
	if t.Kind == workflow.TryTask && t.Try != nil {
		after = with(vars, t.Try.As) // D15b
	}
	n.Output = c.out(t.Output, workflow.OutputSite, after)
	n.Export = c.out(t.Export, workflow.ExportSite, after)
	n.WantsAuthorization = n.Output != nil && n.Output.As.Reads("$authorization") ||
		n.Export != nil && n.Export.As.Reads("$authorization")
	if s := t.Downbeat; s != nil {
		n.MayRepeat = s.Interrupted != "fault"
		n.Labels, n.Workspace = s.On, s.Workspace
	}
	n.Extensions = c.extensionsOf(t.Kind)
	c.kind(n, t, tasks, vars, l)
	if s := t.Downbeat; s != nil && n.Call != nil && n.Call.Kind == workflow.RunContainer.String() {
		n.Call.settle(s)
	}
	return n
}

func (c *compiler) kind(n *Node, t *workflow.Task, tasks workflow.TaskList, vars []string, l *List) {
	switch t.Kind {
	case workflow.NoKind:
		c.fail("the task has no kind")
	case workflow.DoTask:
		n.Op, n.Body = Do, c.list(t.Do, vars)
	case workflow.SetTask:
		n.Op, n.Value = Set, c.body(t.Set, vars)
	case workflow.SwitchTask:
		n.Op = Switch
		for _, k := range t.Switch {
			n.Cases = append(n.Cases, Case{When: c.condition(k.When, workflow.SwitchSite, vars), Then: c.flow(k.Then, tasks, l)})
		}
	case workflow.RaiseTask:
		n.Op, n.Error = Raise, c.raise(t.Raise, vars)
	case workflow.WaitTask:
		n.Op, n.Duration = Wait, c.duration(t.Wait, workflow.BodySite, vars)
	case workflow.EmitTask:
		n.Op, n.Emit = Emit, c.body(t.Emit, vars)
	case workflow.ForTask:
		inner := with(vars, t.For.Each, t.For.At)
		n.Op, n.Body = For, c.list(t.Do, inner)
		n.For = &Loop{
			In: c.items(&t.For.In, vars), Each: dollar(t.For.Each), At: dollar(t.For.At),
			While: c.condition(t.For.While, workflow.WhileSite, inner),
		}
	case workflow.ForkTask:
		n.Op = Fork
		n.Compete = t.Fork != nil && t.Fork.Compete
		for _, b := range t.Do {
			// A list of its own for each branch: directives cannot cross branches (DSL 107).
			n.Branches = append(n.Branches, c.list(workflow.TaskList{b}, vars))
		}
	case workflow.TryTask:
		n.Op = Try
		n.Body = c.list(t.Do, vars)
		n.Try = c.catch(t.Try, tasks, vars, l)
	case workflow.ListenTask:
		n.Op = Listen
		c.listen(n, t.Listen, vars)
	case workflow.RunTask:
		c.run(n, t.Run, vars)
	case workflow.CallTask:
		c.call(n, t.Call, vars)
	}
}

func (c *compiler) raise(r *workflow.Raise, vars []string) *Error {
	e := r.Error
	if e == nil {
		e = c.def.FindError(r.Name)
	}
	if e == nil {
		c.fail("raise: use.errors has no %q", r.Name)
		return &Error{}
	}
	return &Error{
		Type: c.body(e.Type, vars), Status: c.body(e.Status, vars), Title: c.body(e.Title, vars),
		Detail: c.body(e.Detail, vars), Instance: c.body(e.Instance, vars),
	}
}

func (c *compiler) catch(k *workflow.Catch, tasks workflow.TaskList, vars []string, l *List) *Catch {
	if k == nil {
		k = &workflow.Catch{As: "error"}
	}
	inner := with(vars, k.As)
	out := &Catch{
		As:         dollar(k.As),
		When:       c.condition(k.When, workflow.CatchSite, inner),
		ExceptWhen: c.condition(k.ExceptWhen, workflow.CatchSite, inner),
	}
	if !k.With.IsZero() {
		out.With, _ = k.With.Any.(map[string]any)
	}
	if k.Do != nil {
		out.Do = c.list(k.Do, inner)
	}
	if k.Then.Name != "" {
		f := c.flow(k.Then, tasks, l)
		out.Then = &f
	}
	r := c.def.RetryPolicy(k)
	if r == nil && k.RetryName != "" {
		c.fail("retry: use.retries has no %q", k.RetryName)
	}
	if r != nil {
		out.Retry = &Retry{
			When: c.condition(r.When, workflow.RetrySite, inner), ExceptWhen: c.condition(r.ExceptWhen, workflow.RetrySite, inner),
			Delay: c.duration(r.Delay, workflow.RetrySite, inner), Backoff: r.Backoff, Count: r.AttemptCount,
			AttemptLimit: c.duration(r.AttemptDuration, workflow.RetrySite, inner), Limit: c.duration(r.LimitDuration, workflow.RetrySite, inner),
			JitterFrom: c.duration(r.JitterFrom, workflow.RetrySite, inner), JitterTo: c.duration(r.JitterTo, workflow.RetrySite, inner),
		}
	}
	return out
}

// settle hands a container what metadata.downbeat says of it: its limits, and
// the secret for the registry of its image.
func (k *Call) settle(s *workflow.TaskSettings) {
	if s.Registry != "" {
		k.Extra["registry"] = s.Registry
	}
	limits := map[string]any{}
	for _, name := range []string{"cpu", "memory"} {
		if v := s.Resources.Field(name); !v.IsZero() {
			limits[name] = v.Any
		}
	}
	if len(limits) > 0 {
		k.Extra["resources"] = limits
	}
}

// run compiles a run task: a child workflow, or a process for an executor.
func (c *compiler) run(n *Node, r *workflow.Run, vars []string) {
	n.Label = "run " + r.Kind.String()
	if r.Kind == workflow.RunWorkflow {
		n.Op = Child
		version := r.Workflow.Version
		if version == "" {
			version = "latest"
		}
		n.Child = &Spawn{Name: r.Workflow.Namespace + "/" + r.Workflow.Name + ":" + version, Input: c.body(r.Workflow.Input, vars), Await: r.Await}
		return
	}
	n.Op = Dispatch
	section, _ := r.With.Any.(map[string]any)
	plain := map[string]any{}
	for k, v := range section {
		if k != "code" && k != "source" {
			plain[k] = v
		}
	}
	call := &Call{Kind: r.Kind.String(), Await: r.Await, Extra: map[string]any{"return": r.Return}}
	if r.Return == "" {
		call.Extra["return"] = "stdout"
	}
	if !r.Await {
		call.Extra["await"] = false
	}
	if s := c.def.Downbeat; s != nil && s.Shell != "" && r.Kind == workflow.RunShell { // D28
		call.Extra["shell"] = s.Shell
	}
	if code, ok := section["code"]; ok {
		call.Code = c.template(code, workflow.BodySite, vars, true) // D14c
	}
	if r.Source != nil && r.Source.Content != nil { // attached when the definition was linked
		call.Code = &Value{literal: *r.Source.Content}
	} else if source, ok := section["source"]; ok {
		plain["source"] = c.inlineAuth(source)
	}
	call.With = c.template(plain, workflow.BodySite, vars, false)
	n.Call = call
}

// call compiles a call: a protocol, a function of the document, map, or a
// function of the default catalogue, in this order (DSL 84, 85, D23, D37).
func (c *compiler) call(n *Node, k *workflow.Call, vars []string) {
	n.Label = "call " + k.Name
	switch k.Name {
	case "http", "grpc", "openapi", "asyncapi", "mcp", "a2a":
		n.Op = Dispatch
		n.Call = c.protocol(n, k, vars)
		return
	}
	if i := c.def.Use.Functions.Index(k.Name); i >= 0 {
		n.Op = Function
		if k.With.IsZero() {
			n.Value = &Value{literal: map[string]any{}}
		} else {
			n.Value = c.body(&k.With, vars)
		}
		c.attach = append(c.attach, func() { n.Body = c.function(k.Name, c.def.Use.Functions[i]) })
		return
	}
	if k.Map != nil {
		inner := with(vars, k.Map.Each, k.Map.At)
		n.Op = Map
		n.Map = &Fan{
			In: c.items(&k.Map.In, vars), Each: dollar(k.Map.Each), At: dollar(k.Map.At),
			Continue: k.Map.OnError == "continue",
		}
		if !k.Map.Limit.IsZero() {
			n.Map.Limit = c.items(k.Map.Limit, vars)
		}
		n.Body = c.list(k.Map.Do, inner)
		return
	}
	kind, catalog, _ := strings.Cut(k.Name, "@")
	kind, _, _ = strings.Cut(kind, ":")
	for _, f := range c.options.Functions {
		if f == kind && (catalog == "" || catalog == "default") {
			n.Op = Dispatch
			n.Call = &Call{Kind: kind, With: c.body(&k.With, vars), PassInput: kind == PassThrough, Await: true}
			if n.Call.With == nil {
				n.Call.With = &Value{literal: map[string]any{}}
			} else {
				n.Call.PassInput = false
			}
			return
		}
	}
	if workflow.IsURI(k.Name) || catalog != "" {
		c.fail("call: the function %q is not attached: a definition is linked before it is compiled", k.Name)
		return
	}
	c.fail("call: there is no function %q: it is neither a protocol, nor in use.functions, nor in the default catalogue", k.Name)
}

// function compiles the body of a function once; a call of it, from wherever,
// shares it. It sees no variable of its callers (D24).
func (c *compiler) function(name string, t *workflow.Task) *List {
	if l, ok := c.functions[name]; ok {
		return l
	}
	l := &List{}
	c.functions[name] = l
	l.Nodes = []*Node{c.node(t, 0, workflow.TaskList{t}, nil, l)}
	return l
}

// protocol compiles the arguments of one of the protocol calls (DSL 58-83).
func (c *compiler) protocol(n *Node, k *workflow.Call, vars []string) *Call {
	call := &Call{Kind: k.Name, Await: true}
	args, _ := k.With.Any.(map[string]any)
	plain := map[string]any{}
	for key, v := range args {
		if k.Name == "http" && key == "endpoint" {
			call.Endpoint = c.endpoint(v, vars)
			continue
		}
		if k.Name == "asyncapi" && key == "subscription" {
			call.Subscription, v = c.subscription(n, k, v, vars)
		}
		plain[key] = v
	}
	if m, ok := c.inlineAuth(plain).(map[string]any); ok {
		plain = m
	}
	call.With = c.template(plain, workflow.BodySite, vars, false)
	return call
}

// endpoint takes apart an endpoint: a URI, a URI template, an expression, or
// an object of one and an authentication (DSL 59).
func (c *compiler) endpoint(v any, vars []string) *Endpoint {
	e := &Endpoint{}
	if m, ok := v.(map[string]any); ok {
		if auth, ok := m["authentication"]; ok {
			e.Authentication = c.template(c.policy(auth), workflow.BodySite, vars, false)
		}
		v = m["uri"]
	}
	s, ok := v.(string)
	switch {
	case ok && strings.Contains(s, "{") && !expr.IsWrapped(s) && !expr.HasInterpolation(s):
		e.Template = s
	default:
		e.URI = c.template(v, workflow.BodySite, vars, false)
	}
	return e
}

// free are the arguments whose content is the author's data, in which
// "authentication" is just a word.
var free = map[string]bool{"body": true, "headers": true, "query": true, "parameters": true, "arguments": true, "message": true, "environment": true}

// inlineAuth puts the policies of use.authentications in the place of their names.
func (c *compiler) inlineAuth(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, x := range m {
		switch {
		case k == "authentication":
			out[k] = c.policy(x)
		case free[k]:
			out[k] = x
		default:
			out[k] = c.inlineAuth(x)
		}
	}
	return out
}

// policy resolves {use: name}; a policy written in place stays as it is.
func (c *compiler) policy(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	name, ok := m["use"].(string)
	if !ok {
		return v
	}
	switch a := c.def.FindAuth(name); {
	case a == nil:
		c.fail("authentication: use.authentications has no %q", name)
		return v
	case a.Secret != "":
		return map[string]any{a.Scheme: map[string]any{"use": a.Secret}}
	default:
		return map[string]any{a.Scheme: a.With.Any}
	}
}
