package trigger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// errReplaced: the store has another text of the schedule than it had when this
// process began.
var errReplaced = errors.New("schedule was replaced")

// schedule is one property of a workflow's schedule: each starts runs for
// itself (DSL 174).
type schedule struct {
	t        *Trigger
	def      *workflow.Definition
	id       string // "namespace/name:version"
	name     string // "namespace/name"
	property string
	text     string // what the property says, as the store remembers it
	paused   bool
	missed   string
	jitter   time.Duration

	pace         pace // of every and cron; of every once it is known when it began
	every, after value.Duration
	zone         *time.Location
	gather       *gatherer // of on

	wake  chan struct{}
	row   journal.Schedule
	begun bool        // this process has found, or made, the row with its text
	ready bool        // row, and what gather holds, are as stored
	told  bool        // when it is due next
	waits event.RunID // the run of after that is watched
	// untold is what happened, until it is remembered.
	untold []Notice
}

// pausedText begins the text of a schedule that is paused.
const pausedText = "paused: "

// schedules are the properties that a definition schedules by.
func (t *Trigger) schedules(def *workflow.Definition) ([]*schedule, error) {
	if def.Schedule == nil {
		return nil, nil
	}
	var out []*schedule
	p, err := planOf(def)
	if err != nil {
		return nil, err
	}
	add := func(property, text string) *schedule {
		s := &schedule{
			t: t, def: def, id: def.Document.ID(), name: nameOf(def), property: property, text: text,
			paused: p.paused, missed: p.missed, jitter: p.jitter, zone: p.zone, wake: make(chan struct{}, 1),
		}
		if s.paused {
			s.text = pausedText + text // what passes meanwhile is not missed
		}
		out = append(out, s)
		return s
	}
	if p.every != nil {
		add("every", p.every.String()+" "+p.zone.String()).every = *p.every
	}
	if p.cron != nil {
		add("cron", p.cron.String()+" "+p.zone.String()).pace = byCron{p.cron, p.zone}
	}
	if p.after != nil {
		add("after", p.after.String()).after = *p.after
	}
	if def.Schedule.On != nil {
		s := add("on", describe(def.Schedule))
		if s.gather, err = newGatherer(t, s, def); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rouse makes the schedule look soon.
func (s *schedule) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// turn does what is due and says when to come again; the zero time: when woken.
func (s *schedule) turn(ctx context.Context) (time.Time, error) {
	if err := s.read(ctx); err != nil {
		return time.Time{}, err
	}
	if s.paused {
		return time.Time{}, nil
	}
	switch s.property {
	case "after":
		return s.turnAfter(ctx)
	case "on":
		return s.turnEvents(ctx)
	}
	return s.turnClock(ctx)
}

// read brings the row up to date; a schedule that is new, or says something
// new, begins now.
func (s *schedule) read(ctx context.Context) error {
	if s.property == "on" && s.ready {
		return nil // the row changes with every run: a conflict tells when another process changed it
	}
	row, err := s.t.o.Store.Schedule(ctx, s.name, s.property)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		row = &journal.Schedule{Workflow: s.name, Property: s.property}
	case err != nil:
		return err
	case row.Text == s.text:
		s.begun = true
		return s.take(*row)
	case s.begun:
		return errReplaced
	}
	now := s.t.o.Clock.Now()
	fresh := journal.Schedule{Workflow: s.name, Property: s.property, Text: s.text, Began: now, Due: now, Version: row.Version}
	if s.untold = nil; s.property == "on" {
		if err := s.from(ctx, row, &fresh); err != nil {
			return err
		}
	}
	if err := s.save(ctx, fresh); err != nil {
		return err
	}
	s.begun = true
	s.tell()
	return s.take(s.row)
}

// take makes a row what the schedule goes by.
func (s *schedule) take(row journal.Schedule) error {
	s.row = row
	switch s.property {
	case "every":
		s.pace = byInterval{row.Began.In(s.zone), s.every}
	case "on":
		if err := s.gather.restore(row.State); err != nil {
			return err
		}
	}
	s.ready = true
	return nil
}

// save stores a row that was made from the one that is known; journal.ErrConflict
// when another process has changed it.
func (s *schedule) save(ctx context.Context, row journal.Schedule) error {
	if err := s.t.o.Commit(ctx, &journal.Batch{Schedules: []journal.Schedule{row}}); err != nil {
		return fmt.Errorf("remember schedule.%s of %s: %w", row.Property, row.Workflow, err)
	}
	row.Version++
	s.row = row
	return nil
}

// start starts the run for what is due, once for each key. What refuses the run
// for good is a notice; an error means that it should be tried again.
func (s *schedule) start(ctx context.Context, key string, due time.Time, input value.Raw) (Notice, error) {
	trigger := "schedule"
	if s.property == "on" {
		trigger = "event"
	}
	id, err := s.t.o.Runs.Start(ctx, engine.StartRequest{
		Definition: s.def, Input: input, Trigger: trigger, Directory: s.t.o.Directory,
		Labels:   map[string]string{"schedule": s.property, "due": due.UTC().Format(time.RFC3339Nano)},
		KeyScope: "schedule", Key: s.name + " " + s.property + " " + key,
	})
	if err == nil {
		return Notice{What: Started, Due: due, Run: id}, nil
	}
	_, invalid := errors.AsType[*engine.InvalidError](err)
	_, problem := errors.AsType[*event.Problem](err) // of the key of its concurrency group
	if invalid || problem || errors.Is(err, engine.ErrRejected) {
		return Notice{What: Rejected, Due: due, Err: err}, nil
	}
	return Notice{}, err
}

// tell passes on what happened, once it is remembered.
func (s *schedule) tell() {
	for _, n := range s.untold {
		s.t.notify(s, n)
		if n.What == Started {
			s.t.watch(s, n.Run)
		}
	}
	s.untold = nil
}

// emptyInput is the input of a run that the clock starts, as of one that is
// started by hand without any (D1).
func emptyInput() value.Raw { return value.FromAny(map[string]any{}) }

// turnClock starts the runs of the due times that have come.
func (s *schedule) turnClock(ctx context.Context) (time.Time, error) {
	now := s.t.o.Clock.Now()
	if s.row.Due.Sub(now) > tolerance {
		if err := s.rewind(ctx, now); err != nil {
			return time.Time{}, err
		}
	}
	fire, upTo := s.due(now)
	if upTo.IsZero() {
		return s.at(s.pace.next(s.row.Due)), nil
	}
	s.untold = nil
	if first := s.pace.next(s.row.Due); now.Sub(first) > tolerance && (len(fire) == 0 || fire[0].After(first)) {
		s.untold = append(s.untold, Notice{What: Missed, Due: first})
	}
	row := s.row
	row.Due = upTo
	for _, due := range fire {
		n, err := s.start(ctx, due.UTC().Format(time.RFC3339Nano), due, emptyInput())
		if err != nil {
			return time.Time{}, err
		}
		if n.What == Started {
			row.Run = n.Run
		}
		s.untold = append(s.untold, n)
	}
	if err := s.save(ctx, row); err != nil {
		return time.Time{}, err
	}
	s.tell()
	return s.at(s.pace.next(upTo)), nil
}

// rewind goes on from now where the clock was ahead by far and was put right.
// What was started for a time that comes again is not started again: it has its key.
func (s *schedule) rewind(ctx context.Context, now time.Time) error {
	s.t.o.Logger.WarnContext(ctx, "the clock was put back; the schedule goes on from now", slog.String("workflow", s.id),
		slog.String("property", s.property), slog.Time("was", s.row.Due))
	row := s.row
	row.Due = now
	if row.Began.After(now) {
		row.Began = now
	}
	if err := s.save(ctx, row); err != nil {
		return err
	}
	return s.take(s.row)
}

// turnAfter starts the next run when the last one has ended long enough ago,
// the first one at once.
func (s *schedule) turnAfter(ctx context.Context) (time.Time, error) {
	due, key := s.row.Began, "first "+s.row.Began.UTC().Format(time.RFC3339Nano)
	ended := time.Time{}
	if s.row.Run != (event.RunID{}) {
		key = "after " + s.row.Run.String()
		row, err := s.t.o.Store.Run(ctx, s.row.Run)
		switch {
		case errors.Is(err, journal.ErrNotFound): // deleted, so it ended
			ended = s.row.Due
		case err != nil:
			return time.Time{}, err
		case !row.Status.Ended():
			if s.waits != s.row.Run { // started by an earlier process, or by another one
				s.waits = s.row.Run
				s.t.watch(s, s.row.Run)
			}
			return time.Time{}, nil
		default:
			ended = row.EndedAt
		}
	}
	if s.row.Due.After(s.row.Began) { // after a start that was refused the pause is the same
		ended = later(ended, s.row.Due)
	}
	if !ended.IsZero() {
		due = s.at(s.after.AddTo(ended.In(s.zone)))
	}
	now := s.t.o.Clock.Now()
	if now.Before(due) && ended.Sub(now) <= tolerance { // an end that is still to come is of a clock that was put back
		return due, nil
	}
	n, err := s.start(ctx, key, due, emptyInput())
	if err != nil {
		return time.Time{}, err
	}
	row := s.row
	row.Due = now
	if n.What == Started {
		row.Run = n.Run
	}
	if err := s.save(ctx, row); err != nil {
		return time.Time{}, err
	}
	s.waits, s.untold = row.Run, []Notice{n}
	s.tell()
	return s.at(s.after.AddTo(now)), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
