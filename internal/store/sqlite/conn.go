package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/downbeat-dev/downbeat/internal/journal"
)

// conn is a connection with its prepared statements.
type conn struct {
	*sqlite.Conn
	s     *Store
	fault func(query string) error // tests make statements fail with it
}

// stmt is a prepared statement that is used again and again.
type stmt struct {
	*sqlite.Stmt
	c     *conn
	query string
}

const busyTimeout = 10 * time.Second

// connKind says what a connection is for.
type connKind int

const (
	writes connKind = iota // the committer's: every commit is synced
	side                   // claims, pruning, checkpoints: what a power loss may undo
	reads
)

// connect opens a connection and sets it up.
func (s *Store) connect(kind connKind) (*conn, error) {
	c, err := sqlite.OpenConn(s.file, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, s.explain("open "+s.file, err)
	}
	c.SetBusyTimeout(busyTimeout)
	n := &conn{Conn: c, s: s}
	pragmas := []string{
		"page_size=8192", "auto_vacuum=incremental", // for a new file
		"journal_mode=wal", "temp_store=memory", "journal_size_limit=67108864",
	}
	switch kind {
	case writes:
		// The bound of the log when nobody calls Checkpoint: 128 MiB.
		pragmas = append(pragmas, "synchronous=full", "cache_size=-8192", "wal_autocheckpoint=16384")
	case side:
		pragmas = append(pragmas[2:], "synchronous=normal", "cache_size=-2048", "wal_autocheckpoint=0")
	case reads:
		pragmas = append(pragmas[2:], "query_only=1", "cache_size=-2048", "wal_autocheckpoint=0")
	}
	if runtime.GOOS == "darwin" {
		pragmas = append(pragmas, "fullfsync=1", "checkpoint_fullfsync=1")
	}
	for _, p := range pragmas {
		if err := n.exec("pragma " + p); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if kind != reads {
		c.SetBusyTimeout(0) // turn waits
	}
	return n, nil
}

// exec runs a statement that is not kept.
func (c *conn) exec(query string) error {
	_, err := c.number(query)
	return err
}

// number runs a statement that is not kept and returns the first number of its answer.
func (c *conn) number(query string) (int64, error) {
	st, _, err := c.PrepareTransient(query)
	if err != nil {
		return 0, c.s.explain(query, err)
	}
	defer st.Finalize() //nolint:errcheck // Step has told
	row, err := st.Step()
	if err != nil || !row {
		return 0, c.s.explain(query, err)
	}
	n := st.ColumnInt64(0)
	for row && err == nil {
		row, err = st.Step()
	}
	return n, c.s.explain(query, err)
}

// prepare returns the statement, prepared once for each connection.
func (c *conn) prepare(query string) (stmt, error) {
	st, err := c.Prepare(query)
	if err != nil {
		return stmt{}, c.s.explain(query, err)
	}
	return stmt{st, c, query}, nil
}

// next steps to a row; after false the statement is ready to be used again.
func (st stmt) next() (bool, error) {
	if st.c.fault != nil {
		if err := st.c.fault(st.query); err != nil {
			_ = st.Reset()
			return false, st.c.s.explain(st.query, err)
		}
	}
	row, err := st.Step()
	if err != nil {
		return false, st.c.s.explain(st.query, err)
	}
	if !row {
		if err := st.Reset(); err != nil {
			return false, st.c.s.explain(st.query, err)
		}
	}
	return row, nil
}

// run carries a statement without an answer out.
func (st stmt) run() error {
	_, err := st.next()
	return err
}

// blob copies a column.
func (st stmt) blob(col int) []byte {
	n := st.ColumnLen(col)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	st.ColumnBytes(col, b)
	return b
}

// query prepares a statement, binds its arguments and calls row for each row of
// the answer; row may be nil. Arguments are int64, int, string, []byte or nil.
func (c *conn) query(row func(st stmt) error, query string, args ...any) (err error) {
	st, err := c.prepare(query)
	if err != nil {
		return err
	}
	for i, a := range args {
		switch a := a.(type) {
		case nil:
			st.BindNull(i + 1)
		case int64:
			st.BindInt64(i+1, a)
		case int:
			st.BindInt64(i+1, int64(a))
		case string:
			st.BindText(i+1, a)
		case []byte:
			st.BindBytes(i+1, a)
		default:
			return fmt.Errorf("%s: argument %d is a %T", query, i+1, a)
		}
	}
	for {
		more, err := st.next()
		if err != nil || !more {
			return err
		}
		if row == nil {
			continue
		}
		if err := row(st); err != nil {
			_ = st.Reset() // the row's error matters
			return err
		}
	}
}

// writing runs f as a transaction that writes, when it is this process's turn.
func (c *conn) writing(f func() error) error {
	if err := c.s.turn.take(func() error { return c.query(nil, "begin immediate") }); err != nil {
		return err
	}
	defer c.s.turn.pass()
	return c.finish(f())
}

// reading runs f on one state of the database.
func (c *conn) reading(f func() error) error {
	if err := c.query(nil, "begin"); err != nil {
		return err
	}
	return c.finish(f())
}

// finish ends a transaction, well or, on an error, with nothing of it stored.
func (c *conn) finish(err error) error {
	if err == nil {
		err = c.query(nil, "commit")
	}
	if err != nil && !c.AutocommitEnabled() {
		if undo := c.exec("rollback"); undo != nil {
			c.s.fail(undo) // a transaction that cannot be ended: no further use of this file
		}
	}
	return err
}

// explain turns an error of the library into one of the port. Errors after
// which the state of the file is not known close the store for good.
func (s *Store) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if len(doing) > 60 {
		doing = doing[:60] + "…"
	}
	switch code := sqlite.ErrCode(err).ToPrimary(); code {
	case sqlite.ResultFull:
		return fmt.Errorf("%s: %w: make room on the file system of %s", doing, journal.ErrFull, s.dir)
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return fmt.Errorf("%s: %w: another process has held the lock of %s for over %s", doing, journal.ErrBusy, s.file, busyTimeout)
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%s: %w: %s is damaged or no database; stop Downbeat, keep a copy of the directory, and restore the last backup (downbeat restore)",
			doing, journal.ErrCorrupt, s.file)
	case sqlite.ResultIOErr:
		err = fmt.Errorf("%s: %w", doing, err)
		s.fail(err)
		return fmt.Errorf("%w: %w", journal.ErrClosed, err)
	case sqlite.ResultInterrupt:
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// pool lends connections for reading.
type pool struct {
	mu     sync.Mutex
	free   []*conn
	slots  chan struct{}
	closed bool
}

const maxReaders = 4

// read lends f a connection.
func (s *Store) read(ctx context.Context, f func(c *conn) error) error {
	select {
	case s.readers.slots <- struct{}{}:
		defer func() { <-s.readers.slots }()
	case <-ctx.Done():
		return fmt.Errorf("read %s: %w", filepath.Base(s.file), context.Cause(ctx))
	}
	if err := s.err(); err != nil {
		return err
	}
	c, err := s.readers.take(s)
	if err != nil {
		return err
	}
	defer s.readers.give(c)
	return f(c)
}

func (p *pool) take(s *Store) (*conn, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return s.connect(reads)
}

func (p *pool) give(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // it only read
		return
	}
	p.free = append(p.free, c)
}

func (p *pool) close() (errs error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.free {
		errs = errors.Join(errs, c.Close())
	}
	p.free = nil
	return errs
}
