package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Schedules remembers how far schedules have come. What is remembered changes
// by Batch.Schedules.
type Schedules interface {
	// Schedule returns what is remembered of one property of a workflow's schedule. ErrNotFound.
	Schedule(ctx context.Context, workflow, property string) (*Schedule, error)
	// LastEvent is the highest sequence of the accepted cloud events; 0: there are none.
	LastEvent(ctx context.Context) (int64, error)
}

// Schedule is how far one property of a workflow's schedule has come.
type Schedule struct {
	Workflow string // "namespace/name": a new version goes on where the old one was
	Property string // "every", "cron", "after", "on"
	Text     string // what the property said; another text begins anew
	Began    time.Time
	Due      time.Time   // the last due time that was dealt with
	Run      event.RunID // the last run that was started; zero: none
	Cursor   int64       // cloud events up to here were looked at
	State    []byte      // events that are gathered for the next runs
	// Version is that of the row which the change was made from, 0 for a new
	// one. Commit raises it, and refuses with ErrConflict when somebody else has.
	Version int64
}

type scheduleKey struct{ workflow, property string }

// Schedule implements Schedules.
func (m *Memory) Schedule(_ context.Context, workflow, property string) (s *Schedule, err error) {
	err = m.locked(func(d *memoryData) error {
		row, ok := d.schedules[scheduleKey{workflow, property}]
		if !ok {
			return fmt.Errorf("schedule.%s of %s: %w", property, workflow, ErrNotFound)
		}
		row.State = slices.Clone(row.State)
		s = &row
		return nil
	})
	return s, err
}

// LastEvent implements Schedules.
func (m *Memory) LastEvent(context.Context) (last int64, err error) {
	err = m.locked(func(d *memoryData) error {
		if n := len(d.events); n > 0 {
			last = d.events[n-1].Sequence
		}
		return nil
	})
	return last, err
}

// checkSchedules refuses changes of rows that have changed since.
func (m *Memory) checkSchedules(rows []Schedule) error {
	for i := range rows {
		s := &rows[i]
		if m.d.schedules[scheduleKey{s.Workflow, s.Property}].Version != s.Version {
			return fmt.Errorf("schedule.%s of %s: %w", s.Property, s.Workflow, ErrConflict)
		}
	}
	return nil
}

func (m *Memory) schedule(s Schedule) {
	s.State = slices.Clone(s.State)
	s.Version++
	m.d.schedules[scheduleKey{s.Workflow, s.Property}] = s
}
