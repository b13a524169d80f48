package sqlite_test

import (
	"testing"

	"github.com/downbeat-dev/downbeat/internal/journal/journaltest"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

func open(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStoreKeepsTheLaws(t *testing.T) {
	journaltest.Exercise(t, func(t *testing.T) journaltest.Bundle {
		t.Helper()
		dir := t.TempDir()
		return journaltest.Bundle{
			Store:   open(t, dir),
			Again:   func(t *testing.T) journaltest.Store { t.Helper(); return open(t, dir) },
			Durable: true,
		}
	})
}
