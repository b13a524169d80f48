package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func define(tb testing.TB, name, body string) *workflow.Definition {
	tb.Helper()
	def, findings := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: test, name: " + name + ", version: '1.0.0'}\n" + body))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			tb.Fatal(f.Format(name))
		}
	}
	return def
}

func open(tb testing.TB, c server.Config) *server.Node {
	tb.Helper()
	c.Version, c.Grace = "test", time.Second
	n, err := server.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { shut(tb, n) })
	return n
}

func shut(tb testing.TB, n *server.Node) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 20*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		tb.Error(err)
	}
}

func start(tb testing.TB, n *server.Node, def *workflow.Definition, in string) event.RunID {
	tb.Helper()
	id, err := n.Control.Start(tb.Context(), control.StartRequest{Definition: def, Input: value.FromJSON([]byte(in))})
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func wait(tb testing.TB, n *server.Node, id event.RunID) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	res, err := n.Control.Wait(ctx, id)
	if err != nil {
		tb.Fatal(err)
	}
	s := res.Status.String() + " " + string(res.Output.JSON())
	if res.Error != nil {
		s += " " + res.Error.Error()
	}
	return s
}

func TestNodeCarriesOutProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, server.Config{DataDir: dir, Environ: os.Environ()})
	id := start(t, n, define(t, "w", "do:\n  - s: {run: {shell: {command: 'echo hello; echo oops >&2'}}}\n"), `{}`)
	if got := wait(t, n, id); got != `completed "hello"` {
		t.Error(got)
	}
	logs, err := n.Control.Logs(t.Context(), id)
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	rows := map[string]string{}
	if err := logs[0].Rows(func(r control.LogRow) error { rows[r.Stream] += r.Text; return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"stdout": "hello", "stderr": "oops"}, rows); d != "" {
		t.Error(d)
	}
	v, err := n.Control.Get(t.Context(), id)
	if err != nil || len(v.Tasks) != 1 || v.Tasks[0].Name != "s" {
		t.Errorf("%+v %v", v, err)
	}
	list, _, err := n.Control.List(t.Context(), journal.Query{})
	if err != nil || len(list) != 1 || list[0].Status != event.Completed {
		t.Errorf("%+v %v", list, err)
	}
	entries, err := n.Control.Journal(t.Context(), id, 0, 100)
	if err != nil || len(entries) < 2 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	shut(t, n)
	shut(t, n)
}

// DSL 141: an interrupted run goes on with its child, with the definitions that it recorded.
func TestEmbeddedRunGoesOnWithItsChild(t *testing.T) {
	t.Parallel()
	dir, flows := t.TempDir(), t.TempDir()
	file := filepath.Join(flows, "child.yaml")
	child := "document: {dsl: '1.0.3', namespace: test, name: child, version: '%s'}\ndo:\n  - w: {wait: PT1S}\n  - s: {set: {v: '%[1]s'}}\n"
	write := func(version string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, child, version), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1.2.0")
	n := open(t, server.Config{DataDir: dir, Workflows: flows})
	id := start(t, n, define(t, "parent", "do:\n  - c: {run: {workflow: {namespace: test, name: child, version: latest}}}\n"), `{}`)
	shut(t, n)
	write("2.0.0")

	n = open(t, server.Config{DataDir: dir, Workflows: flows})
	runs, err := n.Control.Interrupted(t.Context())
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs are interrupted, want the run and its child; %v", len(runs), err)
	}
	feed := engine.NewFeed(0)
	if err := n.Control.Continue(t.Context(), id, feed); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, n, id); got != `completed {"v":"1.2.0"}` {
		t.Error(got)
	}
	if us, _, err := feed.Next(t.Context()); err != nil || len(us) == 0 {
		t.Errorf("the feed shows nothing: %v", err)
	}
	if err := n.Control.Continue(t.Context(), id, nil); err == nil {
		t.Error("an ended run was continued")
	}
}

// Two processes on one data directory: acts reach runs of the other.
func TestActsReachRunsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := open(t, server.Config{DataDir: dir, Environ: os.Environ()})
	other := open(t, server.Config{DataDir: dir})
	id := start(t, mine, define(t, "w", "do:\n  - s: {run: {shell: {command: 'sleep 60'}}}\n"), `{}`)
	if err := other.Control.Continue(t.Context(), id, nil); !errors.Is(err, journal.ErrNotOwner) {
		t.Errorf("a run of a process that lives was taken: %v", err)
	}
	if err := other.Control.Suspend(t.Context(), id, "me", ""); err != nil {
		t.Fatal(err)
	}
	if err := other.Control.Resume(t.Context(), id, "me"); err != nil {
		t.Fatal(err)
	}
	if err := other.Control.Cancel(t.Context(), id, "me", "enough"); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, other, id); got != `cancelled null` {
		t.Error(got)
	}
	if err := other.Control.Cancel(t.Context(), id, "me", "again"); !errors.Is(err, control.ErrEnded) {
		t.Errorf("cancel of an ended run: %v", err)
	}
	listening := start(t, mine, define(t, "l", "do:\n  - l: {listen: {to: {one: {with: {type: go}}}}}\n"), `{}`)
	sent, err := other.Control.SendEvents(t.Context(), []map[string]any{{"id": "1", "source": "/x", "type": "go", "data": 42}})
	if err != nil || len(sent) != 1 || sent[0].Known {
		t.Fatalf("%+v %v", sent, err)
	}
	if got := wait(t, mine, listening); got != `completed [42]` {
		t.Error(got)
	}
	if _, err := other.Control.SendEvents(t.Context(), []map[string]any{{"id": "1", "source": "/x"}}); err == nil || !strings.Contains(err.Error(), `"type" is required`) {
		t.Errorf("an event without a type: %v", err)
	}
}

// A server takes over what a server left; what `downbeat run` left waits.
func TestServersAdopt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	def := define(t, "w", "do:\n  - w: {wait: PT1S}\n  - s: {call: noop}\n")
	embedded := open(t, server.Config{DataDir: dir})
	left := start(t, embedded, def, `{"n":1}`)
	shut(t, embedded)
	serving := open(t, server.Config{DataDir: dir, Mode: server.Serving})
	id := start(t, serving, def, `{"n":2}`)
	shut(t, serving)
	serving = open(t, server.Config{DataDir: dir, Mode: server.Serving})
	if got := wait(t, serving, id); got != `completed {"n":2}` {
		t.Error(got)
	}
	v, err := serving.Control.Get(t.Context(), left)
	if err != nil || v.Status.Ended() || !v.Interrupted {
		t.Errorf("%+v %v", v, err)
	}
}

// D17: no file of the data directory shows a secret.
func TestSecretsAreNotOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, server.Config{DataDir: dir, Environ: append(os.Environ(), "DOWNBEAT_SECRET_TOKEN=hunter2-hunter2")})
	def := define(t, "w", "use: {secrets: [token]}\ndo:\n"+
		"  - a: {set: {t: '${ $secrets.token }'}}\n"+
		"  - b: {run: {shell: {command: 'echo \"$T\"', environment: {T: '${ .t }'}}}}\n  - c: {call: noop}\n")
	if got := wait(t, n, start(t, n, def, `{}`)); got != `completed "hunter2-hunter2"` {
		t.Error(got)
	}
	shut(t, n)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("hunter2")) {
			t.Errorf("%s shows the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyStartsOnce(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	q := control.StartRequest{Definition: define(t, "w", "do:\n  - s: {call: noop}\n"), KeyScope: "test", Key: "order 7"}
	first, err := n.Control.Start(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.Control.Start(t.Context(), q)
	if err != nil || again != first {
		t.Errorf("%s, %v; want %s", again, err, first)
	}
}

func TestUnknownKindIsRefusedBeforeTheStart(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	_, err := n.Control.Start(t.Context(), control.StartRequest{Definition: define(t, "w", "do:\n  - c: {call: nobody}\n")})
	var invalid *control.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "/do/0/c") {
		t.Errorf("got %v", err)
	}
}

// A shared workspace lasts as long as its run, an attempt's own as long as the attempt.
func TestWorkingDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := open(t, server.Config{DataDir: dir, Environ: os.Environ()})
	def := define(t, "w", `do:
  - own: {run: {shell: {command: 'echo x > own'}}}
  - write: {run: {shell: {command: 'echo shared > file'}}, metadata: {downbeat: {workspace: run}}}
  - read: {run: {shell: {command: 'cat file; ls ../*/own 2>/dev/null || true'}}, metadata: {downbeat: {workspace: run}}}
`)
	if got := wait(t, n, start(t, n, def, `{}`)); got != `completed "shared"` {
		t.Error(got)
	}
	shut(t, n)
	if left, _ := filepath.Glob(filepath.Join(dir, "work", "*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
