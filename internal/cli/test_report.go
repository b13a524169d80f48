package cli

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// reportTests prints how the files went, and gives the exit code for it.
func (a *app) reportTests(list []*testFile, f *testFlags) error {
	code, played := exitCompleted, 0
	for _, t := range list {
		played += len(t.results)
		switch {
		case t.invalid():
			code = exitUsage
		case code == exitCompleted && (t.failed() > 0 || t.low() != nil):
			code = exitFaulted
		}
	}
	var err error
	switch f.format {
	case "json":
		err = a.print(testsJSON(list))
	case "junit":
		err = a.testsJUnit(list)
	default:
		a.testsText(list, f)
	}
	if err != nil {
		return err
	}
	if played == 0 && code == exitCompleted {
		return usage("", "no case matches --run %s", f.run)
	}
	if code != exitCompleted {
		return &exit{code: code}
	}
	return nil
}

func (a *app) testsText(list []*testFile, f *testFlags) {
	p := a.term.Style
	passed, failed, low, invalid := 0, 0, 0, 0
	for _, t := range list {
		_, _ = fmt.Fprintln(a.out, p.Bold(t.file))
		if t.err != nil {
			_, _ = fmt.Fprintf(a.out, "  %s %v\n", p.Bad("error:"), t.err)
		}
		for _, x := range t.findings {
			x.Show(a.out, p, workflow.SeverityError, workflow.SeverityWarning)
		}
		for _, r := range t.results {
			a.caseText(t, r)
		}
		passed, failed = passed+len(t.results)-t.failed(), failed+t.failed()
		a.coverageText(t, f)
		if t.low() != nil {
			low++
		}
		if t.invalid() {
			invalid++
		}
	}
	parts := []string{fmt.Sprintf("%d passed", passed)}
	if failed > 0 {
		parts = append(parts, p.Bad(fmt.Sprintf("%d failed", failed)))
	}
	if low > 0 {
		parts = append(parts, p.Bad(progress.Plural(low, "coverage")+" too low"))
	}
	if invalid > 0 {
		parts = append(parts, p.Bad(progress.Plural(invalid, "file")+" not played"))
	}
	_, _ = fmt.Fprintln(a.out, strings.Join(parts, ", "))
}

func (a *app) caseText(t *testFile, r *rehearse.Result) {
	p := a.term.Style
	if r.Passed() {
		_, _ = fmt.Fprintf(a.out, "  %s %s %s\n", p.Good("ok  "), progress.OneLine(r.Case.Name), p.Dim(fmt.Sprintf("(%s after %s)", r.Status, span(r))))
		return
	}
	_, _ = fmt.Fprintf(a.out, "  %s %s\n", p.Bad("FAIL"), progress.OneLine(r.Case.Name))
	for _, x := range r.Failures {
		_, _ = fmt.Fprintf(a.out, "       %s:%d:%d: %s\n", t.file, x.Pos.Line, x.Pos.Col, x.Message)
		for _, l := range x.Diff {
			_, _ = fmt.Fprintf(a.out, "         %s\n", l)
		}
		for l := range strings.Lines(x.Hint) {
			_, _ = fmt.Fprintf(a.out, "       %s\n", p.Dim(strings.TrimRight(l, "\n")))
		}
	}
}

// span is how long a case took in its own time, exactly.
func span(r *rehearse.Result) string { return value.Duration{Nanos: int64(r.Duration)}.String() }

func (a *app) coverageText(t *testFile, f *testFlags) {
	p := a.term.Style
	low := t.low()
	for i := range t.coverage {
		c := &t.coverage[i]
		line := fmt.Sprintf("coverage of %s: %s (%d of %d)", c.File, percent(c.Percent()), c.Reached, len(c.Places))
		switch {
		case low != nil && low == c:
			_, _ = fmt.Fprintf(a.out, "  %s\n", p.Bad(line+fmt.Sprintf(", less than the minimum of %s (%s:%d)", percent(*t.suite.Minimum), t.file, t.suite.MinimumPos.Line)))
		case c.Root || f.coverage:
			_, _ = fmt.Fprintf(a.out, "  %s\n", p.Dim(line))
		}
		if !f.coverage && low != c {
			continue
		}
		for _, x := range c.Places {
			if x.Hits == 0 {
				_, _ = fmt.Fprintf(a.out, "    %s:%d:%d: %s: never: %s\n", c.File, x.Pos.Line, x.Pos.Col, x.Reference, x.What)
			}
		}
	}
}

// percent rounds down: 99.99 is not 100.
func percent(x float64) string {
	s := fmt.Sprintf("%.1f", float64(int(x*10))/10)
	return strings.TrimSuffix(s, ".0") + "%"
}

func testsJSON(list []*testFile) map[string]any {
	files := make([]any, len(list))
	passed, failed := 0, 0
	for i, t := range list {
		passed, failed = passed+len(t.results)-t.failed(), failed+t.failed()
		m := map[string]any{"file": t.file, "passed": !t.invalid() && t.failed() == 0 && t.low() == nil}
		if t.err != nil {
			m["error"] = t.err.Error()
		}
		var found []any
		for _, f := range t.findings {
			if len(f.List) > 0 {
				found = append(found, f.Value())
			}
		}
		if found != nil {
			m["findings"] = found
		}
		cases := make([]any, len(t.results))
		for k, r := range t.results {
			cases[k] = caseJSON(r)
		}
		m["cases"] = cases
		cover := make([]any, len(t.coverage))
		for k := range t.coverage {
			cover[k] = coverageJSON(t, &t.coverage[k])
		}
		m["coverage"] = cover
		files[i] = m
	}
	return map[string]any{"files": files, "passed": passed, "failed": failed}
}

func caseJSON(r *rehearse.Result) map[string]any {
	m := map[string]any{
		"name": r.Case.Name, "line": r.Case.Pos.Line, "passed": r.Passed(), "events": r.Events, "path": anys(r.Path), "seconds": r.Duration.Seconds(),
	}
	if r.Stopped {
		m["stopped"] = true
	} else {
		m["status"] = r.Status.String()
	}
	if v, err := r.Output.Any(); err == nil && !r.Output.IsZero() {
		m["output"] = v
	}
	failures := make([]any, len(r.Failures))
	for i, f := range r.Failures {
		x := map[string]any{"line": f.Pos.Line, "column": f.Pos.Col, "message": f.Message}
		if len(f.Diff) > 0 {
			x["diff"] = anys(f.Diff)
		}
		if f.Hint != "" {
			x["hint"] = f.Hint
		}
		failures[i] = x
	}
	m["failures"] = failures
	return m
}

func coverageJSON(t *testFile, c *rehearse.Coverage) map[string]any {
	missed := []any{}
	for _, p := range c.Places {
		if p.Hits == 0 {
			missed = append(missed, map[string]any{"line": p.Pos.Line, "column": p.Pos.Col, "reference": p.Reference, "what": p.What})
		}
	}
	m := map[string]any{"file": c.File, "workflow": c.Workflow, "percent": c.Percent(), "reached": c.Reached, "places": len(c.Places), "missed": missed}
	if c.Root && t.suite.Minimum != nil {
		m["minimum"] = *t.suite.Minimum
	}
	return m
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func (a *app) testsJUnit(list []*testFile) error {
	var all report.JUnit
	for _, t := range list {
		s := report.JUnitSuite{Name: t.file, Time: fmt.Sprintf("%.3f", t.took.Seconds())}
		for _, r := range t.results {
			k := report.JUnitCase{Class: t.file, Name: r.Case.Name, File: t.file, Line: r.Case.Pos.Line}
			if !r.Passed() {
				s.Failures++
				k.Failure = &report.JUnitFailure{Message: r.Failures[0].Message, Text: failureText(t, r)}
			}
			s.Cases = append(s.Cases, k)
		}
		if c := t.low(); c != nil {
			s.Failures++
			message := fmt.Sprintf("%s is less than the minimum of %s", percent(c.Percent()), percent(*t.suite.Minimum))
			s.Cases = append(s.Cases, report.JUnitCase{Class: t.file, Name: "coverage", File: t.file, Line: t.suite.MinimumPos.Line, Failure: &report.JUnitFailure{Message: message}})
		}
		if t.invalid() {
			s.Errors++
			s.Cases = append(s.Cases, report.JUnitCase{Class: t.file, Name: "the file can be played", File: t.file, Error: t.reason()})
		}
		all.Add(s)
	}
	return all.Write(a.out)
}

func failureText(t *testFile, r *rehearse.Result) string {
	var b strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "%s:%d:%d: %s\n", t.file, f.Pos.Line, f.Pos.Col, f.Message)
		for _, l := range f.Diff {
			b.WriteString("  " + l + "\n")
		}
		if f.Hint != "" {
			b.WriteString(f.Hint + "\n")
		}
	}
	return b.String()
}

// reason is why a file could not be played.
func (t *testFile) reason() *report.JUnitFailure {
	if t.err != nil {
		return &report.JUnitFailure{Message: t.err.Error()}
	}
	f := &report.JUnitFailure{}
	for _, x := range t.findings {
		for _, y := range x.List {
			if y.Severity == workflow.SeverityError {
				if f.Message == "" {
					f.Message = y.Message
				}
				f.Text += y.Format(x.File) + "\n"
			}
		}
	}
	return f
}
