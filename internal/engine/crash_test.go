package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// The crash test kills processes at random instants and then looks whether
// every run that was acknowledged ends as it must, and every effect happened at
// least once and under one key. A process of it is this test binary with
// DOWNBEAT_CRASH_DIR set.

func TestMain(m *testing.M) {
	if dir := os.Getenv("DOWNBEAT_CRASH_DIR"); dir != "" {
		if err := crashing(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const effect = `printf '%s %s %s %s\n' "$DOWNBEAT_RUN_ID" "$DOWNBEAT_TASK" "$DOWNBEAT_IDEMPOTENCY_KEY"`

// workloads are what the crashing processes run; every one ends completed with
// the output {"n": <its number>}. EFFECTS is the file that shells write to.
var workloads = map[string]string{
	"steps": `
do:
  - a: {call: noop}
  - b: {call: noop}
  - c: {call: noop}
`,
	"fork": `
do:
  - f:
      fork:
        branches:
          - a: {call: noop}
          - b: {do: [{w: {wait: {milliseconds: 30}}}, {n: {call: noop}}]}
          - c: {for: {in: '${ [1,2,3] }'}, do: [{n: {call: noop}}]}
      output: {as: '.[0]'}
`,
	"timer": `
do:
  - w: {wait: {milliseconds: 40}}
  - a: {call: noop}
`,
	"child": `
do:
  - c: {run: {workflow: {namespace: test, name: steps, version: latest}}}
`,
	"shell": `
do:
  - s:
      run: {shell: {command: '` + strings.ReplaceAll(effect, "'", "''") + ` done >> EFFECTS'}}
      output: {as: $input}
`,
	"retry": `
do:
  - t:
      try:
        - s:
            run: {shell: {command: '` + strings.ReplaceAll(effect, "'", "''") + ` "$DOWNBEAT_ATTEMPT" >> EFFECTS; test "$DOWNBEAT_ATTEMPT" -gt 1'}}
            output: {as: $input}
      catch:
        retry: {delay: {milliseconds: 10}, limit: {attempt: {count: 5}}}
`,
	"survivor": `
do:
  - s:
      run: {shell: {command: '` + strings.ReplaceAll(effect, "'", "''") + ` "begin $$" >> EFFECTS; sleep 0.15; ` + strings.ReplaceAll(effect, "'", "''") + ` "end $$" >> EFFECTS'}}
      output: {as: $input}
`,
	"listen": `
do:
  - e: {emit: {event: {with: {source: /crash, type: '${ "t" + (.n|tostring) }', data: '${ . }'}}}}
  - l:
      listen: {to: {any: [{with: {type: '${ "t" + ($workflow.input.n|tostring) }'}}]}}
      output: {as: '.[0]'}
`,
}

func crashDefinition(dir, kind string) (*workflow.Definition, error) {
	src := "document: {dsl: '1.0.3', namespace: test, name: " + kind + ", version: '1.0.0'}" +
		strings.ReplaceAll(workloads[kind], "EFFECTS", filepath.Join(dir, "effects"))
	def, findings := workflow.Decode([]byte(src))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			return nil, fmt.Errorf("%s", f.Format(kind))
		}
	}
	return def, nil
}

func crashNode(ctx context.Context, dir string) (*server.Node, error) {
	return server.Open(ctx, server.Config{
		DataDir: dir, Mode: server.Serving, Version: "crash", Workflows: filepath.Join(dir, "workflows"), Environ: os.Environ(),
		Grace: time.Second, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// crashing is what a process does until it is killed: it takes over what others
// left, starts runs, and says which starts were acknowledged.
func crashing(dir string) error {
	ctx := context.Background()
	node, err := crashNode(ctx, dir)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	n := 0
	next := func() int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return os.Getpid()*100000 + n
	}
	go func() {
		for {
			_ = node.Keeper().Checkpoint(ctx)
			_, _, _ = node.Keeper().Prune(ctx, journal.Retention{Keep: 1 << 30, For: time.Hour, Events: time.Hour, Now: time.Now()}, 5*time.Millisecond)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	errs := make(chan error)
	for kind := range workloads {
		def, err := crashDefinition(dir, kind)
		if err != nil {
			return err
		}
		for range 2 {
			go func() {
				for {
					i := next()
					q := engine.StartRequest{Definition: def, Input: value.FromJSON(fmt.Appendf(nil, `{"n":%d}`, i))}
					id, err := node.Engine.Submit(ctx, q)
					if err != nil {
						errs <- err
						return
					}
					mu.Lock()
					fmt.Printf("ack %s %s %d\n", id, kind, i)
					mu.Unlock()
					if _, err := node.Engine.Wait(ctx, id); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
	}
	return <-errs
}

// acked is a run whose start was acknowledged.
type acked struct {
	id   event.RunID
	kind string
	n    int
}

// Invariant 3: after crashes at any point, every acknowledged run ends as an
// execution without crashes could have ended, and every effect happened under one key.
func TestCrashLosesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("kill -9 is for systems that have it")
	}
	kills := 10
	if v := os.Getenv("DOWNBEAT_CRASHES"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "workflows"), 0o700); err != nil {
		t.Fatal(err)
	}
	child := "document: {dsl: '1.0.3', namespace: test, name: steps, version: '1.0.0'}" + workloads["steps"]
	if err := os.WriteFile(filepath.Join(dir, "workflows", "steps.yaml"), []byte(child), 0o600); err != nil {
		t.Fatal(err)
	}
	var runs []acked
	for k := 0; k < kills; {
		// Every third time two processes share the directory, and both are killed.
		together := 1
		if k%3 == 2 {
			together = 2
		}
		together = min(together, kills-k)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range together {
			wg.Go(func() {
				got := crashOnce(t, dir, time.Duration(10+rand.IntN(400))*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				runs = append(runs, got...)
			})
		}
		wg.Wait()
		k += together
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d acknowledged runs", kills, len(runs))
	checkCrashed(t, dir, runs)
}

// crashOnce starts a process, kills it after a while and returns what it acknowledged.
func crashOnce(t *testing.T, dir string, after time.Duration) []acked {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DOWNBEAT_CRASH_DIR="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	var runs []acked
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var id string
		var r acked
		if n, _ := fmt.Sscanf(lines.Text(), "ack %s %s %d", &id, &r.kind, &r.n); n != 3 {
			continue // cut by the kill
		}
		if r.id, err = event.ParseRunID(id); err == nil {
			runs = append(runs, r)
		}
	}
	if timer.Stop() {
		t.Errorf("the process ended by itself: %s", stderr.String())
	}
	_ = cmd.Wait()
	if s := stderr.String(); strings.Contains(s, "diverged") || strings.Contains(s, "panic") {
		t.Error(s)
	}
	return runs
}

// checkCrashed lets everything end and compares.
func checkCrashed(t *testing.T, dir string, runs []acked) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	node, err := crashNode(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	bad := 0
	for _, r := range runs {
		res, err := node.Engine.Wait(ctx, r.id)
		want := fmt.Sprintf(`completed {"n":%d}`, r.n)
		if err != nil || show(res) != want {
			v, showErr := node.Control.Get(context.WithoutCancel(ctx), r.id)
			t.Errorf("run %s (%s): %s, %v; want %s\n%+v %v", r.id, r.kind, show(res), err, want, v, showErr)
			if bad++; bad > 3 {
				return
			}
		}
	}
	checkEffects(t, filepath.Join(dir, "effects"), runs)
}

func checkEffects(t *testing.T, file string, runs []acked) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]map[string]bool{} // run → keys
	running := map[string]string{}       // key → the process that began last
	repeated := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			t.Errorf("effect %q", line)
			continue
		}
		id, key := f[0], f[2]
		if keys[id] == nil {
			keys[id] = map[string]bool{}
		}
		keys[id][key] = true
		switch f[3] {
		case "begin":
			if running[key] != "" {
				repeated++
			}
			running[key] = f[4]
		case "end":
			if running[key] != f[4] {
				t.Errorf("process %s went on although its attempt was repeated by process %s", f[4], running[key])
			}
		}
	}
	t.Logf("%d attempts of processes that were under way were repeated", repeated)
	for _, r := range runs {
		if r.kind != "shell" && r.kind != "retry" && r.kind != "survivor" {
			continue
		}
		if n := len(keys[r.id.String()]); n != 1 {
			t.Errorf("run %s (%s): its effect has %d keys, want 1", r.id, r.kind, n)
		}
	}
}
