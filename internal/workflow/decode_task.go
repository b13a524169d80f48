package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// escape writes a name as a step of a JSON pointer (RFC 6901, DSL 12).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// taskList is a list of named tasks (DSL 10). ref is the list's own reference.
func (d *decoder) taskList(n *node, a at, ref string, branches bool) TaskList {
	a.section = "task"
	if n.kind != ListValue {
		want := "a list of tasks"
		if n.kind == MapValue {
			want += "; put \"- \" before the name of each"
		}
		a.dsl = "DSL 10"
		d.wrong(n, a, want)
		return nil
	}
	var list TaskList
	first := map[string]int{}
	for i, item := range n.items {
		k, v, ok := d.named(item, at{a.section, fmt.Sprintf("%s[%d]", a.what, i), "DSL 10"})
		if !ok {
			continue
		}
		r := fmt.Sprintf("%s/%d/%s", ref, i, escape(k.name))
		d.taskName(k, r, first)
		if t := d.task(k, v, a, r); t != nil {
			list = append(list, t)
		}
	}
	d.lists = append(d.lists, jumpList{list, branches})
	return list
}

// named is an item of a list whose one key is its name.
func (d *decoder) named(item *node, a at) (key, *node, bool) {
	if item.kind != MapValue || len(item.keys) == 0 {
		d.wrong(item, a, "a map with one key, the name")
		return key{}, nil, false
	}
	if len(item.keys) > 1 {
		allowed := "each item has one key, its name"
		if item.items[0].isNull() {
			allowed += "; indent its properties under the name"
		}
		d.report(Finding{Pos: item.keys[1].pos, Rule: a.section + "/one-name", DSL: a.dsl, Message: fmt.Sprintf("%s has %d keys: %s, %s …", a.what, len(item.keys), quote(item.keys[0].name), quote(item.keys[1].name)), Allowed: allowed})
		return key{}, nil, false
	}
	return item.keys[0], item.items[0], true
}

func (d *decoder) taskName(k key, ref string, first map[string]int) {
	bad := func(rule, dsl, msg, allowed string) {
		d.report(Finding{Pos: k.pos, Rule: rule, DSL: dsl, Reference: ref, Message: msg, Allowed: allowed})
	}
	switch k.name {
	case "":
		bad("task/name", "DSL 10", "the task has an empty name", "")
	case "continue", "exit", "end":
		bad("task/reserved-name", "DSL 53-56, D8", fmt.Sprintf("%q is the name of a task", k.name), "it is a flow directive; name the task otherwise")
	}
	if line, twice := first[k.name]; twice {
		bad("task/duplicate-name", "DSL 11, D8", fmt.Sprintf("two tasks of this list are called %s, the first in line %d", quote(k.name), line), "flow directives find a task by its name, so it must be unique in its list")
	} else {
		first[k.name] = k.pos.Line
	}
	if _, has := d.tasks[k.name]; !has {
		d.tasks[k.name] = ref
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
func (d *decoder) task(k key, n *node, a at, ref string) *Task {
	outer := d.ref
	d.ref = ref
	defer func() { d.ref = outer }()
	a = at{"task", "task " + quote(k.name), "DSL 22-32"}
	if n.kind != MapValue {
		want := "a map"
		if n.isNull() {
			want += "; indent the task's properties under its name"
		}
		d.wrong(n, a, want)
		return nil
	}
	t := &Task{Pos: k.pos, Name: k.name, Reference: ref, Kind: d.kind(k, n, a), Literal: mapAny(n)}
	if t.Kind == NoKind {
		return nil
	}
	d.properties(n, a, false, append(append([]string{}, ownKeys[t.Kind]...), commonKeys...))
	t.If = d.expr(n.field("if"), at{"task", "if", "DSL 22"})
	t.Input = d.dataIn(n.field("input"), at{"input", "input", "DSL 24"})
	t.Output = d.dataOut(n.field("output"), at{"output", "output", "DSL 27"})
	t.Export = d.dataOut(n.field("export"), at{"export", "export", "DSL 29"})
	t.Timeout = d.timeoutRef(n.field("timeout"), at{"timeout", "timeout", "DSL 31"})
	t.Then = d.directive(n.field("then"), at{"flow", "then", "DSL 53-56"})
	if m := n.field("metadata"); m != nil {
		mapOf(anything)(d, m, at{"task", "metadata", "DSL 32"})
		t.Metadata = mapAny(m)
		if s := m.field("downbeat"); s != nil {
			t.Downbeat = d.taskSettings(s)
		}
	}
	d.body(t, n)
	return t
}

// kind tells what n does: exactly one of the DSL's tasks.
func (d *decoder) kind(k key, n *node, a at) Kind {
	var found []string
	for _, key := range n.keys {
		if key.name == "do" && n.field("for") != nil {
			continue // the body of the loop
		}
		if kindOf(key.name) != NoKind {
			found = append(found, key.name)
		}
	}
	switch len(found) {
	case 1:
		return kindOf(found[0])
	case 0:
		f := Finding{Pos: k.pos, Rule: "task/kind", DSL: a.dsl, Message: a.what + " does nothing", Allowed: "it must have one of " + strings.Join(kindNames[1:], ", ")}
		for _, key := range n.keys {
			if s := Nearest(key.name, kindNames[1:]); s != "" {
				f.Pos, f.Message, f.Suggestion = key.pos, fmt.Sprintf("%s has %s, which is no kind of task", a.what, quote(key.name)), s
				break
			}
		}
		d.report(f)
	default:
		d.report(Finding{Pos: k.pos, Rule: "task/kind", DSL: a.dsl, Message: fmt.Sprintf("%s has %s", a.what, strings.Join(found, " and ")), Allowed: "a task does one thing: write a task for each, or put them in a do"})
	}
	return NoKind
}

// directive is a flow directive (DSL 53-56).
func (d *decoder) directive(n *node, a at) Directive {
	if n == nil {
		return Directive{}
	}
	t, ok := n.scalar.(string)
	if !ok || t == "" {
		d.wrong(n, a, "continue, exit, end or the name of a task")
		return Directive{}
	}
	return Directive{n.pos, t}
}

// body decodes what the task's kind says.
func (d *decoder) body(t *Task, n *node) {
	main := n.field(t.Kind.String())
	ref := t.Reference
	switch t.Kind {
	case NoKind:
	case CallTask:
		d.call(t, main, n.field("with"), n)
	case DoTask:
		t.Do = d.taskList(main, at{"task", "do", "DSL 86"}, ref+"/do", false)
	case EmitTask:
		d.emit(t, main)
	case ForTask:
		d.forTask(t, main, n)
	case ForkTask:
		d.fork(t, main)
	case ListenTask:
		d.listen(t, main, n.field("foreach"))
	case RaiseTask:
		d.raise(t, main)
	case RunTask:
		d.run(t, main)
	case SetTask:
		a := at{"set", "set", "DSL 87"}
		if s, ok := main.scalar.(string); main.kind != MapValue && (!ok || strings.TrimSpace(s) == "") || main.kind == MapValue && len(main.keys) == 0 {
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

func (d *decoder) forTask(t *Task, main, n *node) {
	a := at{"for", "for", "DSL 98"}
	f := &For{Pos: main.pos, Each: "item", At: "index", While: d.expr(n.field("while"), at{"for", "while", "DSL 99"})}
	t.For = f
	if b := n.field("do"); b != nil {
		t.Do = d.taskList(b, at{"for", "do", "DSL 98"}, t.Reference+"/do", false)
	} else {
		d.missing(n, at{"for", "task " + quote(t.Name), "DSL 98"}, "do")
	}
	if !d.properties(main, a, false, []string{"each", "in", "at"}) {
		return
	}
	f.Each = d.variable(main.field("each"), a.in("each"), f.Each)
	f.At = d.variable(main.field("at"), a.in("at"), f.At)
	if in := main.field("in"); in != nil {
		f.In = d.collection(in, a.in("in"))
	} else {
		d.missing(main, a, "in")
	}
}

// collection is what a loop runs over: an expression, or a list in place.
func (d *decoder) collection(n *node, a at) Value {
	if s, ok := n.scalar.(string); n.kind != ListValue && (!ok || strings.TrimSpace(s) == "") {
		d.wrong(n, a, "an expression or a list")
	}
	for _, it := range n.items {
		if it.kind != MapValue {
			d.report(Finding{Pos: it.pos, Severity: SeverityHint, Rule: "portable/for-in", DSL: a.dsl, Message: fmt.Sprintf("%s holds %s", a.what, it.describe()), Allowed: "other runtimes want the items of a list in place to be maps"})
			break
		}
	}
	return n.value()
}

// variable is the name of a variable, without "$".
func (d *decoder) variable(n *node, a at, otherwise string) string {
	if n == nil {
		return otherwise
	}
	name, ok := n.scalar.(string)
	if !ok || !isVariable(name) {
		d.wrong(n, a, "the name of a variable: letters, digits and _, no digit first, no $")
		return otherwise
	}
	for _, v := range varNames {
		if v == "$"+name {
			d.report(Finding{Pos: n.pos, Severity: SeverityWarning, Rule: "variable/shadows", DSL: "DSL 102", Message: fmt.Sprintf("%s hides the variable %s of the specification", a.what, v)})
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

func (d *decoder) fork(t *Task, n *node) {
	a := at{"fork", "fork", "DSL 103"}
	t.Fork = &Fork{Pos: n.pos}
	if !d.properties(n, a, false, []string{"branches", "compete"}) {
		return
	}
	t.Fork.Compete = d.flag(n.field("compete"), a.in("compete"), false)
	if b := n.field("branches"); b != nil {
		t.Do = d.taskList(b, a.in("branches"), t.Reference+"/fork/branches", true)
	} else {
		d.missing(n, a, "branches")
	}
}

func (d *decoder) raise(t *Task, n *node) {
	a := at{"raise", "raise", "DSL 91"}
	t.Raise = &Raise{Pos: n.pos}
	if !d.properties(n, a, false, []string{"error"}) {
		return
	}
	switch e := n.field("error"); {
	case e == nil:
		d.missing(n, a, "error")
	case e.kind == MapValue:
		t.Raise.Error = d.errorDef(e, a.in("error"))
	default:
		t.Raise.Name = d.str(e, a.in("error"), someText)
		if t.Raise.Name != "" {
			d.resolve(e, "errors", t.Raise.Name, "DSL 21, DSL 91")
		}
	}
}

func (d *decoder) switchTask(t *Task, n *node) {
	a := at{"switch", "switch", "DSL 88"}
	if n.kind != ListValue || len(n.items) == 0 {
		d.wrong(n, a, "a list of cases, at least one, each with a name")
		return
	}
	def := -1
	names := map[string]bool{}
	for i, item := range n.items {
		c := at{"switch", fmt.Sprintf("switch[%d]", i), "DSL 88"}
		k, v, ok := d.named(item, c)
		if !ok {
			continue
		}
		c.what = "case " + quote(k.name)
		if names[k.name] {
			d.report(Finding{Pos: k.pos, Severity: SeverityWarning, Rule: "switch/duplicate-name", DSL: "DSL 88", Message: fmt.Sprintf("two cases are called %s", quote(k.name))})
		}
		names[k.name] = true
		if !d.properties(v, c, false, []string{"when", "then"}) {
			continue
		}
		if v.field("then") == nil {
			d.missing(v, at{"switch", c.what, "DSL 90"}, "then")
		}
		w := v.field("when")
		cs := Case{Pos: k.pos, Name: k.name, When: d.expr(w, c.in("when")), Then: d.directive(v.field("then"), at{"flow", c.what + ".then", "DSL 90"})}
		if w == nil && def >= 0 {
			d.report(Finding{Pos: k.pos, Rule: "switch/two-defaults", DSL: "DSL 88, D7", Message: "a second case has no `when`", Allowed: "at most one case is the default"})
		} else if w == nil {
			def = len(t.Switch)
		}
		t.Switch = append(t.Switch, cs)
	}
	if def >= 0 && def < len(t.Switch)-1 {
		d.report(Finding{Pos: t.Switch[def].Pos, Severity: SeverityWarning, Rule: "switch/default-not-last", DSL: "D7", Message: fmt.Sprintf("the default case %s is not the last", quote(t.Switch[def].Name)), Allowed: "it applies only after all others; other runtimes stop at it: put it last"})
	}
}

func (d *decoder) try(t *Task, main, n *node) {
	t.Do = d.taskList(main, at{"try", "try", "DSL 108"}, t.Reference+"/try", false)
	t.Try = &Catch{Pos: n.pos, As: "error"}
	c := n.field("catch")
	if c == nil {
		d.missing(n, at{"try", "task " + quote(t.Name), "DSL 108"}, "catch")
		return
	}
	a := at{"catch", "catch", "DSL 108"}
	t.Try.Pos = c.pos
	if !d.properties(c, a, false, []string{"errors", "as", "when", "exceptWhen", "retry", "do", "then"}) {
		return
	}
	t.Try.As = d.variable(c.field("as"), at{"catch", "catch.as", "DSL 110"}, "error")
	t.Try.When = d.expr(c.field("when"), at{"catch", "catch.when", "DSL 111"})
	t.Try.ExceptWhen = d.expr(c.field("exceptWhen"), at{"catch", "catch.exceptWhen", "DSL 111"})
	t.Try.Then = d.directive(c.field("then"), at{"flow", "catch.then", "DSL 112"})
	if b := c.field("do"); b != nil {
		t.Try.Do = d.taskList(b, at{"catch", "catch.do", "DSL 112"}, t.Reference+"/catch/do", false)
	}
	if r := c.field("retry"); r != nil {
		if name, ok := r.scalar.(string); ok {
			t.Try.RetryName = name
			d.resolve(r, "retries", name, "DSL 21, DSL 112")
		} else {
			t.Try.Retry = d.retry(r, at{"retry", "catch.retry", "DSL 116"})
		}
	}
	if e := c.field("errors"); e != nil {
		d.errorFilter(t.Try, e)
	}
}

// errorFilter is catch.errors. A filter that is not understood would catch
// everything, so unknown keys are errors though the schema lets them be.
func (d *decoder) errorFilter(c *Catch, n *node) {
	a := at{"catch", "catch.errors", "DSL 109"}
	if !d.properties(n, a, false, []string{"with"}) {
		return
	}
	w := n.field("with")
	if w == nil {
		return
	}
	object(false, may("type", text), may("status", whole(0, 999)), may("instance", text), may("title", text), may("detail", text), may("details", text))(d, w, a.in("with"))
	if w.kind == MapValue && len(w.keys) == 0 {
		d.wrong(w, a.in("with"), "a map with at least one key")
	}
	c.With = valueOf(w)
}
