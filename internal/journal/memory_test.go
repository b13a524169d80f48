package journal_test

import (
	"errors"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/journal/journaltest"
)

func TestMemoryKeepsTheLaws(t *testing.T) {
	journaltest.Exercise(t, func(*testing.T) journaltest.Bundle {
		m := journal.NewMemory()
		return journaltest.Bundle{Store: m, Again: func(*testing.T) journaltest.Store { return m.Again() }, Durable: true}
	})
}

func TestMemoryFailsWhenItIsToldTo(t *testing.T) {
	m := journal.NewMemory()
	broken := errors.New("broken")
	m.Before = func(n int, _ *journal.Batch) error {
		if n == 1 {
			return broken
		}
		return nil
	}
	m.After = func(n int, _ *journal.Batch) error {
		if n == 2 {
			return broken
		}
		return nil
	}
	b := &journal.Batch{Starts: []journal.StartRow{{ID: event.RunID{1}, Status: event.Running, Owned: true}}}
	if err := m.Commit(t.Context(), b); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := m.Run(t.Context(), event.RunID{1}); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("the commit that was refused left: %v", err)
	}
	if err := m.Commit(t.Context(), b); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), b); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("after the loss of power: %v", err)
	}
	if _, err := m.Again().Run(t.Context(), event.RunID{1}); err != nil {
		t.Errorf("what was stored before the loss of power: %v", err)
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	ordered := []string{"", "0.1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0+build", "99999999999999999999.0.0", "x"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := journal.CompareVersions(a, b); a != "" && b != "" && got != want {
				t.Errorf("%q against %q: %d", a, b, got)
			}
		}
	}
}
