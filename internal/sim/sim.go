// Package sim is a whole Downbeat for tests: the engine with a store in memory
// and executors that only pretend, under virtual time (testing/synctest), whose
// process ends at chosen commits. It finds what no test of a part finds: states
// that only a crash at the wrong instant makes.
package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// Crash ends the process at its n-th commit: before it is stored, or after it
// was stored and before anybody heard of it.
type Crash struct {
	Commit int
	Stored bool
}

// Effect is one attempt that was carried out.
type Effect struct {
	Run        event.RunID
	Activation event.Activation
	Attempt    int
	Reference  string
	Key        string
}

// World is what outlives the processes: the data, and the effects.
type World struct {
	Library engine.Library
	// Change adjusts each engine before it starts; nil: nothing to change.
	Change func(*engine.Options)

	store *journal.Memory

	mu      sync.Mutex
	effects []Effect
}

// New returns an empty world.
func New() *World { return &World{store: journal.NewMemory()} }

// errCrash is what the store of a dying process says.
var errCrash = fmt.Errorf("%w: the process ends here", journal.ErrClosed)

// Process is one life of a Downbeat in the world.
type Process struct {
	Engine *engine.Engine
	Store  *journal.Memory
	died   chan struct{}
	once   sync.Once
}

// Died returns a channel that is closed when the process has come to its crash.
func (p *Process) Died() <-chan struct{} { return p.died }

// Begin starts a process that ends at the crash; nil: it lives until End.
func (w *World) Begin(ctx context.Context, crash *Crash) (*Process, error) {
	w.store = w.store.Again()
	p := &Process{Store: w.store, died: make(chan struct{})}
	if crash != nil {
		die := func(n int, stored bool) error {
			if n < crash.Commit || stored != crash.Stored && n == crash.Commit {
				return nil
			}
			p.once.Do(func() { close(p.died) })
			return errCrash
		}
		p.Store.Before = func(n int, _ *journal.Batch) error { return die(n, false) }
		p.Store.After = func(n int, _ *journal.Batch) error { return die(n, true) }
	}
	o := engine.Options{
		Store: p.Store, Reader: p.Store, Committer: journal.NewCommitter(p.Store), Secrets: secret.NewResolver(),
		Program: program.Options{Functions: []string{"noop"}}, Version: "sim", Adopt: true, Library: w.Library, Shards: 2,
		Worker: worker.New(worker.Options{Executors: map[string]executor.Executor{
			"noop": noop.Executor{}, "shell": pretend{w},
		}, Secrets: secret.NewResolver()}),
	}
	if w.Change != nil {
		w.Change(&o)
	}
	p.Engine = engine.New(o)
	return p, p.Engine.Start(ctx)
}

// End ends a process; what it owned has no owner that lives any more.
func (p *Process) End(ctx context.Context) error {
	p.Store.Kill()
	return p.Engine.Stop(ctx)
}

// Effects are the attempts that were carried out so far.
func (w *World) Effects() []Effect {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.effects)
}

// Outcome is how a run ended, in the form that two executions can be compared in.
type Outcome struct {
	Acknowledged bool
	End          string
	Effects      []string // "reference activation", each once
	Crashes      int
}

// Carry starts a run and brings it to its end through the crashes, one after another.
func (w *World) Carry(ctx context.Context, def *workflow.Definition, input value.Raw, crashes []Crash) (out Outcome, err error) {
	var id event.RunID
	for life := 0; ; life++ {
		var crash *Crash
		if life < len(crashes) {
			crash = &crashes[life]
		}
		p, err := w.Begin(ctx, crash)
		if err != nil {
			return out, err
		}
		live, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(live, func() {})
		go func() {
			select {
			case <-p.Died():
				cancel(errCrash)
			case <-live.Done():
			}
		}()
		if !out.Acknowledged {
			id, err = p.Engine.Submit(live, engine.StartRequest{Definition: def, Input: input})
			out.Acknowledged = err == nil
		}
		var res engine.Result
		if err == nil {
			res, err = p.Engine.Wait(live, id)
		}
		cancel(nil)
		stop()
		if endErr := p.End(ctx); endErr != nil {
			return out, endErr
		}
		switch {
		case err == nil:
			out.End = describe(res)
			out.Effects, err = w.effectsOf(id)
			return out, err
		case !errors.Is(err, journal.ErrClosed) && !errors.Is(err, engine.ErrStopped):
			return out, fmt.Errorf("life %d: %w", life, err)
		}
		out.Crashes++
	}
}

// effectsOf lists the effects of a run and of its children, and checks that
// every activation has one key.
func (w *World) effectsOf(id event.RunID) ([]string, error) {
	keys := map[string]string{}
	var out []string
	for _, e := range w.Effects() {
		name := fmt.Sprintf("%s %s", e.Reference, e.Activation)
		mine := e.Run.String() + " " + name
		if old, ok := keys[mine]; ok && old != e.Key {
			return nil, fmt.Errorf("run %s: %s was carried out under two keys", id, name)
		}
		keys[mine] = e.Key
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func describe(r engine.Result) string {
	s := r.Status.String() + " " + string(r.Output.JSON())
	if r.Error != nil {
		s += fmt.Sprintf(" %s/%d %s", strings.TrimPrefix(r.Error.Type, event.TypePrefix), r.Error.Status, r.Error.Instance)
	}
	return s
}

// pretend carries out `run: shell` without a shell: the command is "delay
// failures output": milliseconds, how many attempts fail, and what it returns.
type pretend struct{ w *World }

// Execute waits and answers as the command says.
func (p pretend) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	p.w.mu.Lock()
	p.w.effects = append(p.w.effects, Effect{r.Run, r.Activation, r.Attempt, r.Reference, r.IdempotencyKey})
	p.w.mu.Unlock()
	args, _ := r.Arguments.(map[string]any)
	command, _ := args["command"].(string)
	f := strings.Fields(command)
	if len(f) != 3 {
		return executor.Result{}, fmt.Errorf("pretend: %q is no command", command)
	}
	delay, _ := strconv.Atoi(f[0])
	failures, _ := strconv.Atoi(f[1])
	select {
	case <-time.After(time.Duration(delay) * time.Millisecond):
	case <-ctx.Done():
		return executor.Result{}, context.Cause(ctx)
	}
	if r.Attempt <= failures {
		return executor.Result{}, &event.Problem{
			Type: event.TypePrefix + event.Communication, Status: 503, Title: "Pretended failure",
		}
	}
	return executor.Result{Output: f[2]}, nil
}
