package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/worker"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Invariant 1: a command is never carried out before the event that caused it is durable.
func TestInvariant1NothingLeavesBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		gate := make(chan struct{})
		store.Before = func(int, *journal.Batch) error { <-gate; return nil }
		var attempts atomic.Int32
		b := setup(t, store, shell(func(context.Context, *executor.Request) (executor.Result, error) {
			attempts.Add(1)
			return executor.Result{Output: "x"}, nil
		}))
		feed := engine.NewFeed(0)
		acknowledged := make(chan event.RunID, 1)
		go func() {
			id, err := b.Submit(t.Context(), engine.StartRequest{Definition: define(t, "do:\n  - a: {run: {shell: {command: x}}}\n  - b: {run: {shell: {command: x}}}\n"), Feed: feed})
			if err == nil {
				acknowledged <- id
			}
		}()
		for commits := range 3 {
			synctest.Wait()
			if n := int(attempts.Load()); n != commits {
				t.Errorf("with %d commits durable, %d attempts have begun", commits, n)
			}
			if len(acknowledged) != min(commits, 1) {
				t.Errorf("with %d commits durable, the start is acknowledged %d times", commits, len(acknowledged))
			}
			if commits == 0 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				if us, _, err := feed.Next(ctx); err == nil {
					t.Errorf("shown before it is durable: %d updates", len(us))
				}
				cancel()
			}
			gate <- struct{}{}
		}
		if got := wait(t, b.Engine, <-acknowledged); got != `completed "x"` {
			t.Error(got)
		}
	})
}

// Invariant 2: replaying the journal gives exactly the state and the outstanding
// commands that the live machine has. D39, M6
func TestInvariant2ReplayGivesTheLiveMachine(t *testing.T) {
	for name, tasks := range map[string]string{
		"fork":  "do:\n  - f:\n      fork:\n        branches:\n          - a: {run: {shell: {command: x}}}\n          - b: {do: [{w: {wait: PT2S}}, {c: {run: {shell: {command: x}}}}]}\n          - d: {wait: PT30S}\n",
		"retry": "do:\n  - t:\n      timeout: {after: PT50S}\n      try: [{w: {wait: PT1S}}, {r: {raise: {error: {type: 'https://x/y', status: 500}}}}]\n      catch: {retry: {delay: PT10S}}\n",
		"loop":  "do:\n  - f:\n      for: {in: '${ [range(500)] }'}\n      do: [{n: {call: noop}}]\n  - s: {run: {shell: {command: x}}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := journal.NewMemory()
				b := setup(t, store, shell(func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
					<-ctx.Done()
					return executor.Result{}, context.Cause(ctx)
				}))
				def := define(t, tasks)
				id := submit(t, b.Engine, def, `{}`)
				for range 5 {
					synctest.Wait()
					liveIsReplayed(t, &b, store, def, id)
					time.Sleep(3 * time.Second)
				}
			})
		})
	}
}

// liveIsReplayed compares a live machine with the replay of its journal.
func liveIsReplayed(t *testing.T, b *bundle, store *journal.Memory, def *workflow.Definition, id event.RunID) {
	t.Helper()
	var events []event.Event
	for _, row := range rowsOf(t, store, id) {
		evs, err := b.Decode(t.Context(), id, row.Data)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, evs...)
	}
	p, err := program.Compile(def, program.Options{Functions: []string{"noop"}})
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := machine.Replay(p, events)
	if err != nil {
		t.Fatal(err)
	}
	found := b.Peek(id, func(m *machine.Machine) {
		if m.Hash() != replayed.Hash() {
			t.Errorf("hash %x live, %x replayed, after %d events", m.Hash(), replayed.Hash(), len(events))
		}
		if d := cmp.Diff(dump(m.Outstanding()), dump(replayed.Outstanding())); d != "" {
			t.Errorf("outstanding commands (-live +replayed): %s", d)
		}
	})
	if !found {
		t.Fatal("the run is not live")
	}
}

// Invariant 2: a run that waited for its place began, for its timers too, when its journal says.
func TestInvariant2QueuedRunReplaysToItsTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		b := setup(t, store, nil)
		def, _ := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: test, name: q, version: '1.0.0', metadata: {downbeat: {concurrency: {limit: 1}}}}\n" +
			"do:\n  - w: {wait: '${ .for }'}\n"))
		submit(t, b.Engine, def, `{"for":"PT2S"}`)
		second := submit(t, b.Engine, def, `{"for":"PT30S"}`)
		time.Sleep(3 * time.Second) // the first is over, the second has its place
		synctest.Wait()
		liveIsReplayed(t, &b, store, def, second)
	})
}

func dump(cs []machine.Command) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = fmt.Sprintf("%T %+v", c, c)
	}
	return out
}

// Invariant 2: a journal that replays to something else is not continued. M6
func TestInvariant2DivergedReplaySuspendsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		store.Before = func(_ int, b *journal.Batch) error {
			for i := range b.Appends {
				b.Appends[i].Hash ^= 1
			}
			return nil
		}
		calls := 0
		ex := func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
			calls++
			<-ctx.Done()
			return executor.Result{}, context.Cause(ctx)
		}
		b := setup(t, store, shell(ex))
		id := submit(t, b.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n"), `{}`)
		synctest.Wait()
		stop(t, b.Engine)
		store = again(store)
		setup(t, store, shell(ex))
		synctest.Wait()
		row, err := store.Run(t.Context(), id)
		if err != nil || row.Status != event.Suspended || !strings.Contains(row.Error, "replay diverged at sequence 1") {
			t.Errorf("%+v, %v", row, err)
		}
		if calls != 1 {
			t.Errorf("%d attempts", calls)
		}
	})
}

// Invariant 4: a run is only ever advanced by its owner.
func TestInvariant4OnlyTheOwnerAdvances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := journal.NewMemory()
		calls := 0
		ex := func(context.Context, *executor.Request) (executor.Result, error) {
			calls++
			time.Sleep(time.Minute)
			return executor.Result{Output: "once"}, nil
		}
		first := setup(t, store, shell(ex))
		id := submit(t, first.Engine, define(t, "do:\n  - a: {run: {shell: {command: x}}}\n  - w: {wait: PT10S}\n"), `{}`)
		second := setup(t, store.Again(), shell(ex))
		time.Sleep(30 * time.Second) // long enough for an adoption
		if err := second.Continue(t.Context(), id, nil); !errors.Is(err, journal.ErrNotOwner) {
			t.Errorf("taking a run from an owner that lives: %v", err)
		}
		if second.Live() != 0 {
			t.Error("the second process has the run in memory")
		}
		if got := wait(t, second.Engine, id); got != `completed "once"` {
			t.Error(got)
		}
		if calls != 1 {
			t.Errorf("%d attempts", calls)
		}
	})
}

// Invariant 5: what runs away ends as a fault, while other runs go on.
func TestInvariant5RunawaysFaultAndOthersGoOn(t *testing.T) {
	t.Parallel()
	for name, tasks := range map[string]string{
		"endless loop":       "do:\n  - a: {set: {x: 1}}\n  - b: {set: {y: 1}, then: a}\n",
		"runaway expression": "do:\n  - a: {set: {x: '${ [range(1e12)] | length }'}}\n",
		"endless recursion":  "do:\n  - a: {set: {x: '${ def f: 1 + f; f }'}}\n",
		"huge value":         "do:\n  - a: {set: {x: '${ reduce range(40) as $i (\"x\"; . + .) }'}}\n",
		"function calls itself": "use: {functions: {again: {do: [{a: {call: again}}]}}}\n" +
			"do:\n  - a: {call: again}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, journal.NewMemory(), func(o *engine.Options, _ *worker.Options) { o.Shards = 1 })
			ended := make(chan engine.Result, 1)
			go func() {
				res, err := b.Run(t.Context(), engine.StartRequest{Definition: define(t, tasks)})
				if err == nil {
					ended <- res
				}
				close(ended)
			}()
			others := 0
			for steps := define(t, threeSteps); ; {
				if res := run(t, b.Engine, steps, `{}`); res.Status != event.Completed {
					t.Fatal(show(res))
				}
				select {
				case res := <-ended:
					if res.Status != event.Faulted || res.Error == nil || res.Error.Detail == "" {
						t.Errorf("it ended %s", show(res))
					}
					t.Logf("%d other runs meanwhile; %v", others, res.Error)
					if name == "endless loop" && others < 10 {
						t.Errorf("only %d other runs went on", others)
					}
					return
				default:
					others++
				}
			}
		})
	}
}
