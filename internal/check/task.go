package check

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func (c *checker) list(l workflow.TaskList, p place) {
	c.flow(l)
	for _, t := range l {
		c.task(t, p)
	}
}

// task checks one task and what is inside it. p is what surrounds it.
func (c *checker) task(t *workflow.Task, p place) {
	outer := c.ref
	defer func() { c.ref = outer }()
	c.ref = t.Reference
	c.expr(t.If, workflow.IfSite, p.vars, true)
	if t.Input != nil {
		c.schema(t.Input.Schema, p.vars)
		c.selector(t.Input.From, workflow.InputFromSite, p.vars)
	}
	after := p.vars
	if t.Try != nil { // D15b
		after = p.with(t.Try.As).vars
	}
	c.out(t.Output, workflow.OutputSite, after)
	c.out(t.Export, workflow.ExportSite, after)
	c.exported(t, p)
	c.timeout(t.Timeout, workflow.TimeoutSite, p.vars)
	if s := t.Downbeat; s != nil {
		c.template(s.Cache.Field("key"), workflow.TaskSettingSite, p.vars, templateOptions{})
		c.settings(t.Metadata, s.Pos)
		c.registry(t, s)
	}
	c.body(t, p)
}

func (c *checker) exported(t *workflow.Task, p place) {
	switch {
	case t.Export == nil:
	case p.function:
		c.warn(t.Export.Pos, "function/export", "D24", "export inside a function has no effect", "export from the task that calls it")
	case p.branch:
		c.warn(t.Export.Pos, "fork/export", "D6", "what a branch exports is seen in that branch only and dropped when the branches join", "export from the fork or map itself")
	}
}

func (c *checker) out(o *workflow.DataOut, site workflow.Site, vars []string) {
	if o != nil {
		c.selector(o.As, site, vars)
		c.schema(o.Schema, vars)
	}
}

func (c *checker) body(t *workflow.Task, p place) {
	v := p.vars
	lint := templateOptions{lint: true}
	switch t.Kind {
	case workflow.NoKind:
	case workflow.CallTask:
		c.call(t.Call, p)
	case workflow.DoTask:
		c.list(t.Do, p)
	case workflow.EmitTask:
		c.template(t.Emit, workflow.BodySite, v, lint)
	case workflow.ForTask:
		inner := p.with(t.For.Each, t.For.At)
		c.items(&t.For.In, v)
		c.expr(t.For.While, workflow.WhileSite, inner.vars, true)
		c.list(t.Do, inner)
	case workflow.ForkTask:
		c.fork(t, p)
	case workflow.ListenTask:
		inner := p
		if f := t.Listen.Foreach; f != nil {
			inner = p.with(f.Item, f.At)
			c.foreach(f, inner)
		}
		c.strategy(&t.Listen.To, workflow.ListenFilterSite, v, inner.vars)
	case workflow.RaiseTask:
		c.raise(t, v)
	case workflow.RunTask:
		c.run(t, v)
	case workflow.SetTask:
		lint.lint = t.Set.Kind != workflow.ScalarValue
		c.template(t.Set, workflow.BodySite, v, lint)
		if s, ok := t.Set.Scalar.(string); ok && !expr.IsWrapped(s) && !expr.HasInterpolation(s) && !c.def.Evaluate.Loose {
			c.warn(t.Set.Pos, "set/text", "DSL 87, D14", fmt.Sprintf("set is the text %s", source.Quote(s)), fmt.Sprintf("write ${ %s } if it is an expression", s))
		}
	case workflow.SwitchTask:
		for _, k := range t.Switch {
			c.expr(k.When, workflow.SwitchSite, v, true)
		}
	case workflow.TryTask:
		c.list(t.Do, p)
		c.catch(t.Try, p)
	case workflow.WaitTask:
		c.duration(t.Wait, workflow.BodySite, v, "wait")
	}
}

func (c *checker) fork(t *workflow.Task, p place) {
	inner := p
	inner.branch = true
	for _, b := range t.Do { // no directive leads from one branch to another (DSL 107)
		c.list(workflow.TaskList{b}, inner)
	}
	if t.Fork != nil && !t.Fork.Compete && len(t.Do) > 1 {
		c.hint(t.Pos, "fork/names", "D3", "the output is a list in the order of the branches; their names are lost", `output.as can give names: {"first": .[0], "second": .[1]}`)
	}
}

func (c *checker) foreach(f *workflow.Foreach, inner place) {
	c.out(f.Output, workflow.OutputSite, inner.vars)
	c.out(f.Export, workflow.ExportSite, inner.vars)
	c.list(f.Do, inner)
}

func (c *checker) raise(t *workflow.Task, vars []string) {
	if t.Then.Name != "" {
		c.warn(t.Then.Pos, "raise/then", "D29", "`then` on a raise has no effect: the error leaves, and a skipped task goes on with the next one", "put the directive on another task, or use a switch")
	}
	e := t.Raise.Error
	if t.Raise.Name != "" && c.named("errors", t.Raise.Name) {
		e = c.def.FindError(t.Raise.Name)
	}
	c.errorDef(e, vars)
}

func (c *checker) errorDef(e *workflow.Error, vars []string) {
	if e == nil {
		return
	}
	for _, v := range []*workflow.Value{e.Type, e.Status, e.Title, e.Detail, e.Instance} {
		c.template(v, workflow.BodySite, vars, templateOptions{})
	}
	c.errorType(e.Type)
}

func (c *checker) catch(k *workflow.Catch, p place) {
	inner := p.with(k.As)
	c.errorType(k.With.Field("type"))
	c.expr(k.When, workflow.CatchSite, inner.vars, true)
	c.expr(k.ExceptWhen, workflow.CatchSite, inner.vars, true)
	r := k.Retry
	if k.RetryName != "" && c.named("retries", k.RetryName) {
		r = c.def.FindRetry(k.RetryName)
	}
	c.retry(r, inner.vars)
	c.list(k.Do, inner)
}

func (c *checker) retry(r *workflow.Retry, vars []string) {
	if r == nil {
		return
	}
	c.portableRetry(r)
	c.expr(r.When, workflow.RetrySite, vars, true)
	c.expr(r.ExceptWhen, workflow.RetrySite, vars, true)
	c.duration(r.Delay, workflow.RetrySite, vars, "delay")
	c.duration(r.AttemptDuration, workflow.RetrySite, vars, "limit.attempt.duration")
	c.duration(r.LimitDuration, workflow.RetrySite, vars, "limit.duration")
	c.duration(r.JitterFrom, workflow.RetrySite, vars, "jitter.from")
	c.duration(r.JitterTo, workflow.RetrySite, vars, "jitter.to")
	from, ok1 := r.JitterFrom.Literal()
	if to, ok2 := r.JitterTo.Literal(); ok1 && ok2 && from.Std() > to.Std() {
		c.fail(r.JitterFrom.Pos, "retry/jitter", "DSL 116, D16b", "jitter.from is longer than jitter.to", "the jitter is drawn from the range between them")
	}
	if length, ok := r.Delay.Literal(); r.Delay == nil || ok && length.IsZero() {
		if r.AttemptCount == nil && r.LimitDuration == nil {
			c.warn(r.Pos, "retry/no-delay", "D16", "the retry has neither a delay nor a limit: it repeats every 100 ms for ever", "give it a delay, a backoff and a limit")
		} else {
			c.hint(r.Pos, "retry/no-delay", "D16", "the retry has no delay: 100 ms are waited", "")
		}
	}
	if r.AttemptCount != nil && *r.AttemptCount == 0 {
		c.warn(r.Pos, "retry/none", "D16", "limit.attempt.count is 0: nothing is retried", "it counts the retries after the first attempt")
	}
}

func (c *checker) timeout(t *workflow.TimeoutRef, site workflow.Site, vars []string) {
	if t == nil || t.Name != "" && !c.named("timeouts", t.Name) {
		return
	}
	after := c.def.TimeoutAfter(t)
	c.duration(after, site, vars, "timeout.after")
	if length, ok := after.Literal(); ok && length.IsZero() {
		c.warn(after.Pos, "timeout/zero", "DSL 31", "timeout.after is no time at all: the task times out at once", "")
	}
}

func (c *checker) duration(d *workflow.Duration, site workflow.Site, vars []string, what string) {
	if d == nil {
		return
	}
	c.template(&d.Value, site, vars, templateOptions{})
	if constant(&d.Value) {
		if _, err := value.DurationFromValue(d.Value.Any); err != nil {
			c.fail(d.Pos, "duration/invalid", "DSL 202-204", what+": "+err.Error(), "")
		}
	}
}

// constant reports whether no string of v is an expression.
func constant(v *workflow.Value) bool {
	for i := range v.Items {
		if !constant(&v.Items[i]) {
			return false
		}
	}
	for i := range v.Fields {
		if !constant(&v.Fields[i]) {
			return false
		}
	}
	s, ok := v.Scalar.(string)
	return !ok || !expr.IsWrapped(s) && !expr.HasInterpolation(s)
}

var attributes = []string{"id", "source", "type", "time", "subject", "datacontenttype", "dataschema", "data", "specversion"}

// strategy checks the filters and the end of an event consumption strategy.
// inner has the variables of the foreach too.
func (c *checker) strategy(s *workflow.Strategy, site workflow.Site, vars, inner []string) {
	until := workflow.UntilSite
	if site == workflow.ScheduleSite {
		until = site
	}
	c.expr(s.UntilExpr, until, inner, true)
	for i := range s.Filters {
		f := &s.Filters[i]
		c.template(&f.With, site, vars, templateOptions{})
		for i, name := range f.With.Keys { // an extension may have any name, so a run would wait without end
			if near := source.Nearest(name, attributes); near != "" && near != name {
				c.warn(f.With.Fields[i].Pos, "event/attribute", "DSL 126", fmt.Sprintf("%q is no attribute of the standard", name), fmt.Sprintf("did you mean %q? An extension of this name passes too", near))
			}
		}
		for _, k := range f.Correlate {
			c.expr(&k.From, site, vars, false)
			c.template(k.Expect, site, vars, templateOptions{lint: true})
		}
	}
	if s.UntilStrategy != nil {
		c.strategy(s.UntilStrategy, site, vars, inner)
	}
}

// schema compiles a schema that is written in place.
func (c *checker) schema(s *workflow.Schema, vars []string) {
	if s == nil {
		return
	}
	if s.Resource != nil {
		c.unsupported("resource:remote", s.Resource.Pos, "DSL 201, DSL 206", "a schema cannot be read from a resource", "write it in place, under schema.document")
		c.endpoint(&s.Resource.Endpoint, vars)
	}
	if s.Document.IsZero() {
		return
	}
	if _, err := schema.Compile(s.Document.Any); err != nil {
		c.fail(s.Document.Pos, "schema/invalid", "DSL 206", "the schema does not compile: "+strings.TrimPrefix(err.Error(), "compile JSON schema: "), "it must be a JSON Schema")
	}
}
