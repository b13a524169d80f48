package sqlite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lib "zombiezen.com/go/sqlite"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

func runID(n int) event.RunID { return event.RunID{0: 1, 14: byte(n >> 8), 15: byte(n)} }

// everything is a batch that uses every table.
func everything(n int) *journal.Batch {
	at, id := time.Unix(1700000000, 0).UTC(), runID(n)
	big := []byte(fmt.Sprint("payload ", n))
	return &journal.Batch{
		Definitions: []journal.Definition{{Digest: fmt.Sprint("sha256:", n), ID: fmt.Sprintf("a/b:1.0.%d", n), Source: []byte("s")}},
		Starts: []journal.StartRow{{
			ID: id, Digest: "sha256:d", Workflow: "a/b:1.0.0", Trigger: "manual", At: at, Status: event.Running, Owned: true,
			Concurrency: "g", Labels: map[string]string{"a": "b"},
		}},
		Appends:       []journal.Row{{Run: id, Sequence: 1, At: at, Data: []byte("1")}, {Run: id, Sequence: 2, At: at, Data: []byte("2")}},
		Payloads:      []journal.Payload{{Digest: event.Digest(big), Data: big, Run: id}},
		Snapshots:     []journal.Snapshot{{Run: id, Sequence: 1, State: []byte("state")}},
		Subscriptions: []journal.Subscription{{Run: id, Activation: "0", Types: []string{fmt.Sprint("t", n)}}},
		Inbox:         []journal.InboxRow{{Run: id, Kind: journal.InboxCancel, Key: "k", At: at}},
		Events:        []journal.CloudEvent{{ID: fmt.Sprint(n), Source: "s", Type: fmt.Sprint("t", n), At: at}},
		Keys:          []journal.Key{{Scope: "s", Key: fmt.Sprint(n), Run: id}},
		Updates:       []journal.RunUpdate{{ID: id, Status: event.Waiting, WakeAt: at}},
	}
}

// present reports whether all of everything(n) is there, or nothing of it; anything between is an error.
func present(t *testing.T, s *sqlite.Store, n int) bool {
	t.Helper()
	ctx, is := t.Context(), map[string]bool{}
	rec, err := s.Load(ctx, runID(n))
	is["run"] = err == nil
	is["rows"] = err == nil && len(rec.Rows) == 1 && rec.Snapshot != nil && rec.Run.Status == event.Waiting && !rec.Run.WakeAt.IsZero()
	_, _, err = s.FindDefinition(ctx, fmt.Sprintf("a/b:1.0.%d", n))
	is["definition"] = err == nil
	_, err = s.FindKey(ctx, "s", fmt.Sprint(n))
	is["key"] = err == nil
	_, err = s.Payload(ctx, event.Digest([]byte(fmt.Sprint("payload ", n))))
	is["payload"] = err == nil
	inbox, err := s.Inbox(ctx, runID(n))
	is["inbox"] = err == nil && len(inbox) == 1
	events, err := s.CloudEvents(ctx, 0, nil, 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		is["event"] = is["event"] || e.ID == fmt.Sprint(n)
	}
	for what, there := range is {
		if there != is["run"] || what == "event" && !there && is["run"] {
			t.Fatalf("run %d is there in part: %v", n, is)
		}
	}
	return is["run"]
}

// Pebble's TestErrors: fail the n-th statement, for each n until all get through.
func TestNoStatementThatFailsLeavesAHalf(t *testing.T) {
	dir := t.TempDir()
	s, run := open(t, dir), 0
	for name, c := range map[string]struct {
		fail, want error
		goesOn     bool
	}{
		"disk full": {lib.ResultFull.ToError(), journal.ErrFull, true},
		"busy":      {lib.ResultBusy.ToError(), journal.ErrBusy, true},
		"corrupt":   {lib.ResultCorrupt.ToError(), journal.ErrCorrupt, true},
		"sync":      {lib.ResultIOErrFsync.ToError(), journal.ErrClosed, false},
	} {
		run += 256
		if err := s.Commit(t.Context(), everything(run)); err != nil {
			t.Fatal(err)
		}
		for n := 1; ; n++ {
			if n > 200 {
				t.Fatal("no end")
			}
			count := s.FaultAt(n, c.fail)
			err := s.Commit(t.Context(), everything(run+n))
			if err == nil && count() >= n { // it failed after the commit, when others were poked
				if !c.goesOn {
					_ = s.Close()
					s = open(t, dir)
				}
				if !present(t, s, run+n) {
					t.Fatalf("%s at %d: the commit succeeded and is gone", name, n)
				}
				continue
			}
			if err == nil {
				if count() < 20 {
					t.Errorf("%s: only %d statements", name, count())
				}
				s.FaultAt(0, nil)
				break
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("%s at %d: %v", name, n, err)
			}
			if !c.goesOn {
				if err := s.Commit(t.Context(), everything(run+n)); !errors.Is(err, journal.ErrClosed) {
					t.Fatalf("%s at %d: the store went on: %v", name, n, err)
				}
				_ = s.Close()
				s = open(t, dir)
			}
			if present(t, s, run+n) {
				t.Fatalf("%s at %d: the commit failed and is there", name, n)
			}
		}
		if !present(t, s, run) {
			t.Fatalf("%s: what was stored before is gone", name)
		}
	}
}

func TestAFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	pages, err := s.Writer("pragma page_count")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Writer(fmt.Sprintf("pragma max_page_count=%d", pages+20)); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for ; ; stored++ {
		b := everything(stored)
		b.Appends[1].Data = make([]byte, 30_000)
		if err = s.Commit(t.Context(), b); err != nil {
			break
		}
	}
	if !errors.Is(err, journal.ErrFull) || !strings.Contains(err.Error(), dir) || stored == 0 {
		t.Fatalf("after %d: %v", stored, err)
	}
	for n := range stored + 1 {
		if there := present(t, s, n); there != (n < stored) {
			t.Errorf("run %d of %d: %v", n, stored, there)
		}
	}
	if _, err := s.Writer("pragma max_page_count=100000"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), everything(stored)); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestADamagedFileIsNamed(t *testing.T) {
	t.Run("no database", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, sqlite.File), []byte(strings.Repeat("this is no database ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
		if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Join(dir, sqlite.File)) || !strings.Contains(err.Error(), "restore") {
			t.Errorf("%v", err)
		}
	})
	t.Run("damaged pages", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		for n := range 200 {
			if err := s.Commit(t.Context(), everything(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, sqlite.File)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 3 * 8192; i < len(b); i++ {
			b[i] ^= 0xa5
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err = sqlite.Open(t.Context(), dir, sqlite.Options{})
		if err == nil {
			defer s.Close()
			_, err = s.Load(t.Context(), runID(1))
		}
		if !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), file) {
			t.Errorf("%v", err)
		}
	})
	t.Run("newer schema", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		if _, err := s.Writer("pragma user_version=999"); err != nil {
			t.Fatal(err)
		}
		_, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
		if err == nil || !strings.Contains(err.Error(), "newer Downbeat") {
			t.Errorf("%v", err)
		}
	})
}

func TestTheFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	s := open(t, dir)
	s.Changed()
	if err := s.Commit(t.Context(), everything(1)); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if n++; info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %s", path, info.Mode())
		}
		return nil
	})
	if err != nil || n < 6 {
		t.Errorf("%d files, %v", n, err)
	}
	if full, err := s.Writer("pragma synchronous"); err != nil || full != 2 {
		t.Errorf("synchronous is %d, not full: %v", full, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "owners"))
	if err != nil || len(left) > 0 {
		t.Errorf("left of the owner: %v %v", left, err)
	}
}

func TestBackupIsAWholeStore(t *testing.T) {
	s := open(t, t.TempDir())
	for n := range 20 {
		if err := s.Commit(t.Context(), everything(n)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, sqlite.File)
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), file); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file was overwritten: %v", err)
	}
	copied := open(t, dir)
	for n := range 20 {
		if !present(t, copied, n) {
			t.Errorf("run %d is missing", n)
		}
	}
	if a, err := copied.Abandoned(t.Context(), 100); err != nil || len(a) != 20 {
		t.Errorf("runs of the owner of the original: %d, %v", len(a), err)
	}
}
