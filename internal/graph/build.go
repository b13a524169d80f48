package graph

import (
	"slices"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

type builder struct {
	def   *workflow.Definition
	g     *Graph
	edges map[[2]int]int // place in g.Edges, by the ends
}

// shape of a task list: what stands at its ends.
type listShape uint8

const (
	plainList listShape = iota
	loopList            // rounds: an exit and the way back
	forkList            // branches between a split and a join
)

// Targets of a directive that are no task.
const (
	toExit = -2 - iota
	toEnd
	toNowhere
)

func (b *builder) add(n Node) int {
	n.Detail, n.Name = clean(n.Detail, maxDetail), clean(n.Name, maxName)
	n.Condition = clean(n.Condition, maxDetail)
	b.g.Nodes = append(b.g.Nodes, n)
	return len(b.g.Nodes) - 1
}

// mark adds a node that stands for no task, in the frame scope.
func (b *builder) mark(scope int, r Role) int {
	id := "#" + r.String()
	if scope >= 0 {
		id = b.g.Nodes[scope].ID + id
	}
	return b.add(Node{ID: id, Parent: scope, Role: r})
}

// edge joins two nodes; edges between the same two become one.
func (b *builder) edge(e Edge) {
	if at, ok := b.edges[[2]int{e.From, e.To}]; ok {
		old := &b.g.Edges[at]
		old.Label = clean(join(old.Label, ", ", e.Label), maxName)
		old.Condition = clean(join(old.Condition, ", ", e.Condition), maxDetail)
		return
	}
	b.edges[[2]int{e.From, e.To}] = len(b.g.Edges)
	b.g.Edges = append(b.g.Edges, e)
}

// list draws the tasks of one list, and how the run goes from one to the other.
func (b *builder) list(scope int, tasks workflow.TaskList, shape listShape) {
	entry := -1
	switch {
	case scope < 0:
		entry = b.mark(scope, Start)
	case shape == forkList:
		entry = b.mark(scope, Split)
	}
	nodes := make([]int, len(tasks))
	for i, t := range tasks {
		nodes[i] = b.task(scope, t)
	}
	var ways []Edge // To is a node or one of the targets above
	for i, t := range tasks {
		if shape == forkList { // directives cannot cross branches
			ways = append(ways, b.ways(t, nil, nodes, i, toExit)...)
			continue
		}
		next := toExit
		if i+1 < len(tasks) {
			next = nodes[i+1]
		}
		ways = append(ways, b.ways(t, tasks, nodes, i, next)...)
	}
	exit, end := b.ends(scope, shape, ways)
	switch {
	case entry < 0:
	case shape == forkList:
		for _, n := range nodes {
			b.edge(Edge{From: entry, To: n, Kind: Sequence})
		}
	case len(nodes) > 0:
		b.edge(Edge{From: entry, To: nodes[0], Kind: Sequence})
	default:
		b.edge(Edge{From: entry, To: exit, Kind: Sequence})
	}
	for _, w := range ways {
		switch w.To {
		case toExit:
			w.To = exit
		case toEnd:
			w.To = end
		}
		if w.To >= 0 {
			b.edge(w)
		}
	}
	if shape == loopList {
		b.edge(Edge{From: exit, To: nodes[0], Kind: Loop})
	}
}

// ends adds the nodes where a list ends. A plain list whose last task is its
// only way out needs none.
func (b *builder) ends(scope int, shape listShape, ways []Edge) (exit, end int) {
	if scope < 0 {
		end = b.mark(scope, End)
		return end, end
	}
	exit, end = -1, -1
	has := func(match func(Edge) bool) bool { return slices.ContainsFunc(ways, match) }
	if has(func(w Edge) bool { return w.To == toEnd }) {
		end = b.mark(scope, End)
	}
	switch {
	case shape == forkList:
		exit = b.mark(scope, Join)
	case shape == loopList || has(func(w Edge) bool { return w.To == toExit && (end >= 0 || w.Kind != Sequence) }):
		exit = b.mark(scope, Exit)
	}
	return exit, end
}

// ways lists where the run can go from t, node i of its list: on to next, or to
// one of the tasks that it can name.
func (b *builder) ways(t *workflow.Task, named workflow.TaskList, nodes []int, i, next int) []Edge {
	from := nodes[i]
	target := func(d workflow.Directive, kind EdgeKind, label string) Edge {
		e := Edge{From: from, To: toNowhere, Kind: kind, Label: clean(label, maxName)}
		switch d.Name {
		case "", "continue":
			e.To, e.onward = next, named != nil
		case "exit":
			e.To = toExit
			if kind == Sequence {
				e.Kind = Leave
			}
		case "end":
			e.To = toEnd
			if kind == Sequence {
				e.Kind = Finish
			}
		default:
			if at := named.Index(d.Name); at >= 0 {
				e.To = nodes[at]
			}
			if kind == Sequence {
				e.Kind = Jump
			}
		}
		return e
	}
	var out []Edge
	goesOn := false // the run can go on to next without being skipped
	add := func(e Edge) {
		goesOn = goesOn || e.To == next
		out = append(out, e)
	}
	switch t.Kind {
	case workflow.RaiseTask: // goes nowhere
	case workflow.SwitchTask:
		hasDefault := false
		for _, c := range t.Switch {
			hasDefault = hasDefault || c.When == nil
			e := target(c.Then, Case, c.Name)
			if c.When != nil {
				e.Condition = clean(expression(c.When.Source), maxDetail)
			}
			add(e)
		}
		if !hasDefault {
			add(target(t.Then, Case, "no match"))
		}
	default:
		add(target(t.Then, Sequence, ""))
		if t.Try != nil && t.Try.Then.Name != "" {
			e := target(t.Try.Then, Jump, "caught")
			if len(out) > 0 && e.To == out[0].To {
				e.Label = ""
			}
			add(e)
		}
	}
	if t.If != nil && !goesOn {
		out = append(out, Edge{From: from, To: next, Kind: Skip, Label: "skipped", onward: named != nil})
	}
	return out
}

// task adds the node of t, and the nodes of the tasks inside.
func (b *builder) task(scope int, t *workflow.Task) int {
	n := Node{ID: t.Reference, Parent: scope, Role: Step, Kind: kindOf(t), Name: t.Name, Reference: t.Reference, Detail: detail(t)}
	if t.If != nil {
		n.Condition = t.If.Source
	}
	inner, shape := body(t)
	if t.Kind != workflow.TryTask && len(inner) > 0 {
		n.Role = Frame
		at := b.add(n)
		b.list(at, inner, shape)
		return at
	}
	if t.Kind != workflow.TryTask || t.Try == nil {
		return b.add(n)
	}
	n.Role = Frame
	at := b.add(n)
	try := b.section(at, "try", "", t.Do)
	catch := b.section(at, "catch", caught(t.Try), t.Try.Do)
	b.edge(Edge{From: try, To: catch, Kind: Failure})
	if label := retries(b.def, t.Try); label != "" {
		b.edge(Edge{From: catch, To: try, Kind: Loop, Label: label})
	}
	return at
}

// section adds one half of a try.
func (b *builder) section(frame int, name, detail string, tasks workflow.TaskList) int {
	at := b.add(Node{ID: b.g.Nodes[frame].ID + "#" + name, Parent: frame, Role: Section, Name: name, Detail: detail})
	if len(tasks) > 0 {
		b.list(at, tasks, plainList)
	}
	return at
}

// body is the list that a task other than try goes through.
func body(t *workflow.Task) (workflow.TaskList, listShape) {
	switch {
	case t.Kind == workflow.ForTask:
		return t.Do, loopList
	case t.Kind == workflow.ForkTask:
		return t.Do, forkList
	case t.Kind == workflow.DoTask:
		return t.Do, plainList
	case t.Listen != nil && t.Listen.Foreach != nil:
		return t.Listen.Foreach.Do, loopList
	case t.Call != nil && t.Call.Map != nil:
		return t.Call.Map.Do, plainList // drawn as a stack: its items run side by side
	case t.Call != nil && t.Call.Foreach != nil:
		return t.Call.Foreach.Do, loopList
	}
	return nil, plainList
}

// kindOf is the kind as views show it: "call http", "run shell", "set".
func kindOf(t *workflow.Task) string {
	switch {
	case t.Kind == workflow.CallTask && t.Call != nil:
		return clean("call "+t.Call.Name, maxName)
	case t.Kind == workflow.RunTask && t.Run != nil:
		return "run " + t.Run.Kind.String()
	}
	return t.Kind.String()
}

// caught says what a catch catches.
func caught(c *workflow.Catch) string {
	what := ""
	if c.With != nil {
		for i, k := range c.With.Keys {
			v := text(&c.With.Fields[i])
			if k == "type" {
				v = lastSegment(v)
			}
			what = join(what, ", ", k+" "+v)
		}
	}
	if what == "" {
		what = "any error"
	}
	if c.When != nil {
		what += " when " + expression(c.When.Source)
	}
	if c.ExceptWhen != nil {
		what += " except when " + expression(c.ExceptWhen.Source)
	}
	return what
}

// retries says how often a try is begun anew; "" when it is not.
func retries(def *workflow.Definition, c *workflow.Catch) string {
	switch r := def.RetryPolicy(c); {
	case r == nil && c.RetryName == "":
		return ""
	case r == nil || r.AttemptCount == nil:
		return "retry"
	default:
		return "retry ≤ " + strconv.Itoa(*r.AttemptCount)
	}
}
