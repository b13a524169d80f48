package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// shell takes the place of processes: f carries out `run: shell`.
func shell(f execFunc) func(o *engine.Options, w *worker.Options) {
	return func(o *engine.Options, w *worker.Options) {
		o.Adopt = true
		w.Executors["shell"] = f
	}
}

func submit(t *testing.T, e *engine.Engine, def *workflow.Definition, in string) event.RunID {
	t.Helper()
	id, err := e.Submit(t.Context(), engine.StartRequest{Definition: def, Input: input(in)})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wait(t *testing.T, e *engine.Engine, id event.RunID) string {
	t.Helper()
	res, err := e.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return show(res)
}

func stop(t *testing.T, e *engine.Engine) {
	t.Helper()
	if err := e.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// DSL 93, 94: a run that waits leaves memory, belongs to nobody, and is woken.
func TestWaitingRunSleepsAndIsWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		store := journal.NewMemory()
		store.Before = func(n int, _ *journal.Batch) error { commits = n; return nil }
		b := setup(t, store, func(o *engine.Options, _ *worker.Options) { o.Adopt = true })
		begin := time.Now()
		id := submit(t, b.Engine, define(t, "do:\n  - w: {wait: PT2H}\n  - s: {set: {done: true}}\n"), `{}`)
		synctest.Wait()
		row, _ := b.store.Run(t.Context(), id)
		if b.Live() != 0 || row.Owner != "" || row.Status != event.Waiting || !row.WakeAt.Equal(begin.Add(2*time.Hour)) {
			t.Errorf("live %d, row %+v", b.Live(), row)
		}
		if commits != 1 {
			t.Errorf("%d commits, want 1: the start itself says that the run sleeps", commits)
		}
		if got := wait(t, b.Engine, id); got != `completed {"done":true}` {
			t.Error(got)
		}
		if late := time.Since(begin) - 2*time.Hour; late < 0 || late > 2*time.Second {
			t.Errorf("woken %v after its time", late)
		}
	})
}

// DSL 93: a short wait stays in memory and fires on time.
func TestShortWaitFiresOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, journal.NewMemory(), nil)
		begin := time.Now()
		run(t, b.Engine, define(t, "do:\n  - w: {wait: {seconds: 3}}\n"), `{}`)
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("waited %v", d)
		}
	})
}

// Invariant 3: an attempt that the end of the process interrupted is repeated with the same key.
func TestInterruptedAttemptIsRepeatedWithItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var keys []string
		gate := make(chan struct{})
		ex := func(ctx context.Context, r *executor.Request) (executor.Result, error) {
			mu.Lock()
			keys = append(keys, fmt.Sprint(r.Activation, " ", r.Attempt, " ", r.IdempotencyKey))
			mu.Unlock()
			select {
			case <-gate:
				return executor.Result{Output: "ok"}, nil
			case <-ctx.Done():
				return executor.Result{}, context.Cause(ctx)
			}
		}
		store := journal.NewMemory()
		first := setup(t, store, shell(ex))
		id := submit(t, first.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"), `{}`)
		synctest.Wait()
		stop(t, first.Engine)
		store = again(store)
		second := setup(t, store, shell(ex))
		synctest.Wait()
		close(gate)
		if got := wait(t, second.Engine, id); got != `completed "ok"` {
			t.Error(got)
		}
		if len(keys) != 2 || keys[0] != keys[1] {
			t.Errorf("attempts: %q", keys)
		}
	})
}

// A task that says interrupted: fault is not repeated.
func TestInterruptedAttemptFaultsWhenItMustNotBeRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
			calls++
			<-ctx.Done()
			return executor.Result{}, context.Cause(ctx)
		}
		store := journal.NewMemory()
		first := setup(t, store, shell(ex))
		id := submit(t, first.Engine, define(t, `
do:
  - a:
      run: {shell: {command: x}}
      metadata: {downbeat: {interrupted: fault}}
`), `{}`)
		synctest.Wait()
		stop(t, first.Engine)
		store = again(store)
		second := setup(t, store, shell(ex))
		if got := wait(t, second.Engine, id); got != `faulted null runtime/500 /do/0/a` {
			t.Error(got)
		}
		if calls != 1 {
			t.Errorf("%d attempts", calls)
		}
	})
}

// D39: after downtime, due timers are applied before interrupted attempts are dispatched again.
func TestDueTimersComeBeforeInterruptedAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log []string
		ex := func(ctx context.Context, r *executor.Request) (executor.Result, error) {
			log = append(log, r.Name)
			<-ctx.Done()
			return executor.Result{}, context.Cause(ctx)
		}
		store := journal.NewMemory()
		first := setup(t, store, shell(ex))
		id := submit(t, first.Engine, define(t, `
do:
  - a:
      timeout: {after: {minutes: 5}}
      run: {shell: {command: x}}
`), `{}`)
		synctest.Wait()
		stop(t, first.Engine)
		store = again(store)
		time.Sleep(time.Hour)
		second := setup(t, store, shell(ex))
		if got := wait(t, second.Engine, id); got != `faulted null timeout/408 /do/0/a` {
			t.Error(got)
		}
		if d := cmp.Diff([]string{"a"}, log); d != "" {
			t.Errorf("the attempt was repeated although its timeout had passed: %s", d)
		}
	})
}

func TestCancelEndsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
			<-ctx.Done()
			return executor.Result{}, context.Cause(ctx)
		}
		b := setup(t, journal.NewMemory(), shell(ex))
		id := submit(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"), `{}`)
		synctest.Wait()
		if err := b.Tell(t.Context(), id, journal.InboxCancel, "cancel", &event.CancelRequested{By: "me"}); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, b.Engine, id); got != `cancelled null` {
			t.Error(got)
		}
		if err := b.Tell(t.Context(), id, journal.InboxCancel, "cancel", &event.CancelRequested{By: "me"}); !errors.Is(err, engine.ErrEnded) {
			t.Errorf("cancelling an ended run: %v", err)
		}
	})
}

// An executor that ignores its cancellation does not hold the run for ever.
func TestCancellationIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		ex := func(context.Context, *executor.Request) (executor.Result, error) {
			<-free
			return executor.Result{}, nil
		}
		b := setup(t, journal.NewMemory(), shell(ex))
		id := submit(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"), `{}`)
		synctest.Wait()
		begin := time.Now()
		if err := b.Tell(t.Context(), id, journal.InboxCancel, "cancel", &event.CancelRequested{}); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, b.Engine, id); got != `cancelled null` || time.Since(begin) > time.Minute {
			t.Error(got, time.Since(begin))
		}
		v, err := b.Show(t.Context(), id)
		if err != nil || !v.Tasks[0].Unknown {
			t.Errorf("the outcome must be unknown: %+v %v", v.Tasks, err)
		}
		close(free)
	})
}

// D40: suspend and resume, with an answer that comes in between.
func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		ex := func(_ context.Context, r *executor.Request) (executor.Result, error) {
			<-gate
			return executor.Result{Output: r.Name}, nil
		}
		store := journal.NewMemory()
		b := setup(t, store, shell(ex))
		id := submit(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n  - b: {run: {shell: {command: x}}}\n"), `{}`)
		synctest.Wait()
		if err := b.Tell(t.Context(), id, journal.InboxSuspend, "s1", &event.SuspendRequested{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if row, _ := store.Run(t.Context(), id); row.Status != event.Suspended {
			t.Errorf("status %s", row.Status)
		}
		stop(t, b.Engine)
		store = again(store)
		b = setup(t, store, shell(ex))
		synctest.Wait()
		if err := b.Tell(t.Context(), id, journal.InboxResume, "r1", &event.ResumeRequested{}); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, b.Engine, id); got != `completed "b"` {
			t.Error(got)
		}
	})
}

func cloudEvent(id, kind string, data any) journal.Batch {
	ev := map[string]any{"specversion": "1.0", "id": id, "source": "/test", "type": kind, "data": data}
	return journal.Batch{Events: []journal.CloudEvent{{ID: id, Source: "/test", Type: kind, Data: value.JSON(ev), At: time.Now().UTC()}}}
}

const listens = `
do:
  - l:
      listen:
        to: {one: {with: {type: paid}}}
`

// DSL 119, 123: an event wakes the run that listens for it, wherever it sleeps.
func TestListenIsWokenByAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		b := setup(t, store, func(o *engine.Options, _ *worker.Options) { o.Adopt = true })
		id := submit(t, b.Engine, define(t, listens), `{}`)
		synctest.Wait()
		if b.Live() != 0 {
			t.Error("the run did not leave memory")
		}
		for i, kind := range []string{"other", "paid"} {
			batch := cloudEvent(fmt.Sprint(i), kind, map[string]any{"n": i})
			if err := b.Commit(t.Context(), &batch); err != nil {
				t.Fatal(err)
			}
		}
		if got := wait(t, b.Engine, id); got != `completed [{"n":1}]` {
			t.Error(got)
		}
	})
}

// D41: a listener sees what was accepted since its run started, and nothing older.
func TestListenSeesEarlyEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		ex := func(context.Context, *executor.Request) (executor.Result, error) {
			<-gate
			return executor.Result{}, nil
		}
		b := setup(t, journal.NewMemory(), shell(ex))
		old := cloudEvent("old", "paid", "too old")
		if err := b.Commit(t.Context(), &old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		id := submit(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"+strings.TrimPrefix(listens, "\ndo:\n")), `{}`)
		synctest.Wait()
		early := cloudEvent("early", "paid", "early")
		if err := b.Commit(t.Context(), &early); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if got := wait(t, b.Engine, id); got != `completed ["early"]` {
			t.Error(got)
		}
	})
}

// DSL 95, 96: an emitted event reaches a run that listens, in the same process.
func TestEmitReachesListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, journal.NewMemory(), func(o *engine.Options, _ *worker.Options) { o.Adopt = true })
		id := submit(t, b.Engine, define(t, listens), `{}`)
		synctest.Wait()
		run(t, b.Engine, define(t, "do:\n  - e: {emit: {event: {with: {source: /x, type: paid, data: {n: 7}}}}}\n"), `{}`)
		if got := wait(t, b.Engine, id); got != `completed [{"n":7}]` {
			t.Error(got)
		}
	})
}

const parent = `
do:
  - c: {run: {workflow: {namespace: test, name: child, version: latest, input: {n: 1}}}}
`

func withChild(tb testing.TB, tasks string) engine.Library {
	tb.Helper()
	src := "document: {dsl: '1.0.3', namespace: test, name: child, version: '1.0.0'}\n" + tasks
	def, _ := workflow.Decode([]byte(src))
	return func(_ context.Context, id string) (*workflow.Definition, error) {
		if strings.HasPrefix(id, "test/child:") {
			return def, nil
		}
		return nil, nil
	}
}

// DSL 141, D25: a child's output becomes the task's.
func TestChild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lib := withChild(t, "do:\n  - a: {call: noop}\n  - s: {set: {n: '${ .n + 1 }'}}\n")
		b := setup(t, journal.NewMemory(), func(o *engine.Options, _ *worker.Options) { o.Library = lib })
		if got := show(run(t, b.Engine, define(t, parent), `{}`)); got != `completed {"n":2}` {
			t.Error(got)
		}
	})
}

func TestUnknownChildIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t, journal.NewMemory(), nil)
	_, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, parent)})
	var invalid *engine.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "test/child:latest, which is not known") {
		t.Errorf("got %v", err)
	}
}

// Children go on after a crash, and their end reaches the parent once.
func TestChildAfterCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
			select {
			case <-gate:
				return executor.Result{Output: "late"}, nil
			case <-ctx.Done():
				return executor.Result{}, context.Cause(ctx)
			}
		}
		lib := withChild(t, "do:\n  - a: {run: {shell: {command: x}}}\n")
		store := journal.NewMemory()
		opts := func(o *engine.Options, w *worker.Options) { shell(ex)(o, w); o.Library = lib }
		b := setup(t, store, opts)
		id := submit(t, b.Engine, define(t, parent), `{}`)
		synctest.Wait()
		stop(t, b.Engine)
		store = again(store)
		b = setup(t, store, opts)
		synctest.Wait()
		close(gate)
		if got := wait(t, b.Engine, id); got != `completed "late"` {
			t.Error(got)
		}
	})
}

// D25: cancelling the parent cancels an awaited child.
func TestCancelReachesChild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
			<-ctx.Done()
			return executor.Result{}, context.Cause(ctx)
		}
		lib := withChild(t, "do:\n  - a: {run: {shell: {command: x}}}\n")
		store := journal.NewMemory()
		b := setup(t, store, func(o *engine.Options, w *worker.Options) { shell(ex)(o, w); o.Library = lib })
		id := submit(t, b.Engine, define(t, parent), `{}`)
		synctest.Wait()
		if err := b.Tell(t.Context(), id, journal.InboxCancel, "cancel", &event.CancelRequested{}); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, b.Engine, id); got != `cancelled null` {
			t.Error(got)
		}
		rows, _, err := store.Runs(t.Context(), journal.Query{})
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d runs, %v", len(rows), err)
		}
		for _, r := range rows {
			if r.Status != event.Cancelled {
				t.Errorf("run %s is %s", r.ID, r.Status)
			}
		}
	})
}

type xor struct{}

func (xor) Seal(dst, plain, ad []byte) []byte {
	for i, c := range plain {
		dst = append(dst, c^ad[i%len(ad)]^0x5a)
	}
	return dst
}

func (x xor) Open(dst, sealed, ad []byte) ([]byte, error) { return x.Seal(dst, sealed, ad), nil }

// D17: secrets reach expressions, and no row of the run shows them.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		b := setup(t, store, func(o *engine.Options, _ *worker.Options) {
			o.Secrets = secret.NewResolver(secret.Map{"token": "s3cr3t-value"})
			o.Sealer = func() (engine.Sealer, error) { return xor{}, nil }
		})
		def := define(t, "use: {secrets: [token]}\ndo:\n  - s: {set: {t: '${ $secrets.token }'}}\n  - n: {call: noop}\n")
		res := run(t, b.Engine, def, `{}`)
		if got := show(res); got != `completed {"t":"s3cr3t-value"}` {
			t.Error(got)
		}
		for _, row := range rowsOf(t, store, res.ID) {
			if strings.Contains(string(row.Data), "s3cr3t") {
				t.Errorf("sequence %d holds the secret in clear", row.Sequence)
			}
		}
		if v, err := b.Show(t.Context(), res.ID); err != nil || len(v.Tasks) != 2 {
			t.Errorf("%v %v", v, err)
		}
	})
}

func TestPanicInExecutorIsAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, journal.NewMemory(), shell(func(context.Context, *executor.Request) (executor.Result, error) { panic("oh") }))
		if got := show(run(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"), `{}`)); got != `faulted null runtime/500 /do/0/a` {
			t.Error(got)
		}
	})
}

func TestConcurrencyQueuesRejectsAndReplaces(t *testing.T) {
	for on, want := range map[string][]string{
		"queue":   {"completed", "completed", "completed"},
		"reject":  {"completed", "rejected", "completed"}, // the third has another key
		"replace": {"cancelled", "completed", "completed"},
	} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				active, most := 0, 0
				var mu sync.Mutex
				ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
					mu.Lock()
					active++
					most = max(most, active)
					mu.Unlock()
					defer func() { mu.Lock(); active--; mu.Unlock() }()
					select {
					case <-time.After(time.Minute):
						return executor.Result{}, nil
					case <-ctx.Done():
						return executor.Result{}, context.Cause(ctx)
					}
				}
				b := setup(t, journal.NewMemory(), shell(ex))
				src := "document: {dsl: '1.0.3', namespace: test, name: c, version: '1.0.0', metadata: {downbeat: {concurrency: {limit: 1, key: .k, on: " + on + "}}}}\n" +
					"do:\n  - a: {run: {shell: {command: x}}}\n"
				def, findings := workflow.Decode([]byte(src))
				for _, f := range findings {
					t.Log(f.Format(""))
				}
				var ids []event.RunID
				var got []string
				for _, k := range []string{"a", "a", "b"} {
					id, err := b.Submit(t.Context(), engine.StartRequest{Definition: def, Input: input(`{"k":"` + k + `"}`)})
					if err != nil && !errors.Is(err, engine.ErrRejected) {
						t.Fatal(err)
					}
					ids = append(ids, id)
					got = append(got, "rejected")
					if err == nil {
						got[len(got)-1] = ""
					}
					synctest.Wait()
				}
				for i, id := range ids {
					if got[i] == "" {
						res, err := b.Wait(t.Context(), id)
						if err != nil {
							t.Fatal(err)
						}
						got[i] = res.Status.String()
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Error(d)
				}
				if most > 2 {
					t.Errorf("%d at once", most)
				}
			})
		})
	}
}
