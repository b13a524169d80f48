package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

// endedRuns puts finished runs into the store of a directory, some of each workflow.
func endedRuns(t *testing.T, dir string, workflows, each int) (ended time.Time) {
	t.Helper()
	s := open(t, dir)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := &journal.Batch{}
	for n := range workflows * each {
		id := event.RunID{6: 0x70, 8: 0x80, 14: byte(n >> 8), 15: byte(n)}
		b.Starts = append(b.Starts, journal.StartRow{
			ID: id, Digest: "sha256:d", Workflow: fmt.Sprintf("test/w%d:1.0.0", n%workflows), Trigger: "manual", At: at, Status: event.Running, Owned: true,
		})
		b.Updates = append(b.Updates, journal.RunUpdate{ID: id, Status: event.Completed, EndedAt: at, Ended: true})
	}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return at
}

func left(t *testing.T, s *sqlite.Store) (byWorkflow map[string]int) {
	t.Helper()
	rows, _, err := s.Runs(t.Context(), journal.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	byWorkflow = map[string]int{}
	for _, r := range rows {
		byWorkflow[r.Workflow]++
	}
	return byWorkflow
}

// However short the time is, a call prunes a slice, and the next goes on
// behind it: no workflow, and nothing after the workflows, waits for ever.
func TestPruneGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := endedRuns(t, dir, 5, 20).Add(time.Hour)
	s := open(t, dir)
	r := journal.Retention{Keep: 3, Now: now, Of: func([]byte) (int, time.Duration) { return 0, 0 }}
	calls, more := 0, true
	for ; more; calls++ {
		var err error
		if _, more, err = s.Prune(t.Context(), r, time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		if calls == 100 {
			t.Fatalf("after %d slices there are %v", calls, left(t, s))
		}
	}
	if got := fmt.Sprint(left(t, s)); got != "map[test/w0:1.0.0:3 test/w1:1.0.0:3 test/w2:1.0.0:3 test/w3:1.0.0:3 test/w4:1.0.0:3]" {
		t.Errorf("left: %s", got)
	}
}

// Processes that prune one slice each, as `downbeat run` does, reach every
// workflow: where they begin depends on the time.
func TestPruneByShortProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := endedRuns(t, dir, 5, 20).Add(time.Hour)
	for n := range 40 {
		s, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Prune(t.Context(), journal.Retention{Keep: 3, Now: now.Add(time.Duration(n) * time.Microsecond)}, time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(left(t, open(t, dir))); got != "map[test/w0:1.0.0:3 test/w1:1.0.0:3 test/w2:1.0.0:3 test/w3:1.0.0:3 test/w4:1.0.0:3]" {
		t.Errorf("left: %s", got)
	}
}
