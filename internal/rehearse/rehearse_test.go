package rehearse_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

var options = program.Options{Functions: []string{"noop"}}

// define decodes a definition that has no mistake.
func define(t testing.TB, src string) *workflow.Definition {
	t.Helper()
	if !strings.Contains(src, "document:") {
		src = "document: {dsl: '1.0.3', namespace: test, name: w, version: '1.0.0'}\n" + src
	}
	def, findings := workflow.Decode([]byte(src))
	if def == nil || source.HasErrors(findings) {
		t.Fatalf("definition: %v", findings)
	}
	return def
}

func show(file string, list []source.Finding) string {
	var b strings.Builder
	for _, f := range list {
		b.WriteString(f.Format(file) + "\n")
	}
	return b.String()
}

// TestScripts plays the scripts in testdata:
//
//	workflow | child   the definition, or one that it may start
//	test               plays the test file, and shows the results
//	coverage           what the file of the last test covers
//	update             the file of the last test with its expectations renewed
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, filepath.Join("testdata", "scripts"), func(t *testing.T, path string) {
		var root *workflow.Definition
		var others []rehearse.Definition
		var r *rehearse.Rehearsal
		var results []*rehearse.Result
		var before string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "workflow":
				root, others = define(t, d.Input), nil
			case "child":
				others = append(others, rehearse.Definition{File: "child.yaml", Workflow: define(t, d.Input)})
			case "test":
				before = d.Input + "\n"
				s, findings := rehearse.Decode([]byte(before))
				if s == nil {
					return show("x.test.yaml", findings)
				}
				r, findings = rehearse.Link(s, rehearse.Definition{File: "workflow.yaml", Workflow: root}, others, options)
				out := show("x.test.yaml", findings)
				if r == nil {
					return out
				}
				results = nil
				for _, c := range s.Cases {
					res := r.Play(c)
					results = append(results, res)
					out += showResult(res)
				}
				return out
			case "coverage", "update":
				if r == nil {
					t.Fatalf("%s: the last test file was refused", d.Pos)
				}
			}
			switch d.Cmd {
			case "workflow", "child", "test":
			case "coverage":
				var b strings.Builder
				for _, c := range r.Coverage() {
					fmt.Fprintf(&b, "%s %d/%d %.1f%%\n", c.Workflow, c.Reached, len(c.Places), c.Percent())
					for _, p := range c.Places {
						if p.Hits == 0 {
							fmt.Fprintf(&b, "%s:%d:%d: %s: never: %s\n", c.File, p.Pos.Line, p.Pos.Col, p.Reference, p.What)
						}
					}
				}
				return b.String()
			case "update":
				after, left, err := r.Update(results)
				if err != nil {
					return err.Error() + "\n"
				}
				out := ""
				for _, l := range left {
					out += "left: " + l + "\n"
				}
				if d.HasArg("diff") {
					return out + strings.Join(yamledit.LineDiff(before, string(after)), "\n") + "\n"
				}
				return out + string(after)
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return ""
		})
	})
}

func showResult(res *rehearse.Result) string {
	var b strings.Builder
	verdict := "ok"
	if !res.Passed() {
		verdict = "FAILED"
	}
	fmt.Fprintf(&b, "%s: %s (%s, %d events, %s)\n", res.Case.Name, verdict, res.Status, res.Events, res.Duration)
	for _, f := range res.Failures {
		fmt.Fprintf(&b, "  %d:%d: %s\n", f.Pos.Line, f.Pos.Col, f.Message)
		for _, l := range f.Diff {
			fmt.Fprintf(&b, "    %s\n", l)
		}
		for l := range strings.Lines(f.Hint) {
			fmt.Fprintf(&b, "    | %s\n", strings.TrimRight(l, "\n"))
		}
	}
	return b.String()
}
