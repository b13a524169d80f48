package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// command runs one command line in this process, on a data directory of the test.
func command(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	env := map[string]string{"DOWNBEAT_DATA": filepath.Join(dir, "data"), "XDG_CONFIG_HOME": dir}
	a := &app{
		in: strings.NewReader(""), out: &out, err: &err, env: func(k string) string { return env[k] },
		clock: lifecycle.Clock{}, signals: make(chan os.Signal),
	}
	code = a.main(t.Context(), args)
	return code, out.String(), err.String()
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const echo = "document: {dsl: '1.0.3', namespace: default, name: echo, version: '1.0.0'}\ndo:\n  - same:\n      set: ${ . }\n"

func TestRunInThisProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "echo.yaml", echo)
	code, stdout, stderr := command(t, dir, "run", file, "--set", "a=1")
	if code != 0 || stdout != "{\"a\":1}\n" || !strings.Contains(stderr, "same completed") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, dir, "run", "-q", "-o", "yaml", file)
	if code != 0 || stderr != "" || !strings.Contains(stdout, "\nstatus: completed\n") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, _ = command(t, dir, "runs", "list", "-o", "json")
	if code != 0 || strings.Count(stdout, `"workflow":"default/echo:1.0.0"`) != 2 {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
}

// Every command explains itself: what it is for, how it is used, and by example.
func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	t.Parallel()
	a := &app{}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no summary or no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 92 {
				t.Errorf("%s: a line of its help is wide: %q", c.CommandPath(), line)
			}
		}
		for _, s := range c.Commands() {
			visit(s)
		}
	}
	visit(a.root())
}

func TestErrorsCarryTheirExitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("disk full"), 1, "error: disk full\n"},
		{usage("try x", "no %s", "y"), 2, "error: no y\ntry x\n"},
		{fmt.Errorf("wrapped: %w", usage("", "inner")), 2, "error: inner\n"},
		{&exit{code: 3}, 3, ""},
	} {
		var out bytes.Buffer
		a := &app{err: &out}
		if code := a.explain(c.err); code != c.code || out.String() != c.want {
			t.Errorf("%v: code %d, %q", c.err, code, out.String())
		}
	}
}

func TestFindingsShowTheirPlace(t *testing.T) {
	t.Parallel()
	f := findings{file: "w.yaml", source: []byte("a:\n\tb: wörld x\n"), list: []workflow.Finding{
		{Pos: workflow.Pos{Line: 2, Col: 5}, EndCol: 10, Severity: workflow.SeverityError, Rule: "r/x", Message: "no"},
		{Pos: workflow.Pos{Line: 9, Col: 1}, Severity: workflow.SeverityWarning, Message: "beyond the end"},
		{Severity: workflow.SeverityHint, Message: "not shown"},
	}}
	var out bytes.Buffer
	f.show(&out, progress.Palette{}, workflow.SeverityError, workflow.SeverityWarning)
	want := "w.yaml:2:5: error: no (r/x)\n  2 | \tb: wörld x\n    | \t   ^^^^^\nw.yaml:9:1: warning: beyond the end\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	if got := f.verdict(progress.Palette{}); got != "invalid (1 error, 1 warning)" {
		t.Errorf("got %q", got)
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
		{Reference: "/do/0/step", Name: "step", Status: event.Faulted},
	}}
	var out bytes.Buffer
	a := &app{err: &out, flags: globalFlags{data: "/my data"}}
	a.ending(r, author{file: "w.yaml", source: src, def: def}, func(view.Task) []string { return []string{"one", "two\r"} })
	want := `faulted: Disk full (507) after 1.5s
  task     /do/0/step
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
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "1m30s": 90 * time.Second, "PT2M": 2 * time.Minute, "P1D": 24 * time.Hour} {
		if got, err := patience(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "soon", "-1s", "0s", "5"} {
		if _, err := patience(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
