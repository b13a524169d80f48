package journaltest

import (
	"errors"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// schedulesAreRemembered: what a process stored of a schedule, the next one reads.
func schedulesAreRemembered(s suite) {
	if _, err := s.Store.Schedule(s.Context(), "default/a", "cron"); !errors.Is(err, journal.ErrNotFound) {
		s.Errorf("a schedule that never was: %v", err)
	}
	last, err := s.Store.LastEvent(s.Context())
	s.must(err)
	s.same("the last event of none", int64(0), last)
	want := journal.Schedule{Workflow: "default/a", Property: "cron", Text: "@daily", Began: base, Due: base.Add(time.Hour)}
	other := want
	other.Property, other.Run, other.State, other.Cursor = "on", event.RunID{7}, []byte("half"), 9
	s.commit(&journal.Batch{Schedules: []journal.Schedule{want, other}, Events: []journal.CloudEvent{cloudEvent("1", "a", base), cloudEvent("2", "a", base)}})
	want.Version, other.Version = 1, 1
	again := s.Again(s.T)
	for _, w := range []journal.Schedule{want, other} {
		got, err := again.Schedule(s.Context(), w.Workflow, w.Property)
		s.must(err)
		s.same("schedule."+w.Property, &w, got)
	}
	last, err = again.LastEvent(s.Context())
	s.must(err)
	events, err := again.CloudEvents(s.Context(), 0, nil, 10)
	s.must(err)
	s.same("the last event", events[1].Sequence, last)
}

// oneOfTwoMovesASchedule: of two that have read the same row, one can change it,
// and what the other wanted to store with it is not stored.
func oneOfTwoMovesASchedule(s suite) {
	row := journal.Schedule{Workflow: "default/a", Property: "every", Text: "PT1H", Began: base, Due: base}
	s.commit(&journal.Batch{Schedules: []journal.Schedule{row}})
	refused := func(what string, row journal.Schedule) {
		s.Helper()
		b := &journal.Batch{Schedules: []journal.Schedule{row}, Events: []journal.CloudEvent{cloudEvent(what, "a", base)}}
		if err := s.Store.Commit(s.Context(), b); !errors.Is(err, journal.ErrConflict) {
			s.Errorf("%s: %v, want a conflict", what, err)
		}
	}
	refused("a second begin", row)
	row.Version = 1
	row.Due = base.Add(time.Hour)
	s.must(s.Again(s.T).Commit(s.Context(), &journal.Batch{Schedules: []journal.Schedule{row}}))
	row.Due = base.Add(2 * time.Hour)
	refused("a change of what was", row)
	row.Version = 9
	refused("a change of what will be", row)
	got, err := s.Store.Schedule(s.Context(), "default/a", "every")
	s.must(err)
	s.same("due", base.Add(time.Hour), got.Due)
	last, err := s.Store.LastEvent(s.Context())
	s.must(err)
	s.same("what came with the refused ones", int64(0), last)
}
