package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

const helperEnv = "DOWNBEAT_STORE_HELPER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := helper(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper is another process on the directory: it commits one run after the
// other and says which are durable, until its input ends.
func helper(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, err := strconv.Atoi(os.Getenv(helperEnv + "_FIRST"))
	if err != nil {
		return err
	}
	s, err := sqlite.Open(ctx, dir, sqlite.Options{})
	if err != nil {
		return err
	}
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	for n := first; ctx.Err() == nil; n++ {
		if err := s.Commit(ctx, everything(n)); err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() == nil {
			fmt.Println(n)
		}
		if n%7 == 0 {
			if err := s.Checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return s.Close()
}

type child struct {
	*exec.Cmd
	acked chan int
}

func startHelper(t *testing.T, dir string, first int) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{exec.CommandContext(t.Context(), self), make(chan int, 1<<16)}
	c.Env = append(os.Environ(), helperEnv+"="+dir, helperEnv+"_FIRST="+strconv.Itoa(first))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = c.Process.Kill() })
	go func() {
		defer close(c.acked)
		for s := bufio.NewScanner(out); s.Scan(); {
			if n, err := strconv.Atoi(s.Text()); err == nil {
				c.acked <- n
			}
		}
	}()
	return c
}

// Whatever was acknowledged before a process was killed is there, whole, and
// its owner is known to have ended; another process writes on meanwhile.
func TestKilledProcessesLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	s := open(t, dir)
	mine, first := 20000, 0
	for round := range 6 {
		c := startHelper(t, dir, first)
		last, wait := first-1, 3+rand.IntN(40)
		for n := range c.acked {
			last = n
			if n%3 == 0 {
				if err := s.Commit(t.Context(), everything(mine)); err != nil {
					t.Fatal(err)
				}
				mine++
			}
			if n == first+1 && round%2 == 0 {
				if err := s.Claim(t.Context(), runID(first)); !errors.Is(err, journal.ErrNotOwner) {
					t.Fatalf("the run of a process that lives: %v", err)
				}
			}
			if wait--; wait == 0 {
				_ = c.Process.Kill()
			}
		}
		_ = c.Wait()
		for n := first; n <= last; n++ {
			if !present(t, s, n) {
				t.Fatalf("round %d: run %d was acknowledged and is gone", round, n)
			}
		}
		if err := s.Claim(t.Context(), runID(first)); err != nil {
			t.Fatalf("the run of a process that was killed: %v", err)
		}
		if err := s.Commit(t.Context(), &journal.Batch{Appends: []journal.Row{{Run: runID(first), Sequence: 3, At: time.Unix(1, 0), Data: []byte("3")}}}); err != nil {
			t.Fatal(err)
		}
		first = last + 2
	}
	for n := 20000; n < mine; n++ {
		if !present(t, s, n) {
			t.Fatalf("own run %d is gone", n)
		}
	}
	for {
		a, err := s.Abandoned(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(a) == 0 {
			break
		}
		for _, a := range a {
			if err := s.Claim(t.Context(), a.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	locks, err := filepath.Glob(filepath.Join(dir, "owners", "*"))
	if err != nil || len(locks) != 1 {
		t.Errorf("left of processes that ended: %v %v", locks, err)
	}
}

// A loss of power keeps what was synced and drops any part of the rest. The
// files are taken as they were after each commit; what the next commit and a
// checkpoint wrote is then kept in part.
func TestLossOfPowerLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	db, wal := filepath.Join(dir, sqlite.File), filepath.Join(dir, sqlite.File+"-wal")
	read := func(file string) []byte {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return b
	}
	type files struct{ db, wal []byte }
	now := func() files { return files{read(db), read(wal)} }
	check := func(what string, f files, acked int) {
		t.Helper()
		after := t.TempDir()
		for name, b := range map[string][]byte{sqlite.File: f.db, sqlite.File + "-wal": f.wal} {
			if err := os.WriteFile(filepath.Join(after, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := open(t, after)
		for n := range acked + 2 {
			if !present(t, r, n) && n < acked {
				t.Fatalf("%s: run %d of %d is gone", what, n, acked)
			}
		}
		if v, err := r.Writer("select count(*) from pragma_integrity_check where integrity_check<>'ok'"); err != nil || v != 0 {
			t.Fatalf("%s: %v", what, err)
		}
		if err := r.Commit(t.Context(), everything(9999)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	before := now()
	for n := range 40 {
		if err := s.Commit(t.Context(), everything(n)); err != nil {
			t.Fatal(err)
		}
		after := now()
		for range 2 {
			check(fmt.Sprint("in commit ", n), files{mix(rng, before.db, after.db), mix(rng, before.wal, after.wal)}, n)
		}
		before = after
		if n%10 == 9 {
			if err := s.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := now()
			for range 3 { // the log is synced, the database is being written
				check(fmt.Sprint("in the checkpoint after ", n), files{mix(rng, before.db, after.db), before.wal}, n+1)
			}
			check("after the checkpoint", files{after.db, after.wal}, n+1)
			before = after
		}
	}
}

// mix keeps an arbitrary part of what changed between two states of a file, in
// blocks as a disk writes them, and possibly not its growth.
func mix(rng *rand.Rand, before, after []byte) []byte {
	const block = 512
	out := append([]byte(nil), before...)
	size := len(before)
	if len(after) > size {
		size += rng.IntN(len(after) - size + 1)
		out = append(out, make([]byte, size-len(out))...)
	}
	for i := 0; i < size; i += block {
		if end := min(i+block, size); rng.IntN(3) > 0 {
			copy(out[i:end], after[min(i, len(after)):min(end, len(after))])
		}
	}
	return out
}

func TestWhatIsDueIsFoundByIndex(t *testing.T) {
	s := open(t, t.TempDir())
	for _, q := range []string{sqlite.SQLDueMine, sqlite.SQLDueNobody} {
		plan, err := s.Plan(q)
		if err != nil || !strings.Contains(plan, "USING INDEX runs_live") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: %v\n%s", q, err, plan)
		}
	}
	if n, err := s.Writer("select count(*) from sqlite_master where type='index' and tbl_name='runs'"); err != nil || n > 3 {
		t.Errorf("table runs has %d indexes: %v", n, err)
	}
}
