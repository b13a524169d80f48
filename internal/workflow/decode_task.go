package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// escape writes a name as a step of a JSON pointer (RFC 6901, DSL 12).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// taskList is a list of named tasks (DSL 10). ref is the list's own reference.
func (d *decoder) taskList(n *source.Node, a at, ref string, branches bool) TaskList {
	a.section = "task"
	if n.Kind != ListValue {
		want := "a list of tasks"
		if n.Kind == MapValue {
			want += "; put \"- \" before the name of each"
		}
		a.dsl = "DSL 10"
		d.wrong(n, a, want)
		return nil
	}
	var list TaskList
	first := map[string]int{}
	for i, item := range n.Items {
		k, v, ok := d.named(item, at{a.section, fmt.Sprintf("%s[%d]", a.what, i), "DSL 10"})
		if !ok {
			continue
		}
		r := fmt.Sprintf("%s/%d/%s", ref, i, escape(k.Name))
		d.taskName(k, r, first)
		if t := d.task(k, v, r); t != nil {
			list = append(list, t)
		}
	}
	d.lists = append(d.lists, jumpList{tasks: list, branches: branches})
	return list
}

// named is an item of a list whose one key is its name.
func (d *decoder) named(item *source.Node, a at) (source.Key, *source.Node, bool) {
	if item.Kind != MapValue || len(item.Keys) == 0 {
		d.wrong(item, a, "a map with one key, the name")
		return source.Key{}, nil, false
	}
	if len(item.Keys) > 1 {
		allowed := "each item has one key, its name"
		if item.Items[0].IsNull() {
			allowed += "; indent its properties under the name"
		}
		d.report(Finding{Pos: item.Keys[1].Pos, Rule: a.section + "/one-name", DSL: a.dsl, Message: fmt.Sprintf("%s has %d keys: %s, %s …", a.what, len(item.Keys), source.Quote(item.Keys[0].Name), source.Quote(item.Keys[1].Name)), Allowed: allowed})
		return source.Key{}, nil, false
	}
	return item.Keys[0], item.Items[0], true
}

func (d *decoder) taskName(k source.Key, ref string, first map[string]int) {
	bad := func(rule, dsl, msg, allowed string) {
		d.report(Finding{Pos: k.Pos, Rule: rule, DSL: dsl, Reference: ref, Message: msg, Allowed: allowed})
	}
	switch k.Name {
	case "":
		bad("task/name", "DSL 10", "the task has an empty name", "")
	case "continue", "exit", "end":
		bad("task/reserved-name", "DSL 53-56, D8", fmt.Sprintf("%q is the name of a task", k.Name), "it is a flow directive; name the task otherwise")
	}
	if line, twice := first[k.Name]; twice {
		bad("task/duplicate-name", "DSL 11, D8", fmt.Sprintf("two tasks of this list are called %s, the first in line %d", source.Quote(k.Name), line), "flow directives find a task by its name, so it must be unique in its list")
	} else {
		first[k.Name] = k.Pos.Line
	}
	if _, has := d.tasks[k.Name]; !has {
		d.tasks[k.Name] = ref
	}
}

var (
	commonKeys = []string{"if", "input", "output", "export", "timeout", "then", "metadata"}
	ownKeys    = map[Kind][]string{
		CallTask: {"call", "with"}, DoTask: {"do"}, EmitTask: {"emit"}, ForTask: {"for", "while", "do"}, ForkTask: {"fork"}, ListenTask: {"listen", "foreach"},
		RaiseTask: {"raise"}, RunTask: {"run"}, SetTask: {"set"}, SwitchTask: {"switch"}, TryTask: {"try", "catch"}, WaitTask: {"wait"},
	}
)

// kindOf is the kind that the keyword names, or NoKind.
func kindOf(keyword string) Kind {
	return Kind(max(slices.Index(kindNames[:], keyword), 0))
}

// task is one task. It returns nil when its kind cannot be told.
func (d *decoder) task(k source.Key, n *source.Node, ref string) *Task {
	outer := d.ref
	d.ref = ref
	defer func() { d.ref = outer }()
	a := at{"task", "task " + source.Quote(k.Name), "DSL 22-32"}
	if n.Kind != MapValue {
		want := "a map"
		if n.IsNull() {
			want += "; indent the task's properties under its name"
		}
		d.wrong(n, a, want)
		return nil
	}
	t := &Task{Pos: k.Pos, Name: k.Name, Reference: ref, Kind: d.kind(k, n, a), Literal: mapAny(n)}
	if t.Kind == NoKind {
		return nil
	}
	d.properties(n, a, false, append(append([]string{}, ownKeys[t.Kind]...), commonKeys...))
	t.If = d.expr(n.Field("if"), at{"task", "if", "DSL 22"})
	t.Input = d.dataIn(n.Field("input"), at{"input", "input", "DSL 24"})
	t.Output = d.dataOut(n.Field("output"), at{"output", "output", "DSL 27"})
	t.Export = d.dataOut(n.Field("export"), at{"export", "export", "DSL 29"})
	t.Timeout = d.timeoutRef(n.Field("timeout"), at{"timeout", "timeout", "DSL 31"})
	t.Then = d.directive(n.Field("then"), at{"flow", "then", "DSL 53-56"})
	if m := n.Field("metadata"); m != nil {
		mapOf(anything)(d, m, at{"task", "metadata", "DSL 32"})
		t.Metadata = mapAny(m)
		if s := m.Field("downbeat"); s != nil {
			t.Downbeat = d.taskSettings(s)
		}
	}
	d.body(t, n)
	return t
}

// kind tells what n does: exactly one of the DSL's tasks.
func (d *decoder) kind(k source.Key, n *source.Node, a at) Kind {
	var found []string
	for _, key := range n.Keys {
		if key.Name == "do" && n.Field("for") != nil {
			continue // the body of the loop
		}
		if kindOf(key.Name) != NoKind {
			found = append(found, key.Name)
		}
	}
	switch len(found) {
	case 1:
		return kindOf(found[0])
	case 0:
		f := Finding{Pos: k.Pos, Rule: "task/kind", DSL: a.dsl, Message: a.what + " does nothing", Allowed: "it must have one of " + strings.Join(kindNames[1:], ", ")}
		for _, key := range n.Keys {
			if s := source.Nearest(key.Name, kindNames[1:]); s != "" {
				f.Pos, f.Message, f.Suggestion = key.Pos, fmt.Sprintf("%s has %s, which is no kind of task", a.what, source.Quote(key.Name)), s
				break
			}
		}
		d.report(f)
	default:
		d.report(Finding{Pos: k.Pos, Rule: "task/kind", DSL: a.dsl, Message: fmt.Sprintf("%s has %s", a.what, strings.Join(found, " and ")), Allowed: "a task does one thing: write a task for each, or put them in a do"})
	}
	return NoKind
}

// directive is a flow directive (DSL 53-56).
func (d *decoder) directive(n *source.Node, a at) Directive {
	if n == nil {
		return Directive{}
	}
	t, ok := n.Scalar.(string)
	if !ok || t == "" {
		d.wrong(n, a, "continue, exit, end or the name of a task")
		return Directive{}
	}
	return Directive{n.Pos, t}
}

// body decodes what the task's kind says.
func (d *decoder) body(t *Task, n *source.Node) {
	main := n.Field(t.Kind.String())
	ref := t.Reference
	switch t.Kind {
	case NoKind:
	case CallTask:
		d.call(t, main, n.Field("with"), n)
	case DoTask:
		t.Do = d.taskList(main, at{"task", "do", "DSL 86"}, ref+"/do", false)
	case EmitTask:
		d.emit(t, main)
	case ForTask:
		d.forTask(t, main, n)
	case ForkTask:
		d.fork(t, main)
	case ListenTask:
		d.listen(t, main, n.Field("foreach"))
	case RaiseTask:
		d.raise(t, main)
	case RunTask:
		d.run(t, main)
	case SetTask:
		a := at{"set", "set", "DSL 87"}
		if s, ok := main.Scalar.(string); main.Kind != MapValue && (!ok || strings.TrimSpace(s) == "") || main.Kind == MapValue && len(main.Keys) == 0 {
			d.wrong(main, a, "a map with at least one key, or an expression")
		}
		t.Set = valueOf(main)
	case SwitchTask:
		d.switchTask(t, main)
	case TryTask:
		d.try(t, main, n)
	case WaitTask:
		t.Wait = d.duration(main, at{"wait", "wait", "DSL 93"})
	}
}

func (d *decoder) forTask(t *Task, main, n *source.Node) {
	a := at{"for", "for", "DSL 98"}
	f := &For{Pos: main.Pos, Each: "item", At: "index", While: d.expr(n.Field("while"), at{"for", "while", "DSL 99"})}
	t.For = f
	if b := n.Field("do"); b != nil {
		t.Do = d.taskList(b, at{"for", "do", "DSL 98"}, t.Reference+"/do", false)
	} else {
		d.missing(n, at{"for", "task " + source.Quote(t.Name), "DSL 98"}, "do")
	}
	if !d.properties(main, a, false, []string{"each", "in", "at"}) {
		return
	}
	f.Each = d.variable(main.Field("each"), a.in("each"), f.Each)
	f.At = d.variable(main.Field("at"), a.in("at"), f.At)
	if in := main.Field("in"); in != nil {
		f.In = d.collection(in, a.in("in"))
	} else {
		d.missing(main, a, "in")
	}
}

// collection is what a loop runs over: an expression, or a list in place.
func (d *decoder) collection(n *source.Node, a at) Value {
	if s, ok := n.Scalar.(string); n.Kind != ListValue && (!ok || strings.TrimSpace(s) == "") {
		d.wrong(n, a, "an expression or a list")
		return toValue(n)
	}
	for _, it := range n.Items {
		if it.Kind != MapValue {
			d.report(Finding{Pos: it.Pos, Severity: SeverityHint, Rule: "portable/for-in", DSL: a.dsl, Message: fmt.Sprintf("%s holds %s", a.what, it.Describe()), Allowed: "other runtimes want the items of a list in place to be maps"})
			break
		}
	}
	return toValue(n)
}

// variable is the name of a variable, without "$".
func (d *decoder) variable(n *source.Node, a at, otherwise string) string {
	if n == nil {
		return otherwise
	}
	name, ok := n.Scalar.(string)
	if !ok || !isVariable(name) {
		d.wrong(n, a, "the name of a variable: letters, digits and _, no digit first, no $")
		return otherwise
	}
	for _, v := range varNames {
		if v == "$"+name {
			d.report(Finding{Pos: n.Pos, Severity: SeverityWarning, Rule: "variable/shadows", DSL: "DSL 102", Message: fmt.Sprintf("%s hides the variable %s of the specification", a.what, v)})
		}
	}
	return name
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && !strings.HasPrefix(s, "__")
}

func (d *decoder) fork(t *Task, n *source.Node) {
	a := at{"fork", "fork", "DSL 103"}
	t.Fork = &Fork{Pos: n.Pos}
	if !d.properties(n, a, false, []string{"branches", "compete"}) {
		return
	}
	t.Fork.Compete = d.flag(n.Field("compete"), a.in("compete"), false)
	if b := n.Field("branches"); b != nil {
		t.Do = d.taskList(b, a.in("branches"), t.Reference+"/fork/branches", true)
	} else {
		d.missing(n, a, "branches")
	}
}

func (d *decoder) raise(t *Task, n *source.Node) {
	a := at{"raise", "raise", "DSL 91"}
	t.Raise = &Raise{Pos: n.Pos}
	if !d.properties(n, a, false, []string{"error"}) {
		return
	}
	switch e := n.Field("error"); {
	case e == nil:
		d.missing(n, a, "error")
	case e.Kind == MapValue:
		t.Raise.Error = d.errorDef(e, a.in("error"))
	default:
		t.Raise.Name = d.str(e, a.in("error"), someText)
		if t.Raise.Name != "" {
			d.resolve(e, "errors", t.Raise.Name, "DSL 21, DSL 91")
		}
	}
}

func (d *decoder) switchTask(t *Task, n *source.Node) {
	a := at{"switch", "switch", "DSL 88"}
	if n.Kind != ListValue || len(n.Items) == 0 {
		d.wrong(n, a, "a list of cases, at least one, each with a name")
		return
	}
	def := -1
	names := map[string]bool{}
	for i, item := range n.Items {
		c := at{"switch", fmt.Sprintf("switch[%d]", i), "DSL 88"}
		k, v, ok := d.named(item, c)
		if !ok {
			continue
		}
		c.what = "case " + source.Quote(k.Name)
		if names[k.Name] {
			d.report(Finding{Pos: k.Pos, Severity: SeverityWarning, Rule: "switch/duplicate-name", DSL: "DSL 88", Message: fmt.Sprintf("two cases are called %s", source.Quote(k.Name))})
		}
		names[k.Name] = true
		if !d.properties(v, c, false, []string{"when", "then"}) {
			continue
		}
		if v.Field("then") == nil {
			d.missing(v, at{"switch", c.what, "DSL 90"}, "then")
		}
		w := v.Field("when")
		cs := Case{Pos: k.Pos, Name: k.Name, When: d.expr(w, c.in("when")), Then: d.directive(v.Field("then"), at{"flow", c.what + ".then", "DSL 90"})}
		if w == nil && def >= 0 {
			d.report(Finding{Pos: k.Pos, Rule: "switch/two-defaults", DSL: "DSL 88, D7", Message: "a second case has no `when`", Allowed: "at most one case is the default"})
		} else if w == nil {
			def = len(t.Switch)
		}
		t.Switch = append(t.Switch, cs)
	}
	if def >= 0 && def < len(t.Switch)-1 {
		d.report(Finding{Pos: t.Switch[def].Pos, Severity: SeverityWarning, Rule: "switch/default-not-last", DSL: "D7", Message: fmt.Sprintf("the default case %s is not the last", source.Quote(t.Switch[def].Name)), Allowed: "it applies only after all others; other runtimes stop at it: put it last"})
	}
}

func (d *decoder) try(t *Task, main, n *source.Node) {
	t.Do = d.taskList(main, at{"try", "try", "DSL 108"}, t.Reference+"/try", false)
	t.Try = &Catch{Pos: n.Pos, As: "error"}
	c := n.Field("catch")
	if c == nil {
		d.missing(n, at{"try", "task " + source.Quote(t.Name), "DSL 108"}, "catch")
		return
	}
	a := at{"catch", "catch", "DSL 108"}
	t.Try.Pos = c.Pos
	if !d.properties(c, a, false, []string{"errors", "as", "when", "exceptWhen", "retry", "do", "then"}) {
		return
	}
	t.Try.As = d.variable(c.Field("as"), at{"catch", "catch.as", "DSL 110"}, "error")
	t.Try.When = d.expr(c.Field("when"), at{"catch", "catch.when", "DSL 111"})
	t.Try.ExceptWhen = d.expr(c.Field("exceptWhen"), at{"catch", "catch.exceptWhen", "DSL 111"})
	t.Try.Then = d.directive(c.Field("then"), at{"flow", "catch.then", "DSL 112"})
	if b := c.Field("do"); b != nil {
		t.Try.Do = d.taskList(b, at{"catch", "catch.do", "DSL 112"}, t.Reference+"/catch/do", false)
	}
	if r := c.Field("retry"); r != nil {
		if name, ok := r.Scalar.(string); ok {
			t.Try.RetryName = name
			d.resolve(r, "retries", name, "DSL 21, DSL 112")
		} else {
			t.Try.Retry = d.retry(r, at{"retry", "catch.retry", "DSL 116"})
		}
	}
	if e := c.Field("errors"); e != nil {
		d.errorFilter(t.Try, e)
	}
}

// errorFilter is catch.errors. A filter that is not understood would catch
// everything, so unknown keys are errors though the schema lets them be.
func (d *decoder) errorFilter(c *Catch, n *source.Node) {
	a := at{"catch", "catch.errors", "DSL 109"}
	if !d.properties(n, a, false, []string{"with"}) {
		return
	}
	w := n.Field("with")
	if w == nil {
		return
	}
	object(false, may("type", text), may("status", whole(0, 999)), may("instance", text), may("title", text), may("detail", text), may("details", text))(d, w, a.in("with"))
	if w.Kind == MapValue && len(w.Keys) == 0 {
		d.wrong(w, a.in("with"), "a map with at least one key")
	}
	c.With = valueOf(w)
}
