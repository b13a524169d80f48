package graph

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// detail is one line of what a task does, in the author's words.
func detail(t *workflow.Task) string {
	switch t.Kind {
	case workflow.CallTask:
		if t.Call != nil {
			return callDetail(t.Call)
		}
	case workflow.RunTask:
		if t.Run != nil {
			return runDetail(t.Run)
		}
	case workflow.SetTask:
		if t.Set != nil && t.Set.Kind == workflow.MapValue {
			return strings.Join(t.Set.Keys, ", ")
		}
		return text(t.Set)
	case workflow.WaitTask:
		return duration(t.Wait)
	case workflow.EmitTask:
		return text(t.Emit.Field("type"))
	case workflow.RaiseTask:
		return raiseDetail(t.Raise)
	case workflow.ListenTask:
		if t.Listen != nil {
			return strategy(&t.Listen.To)
		}
	case workflow.ForTask:
		if t.For != nil {
			s := t.For.Each + " in " + collection(&t.For.In)
			if t.For.While != nil {
				s += " while " + expression(t.For.While.Source)
			}
			return s
		}
	case workflow.ForkTask:
		if t.Fork != nil && t.Fork.Compete {
			return fmt.Sprintf("first of %d wins", len(t.Do))
		}
		return count(len(t.Do), "branch", "branches")
	case workflow.SwitchTask:
		if len(t.Switch) > 0 && len(t.Switch) < 3 && t.Switch[0].When != nil && (len(t.Switch) == 1 || t.Switch[1].When == nil) {
			return expression(t.Switch[0].When.Source)
		}
		return count(len(t.Switch), "case", "cases")
	case workflow.NoKind, workflow.DoTask, workflow.TryTask:
	}
	return ""
}

func callDetail(c *workflow.Call) string {
	with := func(path ...string) string { return text(dig(&c.With, path...)) }
	switch {
	case c.Map != nil:
		limit := ""
		if c.Map.Limit != nil {
			limit = ", " + text(c.Map.Limit) + " at once"
		}
		return c.Map.Each + " in " + collection(&c.Map.In) + limit
	case c.Name == "http":
		return join(strings.ToUpper(with("method")), " ", address(dig(&c.With, "endpoint")))
	case c.Name == "grpc":
		return join(join(with("service", "name"), ".", with("method")), " on ", with("service", "host"))
	case c.Name == "openapi":
		return with("operationId")
	case c.Name == "asyncapi":
		verb := "publish"
		if c.With.Field("subscription") != nil {
			verb = "subscribe"
		}
		return join(verb, " ", with("operation")+with("channel"))
	case c.Name == "mcp":
		return join(with("method"), " ", with("parameters", "name"))
	case c.Name == "a2a":
		return join(with("method"), " on ", address(dig(&c.With, "agentCard", "endpoint"))+address(dig(&c.With, "server")))
	}
	s := ""
	for i, k := range c.With.Keys {
		if v := text(&c.With.Fields[i]); v != "" {
			s = join(s, ", ", k+": "+v)
		}
		if len(s) > maxDetail {
			break
		}
	}
	return join(c.Name, ": ", s)
}

func runDetail(r *workflow.Run) string {
	with := func(path ...string) string { return text(dig(&r.With, path...)) }
	s := ""
	switch r.Kind {
	case workflow.RunShell:
		s = "sh: " + with("command")
	case workflow.RunScript:
		s = with("code")
		if s == "" && r.Source != nil {
			s = strip(text(&r.Source.Endpoint.URI))
		}
		s = with("language") + ": " + s
	case workflow.RunContainer:
		s = join(with("image"), ": ", with("command"))
	case workflow.RunWorkflow:
		if r.Workflow != nil {
			s = r.Workflow.Namespace + "/" + r.Workflow.Name
			if v := r.Workflow.Version; v != "" {
				s += ":" + v
			}
		}
	case workflow.NoRun:
	}
	if !r.Await && s != "" {
		s += " (not awaited)"
	}
	return s
}

func raiseDetail(r *workflow.Raise) string {
	switch {
	case r == nil:
		return ""
	case r.Error == nil:
		return r.Name
	}
	return join(lastSegment(text(r.Error.Type)), " ", text(r.Error.Status))
}

// strategy says which events are waited for: "any order.*, payment.failed".
func strategy(s *workflow.Strategy) string {
	out := ""
	switch s.Mode {
	case workflow.One:
	case workflow.Any:
		out = "any"
	case workflow.All:
		out = "all"
	}
	types := ""
	for i := range s.Filters {
		types = join(types, ", ", filter(&s.Filters[i]))
	}
	if types == "" && s.Mode == workflow.Any {
		types = "event"
	}
	out = join(out, " ", types)
	switch {
	case s.UntilExpr != nil:
		out += " until " + expression(s.UntilExpr.Source)
	case s.UntilStrategy != nil:
		out += " until " + strategy(s.UntilStrategy)
	case s.UntilFalse:
		out += " for ever"
	}
	return out
}

// filter names the events of a filter: by type, else by its first attribute.
func filter(f *workflow.Filter) string {
	if t := f.With.Field("type"); t != nil {
		return text(t)
	}
	for i, k := range f.With.Keys {
		return k + " " + text(&f.With.Fields[i])
	}
	return ""
}

// duration writes a duration in the ISO 8601 form, or as the author's expression.
func duration(d *workflow.Duration) string {
	if length, ok := d.Literal(); ok {
		return length.String()
	}
	if d == nil {
		return ""
	}
	return text(&d.Value)
}

func collection(v *workflow.Value) string {
	if v != nil && v.Kind == workflow.ListValue {
		return count(len(v.Items), "item", "items")
	}
	return text(v)
}

// address shortens an endpoint to what people look for: host and path.
func address(v *workflow.Value) string {
	if v != nil && v.Kind == workflow.MapValue {
		v = v.Field("uri")
	}
	return strip(text(v))
}

// strip takes scheme and credentials off a URI.
func strip(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || strings.ContainsAny(scheme, "${ ") {
		return uri
	}
	host, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if slash {
		host += "/" + path
	}
	return strings.TrimSuffix(host, "/")
}

// text is a scalar as people write it; expressions lose their wrapping.
func text(v *workflow.Value) string {
	if v.IsZero() || v.Kind != workflow.ScalarValue {
		return ""
	}
	switch s := v.Scalar.(type) {
	case string:
		return expression(s)
	case bool:
		return strconv.FormatBool(s)
	case int:
		return strconv.Itoa(s)
	case float64:
		return strconv.FormatFloat(s, 'g', -1, 64)
	case *big.Int:
		if s != nil && s.BitLen() < 256 {
			return s.String()
		}
	}
	return ""
}

// expression takes ${ } off when it wraps the whole of s.
func expression(s string) string {
	s = strings.TrimSpace(s)
	inner, ok := strings.CutPrefix(s, "${")
	if !ok || !strings.HasSuffix(inner, "}") || strings.Contains(inner, "${") {
		return s
	}
	return strings.TrimSpace(inner[:len(inner)-1])
}

func dig(v *workflow.Value, path ...string) *workflow.Value {
	for _, p := range path {
		v = v.Field(p)
	}
	return v
}

func lastSegment(uri string) string {
	uri = strings.TrimRight(uri, "/")
	return uri[strings.LastIndexByte(uri, '/')+1:]
}

func join(a, sep, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
