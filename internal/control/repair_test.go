package control_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func define(tb testing.TB, name, tasks string) *workflow.Definition {
	tb.Helper()
	def, findings := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: test, name: " + name + ", version: '1.0.0'}\n" + tasks))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			tb.Fatal(f.Format(name))
		}
	}
	return def
}

// outside plays the shell: a command fails while it is broken, and each attempt is noted.
type outside struct {
	mu     sync.Mutex
	broken map[string]bool
	did    []string // command#attempt
	keys   map[string]string
	hold   chan struct{} // commands named "slow" wait for it
}

func (o *outside) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	args, _ := r.Arguments.(map[string]any)
	command, _ := args["command"].(string)
	if strings.HasPrefix(command, "slow") && o.hold != nil {
		select {
		case <-o.hold:
		case <-ctx.Done():
			return executor.Result{}, context.Cause(ctx)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.did = append(o.did, fmt.Sprintf("%s#%d", command, r.Attempt))
	if was := o.keys[r.Run.String()+command]; was != "" && was != r.IdempotencyKey {
		return executor.Result{}, errors.New("the idempotency key changed")
	}
	o.keys[r.Run.String()+command] = r.IdempotencyKey
	if o.broken[command] {
		return executor.Result{}, errors.New("broken: " + command)
	}
	return executor.Result{Output: command + "!"}, nil
}

// took is what was done since the last call, sorted.
func (o *outside) took() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.did
	o.did = nil
	slices.Sort(out)
	return out
}

func (o *outside) repair(command string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.broken, command)
}

type bundle struct {
	*control.Control
	tb      testing.TB
	store   *journal.Memory
	engine  *engine.Engine
	outside *outside
	library map[string]*workflow.Definition
}

func setup(tb testing.TB, broken ...string) *bundle {
	tb.Helper()
	o := &outside{broken: map[string]bool{}, keys: map[string]string{}}
	for _, c := range broken {
		o.broken[c] = true
	}
	b := &bundle{tb: tb, store: journal.NewMemory(), outside: o, library: map[string]*workflow.Definition{}}
	b.begin()
	return b
}

// begin begins a process on the data.
func (b *bundle) begin() {
	b.tb.Helper()
	secrets := secret.NewResolver()
	w := worker.New(worker.Options{Executors: map[string]executor.Executor{"noop": noop.Executor{}, "shell": b.outside}, Secrets: secrets})
	b.engine = engine.New(engine.Options{
		Store: b.store, Reader: b.store, Committer: journal.NewCommitter(b.store), Secrets: secrets, Worker: w, Embedded: true,
		Program: program.Options{Functions: []string{"noop"}}, Logger: slog.New(slog.DiscardHandler), Version: "test",
		Library: func(_ context.Context, id string) (*workflow.Definition, error) { return b.library[id], nil },
	})
	if err := b.engine.Start(b.tb.Context()); err != nil {
		b.tb.Fatal(err)
	}
	b.Control = control.New(control.Options{Engine: b.engine, Store: b.store, Reader: b.store, Clock: lifecycle.Clock{}})
	e := b.engine
	b.tb.Cleanup(func() { _ = e.Stop(context.WithoutCancel(b.tb.Context())) })
}

// restart ends the process and begins another one.
func (b *bundle) restart() {
	b.tb.Helper()
	if err := b.engine.Stop(b.tb.Context()); err != nil {
		b.tb.Fatal(err)
	}
	b.store.Kill()
	b.store = b.store.Again()
	b.begin()
}

func (b *bundle) start(def *workflow.Definition) event.RunID {
	b.tb.Helper()
	id, err := b.Start(b.tb.Context(), control.StartRequest{Definition: def, Input: value.FromJSON([]byte(`{"n": 1}`))})
	if err != nil {
		b.tb.Fatal(err)
	}
	return id
}

// ends waits for a run and shows how it ended.
func (b *bundle) ends(id event.RunID) string {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), 20*time.Second)
	defer cancel()
	r, err := b.Wait(ctx, id)
	if err != nil {
		b.tb.Fatal(err)
	}
	if r.Error != nil {
		return r.Status.String() + " " + r.Error.Instance
	}
	return r.Status.String() + " " + string(r.Output.JSON())
}

func (b *bundle) retry(q control.RetryRequest) *control.Repair {
	b.tb.Helper()
	r, err := b.PrepareRetry(b.tb.Context(), q)
	if err == nil {
		err = b.BeginRepair(b.tb.Context(), r, nil)
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	return r
}

func fates(r *control.Repair, i int) map[string]rewind.Fate {
	out := map[string]rewind.Fate{}
	for _, x := range r.Runs[i].Items {
		name := x.Name
		if len(x.Iteration) > 0 {
			name += fmt.Sprint(x.Iteration)
		}
		out[name] = x.Fate
	}
	return out
}

func want(tb testing.TB, what string, want, got any) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

const bill = `
do:
  - customers:
      call: map
      with:
        in: '["a", "b", "c"]'
        each: customer
        limit: 1
        onError: %s
        do:
          - charge: {run: {shell: {command: '${ $customer }'}}}
          - note: {set: {said: '${ . }'}}
  - sum: {run: {shell: {command: sum}}}
`

// One item of a map is retried: the others keep their results, attempts count
// on with the same key, and a crash right after changes nothing (D36, D39).
func TestOneItemIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t, "b")
	id := b.start(define(t, "bill", fmt.Sprintf(bill, "fail")))
	want(t, "the run", "faulted /do/0/customers/with/do/0/charge", b.ends(id))
	want(t, "done", []string{"a#1", "b#1"}, b.outside.took())
	b.outside.repair("b")
	b.restart()
	r := b.retry(control.RetryRequest{Run: id})
	want(t, "fates", map[string]rewind.Fate{"customers": rewind.Open, "charge[0]": rewind.Kept, "note[0]": rewind.Kept, "charge[1]": rewind.Again}, fates(r, 0))
	want(t, "the run", `completed "sum!"`, b.ends(id))
	want(t, "done", []string{"b#2", "c#2", "sum#2"}, b.outside.took())
	b.restart()
	v, err := b.Get(t.Context(), id)
	if err != nil || len(v.Tasks) != 8 || v.Tasks[1].Attempts != 1 || v.EndedAt.IsZero() || v.Error != nil {
		t.Errorf("the view of the run: %+v, %v", v, err)
	}
	// Of the completed run, one item by choice.
	at := control.Place{Task: "charge", Iteration: []int{2}}
	r = b.retry(control.RetryRequest{Run: id, From: &at})
	want(t, "the run", `completed "sum!"`, b.ends(id))
	want(t, "done", []string{"c#3", "sum#3"}, b.outside.took())
	if f := fates(r, 0); f["charge[0]"] != rewind.Kept || f["note[2]"] != rewind.Later || f["sum"] != rewind.Later {
		t.Errorf("fates %v", f)
	}
}

// A crash at any commit of a retry, stored or not, is made good by the next process.
func TestCrashOfARetry(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		for n := 1; ; n++ {
			b := setup(t, "b")
			id := b.start(define(t, "bill", fmt.Sprintf(bill, "fail")))
			b.ends(id)
			b.outside.repair("b")
			b.restart()
			q, err := b.PrepareRetry(t.Context(), control.RetryRequest{Run: id})
			if err != nil {
				t.Fatal(err)
			}
			crashed := false
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			die := func(commit int, _ *journal.Batch) error {
				if commit != n {
					return nil
				}
				crashed = true
				cancel()
				return journal.ErrClosed
			}
			if stored {
				b.store.After = die
			} else {
				b.store.Before = die
			}
			begun := b.BeginRepair(t.Context(), q, nil) == nil
			if begun {
				_, _ = b.Wait(ctx, id) // until the crash, or the end
			}
			cancel()
			if err := b.engine.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.store.Kill()
			b.store = b.store.Again()
			b.begin()
			if !crashed {
				return
			}
			row, err := b.store.Run(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if row.Status == event.Faulted && !begun {
				b.retry(control.RetryRequest{Run: id})
			} else if !row.Status.Ended() {
				if err := b.Continue(t.Context(), id, nil); err != nil {
					t.Fatalf("crash at commit %d: %v", n, err)
				}
			}
			want(t, fmt.Sprintf("the run after a crash at commit %d (stored %v)", n, stored), `completed "sum!"`, b.ends(id))
			for _, did := range b.outside.took() {
				if strings.HasPrefix(did, "a#") && did != "a#1" {
					t.Errorf("crash at commit %d: %s was done again", n, did)
				}
			}
		}
	}
}

// A failed child is retried through its root, by the name of either; one whose
// parent has moved on is refused.
func TestChildIsRetriedThroughItsRoot(t *testing.T) {
	t.Parallel()
	b := setup(t, "two")
	b.library["test/kid:1.0.0"] = define(t, "kid", "do:\n  - one: {run: {shell: {command: one}}}\n  - two: {run: {shell: {command: two}}}\n")
	root := b.start(define(t, "root", "do:\n  - kid: {run: {workflow: {namespace: test, name: kid, version: '1.0.0'}}}\n  - z: {set: {got: '${ . }'}}\n"))
	want(t, "the root", "faulted /do/0/kid", b.ends(root))
	rows, _, err := b.List(t.Context(), journal.Query{Workflow: "test/kid"})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d children, %v", len(rows), err)
	}
	kid := rows[0].ID
	b.outside.took()
	// Still broken: the whole chain fails again, and is opened again.
	r := b.retry(control.RetryRequest{Run: root})
	want(t, "the root", "faulted /do/0/kid", b.ends(root))
	want(t, "runs", 2, len(r.Runs))
	want(t, "done", []string{"two#2"}, b.outside.took())
	b.outside.repair("two")
	b.restart()
	r = b.retry(control.RetryRequest{Run: kid})
	want(t, "fates of the child", map[string]rewind.Fate{"one": rewind.Kept, "two": rewind.Again}, fates(r, 1))
	want(t, "the root", `completed {"got":"two!"}`, b.ends(root))
	want(t, "the child", `completed "two!"`, b.ends(kid))
	want(t, "done", []string{"two#3"}, b.outside.took())
	from := control.Place{Task: "two"}
	_, err = b.PrepareRetry(t.Context(), control.RetryRequest{Run: kid, From: &from})
	if err == nil || !strings.Contains(err.Error(), "moved on") {
		t.Errorf("a child whose parent has completed: %v", err)
	}
	f, err := b.PrepareFork(t.Context(), control.ForkRequest{Run: kid, At: from})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.BeginRepair(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	want(t, "the fork of the child", `completed "two!"`, b.ends(f.Runs[0].ID))
}

// What cannot be retried is refused, and says what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.outside.hold = make(chan struct{})
	refuses := func(what, text string, q control.RetryRequest) {
		t.Helper()
		_, err := b.PrepareRetry(t.Context(), q)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", what, err, text)
		}
	}
	slow := b.start(define(t, "slow", "do: [{s: {run: {shell: {command: slow}}}}]"))
	refuses("running", "is running", control.RetryRequest{Run: slow})
	if err := b.Suspend(t.Context(), slow, "me", ""); err != nil {
		t.Fatal(err)
	}
	for {
		if row, err := b.store.Run(t.Context(), slow); err != nil || row.Status == event.Suspended {
			break
		}
	}
	refuses("suspended", "is suspended", control.RetryRequest{Run: slow})
	if err := b.Resume(t.Context(), slow, "me"); err != nil {
		t.Fatal(err)
	}
	close(b.outside.hold)
	want(t, "the run", `completed "slow!"`, b.ends(slow))
	refuses("completed", "nothing in it failed", control.RetryRequest{Run: slow})
	refuses("unknown task", "has no task", control.RetryRequest{Run: slow, From: &control.Place{Task: "/do/7/x"}})
	refuses("an iteration that is none", "iteration", control.RetryRequest{Run: slow, From: &control.Place{Task: "s", Iteration: []int{1}}})
	other := define(t, "other", "do: [{s: {run: {shell: {command: x}}}}]")
	refuses("another workflow", "is of test/slow", control.RetryRequest{Run: slow, From: &control.Place{Task: "s"}, Definition: other})
	_, err := b.PrepareRetry(t.Context(), control.RetryRequest{Run: event.RunID{5: 1}})
	if !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	invalid := b.start(define(t, "invalid", "input: {schema: {document: {type: array}}}\ndo: [{s: {set: {x: 1}}}]"))
	b.ends(invalid)
	refuses("invalid input", "before its first task", control.RetryRequest{Run: invalid})
}

const two = `
do:
  - f:
      fork:
        branches:
          - x: {run: {shell: {command: x}}}
          - y: {run: {shell: {command: %s}}}
  - z: {set: {all: '${ . }', more: %s}}
`

// A run goes on with a corrected definition, also after a restart; one that does
// not fit is refused naming the first task that differs.
func TestCorrectedDefinition(t *testing.T) {
	t.Parallel()
	b := setup(t, "y")
	id := b.start(define(t, "two", fmt.Sprintf(two, "y", "1")))
	want(t, "the run", "faulted /do/0/f/fork/branches/1/y", b.ends(id))
	b.outside.took()
	for what, tasks := range map[string]string{
		"has no task /do/0/f/fork/branches/1/y": strings.ReplaceAll(fmt.Sprintf(two, "y2", "2"), "- y:", "- w:"),
		"/do/0/f":                               "do:\n  - f: {set: {a: 1}}\n  - z: {set: {b: 1}}\n",
		"had 2 branches and has 3":              strings.Replace(fmt.Sprintf(two, "y2", "2"), "  - z:", "          - v: {set: {c: 1}}\n  - z:", 1),
	} {
		_, err := b.PrepareRetry(t.Context(), control.RetryRequest{Run: id, Definition: define(t, "two", tasks)})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	better := define(t, "two", fmt.Sprintf(two, "y2", "2"))
	b.outside.hold = nil
	b.retry(control.RetryRequest{Run: id, Definition: better})
	want(t, "the run", `completed {"all":["x!","y2!"],"more":2}`, b.ends(id))
	if did := b.outside.took(); !slices.Contains(did, "y2#2") {
		t.Errorf("done: %v", did)
	}
	src, err := b.Definition(t.Context(), id)
	if err != nil || string(src) != string(better.Source) {
		t.Errorf("the run's definition is %q, %v", src, err)
	}
	b.restart()
	at := control.Place{Task: "z"}
	b.retry(control.RetryRequest{Run: id, From: &at})
	want(t, "the run", `completed {"all":["x!","y2!"],"more":2}`, b.ends(id))
	want(t, "done", []string(nil), b.outside.took())
}

// A fork takes over the past, with another input if wanted; runs are compared and asked.
func TestForkDiffAndEvaluate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.start(define(t, "bill", fmt.Sprintf(bill, "continue")))
	want(t, "the run", `completed "sum!"`, b.ends(id))
	b.outside.took()
	f, err := b.PrepareFork(t.Context(), control.ForkRequest{
		Run: id, At: control.Place{Task: "note", Iteration: []int{1}},
		Input: func(was any) (any, error) { return []any{was, "changed"}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.BeginRepair(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	fork := f.Runs[0].ID
	want(t, "the fork", `completed "sum!"`, b.ends(fork))
	want(t, "done", []string{"sum#2"}, b.outside.took())
	d, err := b.Diff(t.Context(), id, fork)
	if err != nil {
		t.Fatal(err)
	}
	if d.Same || d.Parted == nil || d.Parted.Name != "note" || d.Parted.Iteration[0] != 1 {
		t.Fatalf("the difference: %+v", d)
	}
	want(t, "what differs", []control.Change{{Pointer: "/said", A: "b!", B: []any{"b!", "changed"}}}, d.Parted.Output)
	if d, err = b.Diff(t.Context(), id, id); err != nil || !d.Same {
		t.Errorf("a run differs from itself: %+v, %v", d, err)
	}
	v, err := b.Evaluate(t.Context(), id, control.Place{Task: "note", Iteration: []int{2}}, "[., $customer]", false)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the evaluation", any([]any{"c!", "c"}), v)
	v, err = b.Evaluate(t.Context(), id, control.Place{Task: "/do/0/customers"}, "length", true)
	if err != nil || v != 3 {
		t.Errorf("length of the output: %v, %v", v, err)
	}
	for expression, text := range map[string]string{"$secrets.x": "secrets", ". +": "expression", "nope": "nope"} {
		if _, err := b.Evaluate(t.Context(), id, control.Place{Task: "sum"}, expression, false); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", expression, err)
		}
	}
	if _, err := b.Evaluate(t.Context(), id, control.Place{Task: "note"}, ".", false); err == nil || !strings.Contains(err.Error(), "several iterations") {
		t.Errorf("no iteration: %v", err)
	}
}
