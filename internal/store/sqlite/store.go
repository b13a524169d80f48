// Package sqlite keeps runs in one SQLite file in a data directory, which
// several processes may share. It implements every storage port over it.
//
// One connection writes, with a sync for each commit; a second one writes what
// a power loss may undo (claims, pruning, checkpoints); a few read beside them.
// A process owns the runs that it carries out: its id stands in their rows, and
// a lock on owners/<id>.lock, held by the operating system, is the proof that
// it lives. The store starts no goroutine, but for two that notice what other
// processes write, from the first call of Changed until Close.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Options of a store.
type Options struct {
	// ReadOnly opens without becoming an owner: lists and searches only.
	ReadOnly bool
}

// Store is a database file that is open.
type Store struct {
	dir, file string

	write  sync.Mutex // one transaction that writes at a time; guards what follows
	w      *conn
	hot    hot
	live   map[event.RunID]*live
	names  map[string]int64
	touch  touched
	facts  bool // the inbox of some run holds something
	side   *conn
	pruned map[int64]int64 // where pruning goes on, by family
	turn   turn

	round round // of pruning

	readers pool
	me      owner
	packer  packer
	watch   watch
	commits atomic.Int64 // since the last checkpoint
	check   sync.Mutex   // one checkpoint at a time; guards mover
	mover   *conn

	once   sync.Once
	closed atomic.Pointer[error]
}

var (
	_ journal.Store  = (*Store)(nil)
	_ journal.Reader = (*Store)(nil)
	_ journal.Keeper = (*Store)(nil)
)

// File is the name of the database within its directory.
const File = "downbeat.db"

// Open opens or makes the database of a data directory and becomes an owner of runs.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	s := &Store{
		dir: dir, file: filepath.Join(dir, File),
		live: make(map[event.RunID]*live), names: make(map[string]int64), pruned: make(map[int64]int64),
	}
	s.readers.slots = make(chan struct{}, maxReaders)
	s.watch.changed = make(chan struct{}, 1)
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Store) open(o Options) (err error) {
	if err := os.MkdirAll(filepath.Join(s.dir, ownersDir), 0o700); err != nil {
		return err
	}
	fresh, err := private(s.file)
	if err != nil {
		return err
	}
	if err := s.turn.open(s.dir); err != nil {
		return err
	}
	if s.w, err = s.connect(writes); err != nil {
		return err
	}
	if !o.ReadOnly {
		if err := s.me.lock(s.dir); err != nil {
			return err
		}
	}
	if err := s.migrate(); err != nil {
		return err
	}
	if fresh {
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
	return s.hot.prepare(s.w)
}

// private makes sure that the file is there and that only its user can read it.
func private(file string) (fresh bool, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case err == nil:
		return true, f.Close()
	case errors.Is(err, os.ErrExist):
		return false, nil
	}
	return false, err
}

// migrate brings the schema up to date and registers the owner, in one transaction.
func (s *Store) migrate() error {
	version, err := s.w.number("pragma user_version")
	if err != nil {
		return err
	}
	if err := s.refuse(version); err != nil || version == int64(len(migrations)) && s.me.name == "" {
		return err
	}
	return s.w.writing(func() error {
		// Another process may have been faster.
		if version, err = s.w.number("pragma user_version"); err != nil {
			return err
		}
		if err := s.refuse(version); err != nil {
			return err
		}
		if version < int64(len(migrations)) {
			for _, m := range migrations[version:] {
				if err := s.w.script(m); err != nil {
					return fmt.Errorf("migrate the schema: %w", err)
				}
			}
			if err := s.w.exec(fmt.Sprintf("pragma user_version=%d", len(migrations))); err != nil {
				return err
			}
			if err := s.w.exec(fmt.Sprintf("pragma application_id=%d", applicationID)); err != nil {
				return err
			}
		}
		if s.me.name == "" {
			return nil
		}
		if err := s.w.query(nil, "insert into owners(name) values(?)", s.me.name); err != nil {
			return err
		}
		s.me.id = s.w.LastInsertRowID()
		return nil
	})
}

func (s *Store) refuse(version int64) error {
	if version > int64(len(migrations)) {
		return fmt.Errorf("%s has schema %d and this Downbeat knows schemas up to %d: use the newer Downbeat that wrote it", s.file, version, len(migrations))
	}
	return nil
}

// script runs statements that are separated by semicolons.
func (c *conn) script(text string) error {
	for q := range strings.SplitSeq(text, ";") {
		if q = strings.TrimSpace(q); q == "" {
			continue
		}
		if err := c.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// Owner is the name under which this process owns runs.
func (s *Store) Owner() journal.Owner { return journal.Owner(s.me.name) }

// err is why the store can no longer be used, or nil.
func (s *Store) err() error {
	if p := s.closed.Load(); p != nil {
		return *p
	}
	return nil
}

// fail closes the store for good: what the file holds is not known any more.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w after an error of the disk (start again to recover): %w", journal.ErrClosed, cause)
	s.closed.CompareAndSwap(nil, &err)
}

// Close gives up ownership and closes the file. Runs that it still owns are
// then runs of an ended owner. It may be called twice.
func (s *Store) Close() (errs error) {
	s.once.Do(func() {
		err := fmt.Errorf("%s: %w", s.file, journal.ErrClosed)
		s.closed.CompareAndSwap(nil, &err)
		s.watch.close()
		s.check.Lock()
		defer s.check.Unlock()
		s.write.Lock()
		defer s.write.Unlock()
		if s.w != nil && s.me.id != 0 {
			s.forget() // best effort: otherwise another process does it
		}
		errs = s.readers.close()
		for _, c := range []*conn{s.mover, s.side, s.w} {
			if c != nil {
				errs = errors.Join(errs, c.Close())
			}
		}
		s.mover, s.side, s.w = nil, nil, nil
		errs = errors.Join(errs, s.me.unlock(), s.turn.close())
	})
	return errs
}

// forget removes this owner's row when it owns no live run any more.
func (s *Store) forget() {
	_ = s.w.query(nil, "delete from owners where id=?1 and not exists(select 1 from runs where ended is null and owner=?1)", s.me.id)
}

// aside runs a transaction that a power loss may undo.
func (s *Store) aside(f func(c *conn) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	c, err := s.sideConn()
	if err != nil {
		return err
	}
	s.commits.Add(1)
	return c.writing(func() error { return f(c) })
}

func (s *Store) sideConn() (_ *conn, err error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	if s.side == nil {
		s.side, err = s.connect(side)
	}
	return s.side, err
}
