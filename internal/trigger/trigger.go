// Package trigger starts runs by the schedules of their workflows: by the clock
// (every, cron, after) and by cloud events (on). How far each schedule has come
// is in the store; a start carries an idempotency key made of the workflow and
// of what was due, so that neither a crash between start and note nor a second
// process starts anything twice, and nothing that was due is forgotten.
//
// Who calls it: package server gives it its ports; the command line, or a
// server, starts it and stops it.
package trigger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Runs is what a Trigger does with runs.
type Runs interface {
	// Start starts a run, or returns the one that was started with the same key. Durable when it returns nil.
	Start(ctx context.Context, q engine.StartRequest) (event.RunID, error)
	// Wait returns how a run ended, whichever process carries it out.
	Wait(ctx context.Context, id event.RunID) (engine.Result, error)
}

// Store is what a Trigger remembers and reads.
type Store interface {
	journal.Schedules
	// CloudEvents returns accepted events after a sequence, of the given types (none: all), in order.
	CloudEvents(ctx context.Context, after int64, types []string, limit int) ([]journal.CloudEvent, error)
	// Run returns the row of a run; journal.ErrNotFound.
	Run(ctx context.Context, id event.RunID) (*journal.RunRow, error)
}

// Options is what a Trigger is made of.
type Options struct {
	// Definitions are the workflows, one version of each; those without a schedule are left alone.
	Definitions []*workflow.Definition
	Runs        Runs
	Store       Store
	// Commit stores a batch durably.
	Commit func(ctx context.Context, b *journal.Batch) error
	// Accepted receives when this process has stored cloud events; nil: they are found a little later.
	Accepted <-chan struct{}
	// Notify hears what happens, from several goroutines; nil: nobody does.
	Notify    func(Notice)
	Directory string // working directory of the runs
	Version   string // of Downbeat
	Clock     lifecycle.Clock
	Logger    *slog.Logger
}

// What is what a Notice tells.
type What uint8

// What happens.
const (
	Started   What = iota + 1
	Ended          // Status, and Problem of a fault
	Rejected       // the start was refused (Err), and is not tried again
	Missed         // due times from Due on passed while nobody was there, and start nothing
	Scheduled      // the first of all: at Due the clock starts the next run
	Replaced       // another process has begun another version of the schedule; this one rests
)

// Notice is something that happened.
type Notice struct {
	What     What
	At       time.Time
	Workflow string // "namespace/name:version"
	Property string // "every", "cron", "after", "on"
	Due      time.Time
	Run      event.RunID
	Status   event.Status
	Problem  *event.Problem
	Err      error
}

// Trigger starts runs by schedules. It is a lifecycle.Service.
type Trigger struct {
	o      Options
	all    []*schedule
	events []*schedule // those that cloud events concern

	mu       sync.Mutex
	started  bool
	stop     context.CancelCauseFunc // of what starts runs
	leave    context.CancelCauseFunc // of what watches them
	watching context.Context
	drivers  sync.WaitGroup
	watchers sync.WaitGroup
	failed   chan error
}

var _ lifecycle.Service = (*Trigger)(nil)

// New makes a Trigger of the schedules of workflows. It refuses two definitions
// of one workflow and what cannot be carried out.
func New(o Options) (*Trigger, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	t := &Trigger{o: o, failed: make(chan error, 1)}
	seen := map[string]string{}
	for _, def := range o.Definitions {
		name := nameOf(def)
		if was, twice := seen[name]; twice {
			return nil, fmt.Errorf("schedule %s: %s is there too; one version of a workflow can be scheduled", def.Document.ID(), was)
		}
		seen[name] = def.Document.ID()
		list, err := t.schedules(def)
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", def.Document.ID(), err)
		}
		t.all = append(t.all, list...)
	}
	for _, s := range t.all {
		if s.property == "on" {
			t.events = append(t.events, s)
		}
	}
	return t, nil
}

func nameOf(def *workflow.Definition) string {
	return def.Document.Namespace + "/" + def.Document.Name
}

// Start begins to start runs. Cloud events that are accepted after it returns
// count, also for a schedule that is new.
func (t *Trigger) Start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started {
		return nil
	}
	t.started = true
	ctx = context.WithoutCancel(ctx)
	t.watching, t.leave = context.WithCancelCause(ctx)
	ctx, t.stop = context.WithCancelCause(ctx)
	for _, s := range t.events {
		if err := s.read(ctx); err != nil {
			s.ready = false // its driver tries again, and says so
		}
	}
	for _, s := range t.all {
		t.drivers.Go(func() { t.drive(ctx, s) })
	}
	if len(t.events) > 0 {
		t.drivers.Go(func() { t.lookForEvents(ctx) })
	}
	return nil
}

// Cease ends the starting of runs; those that were started are watched on.
func (t *Trigger) Cease() {
	t.mu.Lock()
	stop := t.stop
	t.mu.Unlock()
	if stop != nil {
		stop(lifecycle.ErrStopping)
		t.drivers.Wait()
	}
}

// Stop ends the starting of runs and the watching of those that were started.
func (t *Trigger) Stop(context.Context) error {
	t.Cease()
	t.mu.Lock()
	leave := t.leave
	t.mu.Unlock()
	if leave != nil {
		leave(lifecycle.ErrStopping)
		t.watchers.Wait()
	}
	return nil
}

// Failed receives why no run can be started any more.
func (t *Trigger) Failed() <-chan error { return t.failed }

// The bounds of waiting: clocks are set, machines sleep, so nobody waits longer
// than a minute without a look at the clock.
const (
	longestWait  = time.Minute
	longestRetry = time.Minute
	lookEvery    = 500 * time.Millisecond // for cloud events that other processes accepted
)

// drive carries one schedule out until ctx ends.
func (t *Trigger) drive(ctx context.Context, s *schedule) {
	retry := time.Second
	for {
		next, err := s.turn(ctx)
		wait := longestWait
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errReplaced):
			t.notify(s, Notice{What: Replaced})
			return
		case errors.Is(err, journal.ErrConflict):
			s.ready = false // another process was faster: see what it did
			continue
		case errors.Is(err, engine.ErrStopped), errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrCorrupt):
			t.fail(err)
			return
		case err != nil:
			s.ready = false
			t.o.Logger.WarnContext(ctx, "schedule cannot go on, and is tried again",
				slog.String("workflow", s.id), slog.String("property", s.property), slog.String("error", err.Error()))
			wait, retry = retry, min(2*retry, longestRetry)
		default:
			retry = time.Second
			if !s.told && s.pace != nil && !next.IsZero() {
				s.told = true
				t.notify(s, Notice{What: Scheduled, Due: next})
			}
			if !next.IsZero() {
				wait = min(wait, next.Sub(t.o.Clock.Now()))
			}
		}
		timer := t.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (t *Trigger) fail(err error) {
	select {
	case t.failed <- err:
	default:
	}
}

func (t *Trigger) notify(s *schedule, n Notice) {
	n.At, n.Workflow, n.Property = t.o.Clock.Now(), s.id, s.property
	t.o.Notify(n)
}

// lookForEvents wakes the schedules that cloud events concern when there are some.
func (t *Trigger) lookForEvents(ctx context.Context) {
	ticker := t.o.Clock.NewTicker(lookEvery)
	defer ticker.Stop()
	known := int64(-1)
	for {
		last, err := t.o.Store.LastEvent(ctx)
		if err == nil && last != known {
			known = last
			for _, s := range t.events {
				s.rouse()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.o.Accepted:
		case <-ticker.C:
		}
	}
}

// watch tells when a run has ended.
func (t *Trigger) watch(s *schedule, id event.RunID) {
	t.watchers.Go(func() {
		r, err := t.wait(s, id)
		if err != nil {
			return // nobody is there to be told, or the run was deleted
		}
		s.rouse()
		t.notify(s, Notice{What: Ended, Run: id, Status: r.Status, Problem: r.Error})
	})
}

// wait waits for the end of a run. One that takes long may sleep for days, and
// there may be thousands of them: they are looked at now and then; only what
// after waits for is known at once.
func (t *Trigger) wait(s *schedule, id event.RunID) (engine.Result, error) {
	const long = 2 * time.Minute
	if s.property == "after" {
		return t.o.Runs.Wait(t.watching, id)
	}
	ctx, cancel := context.WithTimeout(t.watching, long)
	r, err := t.o.Runs.Wait(ctx, id)
	cancel()
	for err != nil && errors.Is(err, context.DeadlineExceeded) {
		if err = t.o.Clock.Sleep(t.watching, longestWait); err != nil {
			break
		}
		row, rowErr := t.o.Store.Run(t.watching, id)
		switch {
		case rowErr != nil:
			err = rowErr
		case row.Status.Ended():
			r, err = t.o.Runs.Wait(t.watching, id)
		default:
			err = context.DeadlineExceeded
		}
	}
	return r, err
}
