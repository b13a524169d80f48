package sqlite_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

var benchBase = time.Unix(1_800_000_000, 0).UTC()

// benchID rises like a UUIDv7.
func benchID(n uint64) (id event.RunID) {
	binary.BigEndian.PutUint64(id[:], n)
	binary.BigEndian.PutUint64(id[8:], n*0x9e3779b97f4a7c15)
	return id
}

func benchStart(n uint64) journal.StartRow {
	return journal.StartRow{
		ID: benchID(n), Digest: "sha256:0123456789abcdef", Workflow: "bench/three:1.0.0", Trigger: "manual",
		At: benchBase, Status: event.Running, Owned: true, Directory: "/home/somebody",
	}
}

// preload stores that many finished runs, and as many sleeping ones.
func preload(tb testing.TB, s *sqlite.Store, runs uint64) {
	tb.Helper()
	data := make([]byte, 300)
	for n := uint64(0); n < runs; {
		b := &journal.Batch{}
		for range 1000 {
			done, sleeping := benchStart(2*n), benchStart(2*n+1)
			sleeping.Owned, sleeping.Status, sleeping.WakeAt = false, event.Waiting, benchBase.Add(time.Duration(n)*time.Second)
			b.Starts = append(b.Starts, done, sleeping)
			for k := range int64(2) {
				b.Appends = append(b.Appends, journal.Row{Run: done.ID, Sequence: k + 1, At: benchBase, Data: data}, journal.Row{Run: sleeping.ID, Sequence: k + 1, At: benchBase, Data: data})
			}
			b.Updates = append(b.Updates, journal.RunUpdate{ID: done.ID, Status: event.Completed, EndedAt: benchBase, Ended: true})
			n++
		}
		if err := s.Commit(tb.Context(), b); err != nil {
			tb.Fatal(err)
		}
		if n%20_000 == 0 {
			if err := s.Checkpoint(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// threeSteps plays runs of three steps, 256 at once, as the engine stores
// them: the start, two steps, the last step with the end.
func threeSteps(tb testing.TB, s *sqlite.Store, from uint64, runs int) {
	tb.Helper()
	data := make([]byte, 220)
	type run struct {
		n        uint64
		sequence int64
	}
	live, next := make([]run, 256), from
	for i := range live {
		live[i] = run{next, int64(i % 4)}
		next++
	}
	b := &journal.Batch{}
	for i := range live { // all of them are somewhere
		b.Starts = append(b.Starts, benchStart(live[i].n))
		for k := range live[i].sequence {
			b.Appends = append(b.Appends, journal.Row{Run: benchID(live[i].n), Sequence: k + 1, At: benchBase, Data: data})
		}
	}
	for i := range live {
		if live[i].sequence == 0 {
			live[i].sequence = 1
			b.Appends = append(b.Appends, journal.Row{Run: benchID(live[i].n), Sequence: 1, At: benchBase, Data: data})
		}
	}
	for commits, ended := 0, 0; ended < runs; commits++ {
		if err := s.Commit(tb.Context(), b); err != nil {
			tb.Fatal(err)
		}
		b.Reset()
		for i := range live {
			r := &live[i]
			if r.sequence == 4 {
				ended++
				*r = run{next, 0}
				next++
				b.Starts = append(b.Starts, benchStart(r.n))
			}
			r.sequence++
			b.Appends = append(b.Appends, journal.Row{Run: benchID(r.n), Sequence: r.sequence, At: benchBase, Hash: 1 << 60, Data: data})
			if r.sequence == 4 {
				b.Updates = append(b.Updates, journal.RunUpdate{ID: benchID(r.n), Status: event.Completed, EndedAt: benchBase, Ended: true})
			}
		}
		if commits%100 == 99 {
			if err := s.Checkpoint(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := s.Commit(tb.Context(), b); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkThreeSteps is what the store alone does for runs of three steps, with a sync each commit.
func BenchmarkThreeSteps(b *testing.B) {
	s, err := sqlite.Open(b.Context(), b.TempDir(), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	threeSteps(b, s, 1, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpenCold is a data directory that is not there yet, made and closed.
func BenchmarkOpenCold(b *testing.B) {
	base := b.TempDir()
	for n := range b.N {
		s, err := sqlite.Open(b.Context(), fmt.Sprint(base, "/", n), sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkLatency is one caller, one row.
func BenchmarkLatency(b *testing.B) {
	s, err := sqlite.Open(b.Context(), b.TempDir(), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Commit(b.Context(), &journal.Batch{Starts: []journal.StartRow{benchStart(1)}}); err != nil {
		b.Fatal(err)
	}
	batch := &journal.Batch{Appends: []journal.Row{{Run: benchID(1), At: benchBase, Data: make([]byte, 300)}}}
	for b.Loop() {
		if batch.Appends[0].Sequence++; batch.Appends[0].Sequence%1000 == 0 {
			b.StopTimer() // the keeper does it beside
			if err := s.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if err := s.Commit(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAMillionRunsSlowNothing runs when DOWNBEAT_PRELOAD says how many, and
// with a few thousand otherwise.
func TestAMillionRunsSlowNothing(t *testing.T) {
	runs := uint64(4000)
	if v := os.Getenv("DOWNBEAT_PRELOAD"); v != "" {
		var err error
		if runs, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	measure := func(what string, f func()) time.Duration {
		begin := time.Now()
		f()
		took := time.Since(begin)
		t.Logf("%-36s %v", what, took)
		return took
	}
	s := open(t, dir)
	measure("1,000 runs of three steps, empty", func() { threeSteps(t, s, 1<<40, 5000) })
	measure(fmt.Sprintf("storing %d + %d runs", runs, runs), func() { preload(t, s, runs) })
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opened := measure("open", func() { s = open(t, dir) })
	measure("5,000 runs of three steps, full", func() { threeSteps(t, s, 1<<41, 5000) })
	var due []event.RunID
	none := measure("due: none", func() { due, _, _ = s.Due(t.Context(), benchBase.Add(-time.Hour), true, 512) })
	if len(due) != 0 {
		t.Errorf("%d are due", len(due))
	}
	some := measure("due: 512 claimed of all", func() { due, _, _ = s.Due(t.Context(), benchBase.Add(time.Duration(runs)*time.Second), true, 512) })
	if len(due) != 512 {
		t.Errorf("%d are due", len(due))
	}
	measure("load one of them", func() {
		if _, err := s.Load(t.Context(), due[0]); err != nil {
			t.Error(err)
		}
	})
	measure("list", func() { _, _, _ = s.Runs(t.Context(), journal.Query{}) })
	measure("list by workflow", func() { _, _, _ = s.Runs(t.Context(), journal.Query{Workflow: "bench/three"}) })
	measure("list what faulted (none did)", func() { _, _, _ = s.Runs(t.Context(), journal.Query{Statuses: []event.Status{event.Faulted}}) })
	var deleted int
	measure("prune for 500 ms", func() {
		deleted, _, _ = s.Prune(t.Context(), journal.Retention{For: time.Hour, Now: benchBase.Add(2 * time.Hour)}, 500*time.Millisecond)
	})
	t.Logf("deleted %d", deleted)
	if opened > time.Second || none > time.Second || some > time.Second {
		t.Errorf("it does not scale: open %v, due %v and %v", opened, none, some)
	}
}
