package trigger

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/cron"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// plan is what a schedule and its settings say about the clock.
type plan struct {
	every, after *value.Duration
	cron         *cron.Expression
	zone         *time.Location
	missed       string
	jitter       time.Duration
	paused       bool
}

func planOf(def *workflow.Definition) (p plan, err error) {
	p.zone, p.missed = time.UTC, "latest"
	if def.Downbeat != nil && def.Downbeat.Schedule != nil {
		s := def.Downbeat.Schedule
		p.missed, p.jitter, p.paused = s.Missed, s.Jitter, s.Paused
		if p.zone, err = time.LoadLocation(s.Timezone); err != nil {
			return p, fmt.Errorf("metadata.downbeat.schedule.timezone: there is no time zone %q; name one such as Europe/Berlin", s.Timezone)
		}
	}
	if p.every, err = length(def, def.Schedule.Every, "every"); err != nil {
		return p, err
	}
	if p.every != nil && p.every.Std() < time.Millisecond {
		return p, fmt.Errorf("schedule.every is %s; it is at least a millisecond", p.every)
	}
	if p.after, err = length(def, def.Schedule.After, "after"); err != nil {
		return p, err
	}
	if def.Schedule.Cron != "" {
		if p.cron, err = cron.Parse(def.Schedule.Cron); err != nil {
			return p, fmt.Errorf("schedule.cron: %w", err)
		}
	}
	return p, nil
}

// length is a duration; one that is an expression is the output of a workflow
// of its own, so that expressions mean here what they mean everywhere.
func length(def *workflow.Definition, d *workflow.Duration, property string) (*value.Duration, error) {
	if d == nil {
		return nil, nil
	}
	if fixed, ok := d.Literal(); ok {
		return &fixed, nil
	}
	fail := func(err error) (*value.Duration, error) {
		return nil, fmt.Errorf("schedule.%s: %w", property, err)
	}
	p, err := program.Compile(&workflow.Definition{Document: def.Document, Evaluate: def.Evaluate, Output: &workflow.DataOut{As: &d.Value}}, program.Options{})
	if err != nil {
		return fail(err)
	}
	m := machine.New(p)
	if _, err := m.Apply(event.Event{At: time.Unix(0, 0).UTC(), Body: &event.RunStarted{Input: emptyInput()}}); err != nil {
		return fail(err)
	}
	status, out, problem := m.Result()
	if status != event.Completed {
		return fail(problem)
	}
	v, err := out.Any()
	if err != nil {
		return fail(err)
	}
	l, err := value.DurationFromValue(v)
	if err != nil {
		return fail(err)
	}
	return &l, nil
}

// pace says when a schedule is due.
type pace interface {
	// next is the first due time after a time; the zero time: never again.
	next(after time.Time) time.Time
}

type byCron struct {
	*cron.Expression
	zone *time.Location
}

func (p byCron) next(after time.Time) time.Time { return p.Next(after, p.zone) }

// byInterval is due at each multiple of a length after the beginning, so that
// it never drifts; a month after January 31st is the last of February, two are March 31st.
type byInterval struct {
	began  time.Time
	length value.Duration
}

func (p byInterval) next(after time.Time) time.Time {
	after = later(after, p.began)
	n := int64(after.Sub(p.began) / p.length.Std())
	if p.length.Months > 0 {
		n = max(0, n-2) // months are of several lengths
	}
	for {
		n++
		due := value.Duration{Months: p.length.Months * int(n), Nanos: p.length.Nanos * n}.AddTo(p.began)
		if due.After(after) {
			return due
		}
	}
}

// last is the newest due time after a time and not after upTo; the zero time:
// there is none. It looks back step by step, so that a long downtime costs little.
func last(p pace, after, upTo time.Time) (newest time.Time) {
	for window := time.Minute; newest.IsZero() && upTo.After(after); window *= 4 {
		from := later(after, upTo.Add(-window))
		for due := p.next(from); !due.IsZero() && !due.After(upTo); due = p.next(due) {
			newest = due
		}
		if from.Equal(after) {
			break
		}
	}
	return newest
}

const (
	// tolerance is how late a start may be and still be in time.
	tolerance = time.Minute
	// catchUp is how many starts are made up for before they are noted.
	catchUp = 100
)

// due lists what is to be started now, and the due time up to which all is
// dealt with then; the zero time: nothing is due. A due time is missed when the
// next one has come too, or when it is later than tolerance.
func (s *schedule) due(now time.Time) (fire []time.Time, upTo time.Time) {
	comes := func(due time.Time) bool { return !due.IsZero() && !s.at(due).After(now) }
	first := s.pace.next(s.row.Due)
	if !comes(first) {
		return nil, time.Time{}
	}
	if s.missed == "all" {
		for due := first; comes(due) && len(fire) < catchUp; due = s.pace.next(due) {
			fire, upTo = append(fire, due), due
		}
		return fire, upTo
	}
	newest := later(first, last(s.pace, s.row.Due, now.Add(-s.jitter)))
	for due := s.pace.next(newest); comes(due); due = s.pace.next(due) {
		newest = due
	}
	if s.missed == "skip" && now.Sub(s.at(newest)) > tolerance {
		return nil, newest
	}
	return []time.Time{newest}, newest
}

// at is when what is due is started: later by a part of the jitter that follows
// from the workflow and the due time, so that every process says the same.
func (s *schedule) at(due time.Time) time.Time {
	if s.jitter <= 0 || due.IsZero() {
		return due
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s %d", s.name, s.property, due.UnixMicro())
	x := h.Sum64()
	x ^= x >> 33 // the last bytes count in the high bits too
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return due.Add(time.Duration(x % uint64(s.jitter)).Truncate(time.Microsecond))
}

// Due is a time at which a workflow will start.
type Due struct {
	Workflow string // "namespace/name:version"
	Property string // "every" or "cron"
	Due, At  time.Time
}

// Preview lists the next due times of a definition's clock, the earliest
// first, in the zone of the schedule. What is due by every counts from when the
// schedule began; for one that has not begun, or without a store, from now.
func Preview(ctx context.Context, def *workflow.Definition, known journal.Schedules, now time.Time, n int) ([]Due, error) {
	if def.Schedule == nil {
		return nil, nil
	}
	t := &Trigger{}
	list, err := t.clocks(def)
	if err != nil {
		return nil, err
	}
	after := make([]time.Time, len(list))
	for i, s := range list {
		after[i] = now
		if s.property != "every" {
			continue
		}
		s.pace = byInterval{now.In(s.zone), s.every}
		if known == nil {
			continue
		}
		switch row, err := known.Schedule(ctx, s.name, s.property); {
		case errors.Is(err, journal.ErrNotFound):
		case err != nil:
			return nil, err
		case row.Text == s.text:
			s.pace = byInterval{row.Began.In(s.zone), s.every}
		}
	}
	var out []Due
	for len(out) < n {
		best := -1
		var at time.Time
		for i, s := range list {
			due := s.pace.next(after[i])
			if !due.IsZero() && (best < 0 || due.Before(at)) {
				best, at = i, due
			}
		}
		if best < 0 {
			break
		}
		s := list[best]
		after[best] = at
		out = append(out, Due{s.id, s.property, at, s.at(at)})
	}
	return out, nil
}

// clocks are the schedules of a definition that go by the clock alone.
func (t *Trigger) clocks(def *workflow.Definition) ([]*schedule, error) {
	list, err := t.schedules(def)
	if err != nil {
		return nil, err
	}
	var out []*schedule
	for _, s := range list {
		if (s.property == "every" || s.property == "cron") && !s.paused {
			out = append(out, s)
		}
	}
	return out, nil
}
