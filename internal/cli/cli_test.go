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

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/progress"
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

// testApp is an app on buffers, with stdin.
func testApp(stdin string) *app {
	return &app{
		in: strings.NewReader(stdin), out: &bytes.Buffer{}, err: &bytes.Buffer{},
		env: func(string) string { return "" }, clock: lifecycle.Clock{}, term: progress.Terminal{},
	}
}
