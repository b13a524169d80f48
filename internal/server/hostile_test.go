package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// What is hostile here meets the real node, store and processes, and each time
// other runs go on in the same node. The same is tested nearer to its cause:
//   - expressions: internal/expr TestBombs, TestInterrupted, TestLimitIsNotCaught
//   - runaways in one shard: internal/engine TestInvariant5RunawaysFaultAndOthersGoOn
//   - memory: internal/engine TestMemoryIsBounded
//   - an executor that ignores its end: internal/engine TestCancellationIsBounded
//   - a disk that is full at each statement and commit: internal/store/sqlite
//     TestNoStatementThatFailsLeavesAHalf, TestAFullDiskLosesNothing, and
//     internal/engine TestFailedCommitIsTakenBack
//   - the command line: conformance/scripts/12-bounds.txtar

// heavy skips what takes seconds of a processor.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// finish waits longer than wait, for what is heavy on a busy machine.
func finish(tb testing.TB, n *server.Node, id event.RunID) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 8*time.Minute)
	defer cancel()
	res, err := n.Control.Wait(ctx, id)
	if err != nil {
		tb.Fatal(err)
	}
	if res.Error != nil {
		return res.Status.String() + " " + res.Error.Instance + " " + res.Error.Error()
	}
	return res.Status.String() + " " + string(res.Output.JSON())
}

// beside carries out small runs, one after another, until stop is called; every
// one must complete, and one at least must have.
func beside(t *testing.T, n *server.Node) (stop func()) {
	t.Helper()
	def := define(t, "beside", "do:\n  - a: {call: noop}\n  - b: {set: {n: '${ .n + 1 }'}}\n  - c: {call: noop}\n")
	over, ended := make(chan struct{}), make(chan int)
	go func() {
		count := 0
		defer func() { ended <- count }()
		for {
			id, err := n.Control.Start(t.Context(), control.StartRequest{Definition: def, Input: value.FromJSON([]byte(`{"n":1}`))})
			if err != nil {
				t.Errorf("beside: %v", err)
				return
			}
			if res, err := n.Control.Wait(t.Context(), id); err != nil || res.Status != event.Completed || string(res.Output.JSON()) != `{"n":2}` {
				t.Errorf("beside: %v %v", res, err)
				return
			}
			count++
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	return func() {
		close(over)
		count := <-ended
		t.Logf("%d other runs meanwhile", count)
	}
}

// ends starts a run and reports when it does not end as wanted.
func ends(t *testing.T, n *server.Node, name, body, in string, want ...string) {
	t.Helper()
	stop := beside(t, n)
	got := finish(t, n, start(t, n, define(t, name, body), in))
	stop()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("it ended %.300s, want %s", got, w)
		}
	}
}

func TestHostileHundredThousandIterations(t *testing.T) {
	heavy(t)
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	ends(t, n, "loop", "do:\n  - f: {for: {in: '${ [range(100000)] }', each: i}, do: [{n: {set: {n: '${ $i }'}}}]}\n", `{}`, `completed {"n":99999}`)
	ends(t, n, "steps", "do:\n  - f: {for: {in: '${ [range(100000)] }', each: i}, do: [{n: {call: noop, with: {n: '${ $i }'}}}]}\n", `{}`, `completed {"n":99999}`)
}

func TestHostileTenThousandWayMap(t *testing.T) {
	heavy(t)
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	ends(t, n, "wide", "do:\n  - m: {call: map, with: {in: '${ [range(10000)] }', each: i, limit: 10000, do: [{n: {call: noop, with: {n: '${ $i }'}}}]}}\n"+
		"  - sum: {set: {length: '${ length }', sum: '${ map(.n) | add }'}}\n", `{}`, `completed {"length":10000,"sum":49995000}`)
}

func TestHostileSixteenMebibytes(t *testing.T) {
	heavy(t)
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir(), Environ: os.Environ()})
	passes := define(t, "big", "do:\n  - a: {call: noop}\n  - b: {set: '${ . }'}\n")
	stop := beside(t, n)
	most := `"` + strings.Repeat("x", 16<<20-2) + `"`
	if got := finish(t, n, start(t, n, passes, most)); got != "completed "+most {
		t.Errorf("16 MiB: %.300s", got)
	}
	more := `"` + most[1:len(most)-1] + `x"`
	id, err := n.Control.Start(t.Context(), control.StartRequest{Definition: passes, Input: value.FromJSON([]byte(more))})
	got := fmt.Sprint(err)
	if err == nil {
		got = finish(t, n, id)
	}
	if strings.HasPrefix(got, "completed") || !strings.Contains(got, "16777217 bytes") || !strings.Contains(got, "16 MiB") {
		t.Errorf("a byte more: %.300s", got)
	}
	stop()
	for name, body := range map[string]string{
		"made by an expression": "do:\n  - a: {set: {a: '${ . }', b: '${ . }'}}\n",
		"made by a process":     "do:\n  - a: {run: {shell: {command: 'head -c 17000000 /dev/zero | tr \"\\0\" x'}}}\n",
	} {
		ends(t, n, strings.ReplaceAll(name, " ", "-"), body, `"`+strings.Repeat("x", 9<<20)+`"`, "faulted", "/do/0/a", "16 MiB")
	}
}

func TestHostileTenThousandSleepers(t *testing.T) {
	heavy(t)
	t.Parallel()
	var shift atomic.Int64
	n := open(t, server.Config{DataDir: t.TempDir(), Clock: lifecycle.Clock{Shift: func() time.Duration { return time.Duration(shift.Load()) }}})
	def := define(t, "sleeper", "do:\n  - w: {wait: PT1H}\n  - s: {set: {awake: '${ .n }'}}\n")
	const sleepers = 10_000
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	stop := beside(t, n)
	before := heap()
	ids := make([]event.RunID, sleepers)
	for i := range ids {
		ids[i] = start(t, n, def, fmt.Sprintf(`{"n":%d}`, i))
	}
	stop()
	for begin := time.Now(); n.Engine.Live() > 0; runtime.Gosched() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d runs stay in memory", n.Engine.Live())
		}
	}
	if grown := heap() - before; grown > 20<<20 {
		t.Logf("the heap grew by %d MiB (other tests run beside)", grown>>20)
	}
	stop = beside(t, n)
	shift.Store(int64(2 * time.Hour))
	nudge(t, n)
	for i, id := range ids {
		if got := finish(t, n, id); got != fmt.Sprintf(`completed {"awake":%d}`, i) {
			t.Fatalf("%d: %s", i, got)
		}
	}
	stop()
}

// nudge makes the node look at its clock now; by itself it looks once a minute.
func nudge(t *testing.T, n *server.Node) {
	t.Helper()
	if _, err := n.Control.SendEvents(t.Context(), []map[string]any{{"id": time.Now().String(), "source": "/x", "type": "nobody"}}); err != nil {
		t.Fatal(err)
	}
}

func TestHostileEndlessExpression(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	ends(t, n, "spin", "do:\n  - a: {set: {x: '${ def f: f; f }'}}\n", `{}`, "faulted", "/do/0/a", "steps")
	ends(t, n, "caught", "do:\n  - a: {set: {x: '${ try ([range(1e12)] | length) catch 0 }'}}\n", `{}`, "faulted", "/do/0/a")
}

func TestHostileGigabyteIn300Steps(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	ends(t, n, "text", "do:\n  - a: {set: {x: '${ reduce range(30) as $i (\"x\"; . + .) | length }'}}\n", `{}`, "faulted", "/do/0/a", "MiB")
	ends(t, n, "list", "do:\n  - a: {set: {x: '${ reduce range(30) as $i ([0]; . + .) | length }'}}\n", `{}`, "faulted", "/do/0/a")
	ends(t, n, "times", "do:\n  - a: {set: {x: '${ (\"x\" * 100000000) * 10 | length }'}}\n", `{}`, "faulted", "/do/0/a")
}

func TestHostileProcessIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	n := open(t, server.Config{DataDir: t.TempDir(), Environ: os.Environ()})
	begun := filepath.Join(t.TempDir(), "begun")
	const deaf = `trap "" TERM INT; echo x > "$F"; while :; do sleep 1; done`
	body := fmt.Sprintf("do:\n  - s: {run: {shell: {command: '%s', environment: {F: '%s'}}}}\n", deaf, begun)
	id := start(t, n, define(t, "deaf", body), `{}`)
	for begin := time.Now(); ; runtime.Gosched() {
		if _, err := os.Stat(begun); err == nil {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("the process did not start")
		}
	}
	stop := beside(t, n)
	begin := time.Now()
	if err := n.Control.Cancel(t.Context(), id, "me", "enough"); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, n, id); got != "cancelled null" {
		t.Error(got)
	}
	stop()
	if d := time.Since(begin); d > 20*time.Second { // the grace is a second
		t.Errorf("it took %v to end", d)
	}
	body = fmt.Sprintf("do:\n  - s: {run: {shell: {command: '%s', environment: {F: '%s'}}}, timeout: {after: PT0.3S}}\n", deaf, begun)
	ends(t, n, "slow", body, `{}`, "faulted", "/do/0/s", "timeout")
}

func TestHostileServerNeverAnswers(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/trickle" { // the headers, a little, and then nothing
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte(`{"a":`))
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(over)
	for _, path := range []string{"/silent", "/trickle"} {
		ends(t, n, path[1:], "do:\n  - c: {call: http, with: {method: get, endpoint: '"+s.URL+path+"'}, timeout: {after: PT0.5S}}\n", `{}`,
			"faulted", "/do/0/c", "timeout")
	}
}

// The data directory is on a small file system of its own that something else fills up.
func TestHostileDiskFillsUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=24m", "downbeat", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system needs root: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v %s", err, out)
		}
	})
	n := open(t, server.Config{DataDir: dir, Environ: os.Environ()})
	gate := filepath.Join(t.TempDir(), "gate")
	body := fmt.Sprintf("do:\n  - s: {run: {shell: {command: 'while ! [ -e %s ]; do sleep 0.05; done; echo through'}}}\n  - n: {call: noop}\n", gate)
	var ids []event.RunID
	for range 3 {
		ids = append(ids, start(t, n, define(t, "acknowledged", body), `{}`))
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 4096); err == nil; {
		_, err = f.Write(chunk)
	}
	_ = f.Close()
	// What can be stored no more is refused, with the place; nothing that was
	// acknowledged is lost, and what is live goes on with what it has.
	small := define(t, "small", "do:\n  - n: {call: noop}\n")
	in := value.FromJSON([]byte(`"` + strings.Repeat("abcdefghij", 10_000) + `"`))
	for tries := 0; ; tries++ {
		id, err := n.Control.Start(t.Context(), control.StartRequest{Definition: small, Input: in})
		if err == nil {
			if ids = append(ids, id); tries > 1000 {
				t.Fatal("the disk is full and starts are acknowledged")
			}
			continue
		}
		if !errors.Is(err, journal.ErrFull) || !strings.Contains(err.Error(), dir) {
			t.Errorf("start on a full disk: %v", err)
		}
		break
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil { // attempts end while nothing can be stored
		t.Fatal(err)
	}
	if _, _, err := n.Control.List(t.Context(), journal.Query{}); err != nil {
		t.Errorf("nothing can be read on a full disk: %v", err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if got := finish(t, n, id); !strings.HasPrefix(got, "completed") || i < 3 && got != `completed "through"` {
			t.Errorf("%d: %.300s", i, got)
		}
	}
	beside(t, n)()
}

// D39: a clock that jumps forward makes what became due happen, in order; one
// that jumps back makes nothing happen early, and stops nothing.
func TestHostileClockJumps(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64
	n := open(t, server.Config{DataDir: t.TempDir(), Clock: lifecycle.Clock{Shift: func() time.Duration { return time.Duration(shift.Load()) }}})
	asleep := start(t, n, define(t, "asleep", "do:\n  - w: {wait: PT2H}\n  - s: {set: {n: 1}}\n"), `{}`)
	live := start(t, n, define(t, "live", "do:\n  - w: {wait: PT30S}\n  - s: {set: {n: 2}}\n"), `{}`)
	later := start(t, n, define(t, "later", "do:\n  - w: {wait: P20D}\n  - s: {set: {n: 3}}\n"), `{}`)
	late := start(t, n, define(t, "late", "timeout: {after: PT1H}\ndo:\n  - l: {listen: {to: {one: {with: {type: never}}}}}\n"), `{}`)
	stop := beside(t, n)
	shift.Store(int64(3 * time.Hour))
	nudge(t, n)
	for id, want := range map[event.RunID]string{asleep: `completed {"n":1}`, live: `completed {"n":2}`} {
		if got := wait(t, n, id); got != want {
			t.Error(got)
		}
	}
	if got := wait(t, n, late); !strings.HasPrefix(got, "faulted") || !strings.Contains(got, "timeout") {
		t.Error(got)
	}
	shift.Store(int64(-10 * 24 * time.Hour))
	nudge(t, n)
	if got := wait(t, n, start(t, n, define(t, "short", "do:\n  - w: {wait: PT0.2S}\n"), `{}`)); !strings.HasPrefix(got, "completed") {
		t.Error(got)
	}
	stop()
	across := start(t, n, define(t, "across", "do:\n  - l: {listen: {to: {one: {with: {type: go}}}}}\n"), `{}`)
	shift.Store(int64(-20 * 24 * time.Hour))
	stop = beside(t, n)
	if _, err := n.Control.SendEvents(t.Context(), []map[string]any{{"id": "go", "source": "/x", "type": "go", "data": 1}}); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, n, across); got != "completed [1]" {
		t.Error(got)
	}
	stop()
	if v, err := n.Control.Get(t.Context(), across); err != nil || v.EndedAt.Before(v.StartedAt) {
		t.Errorf("it ended %v before it started %v: %v", v.EndedAt, v.StartedAt, err)
	}
	if v, err := n.Control.Get(t.Context(), later); err != nil || v.Status.Ended() {
		t.Errorf("a wait of 20 days ended early: %v %v", v.Status, err)
	}
}
