package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const shellFlow = `document: {dsl: '1.0.3', namespace: default, name: shell, version: '1.0.0'}
do:
  - say: {run: {shell: {command: 'echo hello'}}}
  - again: {set: {said: '${ . }'}}
`

// A run that was really made passes as a test, without its shell.
func TestARealRunIsRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, dir, "shell.yaml", shellFlow)
	if code, _, stderr := command(t, dir, "run", "-q", file); code != 0 {
		t.Fatal(stderr)
	}
	var stderr strings.Builder
	a := &app{
		in: strings.NewReader(""), out: &strings.Builder{}, err: &stderr, env: func(string) string { return "" },
		clock: lifecycle.Clock{}, signals: make(chan os.Signal),
	}
	a.conf.Data, a.conf.Output = filepath.Join(dir, "data"), "text"
	def, _ := workflow.Decode([]byte(shellFlow))
	into := filepath.Join(dir, "tests", "shell.test.yaml")
	if err := os.Mkdir(filepath.Dir(into), 0o700); err != nil {
		t.Fatal(err)
	}
	faulted := errors.New("what came of it")
	err := a.withNode(t.Context(), func(ctx context.Context, n *server.Node) error {
		runs, _, err := n.Control.List(ctx, journal.Query{Limit: 1})
		if err != nil {
			return err
		}
		return a.record(ctx, n, runs[0].ID, def, file, into, faulted)
	})
	if !errors.Is(err, faulted) || !strings.Contains(stderr.String(), "downbeat test") {
		t.Fatalf("%v, %s", err, stderr.String())
	}
	src, err := os.ReadFile(into)
	if err != nil || !strings.Contains(string(src), "workflow: ../shell.yaml\n") || !strings.Contains(string(src), "output: hello") {
		t.Errorf("%v\n%s", err, src)
	}
	if code, stdout, _ := command(t, dir, "test", into); code != 0 || !strings.Contains(stdout, "1 passed") {
		t.Errorf("%s\n%s", stdout, src)
	}
	for place, want := range map[string]string{into: "is there already", filepath.Join(dir, "x.yaml"): "ends in .test.yaml"} {
		if err := recordable(place, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
	}
	if err := recordable(filepath.Join(dir, "new.test.yaml"), file); err != nil {
		t.Error(err)
	}
}
