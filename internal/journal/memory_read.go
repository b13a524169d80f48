package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// run finds a run while the data is locked.
func (d *memoryData) run(id event.RunID) (*memoryRun, error) {
	r := d.runs[id]
	if r == nil {
		return nil, fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	return r, nil
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, id event.RunID) (rec *Record, err error) {
	err = m.locked(func(d *memoryData) error {
		r, err := d.run(id)
		if err != nil {
			return err
		}
		rec = &Record{Run: m.show(r)}
		after := int64(0)
		if r.snap != nil {
			snap := *r.snap
			rec.Snapshot, after = &snap, snap.Sequence
		}
		rec.Rows = slices.Clone(r.rows[min(after, int64(len(r.rows))):])
		return nil
	})
	return rec, err
}

// Payload implements Store.
func (m *Memory) Payload(_ context.Context, digest string) (data []byte, err error) {
	err = m.locked(func(d *memoryData) error {
		p := d.payloads[digest]
		if p == nil {
			return fmt.Errorf("payload %s: %w", digest, ErrNotFound)
		}
		data = slices.Clone(p.data)
		return nil
	})
	return data, err
}

// Definition implements Store.
func (m *Memory) Definition(_ context.Context, digest string) (source []byte, err error) {
	err = m.locked(func(d *memoryData) error {
		s, ok := d.defs[digest]
		if !ok {
			return fmt.Errorf("definition %s: %w", digest, ErrNotFound)
		}
		source = slices.Clone(s)
		return nil
	})
	return source, err
}

// Due implements Store.
func (m *Memory) Due(_ context.Context, now time.Time, claim bool, limit int) (due []event.RunID, next time.Time, err error) {
	err = m.locked(func(d *memoryData) error {
		var found []*memoryRun
		for _, r := range d.order {
			mine := r.owner == m.name || r.owner == "" && claim && !r.row.Embedded
			switch at := r.row.WakeAt; {
			case !mine || at.IsZero() || !r.row.EndedAt.IsZero():
			case !at.After(now):
				found = append(found, r)
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
		slices.SortStableFunc(found, func(a, b *memoryRun) int { return a.row.WakeAt.Compare(b.row.WakeAt) })
		for _, r := range found[:min(limit, len(found))] {
			r.owner = m.name
			due = append(due, r.row.ID)
		}
		return nil
	})
	return due, next, err
}

// Claim implements Store.
func (m *Memory) Claim(_ context.Context, id event.RunID) error {
	return m.locked(func(d *memoryData) error {
		r, err := d.run(id)
		if err != nil {
			return err
		}
		if r.owner != m.name && m.alive(r.owner) {
			return fmt.Errorf("claim run %s: %w: %s is", id, ErrNotOwner, r.owner)
		}
		r.owner, r.row.Interrupted = m.name, false
		return nil
	})
}

// Abandoned implements Store.
func (m *Memory) Abandoned(_ context.Context, limit int) (out []Abandoned, err error) {
	err = m.locked(func(d *memoryData) error {
		for _, r := range d.order {
			if len(out) == limit {
				return nil
			}
			if r.owner == "" || m.alive(r.owner) || !r.row.EndedAt.IsZero() {
				continue
			}
			out = append(out, Abandoned{r.row.ID, r.row.Embedded})
			if r.row.Embedded {
				r.owner, r.row.WakeAt, r.row.Interrupted = "", time.Time{}, true
			}
		}
		return nil
	})
	return out, err
}

// Inbox implements Store.
func (m *Memory) Inbox(_ context.Context, id event.RunID) (rows []InboxRow, err error) {
	err = m.locked(func(d *memoryData) error {
		for _, r := range d.inbox {
			if r.Run == id {
				rows = append(rows, r)
			}
		}
		return nil
	})
	return rows, err
}

// CloudEvents implements Store.
func (m *Memory) CloudEvents(_ context.Context, after int64, types []string, limit int) (events []CloudEvent, err error) {
	err = m.locked(func(d *memoryData) error {
		for _, e := range d.events {
			if e.Sequence > after && wants(types, e.Type) && len(events) < limit {
				events = append(events, e)
			}
		}
		return nil
	})
	return events, err
}

// Changed implements Store.
func (m *Memory) Changed() <-chan struct{} { return m.changed }

// Runs implements Reader.
func (m *Memory) Runs(_ context.Context, q Query) (rows []RunRow, next string, err error) {
	if q.Limit <= 0 {
		q.Limit = 50
	}
	q.Limit = min(q.Limit, 1000)
	before := int64(1) << 62
	if q.Cursor != "" {
		if before, err = strconv.ParseInt(q.Cursor, 36, 64); err != nil {
			return nil, "", fmt.Errorf("list runs: cursor %q is not one that a list has returned", q.Cursor)
		}
	}
	err = m.locked(func(d *memoryData) error {
		last := int64(0)
		for _, r := range slices.Backward(d.order) {
			if r.n >= before || !q.matches(&r.row) {
				continue
			}
			if len(rows) == q.Limit {
				next = strconv.FormatInt(last, 36)
				return nil
			}
			rows, last = append(rows, m.show(r)), r.n
		}
		return nil
	})
	return rows, next, err
}

func (q *Query) matches(r *RunRow) bool {
	key, want, _ := strings.Cut(q.Label, "=")
	got, has := r.Labels[key]
	return (len(q.Statuses) == 0 || slices.Contains(q.Statuses, r.Status)) &&
		(q.Workflow == "" || q.Workflow == r.Workflow || q.Workflow == familyOf(r.Workflow)) &&
		!r.StartedAt.Before(q.Since) && (q.Label == "" || has && got == want)
}

// Run implements Reader.
func (m *Memory) Run(_ context.Context, id event.RunID) (row *RunRow, err error) {
	err = m.locked(func(d *memoryData) error {
		r, err := d.run(id)
		if err != nil {
			return err
		}
		shown := m.show(r)
		row = &shown
		return nil
	})
	return row, err
}

// Journal implements Reader.
func (m *Memory) Journal(_ context.Context, id event.RunID, after int64, limit int) (rows []Row, err error) {
	err = m.locked(func(d *memoryData) error {
		r, err := d.run(id)
		if err != nil {
			return err
		}
		rest := r.rows[min(max(0, after), int64(len(r.rows))):]
		rows = slices.Clone(rest[:min(limit, len(rest))])
		return nil
	})
	return rows, err
}

// FindDefinition implements Reader.
func (m *Memory) FindDefinition(_ context.Context, id string) (digest, resolved string, err error) {
	err = m.locked(func(d *memoryData) error {
		family, version, _ := strings.Cut(id, ":")
		resolved = id
		if version == "latest" {
			resolved = ""
			for name := range d.deployed {
				if familyOf(name) == family && (resolved == "" || CompareVersions(resolved[len(family)+1:], name[len(family)+1:]) < 0) {
					resolved = name
				}
			}
		}
		if digest = d.deployed[resolved]; digest == "" {
			resolved = ""
			return fmt.Errorf("workflow %s: %w", id, ErrNotFound)
		}
		return nil
	})
	return digest, resolved, err
}

// FindKey implements Reader.
func (m *Memory) FindKey(_ context.Context, scope, key string) (run event.RunID, err error) {
	err = m.locked(func(d *memoryData) error {
		id, ok := d.keys[[2]string{scope, key}]
		if !ok {
			return fmt.Errorf("idempotency key %q: %w", key, ErrNotFound)
		}
		run = id
		return nil
	})
	return run, err
}

// Active implements Reader.
func (m *Memory) Active(_ context.Context, group string) (n int, err error) {
	err = m.locked(func(d *memoryData) error {
		for _, r := range d.order {
			if r.group == group && r.row.EndedAt.IsZero() {
				n++
			}
		}
		return nil
	})
	return n, err
}

// Prune implements Keeper, all at once.
func (m *Memory) Prune(_ context.Context, r Retention, _ time.Duration) (deleted int, more bool, err error) {
	err = m.locked(func(d *memoryData) error {
		newer := make(map[string]int)
		asked := make(map[string]Retention)
		gone := make(map[event.RunID]bool)
		for _, run := range slices.Backward(d.order) {
			family := familyOf(run.row.Workflow)
			if newer[family]++; newer[family] == 1 {
				asked[family] = r.Asked(d.defs[run.row.Digest])
			}
			r := asked[family]
			old := r.For > 0 && run.row.EndedAt.Before(r.Now.Add(-r.For))
			if !run.row.EndedAt.IsZero() && run.owner == "" && (old || r.Keep > 0 && newer[family] > r.Keep) {
				gone[run.row.ID] = true
			}
		}
		deleted = len(gone)
		d.forget(gone)
		if r.Events > 0 {
			d.events = slices.DeleteFunc(d.events, func(e CloudEvent) bool {
				return e.At.Before(r.Now.Add(-r.Events)) && !slices.ContainsFunc(d.order, func(run *memoryRun) bool {
					return !run.row.StartedAt.After(e.At) && slices.ContainsFunc(run.subs, func(s Subscription) bool { return wants(s.Types, e.Type) })
				})
			})
		}
		return nil
	})
	return deleted, false, err
}

func (d *memoryData) forget(gone map[event.RunID]bool) {
	for id := range gone {
		delete(d.runs, id)
		for k, run := range d.keys {
			if run == id {
				delete(d.keys, k)
			}
		}
		for digest, p := range d.payloads {
			if p.runs[id] {
				if delete(p.runs, id); len(p.runs) == 0 {
					delete(d.payloads, digest)
				}
			}
		}
	}
	d.order = slices.DeleteFunc(d.order, func(r *memoryRun) bool { return gone[r.row.ID] })
}

// Checkpoint implements Keeper; there is no log.
func (m *Memory) Checkpoint(context.Context) error { return nil }

// Backup implements Keeper; there is no file.
func (m *Memory) Backup(context.Context, string) error {
	return errors.New("a store in memory cannot be backed up")
}
