package rehearse

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// MaxSource is how many bytes a test file may have.
const MaxSource = 8 << 20

// firstDay is when the clock of a case begins, unless the file says otherwise.
var firstDay = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Decode reads a test file. The suite is nil when nothing can be made of it.
func Decode(src []byte) (*Suite, []source.Finding) {
	root, findings := source.Read(src, MaxSource)
	d := &decoder{findings: findings}
	if root == nil {
		return nil, d.findings
	}
	s := d.suite(root)
	s.Source = src
	source.Sort(d.findings)
	if source.HasErrors(d.findings) {
		return nil, d.findings
	}
	return s, d.findings
}

// decoder collects findings.
type decoder struct{ findings []source.Finding }

const maxFindings = 200

func (d *decoder) report(f source.Finding) {
	if len(d.findings) < maxFindings {
		d.findings = append(d.findings, f)
	}
}

func (d *decoder) wrong(n *source.Node, what, want string) {
	d.report(source.Finding{Pos: n.Pos, Rule: "test/type", Message: what + " is " + n.Describe(), Allowed: "it must be " + want})
}

func (d *decoder) invalid(pos source.Pos, message, allowed string) {
	d.report(source.Finding{Pos: pos, Rule: "test/value", Message: message, Allowed: allowed})
}

// object checks that n is a map of known keys.
func (d *decoder) object(n *source.Node, what string, known ...string) bool {
	if n.Kind != source.Map {
		d.wrong(n, what, "a map of "+strings.Join(known, ", "))
		return false
	}
	for _, k := range n.Keys {
		found := false
		for _, name := range known {
			found = found || k.Name == name
		}
		if !found {
			d.report(source.Finding{
				Pos: k.Pos, EndCol: k.Pos.Col + utf8.RuneCountInString(k.Name), Rule: "test/unknown-property",
				Message:    fmt.Sprintf("%s has no property %s", what, source.Quote(k.Name)),
				Suggestion: source.Nearest(k.Name, known), Allowed: "it has " + strings.Join(known, ", "),
			})
		}
	}
	return true
}

func (d *decoder) text(n *source.Node, what string) Text {
	if n == nil {
		return Text{}
	}
	s, ok := n.Scalar.(string)
	if n.Kind != source.Scalar || !ok {
		d.wrong(n, what, "text")
	} else if strings.TrimSpace(s) == "" {
		d.invalid(n.Pos, what+" is empty", "")
	}
	return Text{Pos: n.Pos, Text: s}
}

// need is text that must be there.
func (d *decoder) need(n *source.Node, key, what string) Text {
	f := n.Field(key)
	if f == nil {
		d.report(source.Finding{Pos: n.Pos, Rule: "test/missing-property", Message: fmt.Sprintf("%s lacks the property %q", what, key)})
		return Text{Pos: n.Pos}
	}
	return d.text(f, key+" of "+what)
}

// list gives the members of a list, none when n is nil or no list.
func (d *decoder) list(n *source.Node, what string) []*source.Node {
	if n == nil {
		return nil
	}
	if n.Kind != source.List {
		d.wrong(n, what, "a list")
		return nil
	}
	return n.Items
}

func (d *decoder) duration(n *source.Node, what string) value.Duration {
	if n == nil {
		return value.Duration{}
	}
	v, err := value.DurationFromValue(n.Any())
	if err != nil {
		d.invalid(n.Pos, what+": "+err.Error(), "it is a duration such as PT5S or P30D, or {seconds: 5}")
	}
	return v
}

func (d *decoder) moment(n *source.Node, what string) *Moment {
	if n == nil {
		return nil
	}
	m := &Moment{Pos: n.Pos, After: d.duration(n, what)}
	if m.After.Nanos < 0 || m.After.Months < 0 {
		d.invalid(n.Pos, what+" is before the start", "moments count from the start of the case")
	}
	return m
}

func (d *decoder) time(n *source.Node, otherwise time.Time) time.Time {
	if n == nil {
		return otherwise
	}
	s, _ := n.Scalar.(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9000 {
		d.invalid(n.Pos, "start is "+n.Describe(), "it must be a time such as 2026-01-31T09:00:00Z")
		return otherwise
	}
	return t.UTC().Truncate(time.Microsecond)
}

func (d *decoder) secrets(n *source.Node) map[string]any {
	if n == nil {
		return nil
	}
	m, ok := n.Any().(map[string]any)
	if !ok {
		d.wrong(n, "secrets", "a map of names and values")
	}
	return m
}

func (d *decoder) suite(n *source.Node) *Suite {
	s := &Suite{Pos: n.Pos, Start: firstDay}
	if n.Field("document") != nil && n.Field("workflow") == nil {
		d.invalid(n.Pos, "this is a workflow, not a test file", "a test file names it by workflow: FILE and has cases; docs/guide/testing.md has one")
		return s
	}
	if !d.object(n, "the test file", "workflow", "workflows", "coverage", "secrets", "start", "mocks", "cases") {
		return s
	}
	s.Workflow = d.need(n, "workflow", "the test file")
	s.Workflows = d.text(n.Field("workflows"), "workflows")
	if c := n.Field("coverage"); c != nil && d.object(c, "coverage", "minimum") {
		s.Minimum, s.MinimumPos = d.percent(c)
	}
	s.Secrets = d.secrets(n.Field("secrets"))
	s.Start = d.time(n.Field("start"), s.Start)
	s.Mocks = d.mocks(n.Field("mocks"))
	cases := n.Field("cases")
	if cases == nil {
		d.report(source.Finding{Pos: n.Pos, Rule: "test/missing-property", Message: `the test file lacks the property "cases"`})
	}
	seen := map[string]int{}
	for i, c := range d.list(cases, "cases") {
		k := d.testCase(c, s, i)
		if line, twice := seen[k.Name]; twice && k.Name != "" {
			d.report(source.Finding{
				Pos: k.Pos, Rule: "test/duplicate-case", Allowed: "each case has a name of its own",
				Message: fmt.Sprintf("the name %s is that of another case, in line %d", source.Quote(k.Name), line),
			})
		}
		seen[k.Name] = k.Pos.Line
		s.Cases = append(s.Cases, k)
	}
	if cases != nil && cases.Kind == source.List && len(s.Cases) == 0 {
		d.invalid(cases.Pos, "cases is an empty list", "a test file has at least one case")
	}
	return s
}

func (d *decoder) percent(n *source.Node) (*float64, source.Pos) {
	f := n.Field("minimum")
	if f == nil {
		return nil, n.Pos
	}
	var p float64
	switch x := f.Scalar.(type) {
	case int:
		p = float64(x)
	case float64:
		p = x
	default:
		p = math.NaN()
	}
	if f.Kind != source.Scalar || !(p >= 0 && p <= 100) {
		d.wrong(f, "coverage.minimum", "a number from 0 to 100")
		return nil, f.Pos
	}
	return &p, f.Pos
}

func (d *decoder) testCase(n *source.Node, s *Suite, i int) *Case {
	c := &Case{Pos: n.Pos, Start: s.Start, Secrets: s.Secrets, Input: map[string]any{}, node: n}
	what := fmt.Sprintf("cases[%d]", i)
	if !d.object(n, what, "name", "id", "input", "secrets", "start", "mocks", "events", "crash", "cancelAt", "suspendAt", "resumeAt", "expect") {
		return c
	}
	name := d.need(n, "name", what)
	c.Name = name.Text
	if name.Pos.IsValid() {
		c.Pos = name.Pos
	}
	c.ID = runID(c.Name)
	if f := n.Field("id"); f != nil {
		id, err := event.ParseRunID(d.text(f, "id of "+what).Text)
		if err != nil {
			d.invalid(f.Pos, "id of "+what+": "+err.Error(), "")
		}
		c.ID = id
	}
	if f := n.Field("input"); f != nil {
		c.Input = f.Any()
	}
	if own := d.secrets(n.Field("secrets")); own != nil {
		c.Secrets = maps.Clone(own)
		for k, v := range s.Secrets {
			if _, has := own[k]; !has {
				c.Secrets[k] = v
			}
		}
	}
	c.Start = d.time(n.Field("start"), s.Start)
	c.Mocks = d.mocks(n.Field("mocks"))
	for i, e := range d.list(n.Field("events"), "events") {
		c.Events = append(c.Events, d.incoming(e, i))
	}
	c.Crash = d.crash(n.Field("crash"))
	c.Cancel = d.moment(n.Field("cancelAt"), "cancelAt")
	c.Suspend = d.moment(n.Field("suspendAt"), "suspendAt")
	c.Resume = d.moment(n.Field("resumeAt"), "resumeAt")
	if c.Resume != nil {
		switch {
		case c.Suspend == nil:
			d.invalid(c.Resume.Pos, "resumeAt stands without suspendAt", "a run that is not suspended cannot be resumed")
		case c.Resume.After.AddTo(c.Start).Before(c.Suspend.After.AddTo(c.Start)):
			d.invalid(c.Resume.Pos, "resumeAt is before suspendAt", "")
		}
	}
	if f := n.Field("expect"); f != nil {
		c.expected = f
		c.Expect = d.expect(f)
	}
	return c
}

func (d *decoder) crash(n *source.Node) (c Crash) {
	if n == nil {
		return c
	}
	c.Pos = n.Pos
	if n.Scalar == "every" {
		c.Every = true
		return c
	}
	if n.Kind != source.List {
		d.wrong(n, "crash", `"every", or a list of numbers of events such as [3, 7]`)
		return c
	}
	for _, it := range n.Items {
		if i, ok := it.Scalar.(int); ok && i > 0 {
			c.After = append(c.After, i)
		} else {
			d.wrong(it, "a member of crash", "the number of an event, from 1")
		}
	}
	return c
}

func (d *decoder) incoming(n *source.Node, i int) (in Incoming) {
	what := fmt.Sprintf("events[%d]", i)
	in.Pos = n.Pos
	if !d.object(n, what, "at", "event", "ignored") {
		return in
	}
	if m := d.moment(n.Field("at"), "at of "+what); m != nil {
		in.After = m.After
	}
	if f := n.Field("ignored"); f != nil {
		var ok bool
		if in.Ignored, ok = f.Scalar.(bool); !ok {
			d.wrong(f, "ignored of "+what, "true or false")
		}
	}
	f := n.Field("event")
	if f == nil {
		d.report(source.Finding{Pos: n.Pos, Rule: "test/missing-property", Message: what + ` lacks the property "event"`})
		return in
	}
	m, ok := f.Any().(map[string]any)
	if !ok {
		d.wrong(f, "event of "+what, "a cloud event such as {type: com.example.paid.v1, data: {}}")
		return in
	}
	in.Envelope = map[string]any{"specversion": "1.0", "source": "https://downbeat.dev/test", "id": fmt.Sprintf("event-%d", i+1)}
	maps.Copy(in.Envelope, m)
	for _, k := range []string{"type", "source", "id", "specversion"} {
		if s, ok := in.Envelope[k].(string); !ok || s == "" {
			d.invalid(f.Pos, fmt.Sprintf("the event of %s has no %s", what, k), "it must be text that is not empty")
		}
	}
	return in
}

func (d *decoder) mocks(n *source.Node) (out []*Mock) {
	for i, it := range d.list(n, "mocks") {
		out = append(out, d.mock(it, i))
	}
	return out
}

func (d *decoder) mock(n *source.Node, i int) *Mock {
	what := fmt.Sprintf("mocks[%d]", i)
	m := &Mock{Pos: n.Pos}
	if !d.object(n, what, "task", "workflow", "when", "attempts", "output", "error", "delay", "authorization") {
		return m
	}
	m.Task = d.need(n, "task", what)
	m.Workflow = d.text(n.Field("workflow"), "workflow of "+what)
	if f := n.Field("when"); f != nil {
		if t := d.text(f, "when of "+what); t.Text != "" {
			e, err := expr.Compile(t.Text, mockScope)
			if err != nil {
				d.report(source.Finding{Pos: f.Pos, Rule: "test/expression", Message: "when of " + what + ": " + err.Error()})
			}
			m.When = e
		}
	}
	if f := n.Field("attempts"); f != nil {
		m.given = true
		for _, k := range []string{"output", "error", "delay", "authorization"} {
			if n.Field(k) != nil {
				d.invalid(n.Field(k).Pos, fmt.Sprintf("%s has both attempts and %s", what, k), "one answer stands in the mock itself, several in attempts")
			}
		}
		for k, a := range d.list(f, "attempts of "+what) {
			at := fmt.Sprintf("%s.attempts[%d]", what, k)
			if d.object(a, at, "output", "error", "delay", "authorization") {
				m.Attempts = append(m.Attempts, d.outcome(a, at))
			}
		}
		if f.Kind == source.List && len(f.Items) == 0 {
			d.invalid(f.Pos, "attempts of "+what+" is an empty list", "it has at least one answer")
		}
		return m
	}
	m.Attempts = []Outcome{d.outcome(n, what)}
	return m
}

// mockScope are the variables of a mock's expressions; their input is the
// arguments of the call.
var mockScope = []string{"$iteration", "$attempt"}

func (d *decoder) outcome(n *source.Node, what string) (o Outcome) {
	o.Pos = n.Pos
	o.Delay = d.duration(n.Field("delay"), "delay of "+what)
	out, bad := n.Field("output"), n.Field("error")
	switch {
	case out != nil && bad != nil:
		d.invalid(bad.Pos, what+" has both output and error", "an attempt ends in one way")
	case bad != nil:
		o.Error = d.problem(bad, "error of "+what)
	case out == nil:
		d.report(source.Finding{Pos: n.Pos, Rule: "test/missing-property", Message: what + " says neither output nor error", Allowed: "write output: null for an answer without content"})
	default:
		o.Output = out.Any()
		t, errs := expr.CompileTemplate(o.Output, expr.TemplateOptions{Scope: mockScope})
		for _, e := range errs {
			d.report(source.Finding{Pos: out.Pos, Rule: "test/expression", Message: fmt.Sprintf("output of %s: %v", what, e.Err)})
		}
		if t != nil && !t.Constant() {
			o.template = t
		}
	}
	if a := n.Field("authorization"); a != nil && d.object(a, "authorization of "+what, "scheme", "parameter") {
		o.Authorization = &event.Authorization{Scheme: d.need(a, "scheme", "authorization").Text, Parameter: d.text(a.Field("parameter"), "parameter").Text}
	}
	return o
}

// standard are the statuses of the standard error types (DSL 144-152).
var standard = map[string]int{
	event.Configuration: 400, event.Validation: 400, event.Expression: 400, event.Authentication: 401, event.Forbidden: 403,
	event.Timeout: 408, event.Communication: 500, event.Runtime: 500,
}

var standardNames = []string{
	event.Configuration, event.Validation, event.Expression, event.Authentication, event.Forbidden, event.Timeout, event.Communication, event.Runtime,
}

// typeOf expands the short name of a standard error type.
func typeOf(s string) string {
	if _, ok := standard[s]; ok {
		return event.TypePrefix + s
	}
	return s
}

// ShortType is the short name of a standard error type; others stay as they are.
func ShortType(t string) string {
	if rest, ok := strings.CutPrefix(t, event.TypePrefix); ok && standard[rest] > 0 {
		return rest
	}
	return t
}

func (d *decoder) problem(n *source.Node, what string) *event.Problem {
	p := &event.Problem{Type: event.TypePrefix + event.Runtime, Status: standard[event.Runtime], More: map[string]any{}}
	if n.Kind != source.Map {
		d.wrong(n, what, "a map of type, status, title, detail")
		return p
	}
	if f := n.Field("type"); f != nil {
		t := d.text(f, "type of "+what)
		p.Type = typeOf(t.Text)
		if status, ok := standard[t.Text]; ok {
			p.Status = status
		} else if !strings.Contains(t.Text, ":") {
			d.report(source.Finding{
				Pos: f.Pos, Rule: "test/value", Message: fmt.Sprintf("type of %s is %s", what, source.Quote(t.Text)), Suggestion: source.Nearest(t.Text, standardNames),
				Allowed: "it is a URI, or one of " + strings.Join(standardNames, ", "),
			})
		}
	}
	for i, k := range n.Keys {
		f := n.Items[i]
		switch k.Name {
		case "type":
		case "status":
			status, ok := f.Scalar.(int)
			if !ok {
				d.wrong(f, "status of "+what, "a whole number")
			}
			p.Status = status
		case "title":
			p.Title = d.text(f, "title of "+what).Text
		case "detail":
			p.Detail = d.text(f, "detail of "+what).Text
		case "instance":
			p.Instance = d.text(f, "instance of "+what).Text
		default: // members of the executor: exitCode, stderr, …
			p.More[k.Name] = f.Any()
		}
	}
	if len(p.More) == 0 {
		p.More = nil
	}
	return p
}
