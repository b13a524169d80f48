package check

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// portable names what only Downbeat understands, or reads in its own way: what
// `validate --portable` shows. What Decode accepts beyond the schema has hints
// of its own, under the same prefix "portable/".
func (c *checker) portable() {
	if !c.options.Portable {
		return
	}
	c.ref = ""
	d := c.def
	if s := d.Downbeat; s != nil {
		c.hint(s.Pos, "portable/settings", "D38", "metadata.downbeat has no effect in other runtimes", "")
	}
	if d.Evaluate.Loose {
		c.hint(d.Document.Pos, "portable/loose", "DSL 9", "evaluate.mode is loose; few runtimes know it", "wrap expressions in ${ }")
	}
	c.portableSchedule(d.Schedule)
	for _, e := range d.Use.Extensions {
		c.hint(e.Pos, "portable/extension", "D20", "few runtimes apply extensions; here `before` runs in the order of declaration, `after` in reverse", "")
	}
	d.Walk(func(t *workflow.Task, parents []*workflow.Task) bool {
		root := t
		if len(parents) > 0 {
			root = parents[0]
		}
		if d.FindLinked(root.Name) != nil && d.FindFunction(root.Name) == root {
			return true // where another runtime differs, the author of that document has to know
		}
		c.ref = t.Reference
		c.portableCommon(t, parents)
		c.portableTask(t)
		return true
	})
	c.ref = ""
}

func (c *checker) portableSchedule(s *workflow.Schedule) {
	if s == nil {
		return
	}
	ways := 0
	for _, there := range []bool{s.Every != nil, s.After != nil, s.Cron != "", s.On != nil} {
		if there {
			ways++
		}
	}
	if ways > 1 {
		c.hint(s.Pos, "portable/schedule", "DSL 174", "the schedule has several ways to start; each starts runs here, other runtimes may take one", "")
	}
	if s.On == nil {
		return
	}
	if s.Read == "" {
		c.hint(s.On.Pos, "portable/schedule-read", "D21", "schedule.on stands without schedule.read: events are read as envelopes here, elsewhere perhaps as data", "say read: envelope")
	} else {
		c.recent(s.Pos, "DSL 173", "schedule.read")
	}
	if src := c.def.Source; !bytes.HasPrefix(bytes.TrimSpace(src), []byte("{")) && !bytes.Contains(src, []byte(`"on"`)) && !bytes.Contains(src, []byte(`'on'`)) {
		c.hint(s.On.Pos, "portable/yaml", "D30", "readers of YAML 1.1 take the key `on` for true", `write "on" in quotes`)
	}
}

// recent hints at what the text of July 2026 added without a new number.
func (c *checker) recent(pos workflow.Pos, dsl, what string) {
	c.hint(pos, "portable/recent", dsl, what+" is of the text of July 2026; runtimes for 1.0.3 may not know it", "")
}

// since hints at what is newer than the version that the document names.
func (c *checker) since(pos workflow.Pos, patch byte, dsl, what string) {
	v := c.def.Document.DSL
	if len(v) == len("1.0.0") && strings.HasPrefix(v, "1.0.") && v[4] < patch {
		c.hint(pos, "portable/version", dsl, fmt.Sprintf("%s is of version 1.0.%c; the document says %s", what, patch, v), fmt.Sprintf("say dsl: '1.0.%c'", patch))
	}
}

// portableCommon looks at the properties of every task.
func (c *checker) portableCommon(t *workflow.Task, parents []*workflow.Task) {
	if t.Downbeat != nil {
		c.hint(t.Downbeat.Pos, "portable/settings", "D38", "metadata.downbeat has no effect in other runtimes", "")
	}
	if t.If != nil && t.Then.Name != "" && t.Then.Name != "continue" {
		c.hint(t.Then.Pos, "portable/skipped-then", "D9", "when `if` is false, `then` is ignored and the next task follows; other runtimes jump", "put the directive on a task of its own, or use a switch")
	}
	if t.If != nil && t.Input != nil && !t.Input.From.IsZero() {
		c.hint(t.If.Pos, "portable/if-input", "D32", "`if` sees the raw input, before input.from; other runtimes may evaluate it after", "")
	}
	if t.Timeout != nil {
		outer := c.def.Timeout != nil
		for _, p := range parents {
			outer = outer || p.Timeout != nil
		}
		if outer {
			c.hint(t.Timeout.Pos, "portable/timeouts", "D19", "a timeout stands inside another one: here both run and the first to fire wins; nobody defines it", "")
		}
	}
	c.portableEnd(t, len(parents) > 0)
}

// portableEnd looks for `end` below the top level.
func (c *checker) portableEnd(t *workflow.Task, nested bool) {
	directives := []workflow.Directive{t.Then}
	for _, k := range t.Switch {
		directives = append(directives, k.Then)
	}
	if t.Try != nil {
		directives = append(directives, t.Try.Then)
	}
	for _, d := range directives {
		if d.Name == "end" && nested {
			c.hint(d.Pos, "portable/end", "D10", "`end` ends the whole workflow from here; some runtimes end only the list it stands in", "")
		}
	}
}

// relativeURI reports a URI without a scheme that is written out.
func relativeURI(v *workflow.Value) *workflow.Value {
	if v == nil {
		return nil
	}
	for _, key := range []string{"endpoint", "uri"} { // of a resource, of an endpoint
		if inner := v.Field(key); inner != nil {
			v = inner
		}
	}
	s, ok := v.Scalar.(string)
	if !ok || s == "" || expr.IsWrapped(s) || expr.HasInterpolation(s) || strings.HasPrefix(s, "{") || hasScheme.MatchString(s) {
		return nil
	}
	return v
}

var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

func (c *checker) portableURI(v *workflow.Value) {
	if v = relativeURI(v); v != nil {
		c.hint(v.Pos, "portable/relative-uri", "DSL 59, DSL 201", fmt.Sprintf("%s is relative; that is legal since July 2026 only, and runtimes differ in what it is relative to", source.Quote(v.String())), "write the whole URI")
	}
}

// portableExpression looks at an expression that compiles.
func (c *checker) portableExpression(pos workflow.Pos, src string, vars []string, iterates, condition bool) {
	if !c.options.Portable {
		return
	}
	if iterates {
		c.hint(pos, "portable/several-values", "D13", "of an expression with several values a list is made here; other runtimes take the first, or fail", "wrap it in [ ] or in first(…)")
	}
	if slices.Contains(vars, "$context") && !c.context {
		c.context = true
		c.hint(pos, "portable/context", "D2", "$context is {} until the first export; in other runtimes it is null, or the input", "export from a first task, or write ($context // {})")
	}
	for _, m := range taskField.FindAllStringSubmatch(src, -1) {
		if !slices.Contains([]string{"name", "reference", "definition", "input", "output", "startedAt"}, m[1]) {
			c.hint(pos, "portable/task-field", "D33", fmt.Sprintf("$task.%s is of Downbeat; the specification has no such field", m[1]), fmt.Sprintf("write $task.definition.%s", m[1]))
		}
	}
	if bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(src), "${"), "}"); condition && barePath.MatchString(strings.TrimSpace(bare)) {
		c.hint(pos, "portable/truth", "D14d", "what is neither false nor null counts as true here; other runtimes want a boolean", "compare: … == true, or … != null")
	}
}

var taskField = regexp.MustCompile(`\$task\.([A-Za-z_][A-Za-z0-9_]*)`)
