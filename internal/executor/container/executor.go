package container

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// Config is what an Executor needs to know of its host.
type Config struct {
	// Environment of Downbeat itself, as os.Environ gives it: it says where the
	// engine is (DOCKER_HOST, DOCKER_CERT_PATH, …) and where registries'
	// credentials are (DOCKER_CONFIG, HOME). Containers get nothing of it.
	Environment []string
	// MaxOutput is how many bytes of output are kept for one attempt; 0 is 64 MiB.
	MaxOutput int64
	// Grace is for requests that bring none; 0 is 10 s.
	Grace time.Duration
	// Node names the data directory, so that several on one engine tell their
	// containers apart; "" says that there is one only.
	Node string
	// Over tells of a run whether it is known and has ended; nil: nobody knows.
	Over func(ctx context.Context, run string) bool
	// Eager is for servers: Reap looks for the engine at once, not when the first task has.
	Eager bool
	// Patience is how long an engine that went away may take to come back; 0 is a minute.
	Patience time.Duration
}

// Executor carries out the kind "container".
type Executor struct {
	environment map[string]string
	maxOutput   int64
	grace       time.Duration
	patience    time.Duration
	node        string
	over        func(ctx context.Context, run string) bool
	eager       bool
	met         chan struct{} // closed when the engine has been found

	mu     sync.Mutex
	engine *client.Client  // nil: none has been found yet
	doomed map[string]bool // containers that could not be removed
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Adopter  = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

const (
	defaultMaxOutput = 64 << 20
	defaultGrace     = 10 * time.Second
	defaultPatience  = time.Minute
	maxDoomed        = 1000
)

// New makes an Executor. It looks for the engine when the first task needs it.
func New(c Config) *Executor {
	e := &Executor{
		environment: variables(c.Environment), maxOutput: c.MaxOutput, grace: c.Grace, patience: c.Patience,
		node: c.Node, over: c.Over, eager: c.Eager, met: make(chan struct{}), doomed: map[string]bool{},
	}
	if e.maxOutput <= 0 {
		e.maxOutput = defaultMaxOutput
	}
	if e.grace <= 0 {
		e.grace = defaultGrace
	}
	if e.patience <= 0 {
		e.patience = defaultPatience
	}
	return e
}

// Kind describes the kind "container" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:    "container",
		Version: "1.0.0",
		Summary: "Runs a container by Docker or Podman (run: container).",
		Schema:  executor.SchemaOf(arguments{}),
	}
}

// Check finds mistakes in arguments that hold no expressions.
func (e *Executor) Check(args any) []string { return executor.CheckArguments(args, new(arguments)) }

// Execute runs the attempt's container to its end.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	p, err := planOf(r, e.node)
	if err != nil {
		return executor.Result{}, err
	}
	engine, err := e.connect(ctx)
	if err != nil {
		return executor.Result{}, err
	}
	_, _ = e.sweep(ctx, engine, false) // what is due stays until the next look, which does no harm
	t := &task{e: e, engine: engine, r: r, plan: p}
	if t.grace = r.Grace; t.grace <= 0 {
		t.grace = e.grace
	}
	result, err := t.execute(ctx)
	if err != nil && ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	return result, err
}

// Adopts says that Execute goes on with the container of an earlier process.
func (e *Executor) Adopts() {}

// Recover ends the container of an attempt that is not repeated. One that has
// ended by itself is left to what its lifetime says.
func (e *Executor) Recover(ctx context.Context, handle any) error {
	m, _ := handle.(map[string]any)
	id, ok := m["container"].(string)
	if !ok || id == "" {
		return fmt.Errorf("recover a container: the journaled handle is none: want container")
	}
	t := &task{e: e, id: id, grace: e.grace}
	var err error
	if t.engine, err = e.connect(ctx); err != nil {
		e.doom(id)
		return fmt.Errorf("end container %s: %w", id, err)
	}
	state, err := t.inspect(ctx)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err == nil && hasEnded(state) && m["cleanup"] != "always":
		return nil
	}
	if err := t.discard(ctx); err != nil {
		return fmt.Errorf("end container %s: %w", id, err)
	}
	return nil
}

// doom notes a container that could not be removed, for Reap to try again.
func (e *Executor) doom(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.doomed) < maxDoomed {
		e.doomed[id] = true
	}
}

func problem(title, format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Runtime, 500, title, format, args...)
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid arguments", format, args...)
}

// wait waits for d; false when ctx was done before.
func wait(ctx context.Context, d time.Duration) bool {
	limit, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-limit.Done()
	return ctx.Err() == nil
}
