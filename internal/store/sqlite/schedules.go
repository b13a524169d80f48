package sqlite

import (
	"context"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

var _ journal.Schedules = (*Store)(nil)

// Schedule implements journal.Schedules.
func (s *Store) Schedule(ctx context.Context, workflow, property string) (*journal.Schedule, error) {
	var found *journal.Schedule
	err := s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error {
			found = &journal.Schedule{
				Workflow: workflow, Property: property, Text: st.ColumnText(0), Began: columnTime(st, 1), Due: columnTime(st, 2),
				Cursor: st.ColumnInt64(4), State: st.blob(5), Version: st.ColumnInt64(6),
			}
			st.ColumnBytes(3, found.Run[:])
			return nil
		}, "select text,began,due,run,cursor,state,version from schedules where workflow=? and property=?", workflow, property)
	})
	if err == nil && found == nil {
		err = journal.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("schedule.%s of %s: %w", property, workflow, err)
	}
	return found, nil
}

// LastEvent implements journal.Schedules.
func (s *Store) LastEvent(ctx context.Context) (last int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { last = st.ColumnInt64(0); return nil }, "select max(sequence) from events")
	})
	if err != nil {
		return 0, fmt.Errorf("find the last cloud event: %w", err)
	}
	return last, nil
}

// schedule stores how far a schedule has come, unless somebody else has.
func (s *Store) schedule(r *journal.Schedule) error {
	var run any
	if r.Run != (event.RunID{}) {
		run = r.Run[:]
	}
	q := `update schedules set text=?3,began=?4,due=?5,run=?6,cursor=?7,state=?8,version=?9+1 where workflow=?1 and property=?2 and version=?9`
	if r.Version == 0 {
		q = `insert into schedules(workflow,property,text,began,due,run,cursor,state,version) values(?1,?2,?3,?4,?5,?6,?7,?8,?9+1) on conflict do nothing`
	}
	err := s.w.query(nil, q, r.Workflow, r.Property, r.Text, r.Began.UnixMicro(), r.Due.UnixMicro(), run, r.Cursor, r.State, r.Version)
	if err == nil && s.w.Changes() == 0 {
		err = journal.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("schedule.%s of %s: %w", r.Property, r.Workflow, err)
	}
	return nil
}
