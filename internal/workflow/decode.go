package workflow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// Decode reads one YAML or JSON document (DSL 1). It returns every finding, in
// the order of the source; the definition is nil when an error stands in the
// way of a usable one.
func Decode(src []byte) (*Definition, []Finding) {
	def, findings := DecodePart(src)
	if def == nil || source.HasErrors(findings) {
		return nil, findings
	}
	return def, findings
}

// DecodePart is Decode for those who look for mistakes: it also returns a
// definition with errors, as far as it could be read. Nothing else may use that.
func DecodePart(src []byte) (*Definition, []Finding) {
	d := &decoder{tasks: map[string]string{}}
	root, findings := source.Read(src, MaxSource)
	d.findings = findings
	if root != nil {
		d.definition(root)
		d.resolveJumps()
	}
	source.Sort(d.findings)
	if d.left > 0 {
		more := Finding{Pos: d.findings[len(d.findings)-1].Pos, Severity: SeverityWarning, Rule: "source/more-findings", Message: fmt.Sprintf("%d more findings are left out", d.left)}
		if d.leftError {
			more.Severity = SeverityError
		}
		d.findings = append(d.findings, more)
	}
	if root == nil {
		return nil, d.findings
	}
	sum := sha256.Sum256(src)
	d.def.Source, d.def.Digest, d.def.names = src, "sha256:"+hex.EncodeToString(sum[:]), d.use
	return &d.def, d.findings
}

// DecodeFunction reads a function's own document, one task (DSL 198), that the
// definition calls name. What it names of use is the definition's.
func (d *Definition) DecodeFunction(name string, src []byte) (*Task, []Finding) {
	dec := &decoder{tasks: map[string]string{}, use: d.names}
	root, findings := source.Read(src, MaxSource)
	if dec.findings = findings; root == nil {
		return nil, findings
	}
	t := dec.task(source.Key{Pos: root.Pos, Name: name}, root, "/use/functions/"+escape(name))
	dec.lists = append(dec.lists, jumpList{tasks: TaskList{t}, branches: true})
	if t != nil {
		dec.resolveJumps()
	}
	source.Sort(dec.findings)
	return t, dec.findings
}

// IsURI reports whether `call: name` names a function by its URI (DSL 84).
func IsURI(name string) bool {
	return strings.Contains(name, "://") || strings.HasPrefix(name, "file:")
}

// maxFindings is how many are reported; one more says how many are left out.
const maxFindings = 200

// decoder carries the findings and the names that a definition declares.
type decoder struct {
	findings  []Finding
	left      int  // findings left out
	leftError bool // one of them is an error
	ref       string
	def       Definition
	use       map[string][]string // names by section of use
	tasks     map[string]string   // a reference for each task name
	lists     []jumpList
}

// jumpList is a task list whose flow directives wait for all names to be known.
type jumpList struct {
	tasks    TaskList
	branches bool
	names    map[string]bool
}

func (d *decoder) report(f Finding) {
	if len(d.findings) >= maxFindings {
		d.left++
		d.leftError = d.leftError || f.Severity == SeverityError
		return
	}
	if f.Reference == "" {
		f.Reference = d.ref
	}
	d.findings = append(d.findings, f)
}

var topLevel = []string{"document", "input", "use", "do", "timeout", "output", "schedule", "evaluate"}

func (d *decoder) definition(root *source.Node) {
	a := at{"workflow", "the workflow", "DSL 1"}
	if root.Kind != MapValue {
		d.wrong(root, a, "a map with document and do")
		return
	}
	d.properties(root, at{"workflow", "the workflow", "DSL 6"}, true, topLevel)
	d.def.Literal = mapAny(root)
	d.declare(root.Field("use"))
	if n := root.Field("document"); n != nil {
		d.document(n)
	} else {
		d.missing(root, a, "document")
	}
	if n := root.Field("input"); n != nil {
		d.def.Input = d.dataIn(n, at{"input", "input", "DSL 33"})
	}
	if n := root.Field("use"); n != nil {
		d.useSection(n)
	}
	if n := root.Field("do"); n != nil {
		d.def.Do = d.taskList(n, at{"workflow", "do", "DSL 10"}, "/do", false)
	} else {
		d.missing(root, a, "do")
	}
	d.def.Timeout = d.timeoutRef(root.Field("timeout"), at{"timeout", "timeout", "DSL 7"})
	d.def.Output = d.dataOut(root.Field("output"), at{"output", "output", "DSL 33"})
	if n := root.Field("schedule"); n != nil {
		d.def.Schedule = d.schedule(n)
	}
	d.evaluate(root.Field("evaluate"))
}

// The patterns of the specification's schema.
var (
	labelPattern  = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)
	timePattern   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$`)
	semverPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)
)

// label is a name as DNS has them (DSL 3).
func label(d *decoder, n *source.Node, a at) {
	a.dsl = "DSL 3"
	text(d, n, a)
	if t, ok := n.Scalar.(string); ok && !labelPattern.MatchString(t) {
		d.invalid(n, a, "name", fmt.Sprintf("%s is %s", a.what, source.Quote(t)), "it must have 1 to 63 letters, digits and hyphens, with a letter or digit at both ends")
	}
}

// semver is a semantic version (DSL 4). Without quotes, 1.0 is a number.
func semver(d *decoder, n *source.Node, a at) {
	const want = `a semantic version such as "1.0.0"`
	t, ok := n.Scalar.(string)
	if !ok {
		d.wrong(n, a, want)
	} else if !semverPattern.MatchString(t) {
		d.invalid(n, a, "version", fmt.Sprintf("%s is %s", a.what, source.Quote(t)), "it must be "+want)
	}
}

func (d *decoder) document(n *source.Node) {
	a := at{"document", "document", "DSL 6"}
	d.def.Document.Pos = n.Pos
	object(false, need("dsl", semver), need("namespace", label), need("name", label), need("version", semver), may("title", text),
		may("summary", text), may("tags", mapOf(anything)), may("metadata", mapOf(anything)))(d, n, a)
	get := func(key string) string {
		if f := n.Field(key); f != nil {
			t, _ := f.Scalar.(string)
			return t
		}
		return ""
	}
	doc := &d.def.Document
	doc.DSL, doc.Namespace, doc.Name, doc.Version = get("dsl"), get("namespace"), get("name"), get("version")
	doc.Title, doc.Summary = get("title"), get("summary")
	doc.Tags, doc.Metadata = mapAny(n.Field("tags")), mapAny(n.Field("metadata"))
	if semverPattern.MatchString(doc.DSL) {
		major, rest, _ := strings.Cut(doc.DSL, ".")
		minor, _, _ := strings.Cut(rest, ".")
		v := at{"document", "document.dsl", "DSL 2"}
		switch {
		case major != "1":
			d.invalid(n.Field("dsl"), v, "dsl-version", fmt.Sprintf("the document is written in version %s of the DSL", doc.DSL), "version 1 is understood, such as 1.0.3")
		case minor != "0":
			d.report(Finding{
				Pos: n.Field("dsl").Pos, Severity: SeverityWarning, Rule: "document/dsl-version", DSL: "DSL 2",
				Message: fmt.Sprintf("the version %s of the DSL is newer than what is known here", doc.DSL), Allowed: "1.0.x is known",
			})
		}
	}
	if m := n.Field("metadata"); m != nil && m.Kind == MapValue {
		if s := m.Field("downbeat"); s != nil {
			d.def.Downbeat = d.documentSettings(s)
		}
	}
}

func (d *decoder) evaluate(n *source.Node) {
	d.def.Evaluate.Language = "jq"
	if n == nil {
		return
	}
	object(false, may("language", someText), may("mode", oneOfWords("strict", "loose")))(d, n, at{"evaluate", "evaluate", "DSL 9"})
	if l := n.Field("language"); l != nil {
		if t, ok := l.Scalar.(string); ok && t != "" {
			d.def.Evaluate.Language = t
		}
	}
	if m := n.Field("mode"); m != nil {
		d.def.Evaluate.Loose = m.Scalar == "loose"
	}
}

// resolveJumps checks that each flow directive names a task of its own list
// (D8, DSL 56).
func (d *decoder) resolveJumps() {
	for _, l := range d.lists {
		l.names = make(map[string]bool, len(l.tasks))
		for _, t := range l.tasks {
			l.names[t.Name] = true
		}
		for _, t := range l.tasks {
			d.ref = t.Reference
			d.jump(t.Then, l)
			for _, c := range t.Switch {
				d.jump(c.Then, l)
			}
			if t.Try != nil {
				d.jump(t.Try.Then, l)
			}
		}
	}
	d.ref = ""
}

func (d *decoder) jump(to Directive, l jumpList) {
	switch to.Name {
	case "", "continue", "exit", "end":
		return
	}
	f := Finding{Pos: to.Pos, Rule: "flow/unknown-target", DSL: "DSL 56, D8", Allowed: "it must be continue, exit, end or a task of the same list"}
	names := []string{"continue", "exit", "end"}
	if !l.branches {
		if l.names[to.Name] {
			return
		}
		if len(d.findings) < maxFindings { // looking for the nearest name is dear
			for _, t := range l.tasks[:min(len(l.tasks), 1000)] {
				names = append(names, t.Name)
			}
		}
	}
	switch ref, elsewhere := d.tasks[to.Name]; {
	case l.branches && l.names[to.Name]:
		f.Rule, f.DSL = "flow/across-branches", "DSL 107"
		f.Message = fmt.Sprintf("`then` names the branch %s; branches run side by side", source.Quote(to.Name))
		f.Allowed = "a branch can only continue, exit or end"
	case elsewhere:
		f.Message = fmt.Sprintf("`then` names the task %s, which is in another list (%s)", source.Quote(to.Name), ref)
	default:
		f.Message = fmt.Sprintf("`then` names the task %s, which does not exist", source.Quote(to.Name))
		f.Suggestion = source.Nearest(to.Name, names)
	}
	d.report(f)
}
