package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// Runs implements journal.Reader.
func (s *Store) Runs(ctx context.Context, q journal.Query) (rows []journal.RunRow, next string, err error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxLimit)
	where, args := []string{"true"}, []any{}
	and := func(cond string, arg any) { where, args = append(where, cond), append(args, arg) }
	if q.Cursor != "" {
		before, err := strconv.ParseInt(q.Cursor, 36, 64)
		if err != nil {
			return nil, "", fmt.Errorf("list runs: cursor %q is not one that a list has returned", q.Cursor)
		}
		and("r.id<?", before)
	}
	if len(q.Statuses) > 0 {
		ns := make([]int, len(q.Statuses))
		for i, status := range q.Statuses {
			ns[i] = int(status)
		}
		list, err := json.Marshal(ns)
		if err != nil {
			return nil, "", fmt.Errorf("list runs: %w", err)
		}
		and("r.status in (select value from json_each(?))", string(list))
	}
	if q.Workflow != "" {
		and("r.family=(select id from names where text=?)", familyOf(q.Workflow))
		if strings.Contains(q.Workflow, ":") {
			and("r.workflow=(select id from names where text=?)", q.Workflow)
		}
	}
	if !q.Since.IsZero() {
		and("r.started>=?", q.Since.UnixMicro())
	}
	if q.Label != "" {
		and("r.id in (select run from labels where label=?)", q.Label)
	}
	args = append(args, q.Limit+1)
	query := runColumns + "where " + strings.Join(where, " and ") + " order by r.id desc limit ?"
	err = s.read(ctx, func(c *conn) error {
		defer c.SetInterrupt(c.SetInterrupt(ctx.Done()))
		alive, last := make(map[string]bool), int64(0)
		return c.query(func(st stmt) error {
			id, row, err := s.scanRun(st, alive)
			if err != nil {
				return err
			}
			if len(rows) == q.Limit {
				next = strconv.FormatInt(last, 36)
				return nil
			}
			rows, last = append(rows, row), id
			return nil
		}, query, args...)
	})
	if err != nil {
		return nil, "", fmt.Errorf("list runs: %w", err)
	}
	return rows, next, nil
}

// Run implements journal.Reader.
func (s *Store) Run(ctx context.Context, id event.RunID) (*journal.RunRow, error) {
	row := new(journal.RunRow)
	err := s.read(ctx, func(c *conn) (err error) {
		_, *row, err = s.find(c, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", id, err)
	}
	return row, nil
}

// Journal implements journal.Reader.
func (s *Store) Journal(ctx context.Context, id event.RunID, after int64, limit int) (rows []journal.Row, err error) {
	err = s.read(ctx, func(c *conn) error {
		var n int64
		if err := c.query(func(st stmt) error { n = st.ColumnInt64(0); return nil }, "select id from runs where uuid=?", id[:]); err != nil {
			return err
		}
		if n == 0 {
			return journal.ErrNotFound
		}
		rows, err = c.rows(id, n, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal of run %s: %w", id, err)
	}
	return rows, nil
}

// FindDefinition implements journal.Reader.
func (s *Store) FindDefinition(ctx context.Context, id string) (digest, resolved string, err error) {
	err = s.read(ctx, func(c *conn) error {
		family, version, _ := strings.Cut(id, ":")
		if version != "latest" {
			resolved = id
			return c.query(func(st stmt) error { digest = st.ColumnText(0); return nil }, "select digest from workflows where name=?", id)
		}
		return c.query(func(st stmt) error {
			if name := st.ColumnText(0); resolved == "" || journal.CompareVersions(resolved[len(family)+1:], name[len(family)+1:]) < 0 {
				resolved, digest = name, st.ColumnText(1)
			}
			return nil
		}, "select name, digest from workflows where family=?", family)
	})
	if err == nil && digest == "" {
		err = journal.ErrNotFound
	}
	if err != nil {
		return "", "", fmt.Errorf("workflow %s: %w", id, err)
	}
	return digest, resolved, nil
}

// FindKey implements journal.Reader.
func (s *Store) FindKey(ctx context.Context, scope, key string) (run event.RunID, err error) {
	found := false
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { found = true; st.ColumnBytes(0, run[:]); return nil },
			"select run from keys where scope=? and key=?", scope, key)
	})
	if err == nil && !found {
		err = journal.ErrNotFound
	}
	if err != nil {
		return run, fmt.Errorf("idempotency key %q: %w", key, err)
	}
	return run, nil
}

// Active implements journal.Reader.
func (s *Store) Active(ctx context.Context, group string) (n int, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error { n = st.ColumnInt(0); return nil }, "select count(*) from slots where name=?", group)
	})
	if err != nil {
		return 0, fmt.Errorf("count runs of group %q: %w", group, err)
	}
	return n, nil
}
