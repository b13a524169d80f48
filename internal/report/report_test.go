package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func TestFindingsShowTheirPlace(t *testing.T) {
	t.Parallel()
	f := report.Findings{File: "w.yaml", Source: []byte("a:\n\tb: wörld x\n"), List: []workflow.Finding{
		{Pos: workflow.Pos{Line: 2, Col: 5}, EndCol: 10, Severity: workflow.SeverityError, Rule: "r/x", Message: "no"},
		{Pos: workflow.Pos{Line: 9, Col: 1}, Severity: workflow.SeverityWarning, Message: "beyond the end"},
		{Severity: workflow.SeverityHint, Message: "not shown"},
	}}
	var out bytes.Buffer
	f.Show(&out, progress.Palette{}, workflow.SeverityError, workflow.SeverityWarning)
	want := "w.yaml:2:5: error: no (r/x)\n  2 | \tb: wörld x\n    | \t   ^^^^^\nw.yaml:9:1: warning: beyond the end\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	if got := f.Verdict(progress.Palette{}); got != "invalid (1 error, 1 warning)" {
		t.Errorf("got %q", got)
	}
}

// A new user knows that a secret is missing, and not how to give one.
func TestHintOfAMissingSecret(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]string{
		`the secret "api-token" is not available: it must be listed in use.secrets and provided to the runtime`: "  hint     give it by DOWNBEAT_SECRET_API_TOKEN in the environment, or in a file by --secrets FILE\n",
		`the secret "b" is not listed in use.secrets`:                                                           "",
		"no": "",
	} {
		var out bytes.Buffer
		e := &event.Problem{Type: event.TypePrefix + event.Forbidden, Status: 403, Title: "Secret not available", Detail: detail, Instance: "/do/0/a"}
		report.Ending{Run: &view.Run{ID: "ID", Status: event.Faulted, Error: e}, Retry: true}.Fault(&out, progress.Palette{})
		got := ""
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "  hint") {
				got = line
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", detail, d)
		}
		if strings.Contains(out.String(), "runs retry") {
			t.Error("a run without tasks cannot be retried")
		}
	}
}

func TestSummaryOfAFault(t *testing.T) {
	t.Parallel()
	src := []byte("document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\ndo:\n  - step:\n      call: noop\n")
	def, _ := workflow.Decode(src)
	start := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	e := &event.Problem{
		Type: "https://example.com/errors/full", Status: 507, Title: "Disk\x1b[2J full", Detail: "no room\nat all", Instance: "/do/0/step",
		More: map[string]any{"exitCode": 2, "stderr": "shown below", "device": "sda"},
	}
	r := &view.Run{ID: "ID", Status: event.Faulted, StartedAt: start, EndedAt: start.Add(1500 * time.Millisecond), Error: e, Tasks: []view.Task{
		{Reference: "/do/0/step", Name: "step", Status: event.Faulted, Iteration: []int{3, 40}, Attempts: 2},
	}}
	var out bytes.Buffer
	report.Ending{
		Run: r, By: report.Author{File: "w.yaml", Source: src, Definition: def}, Flags: " --data '/my data'", Retry: true,
		Lines: func(view.Task) []string { return []string{"one", "two\r"} },
	}.Fault(&out, progress.Palette{})
	want := `faulted: Disk full (507) after 1.5s
  task     /do/0/step  iteration [3][40]  attempt 2
  source   w.yaml:3:5  | - step:
  type     https://example.com/errors/full
  detail   no room
           at all
  device   "sda"
  exitCode 2
  output   | one
           | two
  run      ID
  more     downbeat runs get ID --data '/my data'
  retry    downbeat runs retry ID --data '/my data'
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}
