package rehearse

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Definition is a workflow and the file that it was read from.
type Definition struct {
	File     string
	Workflow *workflow.Definition
}

// Rehearsal is a suite whose tasks were found in its workflow: ready to play.
type Rehearsal struct {
	suite *Suite
	root  *definition
	// known are the definitions that `run: workflow` can name, the highest
	// version of each name last; the root is one of them.
	known    map[string][]*definition
	options  program.Options
	hits     map[point]int
	findings []source.Finding
}

// definition is a workflow that cases run. Those beside the root are compiled
// when they are first reached.
type definition struct {
	Definition
	Tasks
	prog *program.Program
	ran  bool
}

// Tasks are the tasks of a definition, as test files name them.
type Tasks struct {
	tasks map[string]*workflow.Task   // by reference
	names map[string][]*workflow.Task // by name
}

// Tasks lists the tasks of the definition.
func (d Definition) Tasks() Tasks {
	out := Tasks{tasks: map[string]*workflow.Task{}, names: map[string][]*workflow.Task{}}
	for t := range d.Workflow.Tasks() {
		out.tasks[t.Reference] = t
		out.names[t.Name] = append(out.names[t.Name], t)
	}
	return out
}

// Short is the name of the task with this reference where no other task has
// that name, else the reference.
func (t Tasks) Short(reference string) string {
	if x := t.tasks[reference]; x != nil && len(t.names[x.Name]) == 1 && !strings.HasPrefix(x.Name, "/") {
		return x.Name
	}
	return reference
}

func newDefinition(d Definition) *definition { return &definition{Definition: d, Tasks: d.Tasks()} }

func (d *definition) id() string { return d.Workflow.Document.ID() }

// name is "namespace/name", without the version.
func (d *definition) name() string {
	return d.Workflow.Document.Namespace + "/" + d.Workflow.Document.Name
}

func (d *definition) compile(o program.Options) error {
	if d.prog != nil {
		return nil
	}
	p, err := program.Compile(d.Workflow, o)
	if err != nil {
		return fmt.Errorf("compile %s: %w", d.File, err)
	}
	d.prog = p
	return nil
}

// Link finds what the suite speaks of in the workflow and in the workflows that
// it may start. The rehearsal is nil when one of the findings is an error.
func Link(s *Suite, root Definition, others []Definition, o program.Options) (*Rehearsal, []source.Finding) {
	r := &Rehearsal{suite: s, root: newDefinition(root), known: map[string][]*definition{}, options: o, hits: map[point]int{}}
	r.know(r.root)
	for _, d := range others {
		if d.Workflow.Digest != root.Workflow.Digest {
			r.know(newDefinition(d))
		}
	}
	for _, list := range r.known {
		slices.SortStableFunc(list, func(a, b *definition) int {
			return compareVersions(a.Workflow.Document.Version, b.Workflow.Document.Version)
		})
	}
	if err := r.root.compile(o); err != nil {
		r.report(s.Workflow.Pos, "test/workflow", err.Error(), "")
		return nil, r.findings
	}
	r.mocks(s.Mocks)
	for _, c := range s.Cases {
		r.mocks(c.Mocks)
		r.path(c.Expect.Path)
		r.path(c.Expect.PathContains)
		for i := range c.Expect.Calls {
			k := &c.Expect.Calls[i]
			k.at = r.effect(k.task, k.workflow, "be called")
		}
	}
	source.Sort(r.findings)
	if source.HasErrors(r.findings) {
		return nil, r.findings
	}
	return r, r.findings
}

func (r *Rehearsal) know(d *definition) { r.known[d.name()] = append(r.known[d.name()], d) }

func (r *Rehearsal) report(pos source.Pos, rule, message, allowed string) {
	r.findings = append(r.findings, source.Finding{Pos: pos, Rule: rule, Message: message, Allowed: allowed})
}

// find resolves what a `run: workflow` names: "namespace/name:version".
func (r *Rehearsal) find(id string) *definition {
	name, version, _ := strings.Cut(id, ":")
	list := r.known[name]
	if len(list) == 0 {
		return nil
	}
	if version == "" || version == "latest" {
		return list[len(list)-1]
	}
	for _, d := range list {
		if d.Workflow.Document.Version == version {
			return d
		}
	}
	return nil
}

// definitions are all known ones, the root first, the others by name.
func (r *Rehearsal) definitions() []*definition {
	out := []*definition{r.root}
	for _, list := range r.known {
		for _, d := range list {
			if d != r.root {
				out = append(out, d)
			}
		}
	}
	slices.SortFunc(out[1:], func(a, b *definition) int { return cmp.Compare(a.id(), b.id()) })
	return out
}

func (r *Rehearsal) mocks(list []*Mock) {
	always := map[target]int{}
	for _, m := range list {
		m.at = r.effect(m.Task, m.Workflow, "be mocked")
		if m.at.definition == nil {
			continue
		}
		r.outputs(m, m.at.definition.tasks[m.at.reference])
		if line := always[m.at]; line > 0 {
			r.report(m.Pos, "test/unreachable", fmt.Sprintf("this mock of %s never answers: the one in line %d always does", m.Task.Text, line), "give the first one a when, or put their answers into one list of attempts")
		} else if m.When == nil {
			always[m.at] = m.Pos.Line
		}
	}
}

// effect finds a task that acts on the outside.
func (r *Rehearsal) effect(t, in Text, what string) target {
	at := r.task(t, in)
	if at.definition == nil {
		return at
	}
	task := at.definition.tasks[at.reference]
	if !acts(at.definition.Workflow, task) {
		r.report(t.Pos, "test/mock", fmt.Sprintf("%s is a %s task: it has no effect outside, so it cannot %s", t.Text, kindOf(task), what), allowedInstead(task))
		return target{}
	}
	return at
}

// acts reports whether a task has an effect outside: a call or a process.
func acts(def *workflow.Definition, t *workflow.Task) bool {
	switch t.Kind {
	case workflow.RunTask:
		return true
	case workflow.CallTask:
		return t.Call != nil && t.Call.Map == nil && def.FindFunction(t.Call.Name) == nil
	case workflow.NoKind, workflow.DoTask, workflow.EmitTask, workflow.ForTask, workflow.ForkTask, workflow.ListenTask, workflow.RaiseTask,
		workflow.SetTask, workflow.SwitchTask, workflow.TryTask, workflow.WaitTask:
	}
	return false
}

func kindOf(t *workflow.Task) string {
	switch {
	case t.Kind == workflow.CallTask && t.Call != nil:
		return "call " + t.Call.Name
	case t.Kind == workflow.RunTask && t.Run != nil:
		return "run " + t.Run.Kind.String()
	}
	return t.Kind.String()
}

func allowedInstead(t *workflow.Task) string {
	switch t.Kind {
	case workflow.ListenTask:
		return "send it events: under events of the case"
	case workflow.WaitTask:
		return "waits take no time in a test"
	case workflow.EmitTask:
		return "what it emits is compared by emitted"
	case workflow.CallTask, workflow.DoTask, workflow.ForTask, workflow.ForkTask, workflow.TryTask:
		return "name the calls and processes inside it"
	case workflow.NoKind, workflow.RaiseTask, workflow.RunTask, workflow.SetTask, workflow.SwitchTask:
	}
	return ""
}

// path finds the tasks that a path names. They are tasks of the root.
func (r *Rehearsal) path(p *path) {
	if p == nil {
		return
	}
	for i := range p.tasks {
		if at := r.taskIn(r.root, p.tasks[i]); at.definition != nil {
			p.tasks[i].Text = at.reference
		}
	}
}

// task finds a task by its reference or, when only one has it, by its name: in
// the workflow that is named, else in the root, else in those that it may start.
func (r *Rehearsal) task(t, in Text) target {
	if t.Text == "" {
		return target{}
	}
	if in.Text != "" {
		d := r.find(in.Text)
		if d == nil {
			var names []string
			for name := range r.known {
				names = append(names, name)
			}
			slices.Sort(names)
			r.findings = append(r.findings, source.Finding{
				Pos: in.Pos, Rule: "test/workflow", Message: fmt.Sprintf("there is no workflow %s", source.Quote(in.Text)),
				Suggestion: source.Nearest(in.Text, names), Allowed: "there are " + strings.Join(names, ", "),
			})
			return target{}
		}
		return r.taskIn(d, t)
	}
	if _, ok := r.root.tasks[t.Text]; ok || len(r.root.names[t.Text]) > 0 {
		return r.taskIn(r.root, t)
	}
	var in1 []*definition
	for _, d := range r.definitions() {
		if _, ok := d.tasks[t.Text]; ok || len(d.names[t.Text]) > 0 {
			in1 = append(in1, d)
		}
	}
	switch len(in1) {
	case 0:
		return r.taskIn(r.root, t)
	case 1:
		return r.taskIn(in1[0], t)
	}
	ids := make([]string, len(in1))
	for i, d := range in1 {
		ids[i] = d.id()
	}
	r.report(t.Pos, "test/ambiguous", fmt.Sprintf("%s is a task of several workflows: %s", source.Quote(t.Text), strings.Join(ids, ", ")), "say which by workflow:")
	return target{}
}

func (r *Rehearsal) taskIn(d *definition, t Text) target {
	if t.Text == "" {
		return target{}
	}
	if _, ok := d.tasks[t.Text]; ok {
		return target{d, t.Text}
	}
	list := d.names[t.Text]
	switch {
	case len(list) == 1:
		return target{d, list[0].Reference}
	case len(list) > 1:
		refs := make([]string, len(list))
		for i, x := range list {
			refs[i] = x.Reference
		}
		const most = 6
		if len(refs) > most {
			refs = append(refs[:most], "…")
		}
		r.report(t.Pos, "test/ambiguous", fmt.Sprintf("%s names %d tasks of %s", source.Quote(t.Text), len(list), d.File), "name one by its reference: "+strings.Join(refs, ", "))
		return target{}
	}
	var known []string
	for ref, x := range d.tasks {
		if strings.HasPrefix(t.Text, "/") {
			known = append(known, ref)
		} else {
			known = append(known, x.Name)
		}
	}
	slices.Sort(known)
	r.findings = append(r.findings, source.Finding{
		Pos: t.Pos, Rule: "test/task", Message: fmt.Sprintf("there is no task %s in %s", source.Quote(t.Text), d.File), Suggestion: source.Nearest(t.Text, known),
	})
	return target{}
}

// compareVersions orders semantic versions; a pre-release comes before its release.
func compareVersions(a, b string) int {
	a, _, _ = strings.Cut(a, "+")
	b, _, _ = strings.Cut(b, "+")
	coreA, preA, _ := strings.Cut(a, "-")
	coreB, preB, _ := strings.Cut(b, "-")
	if c := compareParts(coreA, coreB); c != 0 {
		return c
	}
	switch {
	case preA == preB:
		return 0
	case preA == "":
		return 1
	case preB == "":
		return -1
	}
	return compareParts(preA, preB)
}

func compareParts(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.ParseUint(as[i], 10, 64)
		y, errY := strconv.ParseUint(bs[i], 10, 64)
		var c int
		switch {
		case errX == nil && errY == nil:
			c = cmp.Compare(x, y)
		case errX == nil:
			c = -1 // numbers come before words
		case errY == nil:
			c = 1
		default:
			c = strings.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
