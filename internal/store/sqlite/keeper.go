package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Checkpoint implements journal.Keeper: call it every 200 ms or so while runs
// are carried out, it returns at once when nothing was written. Most is moved
// beside the commits; only what they have added meanwhile is moved under the
// write lock, so that the log can begin again and stays small.
func (s *Store) Checkpoint(context.Context) error {
	if s.commits.Swap(0) == 0 {
		return s.err()
	}
	if err := s.err(); err != nil {
		return err
	}
	s.check.Lock()
	defer s.check.Unlock()
	if s.mover == nil {
		c, err := s.connect(side)
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		s.mover = c
	}
	if err := s.mover.exec("pragma wal_checkpoint(passive)"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.mover.exec("pragma wal_checkpoint(passive)"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Backup implements journal.Keeper.
func (s *Store) Backup(ctx context.Context, file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up to %s: %w", file, err)
		}
	}()
	if err := s.err(); err != nil {
		return err
	}
	// The file is made here, so that it is private from its first byte on;
	// SQLite accepts an empty one.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	c, err := s.connect(side)
	if err == nil {
		c.SetInterrupt(ctx.Done())
		err = errors.Join(c.query(nil, "vacuum into ?", file), c.Close())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		return syncDir(filepath.Dir(file))
	}
	return errors.Join(err, os.Remove(file))
}

// Slices of pruning: small enough for 5 ms under the write lock.
const (
	sliceRuns = 16
	sliceRows = 256
	slicePage = 32
	freeKept  = 256 // pages that stay free for new rows
)

// round is one pruning of everything: the workflows by their number, from one
// of them on, then what belongs to none, then the workflows before the first.
type round struct {
	sync.Mutex
	open      bool
	first, at int64 // the workflows behind which it began, and is
	wrapped   bool
}

// Prune implements journal.Keeper. It returns at the latest after budget and
// the slice that it is in; other transactions come between its slices.
//
// Where the budget ends, the next call goes on. A process that has not pruned
// yet begins anywhere, so that many short-lived ones reach everything.
func (s *Store) Prune(ctx context.Context, r journal.Retention, budget time.Duration) (deleted int, more bool, err error) {
	limit, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("prune: %w", err)
		}
	}()
	look := context.WithoutCancel(ctx) // by an index: it takes no time that would want a limit
	o := &s.round
	o.Lock()
	defer o.Unlock()
	if !o.open {
		if o.first, err = s.anyFamily(look, r.Now); err != nil {
			return 0, false, err
		}
		o.open, o.at, o.wrapped = true, o.first, false
	}
	for slices := 0; ; {
		family, err := s.familyAfter(look, o.at)
		if err != nil {
			return deleted, false, err
		}
		if o.wrapped && (family == 0 || family > o.first) {
			o.open = false
			return deleted, false, nil
		}
		prune := s.pruneRest
		if family > 0 {
			prune = func(r journal.Retention) (int, bool, error) { return s.pruneFamily(family, r) }
		}
		own, err := s.asked(look, family, r)
		if err != nil {
			return deleted, false, err
		}
		for again := true; again; slices++ {
			if ctx.Err() != nil || slices > 0 && limit.Err() != nil {
				return deleted, true, s.err()
			}
			var n int
			if n, again, err = prune(own); err != nil {
				return deleted, false, err
			}
			deleted += n
		}
		if o.at = family; family == 0 {
			o.wrapped = true
		}
	}
}

// anyFamily is the number of some workflow, or one less than that of the first.
func (s *Store) anyFamily(ctx context.Context, now time.Time) (family int64, err error) {
	last := int64(0)
	err = s.read(ctx, func(c *conn) error {
		last, err = c.number("select coalesce(max(family), 0) from runs")
		return err
	})
	return now.UnixMicro() % (last + 1), err
}

// familyAfter is the next workflow; 0 after the last.
func (s *Store) familyAfter(ctx context.Context, at int64) (family int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { family = st.ColumnInt64(0); return nil }, "select coalesce(min(family), 0) from runs where family>?", at)
	})
	return family, err
}

// pruneRest prunes a slice of what belongs to no workflow.
func (s *Store) pruneRest(r journal.Retention) (deleted int, again bool, err error) {
	events, err := s.pruneEvents(r)
	if err != nil {
		return 0, false, err
	}
	pages, err := s.vacuum()
	return 0, events || pages, err
}

// asked is the retention of one workflow; family 0 is none.
func (s *Store) asked(ctx context.Context, family int64, r journal.Retention) (journal.Retention, error) {
	if r.Of == nil || family == 0 {
		return r, nil
	}
	err := s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { r = r.Asked(st.blob(0)); return nil },
			"select d.source from runs r join names n on n.id=r.definition join definitions d on d.digest=n.text where r.family=? order by r.id desc limit 1", family)
	})
	return r, err
}

// pruneFamily deletes a slice of the old runs of a workflow, the oldest first.
func (s *Store) pruneFamily(family int64, r journal.Retention) (deleted int, again bool, err error) {
	err = s.aside(func(c *conn) error {
		deleted = 0
		bound, old := int64(0), int64(-1)<<62
		if r.Keep > 0 {
			// Runs up to bound are beyond the number that is kept.
			if err := c.query(func(st stmt) error { bound = st.ColumnInt64(0); return nil },
				"select id from runs where family=? order by id desc limit 1 offset ?", family, r.Keep); err != nil {
				return err
			}
		}
		if r.For > 0 {
			old = r.Now.Add(-r.For).UnixMicro()
		}
		type victim struct {
			id    int64
			ended bool
		}
		var found []victim
		if err := c.query(func(st stmt) error {
			found = append(found, victim{st.ColumnInt64(0), st.ColumnBool(1)})
			return nil
		}, "select id, ended is not null and owner is null and (id<=?3 or ended<?4) from runs where family=?1 and id>?2 and (id<=?3 or started<?4) order by id limit ?5",
			family, s.pruned[family], bound, old, sliceRuns); err != nil {
			return err
		}
		rows := 0
		for _, v := range found {
			if v.ended {
				n, done, err := c.deleteRun(v.id, sliceRows-rows)
				if rows += n; err != nil {
					return err
				}
				if !done {
					again = true
					return nil // go on with this one
				}
				deleted++
			}
			s.pruned[family] = v.id
			if rows >= sliceRows {
				again = true
				return nil
			}
		}
		if again = len(found) == sliceRuns; !again {
			delete(s.pruned, family) // next time from the start: what lived then may have ended
		}
		return nil
	})
	return deleted, again, err
}

// deleteRun deletes at most that many journal rows of a run, and the run itself
// once none is left.
func (c *conn) deleteRun(id int64, rows int) (n int, done bool, err error) {
	if err := c.query(nil, "delete from journal where id in (select id from journal where key between ? and ? limit ?)",
		journalKey(id, 0), journalKey(id, maxSequence), max(1, rows)); err != nil {
		return 0, false, err
	}
	if n = c.Changes(); n >= max(1, rows) {
		return n, false, nil
	}
	for _, q := range []string{
		"delete from labels where (label,run) in (select j.key||'='||j.value, r.id from runs r, json_each(r.labels) j where r.id=?)",
		"delete from keys where run=(select uuid from runs where id=?)",
		"delete from payloads where digest in (select digest from payload_refs where run=?1) and not exists(select 1 from payload_refs p where p.digest=payloads.digest and p.run<>?1)",
		"delete from payload_refs where run=?", "delete from snapshots where run=?", "delete from inbox where run=?",
		"delete from subscriptions where run=?", "delete from slots where run=?", "delete from runs where id=?",
	} {
		if err := c.query(nil, q, id); err != nil {
			return n, false, err
		}
	}
	return n, true, nil
}

// pruneEvents deletes accepted events that are old and that no run waits for.
func (s *Store) pruneEvents(r journal.Retention) (again bool, err error) {
	if r.Events <= 0 {
		return false, nil
	}
	err = s.aside(func(c *conn) error {
		err := c.query(nil, `delete from events where sequence in (select e.sequence from events e where e.at<?1
and not exists(select 1 from subscriptions s join runs r on r.id=s.run where s.type in (e.type,'') and r.started<=e.at) order by e.sequence limit ?2)`,
			r.Now.Add(-r.Events).UnixMicro(), sliceRows)
		again = c.Changes() == sliceRows
		return err
	})
	return again, err
}

// vacuum gives free pages back to the file system.
func (s *Store) vacuum() (again bool, err error) {
	err = s.aside(func(c *conn) error {
		free, err := c.number("pragma freelist_count")
		if err != nil || free <= freeKept {
			return err
		}
		again = free > freeKept+slicePage
		return c.exec(fmt.Sprintf("pragma incremental_vacuum(%d)", slicePage))
	})
	return again, err
}
