// Package engine advances runs: it feeds events to the machine, makes them
// durable, and only then carries out what the machine asks for.
//
// Every live run belongs to one shard, a goroutine that applies the events of
// its runs one after another. What a step needs stored goes to the committer as
// one request; the shard goes on with other runs meanwhile. After the request
// is durable the shard carries the step's commands out, shows its transitions
// and answers whoever waits. The state of a run is its journal: whatever goes
// wrong in memory is dropped and read again.
//
// Who calls it: package control and server. The caller starts the engine, stops
// it, and owns the store.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
)

// Errors that callers compare.
var (
	// ErrStopped: the engine is not running. What was acknowledged before is safe.
	ErrStopped = errors.New("engine is stopped")
	// ErrElsewhere: the run is not live in this process.
	ErrElsewhere = errors.New("run is not live in this process")
	// ErrRejected: the workflow's concurrency limit is reached and says reject.
	ErrRejected = errors.New("concurrency limit reached")
	// ErrDiverged: replay did not give what the journal recorded.
	ErrDiverged = errors.New("replay diverged")
)

// Options is what an engine is made of.
type Options struct {
	Store     journal.Store
	Reader    journal.Reader
	Committer *journal.Committer
	Worker    *worker.Worker
	// Secrets resolves the names that a definition lists.
	Secrets *secret.Resolver
	// Sealer opens the key when it is first needed; nil: runs with secrets are refused.
	Sealer func() (Sealer, error)
	// Library finds definitions that are not deployed in the store; nil: none.
	Library Library
	Program program.Options
	Clock   lifecycle.Clock
	Logger  *slog.Logger
	Version string // of Downbeat
	// Shards is how many goroutines advance runs; 0: one a processor.
	Shards int
	// Adopt takes over live runs that servers started and whose process ended.
	Adopt bool
	// Embedded marks the runs started here so that only Continue goes on with them after a crash.
	Embedded bool
	Limits   Limits
}

// Limits bounds the engine's memory.
type Limits struct {
	LiveBytes int64         // of all live runs; then runs that wait are evicted, then Submit blocks; 0: 1 GiB
	Evict     time.Duration // a run that waits longer than this leaves memory; 0: 60 s
	Guard     time.Duration // one application of an event computes at most this long; 0: 10 s
	GuardHeap uint64        // and lets the process grow by at most this much while it does; 0: 1 GiB
}

func (l *Limits) defaults() {
	if l.LiveBytes == 0 {
		l.LiveBytes = 1 << 30
	}
	if l.Evict == 0 {
		l.Evict = time.Minute
	}
	if l.Guard == 0 {
		l.Guard = 10 * time.Second
	}
	l.GuardHeap = cmp.Or(l.GuardHeap, 1<<30)
}

// Engine advances the runs of this process. It is a lifecycle.Service.
type Engine struct {
	// History reads what is committed of runs, live or ended.
	*history.History

	o      Options
	shards []*shard
	defs   *definitions.Cache
	groups groups
	crew   *lifecycle.Crew
	waker  waker

	live atomic.Int64 // bytes that live runs hold, about

	mu      sync.Mutex
	room    sync.Cond // on mu: live went down
	started bool
	err     error // why it ended by itself
	done    sync.WaitGroup
	stop    context.CancelCauseFunc
	ctx     context.Context // ends when the engine stops; its attempts' parent
	stopped atomic.Bool
}

var _ lifecycle.Service = (*Engine)(nil)

// New returns an engine that Start makes run.
func New(o Options) *Engine {
	o.Limits.defaults()
	if o.Shards <= 0 {
		o.Shards = runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{o: o, History: history.New(o.Store, o.Reader, o.Sealer)}
	e.room.L = &e.mu
	e.defs = definitions.New(definitions.Options{
		Program: o.Program, Has: o.Worker.Has, Library: o.Library, Store: o.Store, Reader: o.Reader, Seals: e.Seals,
	})
	e.Use(e.defs)
	e.groups.init()
	for i := range o.Shards {
		e.shards = append(e.shards, newShard(e, i))
	}
	return e
}

// Start makes the engine run and, with Adopt, begins to take over abandoned
// runs. The engine lives until Stop, not until ctx ends.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		return nil
	}
	if e.stopped.Load() {
		return ErrStopped
	}
	e.started = true
	e.ctx, e.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	e.done.Go(func() { e.o.Committer.Run(e.ctx) }) // the one goroutine that writes
	for _, s := range e.shards {
		e.done.Go(s.loop)
	}
	e.crew = lifecycle.NewCrew(loaders)
	e.waker.start(e)
	return nil
}

// Stop ends the engine: attempts in progress are interrupted and their runs go
// on later, from their journals. Everything acknowledged before is durable.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if !e.started || e.stopped.Swap(true) {
		e.mu.Unlock()
		e.stopped.Store(true)
		e.done.Wait()
		return nil
	}
	e.room.Broadcast()
	e.mu.Unlock()
	e.waker.halt()
	e.crew.Halt()
	e.o.Worker.Interrupt()
	for _, s := range e.shards {
		s.send(message{kind: msgStop})
	}
	finished := make(chan struct{})
	go func() {
		for _, s := range e.shards {
			<-s.ended
		}
		e.stop(lifecycle.ErrStopping)
		e.done.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		e.stop(lifecycle.ErrStopping)
		return fmt.Errorf("stop engine: %w", context.Cause(ctx))
	}
}

// Err says why the engine ended by itself; nil while it runs.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// fail ends the engine for good: the store is closed.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
		e.o.Logger.Error("engine ended", slog.String("error", err.Error()))
	}
	e.room.Broadcast()
}

// Result is how a run ended.
type Result struct {
	ID     event.RunID
	Status event.Status
	Output value.Raw
	Error  *event.Problem
}

// shard of a run: children live with their parent, so that both ends of a
// command are on one goroutine.
func (e *Engine) shard(id event.RunID) *shard {
	if len(e.shards) == 1 {
		return e.shards[0]
	}
	h := uint(id[15]) | uint(id[14])<<8
	return e.shards[h%uint(len(e.shards))]
}

// reserve blocks while live runs hold too much memory.
func (e *Engine) reserve(ctx context.Context) error {
	if e.live.Load() < e.o.Limits.LiveBytes {
		return e.running()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	release := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.room.Broadcast()
	})
	defer release()
	for _, s := range e.shards {
		if !s.squeezing.Swap(true) {
			s.send(message{kind: msgCall, call: func(s *shard) {
				s.squeezing.Store(false)
				s.squeeze()
			}})
		}
	}
	for e.live.Load() >= e.o.Limits.LiveBytes {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for memory: live runs hold more than %d MiB: %w", e.o.Limits.LiveBytes>>20, context.Cause(ctx))
		}
		if e.stopped.Load() || e.err != nil {
			break
		}
		e.room.Wait()
	}
	return e.runningLocked()
}

func (e *Engine) running() error {
	if e.stopped.Load() {
		return ErrStopped
	}
	return nil
}

func (e *Engine) runningLocked() error {
	if e.err != nil {
		return e.err
	}
	return e.running()
}

// account changes what live runs hold.
func (e *Engine) account(bytes int64) {
	if bytes == 0 {
		return
	}
	now := e.live.Add(bytes)
	if limit := e.o.Limits.LiveBytes; bytes < 0 && now < limit && now-bytes >= limit {
		e.mu.Lock()
		e.room.Broadcast()
		e.mu.Unlock()
	}
}
