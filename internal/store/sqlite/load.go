package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// runColumns are what scanRun reads.
const runColumns = `select r.id, r.uuid, d.text, w.text, r.status, r.started, r.ended, c.text, r.parent, o.name, r.wake_at, r.error, r.priority, r.flags, dir.text, r.labels
from runs r join names d on d.id=r.definition join names w on w.id=r.workflow join names c on c.id=r.cause join names dir on dir.id=r.directory left join owners o on o.id=r.owner `

func (s *Store) scanRun(st stmt, alive map[string]bool) (id int64, r journal.RunRow, err error) {
	st.ColumnBytes(1, r.ID[:])
	r.Digest, r.Workflow = st.ColumnText(2), st.ColumnText(3)
	r.Status = event.Status(st.ColumnInt64(4))
	r.StartedAt, r.EndedAt = columnTime(st, 5), columnTime(st, 6)
	r.Trigger = st.ColumnText(7)
	st.ColumnBytes(8, r.Parent[:])
	if r.Owner = st.ColumnText(9); r.Owner != "" {
		lives, asked := alive[r.Owner]
		if !asked {
			lives = s.alive(r.Owner)
			alive[r.Owner] = lives
		}
		r.OwnerAlive = lives
	}
	r.WakeAt, r.Error, r.Priority = columnTime(st, 10), st.ColumnText(11), st.ColumnInt(12)
	flags := st.ColumnInt64(13)
	r.Embedded, r.Interrupted = flags&flagEmbedded != 0, flags&flagInterrupted != 0
	r.Directory = st.ColumnText(14)
	if text := st.ColumnText(15); text != "" {
		if err := json.Unmarshal([]byte(text), &r.Labels); err != nil {
			return 0, r, fmt.Errorf("labels of run %s: %w: %w", r.ID, journal.ErrCorrupt, err)
		}
	}
	return st.ColumnInt64(0), r, nil
}

func columnTime(st stmt, col int) time.Time {
	if st.ColumnIsNull(col) {
		return time.Time{}
	}
	return time.UnixMicro(st.ColumnInt64(col)).UTC()
}

// find reads one run's row; its number is 0 when there is none.
func (s *Store) find(c *conn, id event.RunID) (n int64, r journal.RunRow, err error) {
	err = c.query(func(st stmt) (err error) {
		n, r, err = s.scanRun(st, make(map[string]bool))
		return err
	}, runColumns+"where r.uuid=?", id[:])
	if err == nil && n == 0 {
		err = journal.ErrNotFound
	}
	return n, r, err
}

// Load implements journal.Store.
func (s *Store) Load(ctx context.Context, id event.RunID) (*journal.Record, error) {
	rec := new(journal.Record)
	err := s.read(ctx, func(c *conn) error {
		return c.reading(func() error {
			n, row, err := s.find(c, id)
			if err != nil {
				return err
			}
			rec.Run = row
			after := int64(0)
			if err := c.query(func(st stmt) error {
				after = st.ColumnInt64(0)
				rec.Snapshot = &journal.Snapshot{Run: id, Sequence: after, State: st.blob(1)}
				return nil
			}, "select sequence, state from snapshots where run=?", n); err != nil {
				return err
			}
			rec.Rows, err = c.rows(id, n, after, maxSequence)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("load run %s: %w", id, err)
	}
	return rec, nil
}

func (c *conn) rows(id event.RunID, n, after int64, limit int) (rows []journal.Row, err error) {
	err = c.query(func(st stmt) error {
		rows = append(rows, journal.Row{
			Run: id, Sequence: st.ColumnInt64(0) & maxSequence, At: columnTime(st, 1),
			Revision: uint32(st.ColumnInt64(2)), Hash: uint64(st.ColumnInt64(3)), Data: st.blob(4),
		})
		return nil
	}, "select key, at, revision, hash, data from journal where key>? and key<=? order by key limit ?",
		journalKey(n, max(0, min(after, maxSequence))), journalKey(n, maxSequence), limit)
	return rows, err
}

// Definition implements journal.Store.
func (s *Store) Definition(ctx context.Context, digest string) (source []byte, err error) {
	found := false
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { found, source = true, st.blob(0); return nil }, "select source from definitions where digest=?", digest)
	})
	if err == nil && !found {
		err = journal.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", digest, err)
	}
	return source, nil
}

const (
	sqlDueMine   = "select uuid, wake_at, id from runs where ended is null and owner=? and wake_at<=? order by wake_at limit ?"
	sqlDueNobody = "select uuid, wake_at, id from runs where ended is null and owner is null and wake_at<=? and flags&1=0 order by wake_at limit ?"
)

// Due implements journal.Store.
func (s *Store) Due(ctx context.Context, now time.Time, claim bool, limit int) (due []event.RunID, next time.Time, err error) {
	type found struct {
		id event.RunID
		n  int64
	}
	var mine, nobodys []found
	us := now.UnixMicro()
	err = s.read(ctx, func(c *conn) error {
		into := func(out *[]found) func(st stmt) error {
			return func(st stmt) error {
				f := found{n: st.ColumnInt64(2)}
				st.ColumnBytes(0, f.id[:])
				*out = append(*out, f)
				return nil
			}
		}
		earliest := func(st stmt) error {
			if at := columnTime(st, 0); next.IsZero() || at.Before(next) {
				next = at
			}
			return nil
		}
		if err := c.query(into(&mine), sqlDueMine, s.me.id, us, limit); err != nil {
			return err
		}
		if err := c.query(earliest, "select wake_at from runs where ended is null and owner=? and wake_at>? order by wake_at limit 1", s.me.id, us); err != nil || !claim {
			return err
		}
		if err := c.query(into(&nobodys), sqlDueNobody, us, limit-len(mine)); err != nil {
			return err
		}
		return c.query(earliest, "select wake_at from runs where ended is null and owner is null and wake_at>? and flags&1=0 order by wake_at limit 1", us)
	})
	for _, f := range mine {
		due = append(due, f.id)
	}
	if err == nil && len(nobodys) > 0 {
		err = s.aside(func(c *conn) error {
			for _, f := range nobodys {
				// Another process may have been faster.
				if err := c.query(nil, "update runs set owner=? where id=? and uuid=? and owner is null and ended is null", s.me.id, f.n, f.id[:]); err != nil {
					return err
				}
				if c.Changes() > 0 {
					due = append(due, f.id)
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("find runs that are due: %w", err)
	}
	return due, next, nil
}

// Claim implements journal.Store. A run that has ended can be claimed too, to be opened again.
func (s *Store) Claim(ctx context.Context, id event.RunID) error {
	if s.me.name == "" {
		return fmt.Errorf("claim run %s: %w: the store was opened for reading only", id, journal.ErrNotOwner)
	}
	err := s.aside(func(c *conn) error {
		var n, owner int64
		var name string
		err := c.query(func(st stmt) error {
			n, owner, name = st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnText(2)
			return nil
		}, "select r.id, r.owner, o.name from runs r left join owners o on o.id=r.owner where r.uuid=?", id[:])
		switch {
		case err != nil:
			return err
		case n == 0:
			return journal.ErrNotFound
		case owner != 0 && name != "" && owner != s.me.id && s.alive(name):
			return fmt.Errorf("%w: %s is", journal.ErrNotOwner, name)
		}
		return c.query(nil, "update runs set owner=?, flags=flags&~2 where id=?", s.me.id, n)
	})
	if err != nil {
		return fmt.Errorf("claim run %s: %w", id, err)
	}
	return context.Cause(ctx)
}

// Abandoned implements journal.Store. Runs that only `runs resume` may continue
// are returned once: after that they are nobody's and marked.
func (s *Store) Abandoned(ctx context.Context, limit int) (out []journal.Abandoned, err error) {
	var ended []int64
	var names []string
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error {
			if name := st.ColumnText(1); !s.alive(name) {
				ended, names = append(ended, st.ColumnInt64(0)), append(names, name)
			}
			return nil
		}, "select id, name from owners")
	})
	for i, owner := range ended {
		if err != nil || len(out) >= limit {
			break
		}
		err = s.aside(func(c *conn) error {
			before := len(out)
			if err := c.query(func(st stmt) error {
				a := journal.Abandoned{Embedded: st.ColumnInt64(1)&flagEmbedded != 0}
				st.ColumnBytes(0, a.ID[:])
				out = append(out, a)
				return nil
			}, "select uuid, flags from runs where ended is null and owner=? limit ?", owner, limit-before); err != nil {
				return err
			}
			for _, a := range out[before:] {
				if !a.Embedded {
					continue
				}
				if err := c.query(nil, "update runs set flags=flags|2, owner=null, wake_at=null where uuid=?", a.ID[:]); err != nil {
					return err
				}
			}
			if len(out) > before {
				return nil
			}
			s.bury(names[i])
			return c.query(nil, "delete from owners where id=?", owner)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("find runs of ended processes: %w", err)
	}
	return out, nil
}

// Inbox implements journal.Store.
func (s *Store) Inbox(ctx context.Context, id event.RunID) (rows []journal.InboxRow, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error {
			rows = append(rows, journal.InboxRow{
				ID: st.ColumnInt64(0), Run: id, Kind: journal.InboxKind(st.ColumnInt64(1)), Key: st.ColumnText(2), Data: st.blob(3), At: columnTime(st, 4),
			})
			return nil
		}, "select id, kind, key, data, at from inbox where run=(select id from runs where uuid=?) order by id", id[:])
	})
	if err != nil {
		return nil, fmt.Errorf("inbox of run %s: %w", id, err)
	}
	return rows, nil
}

// CloudEvents implements journal.Store.
func (s *Store) CloudEvents(ctx context.Context, after int64, types []string, limit int) (events []journal.CloudEvent, err error) {
	err = s.read(ctx, func(c *conn) error {
		row := func(st stmt) error {
			events = append(events, journal.CloudEvent{
				Sequence: st.ColumnInt64(0), Source: st.ColumnText(1), ID: st.ColumnText(2), Type: st.ColumnText(3), Data: st.blob(4), At: columnTime(st, 5),
			})
			return nil
		}
		const columns = "select sequence, source, id, type, data, at from events where sequence>?1 "
		switch len(types) {
		case 0:
			return c.query(row, columns+"order by sequence limit ?2", after, limit)
		case 1:
			return c.query(row, columns+"and type=?3 order by sequence limit ?2", after, limit, types[0])
		}
		list, err := json.Marshal(types)
		if err != nil {
			return err
		}
		return c.query(row, columns+"and type in (select value from json_each(?3)) order by sequence limit ?2", after, limit, string(list))
	})
	if err != nil {
		return nil, fmt.Errorf("read cloud events: %w", err)
	}
	return events, nil
}
