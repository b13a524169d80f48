package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// define decodes the tasks of a workflow.
func define(tb testing.TB, tasks string) *workflow.Definition {
	tb.Helper()
	src := "document: {dsl: '1.0.3', namespace: test, name: w, version: '1.0.0'}\n" + tasks
	def, findings := workflow.Decode([]byte(src))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			tb.Fatal(f.Format("test.yaml"))
		}
	}
	return def
}

// execFunc is an executor made of a function.
type execFunc func(ctx context.Context, r *executor.Request) (executor.Result, error)

func (f execFunc) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return f(ctx, r)
}

type bundle struct {
	*engine.Engine
	store *journal.Memory
}

func setup(tb testing.TB, store *journal.Memory, change func(o *engine.Options, w *worker.Options)) bundle {
	tb.Helper()
	w := worker.Options{Executors: map[string]executor.Executor{"noop": noop.Executor{}}}
	o := engine.Options{
		Store: store, Reader: store, Committer: journal.NewCommitter(store), Secrets: secret.NewResolver(),
		Program: program.Options{Functions: []string{"noop"}}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test",
	}
	if change != nil {
		change(&o, &w)
	}
	if w.Secrets == nil {
		w.Secrets = o.Secrets
	}
	o.Worker = worker.New(w)
	e := engine.New(o)
	if err := e.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Stop(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return bundle{e, store}
}

// again is the same data after the process has ended: another owner.
func again(m *journal.Memory) *journal.Memory {
	m.Kill()
	return m.Again()
}

func rowsOf(tb testing.TB, s *journal.Memory, id event.RunID) []journal.Row {
	tb.Helper()
	rows, err := s.Journal(tb.Context(), id, 0, 1000)
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

const threeSteps = `
do:
  - a: {call: noop}
  - b: {call: noop}
  - c: {call: noop}
`

func input(s string) value.Raw { return value.FromJSON([]byte(s)) }

func run(tb testing.TB, e *engine.Engine, def *workflow.Definition, in string) engine.Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	res, err := e.Run(ctx, engine.StartRequest{Definition: def, Input: input(in)})
	if err != nil {
		tb.Fatal(err)
	}
	return res
}

func show(r engine.Result) string {
	s := r.Status.String() + " " + string(r.Output.JSON())
	if r.Error != nil {
		s += fmt.Sprintf(" %s/%d %s", strings.TrimPrefix(r.Error.Type, event.TypePrefix), r.Error.Status, r.Error.Instance)
	}
	return s
}

func TestThreeStepsComplete(t *testing.T) {
	t.Parallel()
	b := setup(t, journal.NewMemory(), nil)
	res := run(t, b.Engine, define(t, threeSteps), `{"x":1}`)
	if got, want := show(res), `completed {"x":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := len(rowsOf(t, b.store, res.ID)); n != 4 {
		t.Errorf("%d journal rows, want 4: the start and one a step", n)
	}
	again, err := b.Wait(t.Context(), res.ID)
	if err != nil || show(again) != show(res) {
		t.Errorf("waiting for an ended run gives %s, %v", show(again), err)
	}
	v, err := b.Show(t.Context(), res.ID)
	if err != nil || len(v.Tasks) != 3 || v.Tasks[2].Status != event.Completed {
		t.Errorf("view: %+v, %v", v, err)
	}
}

func BenchmarkThreeSteps(b *testing.B) {
	e := setup(b, journal.NewMemory(), nil)
	def := define(b, threeSteps)
	b.ReportAllocs()
	var wg sync.WaitGroup
	jobs := make(chan struct{}, b.N)
	for range b.N {
		jobs <- struct{}{}
	}
	close(jobs)
	b.ResetTimer()
	for range 256 {
		wg.Go(func() {
			for range jobs {
				if _, err := e.Run(b.Context(), engine.StartRequest{Definition: def, Input: input(`{"x":1}`)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
