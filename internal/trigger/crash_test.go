package trigger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
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
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
	"github.com/downbeat-dev/downbeat/internal/trigger"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// A process of the crash test is this test binary with DOWNBEAT_CRASH_DIR set.

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

const crashEvery = 40 * time.Millisecond

const crashSource = `
document: {dsl: '1.0.3', namespace: test, name: crash, version: '1.0.0', metadata: {downbeat: {schedule: {missed: all}}}}
schedule:
  every: PT0.04S
  after: PT0.03S
  on: {all: [{with: {type: a}, correlate: {n: {from: .data}}}, {with: {type: b}, correlate: {n: {from: .data}}}]}
  read: data
do: [{w: {wait: PT0.02S}}, {echo: {set: '${ $workflow.input }'}}]
`

// crashNode opens a node that carries the workflow out by its schedule.
func crashNode(ctx context.Context, dir string) (*server.Node, *trigger.Trigger, error) {
	node, err := server.Open(ctx, server.Config{DataDir: dir, Mode: server.Serving, Version: "crash"})
	if err != nil {
		return nil, nil, err
	}
	def, _ := workflow.Decode([]byte(crashSource))
	t, err := node.Schedules(trigger.Options{Definitions: []*workflow.Definition{def}, Version: "crash"})
	if err == nil {
		err = t.Start(ctx)
	}
	return node, t, err
}

// crashing carries schedules out, and sends pairs of events, until it is killed.
func crashing(dir string) error {
	ctx := context.Background()
	node, t, err := crashNode(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		select {
		case err := <-t.Failed():
			return err
		case <-time.After(5 * time.Millisecond):
		}
		for _, kind := range []string{"a", "b"} {
			ev := map[string]any{"id": fmt.Sprintf("%d %d %s", os.Getpid(), n, kind), "source": "/crash", "type": kind, "data": fmt.Sprintf("%d %d", os.Getpid(), n)}
			if _, err := node.Control.SendEvents(ctx, []map[string]any{ev}); err != nil {
				return err
			}
		}
	}
}

// Processes that are killed at random instants, now and then two at once, lose
// no due time and no event, and start nothing twice (DSL 168, 170-172).
func TestKilledProcesses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("kill -9 is for systems that have it")
	}
	t.Parallel()
	kills := 8
	if v := os.Getenv("DOWNBEAT_CRASHES"); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	for k := range kills {
		var all sync.WaitGroup
		for range 1 + k%2 {
			all.Go(func() { killed(t, dir, time.Duration(20+rand.IntN(300))*time.Millisecond) })
		}
		all.Wait()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node, tr, err := crashNode(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = tr.Stop(ctx)
		if err := node.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	// Everything that was due or accepted is over once a last pair has had its run.
	last := time.Now().UTC()
	for _, kind := range []string{"a", "b"} {
		if _, err := node.Control.SendEvents(ctx, []map[string]any{{"id": "last " + kind, "source": "/crash", "type": kind, "data": "last"}}); err != nil {
			t.Fatal(err)
		}
	}
	var byProperty map[string][]time.Time
	for !slices.ContainsFunc(byProperty["every"], func(d time.Time) bool { return d.After(last) }) || !ended(ctx, t, node, `["last","last"]`) {
		if ctx.Err() != nil {
			t.Fatal("the schedules do not come to an end")
		}
		time.Sleep(50 * time.Millisecond) // processes of their own: no virtual time
		byProperty = started(ctx, t, node)
	}
	tr.Cease()
	byProperty = started(ctx, t, node)
	t.Logf("%d runs by every, %d by after, %d by on", len(byProperty["every"]), len(byProperty["after"]), len(byProperty["on"]))
	every := byProperty["every"]
	for i := 1; i < len(every); i++ {
		if gap := every[i].Sub(every[i-1]); gap != crashEvery {
			t.Errorf("due times %s and %s are %s apart, want %s", every[i-1], every[i], gap, crashEvery)
		}
	}
	if len(byProperty["after"]) < kills/2 {
		t.Errorf("%d runs by after", len(byProperty["after"]))
	}
	pairs(ctx, t, dir, node)
}

// started are the due times of all runs, by the property that started them.
func started(ctx context.Context, t *testing.T, node *server.Node) map[string][]time.Time {
	t.Helper()
	out := map[string][]time.Time{}
	for _, r := range rows(ctx, t, node) {
		due, err := time.Parse(time.RFC3339Nano, r.Labels["due"])
		if err != nil {
			t.Fatal(err)
		}
		out[r.Labels["schedule"]] = append(out[r.Labels["schedule"]], due)
	}
	for _, list := range out {
		slices.SortFunc(list, time.Time.Compare)
	}
	return out
}

func rows(ctx context.Context, t *testing.T, node *server.Node) (all []journal.RunRow) {
	t.Helper()
	for q := (journal.Query{Limit: 1000}); ; {
		page, next, err := node.Control.List(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if q.Cursor = next; next == "" {
			return all
		}
	}
}

func outcome(ctx context.Context, t *testing.T, node *server.Node, id event.RunID) engine.Result {
	t.Helper()
	r, err := node.Control.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ended reports whether there is a run by events with that output.
func ended(ctx context.Context, t *testing.T, node *server.Node, want string) bool {
	t.Helper()
	list, _, err := node.Control.List(ctx, journal.Query{Label: "schedule=on", Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return false
	}
	r := outcome(ctx, t, node, list[0].ID)
	return string(r.Output.JSON()) == want
}

// pairs checks that each pair of events that was accepted has one run.
func pairs(ctx context.Context, t *testing.T, dir string, node *server.Node) {
	t.Helper()
	runs := map[string]int{}
	for _, r := range rows(ctx, t, node) {
		if r.Labels["schedule"] == "on" {
			res := outcome(ctx, t, node, r.ID)
			runs[string(res.Output.JSON())]++
		}
	}
	for pair, n := range runs {
		if n != 1 {
			t.Errorf("%s has %d runs", pair, n)
		}
	}
	events := accepted(ctx, t, dir)
	whole := 0
	for data, n := range events {
		if n == 2 {
			whole++
			if runs[fmt.Sprintf("[%s,%s]", data, data)] != 1 {
				t.Errorf("the events of %s have no run", data)
			}
		}
	}
	if whole != len(runs) {
		t.Errorf("%d pairs, %d runs", whole, len(runs))
	}
}

// accepted counts the events in the store by their data.
func accepted(ctx context.Context, t *testing.T, dir string) map[string]int {
	t.Helper()
	out := map[string]int{}
	store, err := sqlite.Open(ctx, dir, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // it was only read
	list, err := store.CloudEvents(ctx, 0, nil, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range list {
		_, rest, _ := strings.Cut(string(ev.Data), `"data":`)
		data, _, _ := strings.Cut(rest, `,"id"`)
		out[data]++
	}
	return out
}

// killed starts a process and kills it some time after it is ready.
func killed(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DOWNBEAT_CRASH_DIR="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	_, _ = out.Read(make([]byte, 1)) // ready, or ended
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("the process ended by itself: %s", stderr.String())
	}
	_ = cmd.Wait()
	if strings.Contains(stderr.String(), "panic") {
		t.Error(stderr.String())
	}
}
