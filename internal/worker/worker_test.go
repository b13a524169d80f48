package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
)

type execFunc func(ctx context.Context, r *executor.Request) (executor.Result, error)

func (f execFunc) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return f(ctx, r)
}

// answers collects what attempts are answered with.
type answers struct {
	mu  sync.Mutex
	got []string
}

func (a *answers) done(name string) func(event.Body) {
	return func(b event.Body) {
		a.mu.Lock()
		defer a.mu.Unlock()
		s := fmt.Sprintf("%T", b)
		if c, ok := b.(*event.TaskCancelled); ok && c.Unknown {
			s += " unknown"
		}
		if f, ok := b.(*event.TaskFailed); ok {
			s += " " + f.Error.Detail
		}
		a.got = append(a.got, name+" "+strings.TrimPrefix(s, "*event."))
	}
}

func (a *answers) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

func attempt(a *answers, name string) *worker.Attempt {
	return &worker.Attempt{
		Request: executor.Request{Activation: event.Activation(name), Attempt: 1, Kind: "x", Reference: "/do/0/" + name},
		Done:    a.done(name),
	}
}

func TestSlotsAndPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		w := worker.New(worker.Options{Slots: 1, Executors: map[string]executor.Executor{"x": execFunc(
			func(_ context.Context, r *executor.Request) (executor.Result, error) {
				mu.Lock()
				order = append(order, string(r.Activation))
				mu.Unlock()
				time.Sleep(time.Second)
				return executor.Result{}, nil
			})}})
		var a answers
		for i, p := range []int{0, 0, 5, 0, 5} {
			x := attempt(&a, fmt.Sprint(i))
			x.Priority = p
			w.Start(x)
			w.Start(x) // the same again is not carried out twice
		}
		if !w.Cancel(event.RunID{}, "3", 1, "cancelled") {
			t.Error("a waiting attempt is not known")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if d := cmp.Diff([]string{"0", "2", "4", "1"}, order); d != "" {
			t.Error(d)
		}
		if w.Busy() != 0 {
			t.Errorf("%d attempts are left", w.Busy())
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		w := worker.New(worker.Options{Grace: time.Second, Executors: map[string]executor.Executor{"x": execFunc(
			func(ctx context.Context, r *executor.Request) (executor.Result, error) {
				switch r.Activation {
				case "panic":
					panic("oh")
				case "error":
					return executor.Result{}, errors.New("no such thing")
				case "stuck":
					<-stuck
				case "ends":
					<-ctx.Done()
					return executor.Result{}, context.Cause(ctx)
				case "wins": // its result came before the cancellation
					<-ctx.Done()
				}
				return executor.Result{}, nil
			})}})
		var a answers
		for _, name := range []string{"ok", "panic", "error"} {
			w.Start(attempt(&a, name))
			synctest.Wait()
		}
		for _, name := range []string{"ends", "wins", "stuck"} {
			w.Start(attempt(&a, name))
			synctest.Wait()
			if !w.Cancel(event.RunID{}, event.Activation(name), 1, "timeout") {
				t.Errorf("%s is not known", name)
			}
			time.Sleep(time.Minute)
		}
		if w.Cancel(event.RunID{}, "ok", 1, "late") {
			t.Error("an attempt that has ended is known")
		}
		unknown := attempt(&a, "kind")
		unknown.Request.Kind = "y"
		w.Start(unknown)
		synctest.Wait()
		want := []string{
			"ok TaskCompleted",
			"panic TaskFailed the executor failed in a way that is a mistake in Downbeat: oh",
			"error TaskFailed no such thing",
			"ends TaskCancelled", "wins TaskCompleted", "stuck TaskCancelled unknown",
			`kind TaskFailed nothing here carries out tasks of the kind "y"`,
		}
		if d := cmp.Diff(want, a.list()); d != "" {
			t.Error(d)
		}
		close(stuck)
	})
}

func TestInterruptGivesNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := worker.New(worker.Options{Slots: 1, Executors: map[string]executor.Executor{"x": execFunc(
			func(ctx context.Context, _ *executor.Request) (executor.Result, error) {
				<-ctx.Done()
				return executor.Result{}, context.Cause(ctx)
			})}})
		var a answers
		w.Start(attempt(&a, "running"))
		w.Start(attempt(&a, "waiting"))
		synctest.Wait()
		w.Interrupt()
		w.Interrupt()
		w.Start(attempt(&a, "late"))
		synctest.Wait()
		if got := a.list(); len(got) != 0 || w.Busy() != 0 {
			t.Errorf("%q, %d left", got, w.Busy())
		}
	})
}

type reattacher struct {
	execFunc
	recovered *[]any
}

func (r reattacher) Recover(_ context.Context, handle any) error {
	*r.recovered = append(*r.recovered, handle)
	return nil
}

// What an earlier process left is ended before the attempt is repeated, or
// answered when it must not be.
func TestRecoverComesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var recovered []any
		calls := 0
		ex := reattacher{func(context.Context, *executor.Request) (executor.Result, error) {
			calls++
			if len(recovered) == 0 {
				t.Error("repeated before what is left was ended")
			}
			return executor.Result{}, nil
		}, &recovered}
		w := worker.New(worker.Options{Executors: map[string]executor.Executor{"x": ex}})
		var a answers
		x := attempt(&a, "repeat")
		x.Handle = "pid 1"
		w.Start(x)
		synctest.Wait()
		y := attempt(&a, "answer")
		y.Handle, y.Answer = "pid 2", &event.TaskCancelled{Unknown: true}
		w.Start(y)
		synctest.Wait()
		if d := cmp.Diff([]string{"repeat TaskCompleted", "answer TaskCancelled unknown"}, a.list()); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]any{"pid 1", "pid 2"}, recovered); d != "" || calls != 1 {
			t.Error(d, calls)
		}
	})
}

type adopter struct{ reattacher }

func (adopter) Adopts() {}

// An executor that goes on with what an earlier process left is asked to end it
// only when the attempt is not repeated.
func TestAdoptersEndWhatIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var recovered []any
		ex := adopter{reattacher{func(context.Context, *executor.Request) (executor.Result, error) {
			return executor.Result{}, nil
		}, &recovered}}
		w := worker.New(worker.Options{Executors: map[string]executor.Executor{"x": ex}})
		var a answers
		x := attempt(&a, "repeat")
		x.Handle = "container 1"
		w.Start(x)
		y := attempt(&a, "answer")
		y.Handle, y.Answer = "container 2", &event.TaskCancelled{Unknown: true}
		w.Start(y)
		synctest.Wait()
		if d := cmp.Diff([]any{"container 2"}, recovered); d != "" {
			t.Error(d)
		}
	})
}

// D17, DSL 207: lines are masked, only listed secrets are given, and handles are
// durable before Bind returns.
func TestWhatAnAttemptIsGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secrets := secret.NewResolver(secret.Map{"token": "t0p-secret", "other": "0ther-secret"})
	var lines []string
	w := worker.New(worker.Options{
		DataDir: dir, Directories: map[string]bool{"x": true}, Secrets: secrets, LogBytes: 300,
		Executors: map[string]executor.Executor{"x": execFunc(func(ctx context.Context, r *executor.Request) (executor.Result, error) {
			if info, err := os.Stat(r.Directory); err != nil || !info.IsDir() {
				t.Errorf("no working directory: %v", err)
			}
			if _, err := r.Secrets.Secret(ctx, "other"); err == nil {
				t.Error("a secret is given that is not listed")
			}
			if v, err := r.Secrets.Secret(ctx, "token"); err != nil || v != "t0p-secret" {
				t.Errorf("%v %v", v, err)
			}
			if err := r.Bind(ctx, map[string]any{"pid": 7}); err != nil {
				t.Error(err)
			}
			out, errs := r.Log.Stream("stdout"), r.Log.Stream("stderr")
			_, _ = fmt.Fprint(out, "one\ntwo t0p-")
			_, _ = fmt.Fprint(errs, "oops\n")
			_, _ = fmt.Fprint(out, "secret\nrest")
			if m, ok := r.Secrets.(interface{ Mask(v any) }); ok {
				m.Mask("fetched-t0ken")
			}
			_, _ = fmt.Fprint(errs, "got fetched-t0ken\n")
			return executor.Result{Output: r.Directory}, nil
		})},
	})
	done := make(chan event.Body, 1)
	bound := make(chan value.Raw, 1)
	a := &worker.Attempt{
		Request: executor.Request{Run: event.RunID{1}, Activation: "0", Attempt: 2, Kind: "x"}, SecretNames: []string{"token"},
		Done: func(b event.Body) { done <- b },
		Bind: func(h value.Raw) (<-chan error, error) {
			bound <- h
			c := make(chan error, 1)
			c <- nil
			return c, nil
		},
		Line: func(stream, text string) { lines = append(lines, stream+" "+text) },
	}
	w.Start(a)
	body, _ := (<-done).(*event.TaskCompleted) // the lines came before
	if body == nil {
		t.Fatal("it failed")
	}
	w.Interrupt()
	if h := <-bound; string(h.JSON()) != `{"pid":7}` {
		t.Errorf("handle %s", h.JSON())
	}
	if d := cmp.Diff([]string{"stdout one", "stderr oops", "stdout two ***", "stderr got ***", "stdout rest"}, lines); d != "" {
		t.Error(d)
	}
	path := worker.LogFile(dir, event.RunID{1}, "0", 2)
	data, err := os.ReadFile(path)
	if err != nil || strings.Count(string(data), "\n") != 5 || strings.Contains(string(data), "t0p") {
		t.Errorf("%s %v", data, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("the log has the mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "work", "*", "*")); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// D39: an attempt that has begun nothing waits while the journal takes nothing,
// and is not the one to fail; another error of the journal ends it.
func TestBindWaitsForTheJournal(t *testing.T) {
	t.Parallel()
	full, broken := errors.New("disk full"), errors.New("journal broken")
	for name, c := range map[string]struct {
		answers []error
		want    string
		waited  time.Duration
	}{
		"passing": {[]error{full, full, nil}, "passing TaskCompleted", 400 * time.Millisecond},
		"broken":  {[]error{full, broken, nil}, "broken TaskFailed journal broken", 200 * time.Millisecond},
		"long":    {slices.Repeat([]error{full}, 1000), "long TaskCancelled", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := worker.New(worker.Options{
					Passing: func(err error) bool { return errors.Is(err, full) },
					Executors: map[string]executor.Executor{"x": execFunc(func(ctx context.Context, r *executor.Request) (executor.Result, error) {
						return executor.Result{}, r.Bind(ctx, "handle")
					})},
				})
				var a answers
				x, n, began := attempt(&a, name), 0, time.Now()
				var ended time.Time
				done := x.Done
				x.Done = func(b event.Body) { ended = time.Now(); done(b) }
				x.Bind = func(value.Raw) (<-chan error, error) {
					n++
					ack := make(chan error, 1)
					ack <- c.answers[n-1]
					return ack, nil
				}
				w.Start(x)
				time.Sleep(5 * time.Second)
				w.Cancel(event.RunID{}, x.Request.Activation, 1, "cancelled")
				synctest.Wait()
				if d := cmp.Diff([]string{c.want}, a.list()); d != "" {
					t.Error(d)
				}
				if got := ended.Sub(began); got != c.waited {
					t.Errorf("it took %s; want %s", got, c.waited)
				}
			})
		})
	}
}
