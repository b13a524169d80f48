package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// portableTask looks at what is of the task's kind.
func (c *checker) portableTask(t *workflow.Task) {
	switch t.Kind {
	case workflow.CallTask:
		c.portableCall(t.Call)
	case workflow.EmitTask:
		if t.Emit.Field("source") == nil {
			c.recent(t.Emit.Pos, "DSL 95", "an emitted event without source")
		}
		if t.Output == nil || t.Output.As.IsZero() {
			c.hint(t.Pos, "portable/emit-output", "D26", "the output of emit is the event with its envelope; other runtimes give its data", "say with output.as what you need")
		}
	case workflow.ForTask:
		c.portableFor(t)
	case workflow.ForkTask:
		if t.Fork.Compete {
			c.hint(t.Pos, "portable/fork-race", "D4, D5", "the first branch to complete wins, a faulted one does not count; other runtimes take the first to end, or wait for all", "")
		} else {
			c.hint(t.Pos, "portable/fork-output", "D3", "runtimes differ in the output of a fork: here it is a list in the order of the branches", "")
		}
	case workflow.ListenTask:
		c.portableListen(t.Listen)
	case workflow.RaiseTask:
		if e := t.Raise.Error; e != nil && e.Instance != nil {
			c.hint(e.Instance.Pos, "portable/error-instance", "D18b", "an instance that the author gives is kept; other runtimes put the task there", "")
		}
	case workflow.RunTask:
		c.portableRun(t.Run)
	case workflow.SetTask:
		if t.Set.Kind == workflow.ScalarValue {
			c.since(t.Set.Pos, '1', "DSL 87", "set with one expression")
		}
	case workflow.SwitchTask:
		if !slices.ContainsFunc(t.Switch, func(k workflow.Case) bool { return k.When == nil }) {
			c.hint(t.Pos, "portable/switch", "D7", "when no case applies, the task's own `then` does; other runtimes fault", "add a case without `when`")
		}
	case workflow.TryTask:
		c.portableCatch(t.Try)
	case workflow.WaitTask:
		if s := t.Wait.Value.String(); expr.IsWrapped(s) {
			c.since(t.Wait.Pos, '2', "DSL 204", "a duration by an expression")
		}
	case workflow.NoKind, workflow.DoTask:
	}
}

func (c *checker) portableCall(k *workflow.Call) {
	for _, key := range []string{"endpoint", "document", "proto", "agentCard", "server"} {
		if k.Name == "asyncapi" && key == "server" {
			continue // the name of one
		}
		c.portableURI(k.With.Field(key))
	}
	switch {
	case k.Name == "grpc":
		c.portableGRPC(k)
	case k.Name == "a2a" || k.Name == "mcp":
		c.since(k.Pos, '2', "DSL 78, DSL 81", "call: "+k.Name)
	case k.Map != nil:
		c.hint(k.Pos, "portable/function", "D36", "call: map is of Downbeat's own catalogue", "for and fork are of the language")
	case c.def.FindFunction(k.Name) != nil:
		c.hint(k.Pos, "portable/function-scope", "D24", "a function sees its arguments as input and $context read-only; runtimes differ", "")
	case strings.Contains(k.Name, ":") && !strings.ContainsAny(k.Name, "@/"):
		c.hint(k.Pos, "portable/catalogue", "D23", fmt.Sprintf("%s without a catalogue means the default one; other runtimes look in a public one", source.Quote(k.Name)), "name the catalogue: name:1.0.0@catalogue")
	}
	if c.def.FindFunction(k.Name) == nil && !slices.Contains(protocols, k.Name) {
		for _, f := range c.options.Functions {
			if isNamed(k.Name, f.Name) {
				c.hint(k.Pos, "portable/function", "D37", fmt.Sprintf("the function %s is of Downbeat's own catalogue", source.Quote(f.Name)), "")
				break
			}
		}
	}
	if r := k.With.Field("redirect"); r != nil && r.Scalar == true && slices.Contains(protocols, k.Name) {
		c.hint(r.Pos, "portable/redirect", "D31", "redirects are followed, at most 10; other runtimes may hand the 3xx response on", "")
	}
	if k.Foreach != nil {
		c.hint(k.Foreach.Pos, "portable/foreach", "D34", "`do` sees the event, output.as and export.as what `do` gives; other runtimes apply them before", "")
	}
}

// portableGRPC looks at what the standard leaves out of its calls over gRPC.
func (c *checker) portableGRPC(k *workflow.Call) {
	if k.With.Field("proto") == nil {
		c.hint(k.With.Pos, "portable/grpc", "DSL 68", "without proto the server is asked to describe itself; other runtimes want a document", "name it: proto: {endpoint: …}")
	}
	if v := k.With.Field("metadata"); v != nil {
		c.hint(v.Pos, "portable/grpc", "DSL 68", "the standard knows no metadata of a call over gRPC; other runtimes refuse it", "")
	}
	if v := k.With.Field("arguments"); v != nil && v.Kind == workflow.ListValue {
		c.hint(v.Pos, "portable/grpc", "DSL 70", "a list of messages for a client that streams is Downbeat's reading; the standard does not say how to stream", "")
	}
	if v := k.With.Field("service").Field("host"); v != nil && strings.Contains(v.String(), "://") {
		c.hint(v.Pos, "portable/grpc", "DSL 69", "a scheme before the host, which says whether TLS is used, is Downbeat's reading; other runtimes want a name alone", "")
	}
}

func (c *checker) portableFor(t *workflow.Task) {
	c.hint(t.Pos, "portable/for-output", "D12", "each iteration gets what the one before gave, and the last output is the task's; other runtimes give a list, or the last output alone", "")
	if t.For.While != nil {
		c.hint(t.For.While.Pos, "portable/while", "D11", "`while` is evaluated before each iteration; other runtimes do so after it, or not at all", "")
	}
	if t.For.In.Kind == workflow.ListValue {
		c.recent(t.For.In.Pos, "DSL 98", "for.in with a list in place")
	}
}

func (c *checker) portableListen(l *workflow.Listen) {
	c.hint(l.Pos, "portable/listen", "D22, D41", "the output is a list, also of one event, and matching events since the run started count; other runtimes differ", "")
	if l.Foreach != nil {
		c.hint(l.Foreach.Pos, "portable/foreach", "D34", "`do` sees the event, output.as and export.as what `do` gives; other runtimes apply them before", "")
	}
	for i := range l.To.Filters {
		for j := range l.To.Filters[i].With.Fields {
			v := &l.To.Filters[i].With.Fields[j]
			if s := v.String(); constant(v) && regexpLike.MatchString(s) {
				c.hint(v.Pos, "portable/filter", "D22", fmt.Sprintf("%s matches as it stands, or as a regular expression for the whole; other runtimes do one of both", source.Quote(s)), "")
			}
		}
	}
}

var regexpLike = regexp.MustCompile(`[\\^$*+?\[\]()|]`)

func (c *checker) portableRun(r *workflow.Run) {
	if r.Kind == workflow.RunWorkflow {
		switch {
		case !r.Await:
			c.hint(r.Pos, "portable/child", "D25", "a child that is not awaited gives the task's input; other runtimes give {}", "")
		case r.Workflow != nil && r.Workflow.Input.IsZero():
			c.hint(r.Pos, "portable/child", "D25", "a child without input gets the task's; other runtimes give it {}", "say what the input is")
		}
		return
	}
	if r.Return != "code" && r.Return != "all" {
		c.hint(r.Pos, "portable/exit-code", "D27", "a non-zero exit code faults here; other runtimes may go on", "return: all or return: code lets the workflow decide")
	}
	if r.Return == "none" {
		c.hint(r.Pos, "portable/return-none", "D27", "return: none gives null; other runtimes give {}", "")
	}
	for _, key := range []string{"stdin", "arguments", "pullPolicy"} {
		if v := r.With.Field(key); v != nil && v.Kind != workflow.MapValue {
			c.since(v.Pos, '3', "DSL 135, DSL 140", key+" of run")
		}
	}
	if v := r.With.Field("arguments"); v != nil && r.Kind == workflow.RunShell {
		c.hint(v.Pos, "portable/shell-arguments", "D28", `the command reads its arguments as "$1", "$2" …; other runtimes append them to the text`, "")
	}
	if v := r.With.Field("language"); v != nil && r.Kind == workflow.RunScript {
		switch strings.ToLower(v.String()) {
		case "js":
			c.hint(v.Pos, "portable/language", "DSL 137", "js is the name since July 2026; runtimes for 1.0.3 know javascript", "")
		case "javascript":
			c.hint(v.Pos, "portable/language", "DSL 137", "javascript is the name before July 2026; newer runtimes know js", "")
		}
	}
	if r.Kind == workflow.RunScript {
		c.portableURI(r.With.Field("source"))
	}
}

func (c *checker) portableCatch(k *workflow.Catch) {
	if k.Then.Name != "" {
		c.recent(k.Then.Pos, "DSL 112", "catch.then")
	}
	for _, e := range []*workflow.Expr{k.When, k.ExceptWhen} {
		if e != nil {
			c.hint(e.Pos, "portable/catch-condition", "D15", fmt.Sprintf("`.` is the error; in other runtimes it is the task's input, and the error is $%s", k.As), fmt.Sprintf("read $%s alone", k.As))
		}
	}
	retries := k.Retry != nil || k.RetryName != ""
	switch {
	case retries && len(k.Do) > 0:
		c.hint(k.Pos, "portable/retry-do", "D15d", "`do` runs when the retries are used up; in other runtimes it runs before each, or never", "")
	case !retries && len(k.Do) == 0:
		c.hint(k.Pos, "portable/catch-output", "D15c", "a caught error without `do` gives the task's input; other runtimes give null, or what there was so far", "say in catch.do what the output is")
	}
	if k.With == nil {
		return
	}
	if v := k.With.Field("type"); v != nil && slices.ContainsFunc(errorPrefixes, func(p string) bool { return strings.HasPrefix(v.String(), p) }) {
		c.hint(v.Pos, "portable/error-type", "D18c", "the old and the new form of this type mean the same; other runtimes know one of them", "filter by status too, or instead")
	}
	if v := k.With.Field("instance"); v != nil {
		c.hint(v.Pos, "portable/error-instance", "D18", "runtimes differ in how they write where an error happened", "")
	}
	for _, key := range []string{"detail", "details"} {
		if v := k.With.Field(key); v != nil {
			c.hint(v.Pos, "portable/error-detail", "DSL 109, D18c", "the filter is called details until July 2026, then detail", "")
		}
	}
}

// portableRetry looks at a retry policy, in place or of use.
func (c *checker) portableRetry(r *workflow.Retry) {
	if !c.options.Portable {
		return
	}
	if r.AttemptCount != nil {
		c.hint(r.Pos, "portable/retry-count", "D16", "limit.attempt.count counts the retries after the first attempt; elsewhere perhaps all attempts", "")
	}
	if r.AttemptDuration != nil {
		c.hint(r.AttemptDuration.Pos, "portable/retry-duration", "D16", "limit.attempt.duration bounds each attempt; elsewhere perhaps all together", "")
	}
	if r.Backoff == "linear" || r.Backoff == "exponential" {
		c.hint(r.Pos, "portable/backoff", "D16b", fmt.Sprintf("the first %s delay is the delay itself; in other runtimes it may be twice as long", r.Backoff), "")
	}
	for _, e := range []*workflow.Expr{r.When, r.ExceptWhen} {
		if e != nil {
			c.hint(e.Pos, "portable/catch-condition", "D15", "`.` is the error; in other runtimes it is the task's input", "")
		}
	}
}
