package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
)

// For each n, the n-th commit fails once because the disk is full: the run goes
// on from its journal, or its start was refused.
func TestFailedCommitIsTakenBack(t *testing.T) {
	for n := 1; n <= 8; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := journal.NewMemory()
				store.Before = func(i int, _ *journal.Batch) error {
					if i == n {
						return journal.ErrFull
					}
					return nil
				}
				b := setup(t, store, shell(func(_ context.Context, r *executor.Request) (executor.Result, error) {
					return executor.Result{Output: r.Name}, nil
				}))
				id, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, `
do:
  - a: {run: {shell: {command: x}}}
  - w: {wait: PT1S}
  - b: {call: noop}
  - c: {run: {shell: {command: x}}}
`)})
				if n == 1 {
					if !errors.Is(err, journal.ErrFull) {
						t.Errorf("the start was acknowledged: %v", err)
					}
					if _, err := store.Run(t.Context(), id); !errors.Is(err, journal.ErrNotFound) {
						t.Errorf("a refused start left a run: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := wait(t, b.Engine, id); got != `completed "c"` {
					t.Error(got)
				}
			})
		})
	}
}

// A store that is closed ends the engine with its error, and nobody hangs.
func TestClosedStoreEndsTheEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		b := setup(t, store, nil)
		id := submit(t, b.Engine, define(t, "do:\n  - w: {wait: PT5S}\n"), `{}`)
		store.Kill()
		if _, err := b.Wait(t.Context(), id); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("wait: %v", err)
		}
		if _, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, threeSteps)}); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		if !errors.Is(b.Err(), journal.ErrClosed) {
			t.Errorf("the engine says %v", b.Err())
		}
	})
}

// Many runs at once whose journals get snapshots: what a crash leaves is loaded from the snapshot.
func TestSnapshotsShortenRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		gate := make(chan struct{})
		ex := func(ctx context.Context, r *executor.Request) (executor.Result, error) {
			select {
			case <-gate:
				return executor.Result{Output: "x"}, nil
			case <-ctx.Done():
				return executor.Result{}, context.Cause(ctx)
			}
		}
		b := setup(t, store, shell(ex))
		id := submit(t, b.Engine, define(t, `
do:
  - f: {for: {in: '${ [range(300)] }'}, do: [{n: {call: noop}}]}
  - a: {run: {shell: {command: x}}}
`), `{}`)
		synctest.Wait()
		stop(t, b.Engine)
		store = again(store)
		rec, err := store.Load(t.Context(), id)
		if err != nil || rec.Snapshot == nil || len(rec.Rows) > 105 {
			t.Fatalf("%v, %d rows after the snapshot %v", err, len(rec.Rows), rec.Snapshot != nil)
		}
		b = setup(t, store, shell(ex))
		close(gate)
		if got := wait(t, b.Engine, id); got != `completed "x"` {
			t.Error(got)
		}
		v, err := b.Show(t.Context(), id)
		if err != nil || len(v.Tasks) != 302 {
			t.Errorf("%d tasks, %v", len(v.Tasks), err)
		}
	})
}

// While live runs hold too much memory, those that wait leave it and a start waits.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, journal.NewMemory(), func(o *engine.Options, _ *worker.Options) {
			o.Adopt = true
			o.Limits.LiveBytes = 64 << 10
		})
		def := define(t, "do:\n  - w: {wait: PT50S}\n") // too short to be evicted otherwise
		var ids []event.RunID
		begin := time.Now()
		for range 100 {
			ids = append(ids, submit(t, b.Engine, def, `{}`))
		}
		if n := b.Live(); n > 40 {
			t.Errorf("%d runs are in memory", n)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the starts took %v: nothing was evicted", d)
		}
		for _, id := range ids {
			if got := wait(t, b.Engine, id); got != `completed {}` {
				t.Error(got)
			}
		}
	})
}

func TestStopInterruptsAndAcknowledgedRunsGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		b := setup(t, store, nil)
		var ids []event.RunID
		for range 20 {
			ids = append(ids, submit(t, b.Engine, define(t, "do:\n  - a: {call: noop}\n  - w: {wait: PT2S}\n  - b: {call: noop}\n"), `{"n":1}`))
		}
		stop(t, b.Engine)
		if _, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, threeSteps)}); !errors.Is(err, engine.ErrStopped) {
			t.Errorf("a stopped engine takes a start: %v", err)
		}
		b = setup(t, again(store), func(o *engine.Options, _ *worker.Options) { o.Adopt = true })
		for _, id := range ids {
			if got := wait(t, b.Engine, id); got != `completed {"n":1}` {
				t.Error(got)
			}
		}
	})
}

// A start with the key of an earlier one is refused, and nothing of it is stored.
func TestKeyIsOnce(t *testing.T) {
	t.Parallel()
	store := journal.NewMemory()
	b := setup(t, store, nil)
	q := engine.StartRequest{Definition: define(t, threeSteps), KeyScope: "s", Key: "k"}
	first, err := b.Submit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Submit(t.Context(), q); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if id, err := store.FindKey(t.Context(), "s", "k"); err != nil || id != first {
		t.Errorf("%s %v", id, err)
	}
}

// Large values are stored once, apart from the journal.
func TestLargeValuesAreStoredApart(t *testing.T) {
	t.Parallel()
	store := journal.NewMemory()
	b := setup(t, store, nil)
	big := strings.Repeat("x", 200<<10)
	res, err := b.Run(t.Context(), engine.StartRequest{Definition: define(t, threeSteps), Input: value.FromAny(map[string]any{"big": big})})
	if err != nil || res.Status != event.Completed {
		t.Fatal(err, show(res))
	}
	size := 0
	for _, row := range rowsOf(t, store, res.ID) {
		size += len(row.Data)
	}
	if size > 4<<10 {
		t.Errorf("the journal has %d bytes", size)
	}
	v, err := b.Show(t.Context(), res.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Output.Any(); err != nil || len(got.(map[string]any)["big"].(string)) != len(big) {
		t.Error("the output is not the input", err)
	}
}

// The feed of a run shows each transition once and in order, and ends.
func TestFeedShowsEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, journal.NewMemory(), nil)
	feed := engine.NewFeed(0)
	if _, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, threeSteps), Feed: feed}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		us, dropped, err := feed.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || dropped > 0 {
			t.Fatal(err, dropped)
		}
		for _, u := range us {
			if u.Transition.Change == machine.TaskEnds || u.Transition.Change == machine.RunChanges {
				got = append(got, u.Transition.Name+" "+u.Transition.Status.String())
			}
		}
	}
	want := []string{" running", "a completed", "b completed", "c completed", " completed"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSlowFeedDropsLogLinesFirst(t *testing.T) {
	t.Parallel()
	f := engine.NewFeed(4)
	lines, steps := engine.Update{Log: &engine.LogLine{}}, engine.Update{Transition: &machine.Transition{}}
	f.Put([]engine.Update{lines, steps, lines, steps, steps, steps, lines, steps})
	us, dropped, err := f.Next(t.Context())
	if err != nil || dropped != 4 || len(us) != 4 || slices.ContainsFunc(us, func(u engine.Update) bool { return u.Log != nil }) {
		t.Errorf("%d updates, %d dropped, %v", len(us), dropped, err)
	}
}

// What the host's guard stops, for its time or its memory, is a fault that is
// journaled: it is the same when the run is loaded again on another machine.
func TestGuardStopsAnEvaluation(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(l *engine.Limits){
		"time": func(l *engine.Limits) { l.Guard = time.Nanosecond },
		"heap": func(l *engine.Limits) { l.GuardHeap = 1 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := journal.NewMemory()
			free := make(chan struct{})
			ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
				select {
				case <-free:
				case <-ctx.Done():
					return executor.Result{}, context.Cause(ctx)
				}
				return executor.Result{Output: "x"}, nil
			}
			limited := func(o *engine.Options, w *worker.Options) {
				shell(ex)(o, w)
				set(&o.Limits)
			}
			b := setup(t, store, limited)
			id := submit(t, b.Engine, define(t, `
do:
  - t:
      try:
        - big: {set: {x: '${ [range(1500000)] | length }'}}
      catch:
        as: e
        do:
          - s: {set: {why: '${ $e.detail }'}}
  - a: {run: {shell: {command: x}}, output: {as: '${ $input }'}}
`), `{}`)
			for {
				v, err := b.Show(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if len(v.Tasks) > 0 && v.Tasks[len(v.Tasks)-1].Name == "a" {
					break
				}
			}
			stop(t, b.Engine)
			close(free)
			b = setup(t, again(store), shell(ex)) // the limits are the usual ones: replay must not evaluate it again
			got := wait(t, b.Engine, id)
			if !strings.Contains(got, "completed") || !strings.Contains(got, "too much time or memory") {
				t.Error(got)
			}
		})
	}
}
