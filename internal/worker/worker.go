// Package worker carries out attempts: it gives each a slot, a directory, a
// log and a masker, calls the executor of its kind on a goroutine of its own,
// and answers with the event that the run's journal gets.
//
// The engine starts and cancels attempts and is told of each end exactly once,
// except when the worker is interrupted: what was under way then has no answer,
// and its run repeats it later. A panic in an executor is a fault of its task.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Options is what a worker is made of.
type Options struct {
	// Executors by kind.
	Executors map[string]executor.Executor
	// Directories are the kinds whose attempts get a working directory and a log file.
	Directories map[string]bool
	// DataDir is where directories and logs are made; "" makes none.
	DataDir string
	Secrets executor.Secrets
	Clock   lifecycle.Clock
	Logger  *slog.Logger
	// Slots is how many attempts are carried out at once; the rest wait by priority; 0: 256.
	Slots int
	// Grace is how long a cancelled attempt has to end by itself; 0: 10 s.
	Grace time.Duration
	// Passing reports whether an error of Bind will pass, as that of a full disk
	// does; nil: none does.
	Passing func(error) bool
	// LogBytes bounds the log file of one attempt; 0: 16 MiB.
	LogBytes int64
}

// Attempt is one attempt to carry out.
type Attempt struct {
	Request executor.Request // Secrets, Log, Bind, Evaluate, Directory and Grace are the worker's to fill
	// Handle is what an earlier process started for this attempt; it is ended or
	// awaited first, unless the executor goes on with it.
	Handle any
	// Answer, when set, is the answer after that: the attempt itself is not repeated.
	Answer      event.Body
	Workspace   string   // metadata.downbeat.workspace
	Priority    int      // of the run
	Iteration   []int    // for the log
	SecretNames []string // that the definition lists; others are not given
	// Evaluate evaluates a condition of the task about what the attempt meets; now is what `now` gives.
	Evaluate func(now time.Time, condition string, input any) (any, error)
	// Done gets the answer, once.
	Done func(event.Body)
	// Bind begins to journal a handle and gives the channel that tells when it is durable.
	Bind func(handle value.Raw) (<-chan error, error)
	// Line gets the lines that the attempt prints; nil: nobody watches.
	Line func(stream, text string)
}

type key struct {
	run        event.RunID
	activation event.Activation
	attempt    int
}

// Worker carries out attempts.
type Worker struct {
	o Options

	mu       sync.Mutex
	active   map[key]*job
	queue    queue
	free     int
	stopping bool
	order    uint64
	all      sync.WaitGroup
}

// job is an attempt under way or waiting for a slot.
type job struct {
	*Attempt
	key     key
	order   uint64
	cancel  context.CancelCauseFunc // nil while it waits
	waiting bool
	gone    chan struct{} // closed when it has been cancelled and must be given up later
}

// cancelled is the cause of a cancelled attempt.
type cancelled struct{ reason string }

// Error says why the attempt was cancelled.
func (c *cancelled) Error() string { return "cancelled: " + c.reason }

// New returns a worker that is ready.
func New(o Options) *Worker {
	if o.Slots <= 0 {
		o.Slots = 256
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.LogBytes <= 0 {
		o.LogBytes = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{o: o, active: make(map[key]*job), free: o.Slots}
}

// Has reports whether there is an executor for the kind.
func (w *Worker) Has(kind string) bool { return w.o.Executors[kind] != nil }

// Immediate returns the executor of a kind that may be called on any goroutine
// because it neither blocks nor costs much, else nil.
func (w *Worker) Immediate(kind string) executor.Executor {
	ex := w.o.Executors[kind]
	if _, ok := ex.(executor.Immediate); ok {
		return ex
	}
	return nil
}

// Now carries out an attempt of an immediate executor and returns its answer.
func (w *Worker) Now(ctx context.Context, ex executor.Executor, q *executor.Request) event.Body {
	q.Log, q.Secrets, q.Grace = silent{}, w.o.Secrets, w.o.Grace
	q.Bind = func(context.Context, any) error { return nil }
	res, err := call(ctx, ex, q)
	return answer(q, res, err)
}

// Start carries an attempt out, now or when a slot is free. One that is under
// way already, because its run was read again, goes on and is not repeated.
func (w *Worker) Start(a *Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &a.Request
	j := &job{Attempt: a, key: key{q.Run, q.Activation, q.Attempt}, gone: make(chan struct{})}
	if w.stopping {
		return
	}
	if old := w.active[j.key]; old != nil {
		return
	}
	w.order++
	j.order = w.order
	w.active[j.key] = j
	if w.free > 0 {
		w.free--
		w.launch(j)
		return
	}
	j.waiting = true
	w.queue.push(j)
}

// Cancel ends an attempt; its answer follows. It returns false when the worker
// has no such attempt: its answer has been given, or it was another process's.
func (w *Worker) Cancel(run event.RunID, activation event.Activation, attempt int, reason string) bool {
	w.mu.Lock()
	j := w.active[key{run, activation, attempt}]
	if j == nil {
		w.mu.Unlock()
		return false
	}
	if j.Answer != nil {
		w.mu.Unlock()
		return true // it is being ended already
	}
	if j.waiting {
		j.waiting = false
		w.queue.remove(j)
		w.mu.Unlock()
		j.Done(&event.TaskCancelled{Activation: activation, Attempt: attempt})
		w.mu.Lock()
		delete(w.active, j.key)
		w.mu.Unlock()
		return true
	}
	cancel := j.cancel
	w.mu.Unlock()
	cancel(&cancelled{reason})
	return true
}

// Interrupt ends every attempt without an answer, waits for the executors to
// clean up, and takes no more. Their runs go on later.
func (w *Worker) Interrupt() {
	w.mu.Lock()
	w.stopping = true
	for k, j := range w.active {
		if j.waiting {
			delete(w.active, k)
			continue
		}
		j.cancel(lifecycle.ErrStopping)
	}
	w.queue = queue{}
	w.mu.Unlock()
	w.all.Wait()
}

// Busy is how many attempts are under way or wait for a slot.
func (w *Worker) Busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.active)
}

// launch starts the goroutine of a job that has a slot. The caller holds mu.
func (w *Worker) launch(j *job) {
	ctx, cancel := context.WithCancelCause(context.Background()) //nolint:forbidigo // an attempt outlives the call that starts it; Cancel and Interrupt end it
	j.cancel = cancel
	w.all.Go(func() {
		defer cancel(nil)
		body := w.supervise(ctx, j)
		if body != nil {
			j.Done(body)
		}
		w.release(j)
	})
}

// release gives the slot of an ended job to the next that waits. It comes after
// the answer: who finds no attempt can rely on the answer having been given.
func (w *Worker) release(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.active, j.key)
	if next := w.queue.pop(); next != nil && !w.stopping {
		next.waiting = false
		w.launch(next)
		return
	}
	w.free++
}

// supervise carries a job out and gives up on an executor that does not end
// soon after it was cancelled: the outcome is unknown then.
func (w *Worker) supervise(ctx context.Context, j *job) event.Body {
	done := make(chan event.Body, 1)
	go func() { done <- w.perform(ctx, j) }()
	select {
	case body := <-done:
		return body
	case <-ctx.Done():
	}
	late := w.o.Clock.NewTimer(w.o.Grace + w.o.Grace/2 + time.Second)
	defer late.Stop()
	select {
	case body := <-done:
		return body
	case <-late.C:
	}
	q := &j.Request
	w.o.Logger.WarnContext(ctx, "attempt does not end", slog.String("run", q.Run.String()), slog.String("task", q.Reference), slog.String("kind", q.Kind))
	if errors.Is(context.Cause(ctx), lifecycle.ErrStopping) {
		return nil
	}
	return &event.TaskCancelled{Activation: q.Activation, Attempt: q.Attempt, Unknown: true}
}

// perform does the work of a job; nil: it was interrupted.
func (w *Worker) perform(ctx context.Context, j *job) event.Body {
	q := &j.Request
	ex := w.o.Executors[q.Kind]
	if ex == nil {
		return &event.TaskFailed{Activation: q.Activation, Attempt: q.Attempt, Error: event.Problem{
			Type: event.TypePrefix + event.Configuration, Status: 400, Title: "No executor", Instance: q.Reference,
			Detail: fmt.Sprintf("nothing here carries out tasks of the kind %q", q.Kind),
		}}
	}
	if j.Handle != nil {
		if re, ok := ex.(executor.Reattacher); ok && (j.Answer != nil || !adopts(ex)) {
			if err := recoverHandle(ctx, re, j.Handle); err != nil {
				w.o.Logger.WarnContext(ctx, "what an earlier process started could not be ended", slog.String("run", q.Run.String()),
					slog.String("task", q.Reference), slog.String("error", err.Error()))
			}
			if errors.Is(context.Cause(ctx), lifecycle.ErrStopping) {
				return nil
			}
		}
	}
	if j.Answer != nil {
		return j.Answer
	}
	if err := context.Cause(ctx); err != nil {
		return answer(q, executor.Result{}, err)
	}
	p, err := w.prepare(j)
	if err != nil {
		return answer(q, executor.Result{}, err)
	}
	defer p.close()
	res, err := call(ctx, ex, q)
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	return answer(q, res, err)
}

// adopts reports that Execute itself goes on with what an earlier process started.
func adopts(ex executor.Executor) bool {
	_, ok := ex.(executor.Adopter)
	return ok
}

func recoverHandle(ctx context.Context, re executor.Reattacher, handle any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return re.Recover(ctx, handle)
}

// panicked is the error of an executor that panicked.
type panicked struct {
	value any
	stack []byte
}

// Error says that it is our mistake.
func (p *panicked) Error() string {
	return fmt.Sprintf("the executor failed in a way that is a mistake in Downbeat: %v", p.value)
}

// call calls an executor; a panic becomes an error.
func call(ctx context.Context, ex executor.Executor, q *executor.Request) (res executor.Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	return ex.Execute(ctx, q)
}

// answer is the event that a result is; nil when the attempt was interrupted.
func answer(q *executor.Request, res executor.Result, err error) event.Body {
	if err == nil {
		return &event.TaskCompleted{
			Activation: q.Activation, Attempt: q.Attempt, Output: value.FromAny(res.Output), Authorization: res.Authorization,
		}
	}
	var c *cancelled
	var p *event.Problem
	switch {
	case errors.Is(err, lifecycle.ErrStopping):
		return nil
	case errors.As(err, &c):
		return &event.TaskCancelled{Activation: q.Activation, Attempt: q.Attempt}
	case errors.As(err, &p):
		out := *p
		if out.Type == "" {
			out.Type = event.TypePrefix + event.Runtime
		}
		if out.Status == 0 {
			out.Status = 500
		}
		return &event.TaskFailed{Activation: q.Activation, Attempt: q.Attempt, Error: out}
	}
	return &event.TaskFailed{Activation: q.Activation, Attempt: q.Attempt, Error: event.Problem{
		Type: event.TypePrefix + event.Runtime, Status: 500, Title: "Task failed", Detail: err.Error(),
	}}
}
