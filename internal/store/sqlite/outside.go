package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// name returns the number of a text that repeats.
func (s *Store) name(text string) (id int64, err error) {
	if id, ok := s.names[text]; ok {
		return id, nil
	}
	err = s.w.query(func(st stmt) error { id = st.ColumnInt64(0); return nil }, "select id from names where text=?", text)
	if err == nil && id == 0 {
		err = s.w.query(nil, "insert into names(text) values(?)", text)
		id = s.w.LastInsertRowID()
	}
	if err == nil {
		s.names[strings.Clone(text)] = id
	}
	return id, err
}

// familyOf is a workflow's name without its version.
func familyOf(workflow string) string {
	family, _, _ := strings.Cut(workflow, ":")
	return family
}

func labelText(labels map[string]string) string {
	b, err := json.Marshal(labels) // sorts the keys
	if err != nil {
		return "{}" // strings can always be written
	}
	return string(b)
}

func (s *Store) define(d *journal.Definition) error {
	if err := s.w.query(nil, "insert into definitions(digest,source) values(?,?) on conflict do nothing", d.Digest, d.Source); err != nil {
		return fmt.Errorf("store definition %s: %w", d.Digest, err)
	}
	if d.ID == "" {
		return nil
	}
	var digest string
	err := s.w.query(func(st stmt) error { digest = st.ColumnText(0); return nil }, "select digest from workflows where name=?", d.ID)
	switch {
	case err != nil:
	case digest == "":
		err = s.w.query(nil, "insert into workflows(name,family,digest) values(?,?,?)", d.ID, familyOf(d.ID), d.Digest)
	case digest != d.Digest:
		err = fmt.Errorf("%w: that version exists with other content", journal.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("deploy %s: %w", d.ID, err)
	}
	return nil
}

func (s *Store) snapshot(n *journal.Snapshot) error {
	l, err := s.own(n.Run)
	if err != nil {
		return err
	}
	return s.w.query(nil, "insert into snapshots(run,sequence,state) values(?,?,?) on conflict(run) do update set sequence=excluded.sequence, state=excluded.state",
		l.id, n.Sequence, n.State)
}

func (s *Store) subscriptions(b *journal.Batch) error {
	for i := range b.Unsubscribe {
		u := &b.Unsubscribe[i]
		l, err := s.own(u.Run)
		if err == nil {
			err = s.w.query(nil, "delete from subscriptions where run=? and activation=?", l.id, string(u.Activation))
		}
		if err != nil {
			return fmt.Errorf("unsubscribe run %s: %w", u.Run, err)
		}
	}
	for i := range b.Subscriptions {
		u := &b.Subscriptions[i]
		l, err := s.own(u.Run)
		if err != nil {
			return fmt.Errorf("subscribe run %s: %w", u.Run, err)
		}
		l.listens = true
		types := u.Types
		if len(types) == 0 {
			types = []string{""} // any
		}
		for _, t := range types {
			if err := s.w.query(nil, "insert into subscriptions(type,run,activation) values(?,?,?) on conflict do nothing", t, l.id, string(u.Activation)); err != nil {
				return fmt.Errorf("subscribe run %s: %w", u.Run, err)
			}
		}
	}
	return nil
}

// outside stores what comes to runs from elsewhere, and wakes them.
func (s *Store) outside(b *journal.Batch) error {
	for i := range b.Inbox {
		if err := s.inbox(&b.Inbox[i]); err != nil {
			return fmt.Errorf("leave a fact for run %s: %w", b.Inbox[i].Run, err)
		}
	}
	for i := range b.Events {
		if err := s.accept(&b.Events[i]); err != nil {
			return fmt.Errorf("accept cloud event %s of %s: %w", b.Events[i].ID, b.Events[i].Source, err)
		}
	}
	for i := range b.Keys {
		if err := s.key(&b.Keys[i]); err != nil {
			return fmt.Errorf("idempotency key %s: %w", b.Keys[i].Key, err)
		}
	}
	for i := range b.Schedules {
		if err := s.schedule(&b.Schedules[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) inbox(r *journal.InboxRow) error {
	r.ID, r.Gone = 0, true
	var run int64
	err := s.w.query(func(st stmt) error {
		if run = st.ColumnInt64(0); st.ColumnIsNull(2) || !st.ColumnIsNull(1) {
			r.Gone = false // live, or claimed in order to be reopened
		}
		s.touch.add(st, 1)
		return nil
	}, "select id, owner, ended from runs where uuid=?", r.Run[:])
	if err != nil || r.Gone {
		return err
	}
	err = s.w.query(nil, "insert into inbox(run,kind,key,data,at) values(?,?,?,?,?) on conflict(run,key) do nothing",
		run, int64(r.Kind), nullText(r.Key), r.Data, r.At.UnixMicro())
	if err != nil {
		return err
	}
	if s.w.Changes() > 0 {
		r.ID = s.w.LastInsertRowID()
	} else if err := s.w.query(func(st stmt) error { r.ID = st.ColumnInt64(0); return nil }, "select id from inbox where run=? and key=?", run, r.Key); err != nil {
		return err
	}
	return s.w.query(nil, "update runs set wake_at=1 where id=?", run)
}

func (s *Store) accept(e *journal.CloudEvent) error {
	e.Known = false
	// Times of acceptance rise with the sequence, whatever the clocks of several processes say.
	err := s.w.query(nil, `insert into events(source,id,type,data,at) values(?1,?2,?3,?4,
max(?5,coalesce((select at from events order by sequence desc limit 1),?5))) on conflict(source,id) do nothing`,
		e.Source, e.ID, e.Type, e.Data, e.At.UnixMicro())
	if err != nil {
		return err
	}
	if s.w.Changes() == 0 {
		e.Known = true
		return s.w.query(func(st stmt) error { e.Sequence = st.ColumnInt64(0); return nil },
			"select sequence from events where source=? and id=?", e.Source, e.ID)
	}
	e.Sequence = s.w.LastInsertRowID()
	return s.w.query(func(st stmt) error { s.touch.add(st, 0); return nil },
		"update runs set wake_at=1 where ended is null and id in (select run from subscriptions where type in (?,'')) returning owner", e.Type)
}

func (s *Store) key(k *journal.Key) error {
	var run event.RunID
	known := false
	err := s.w.query(func(st stmt) error { known = true; st.ColumnBytes(0, run[:]); return nil },
		"select run from keys where scope=? and key=?", k.Scope, k.Key)
	switch {
	case err != nil || known && run == k.Run:
		return err
	case known:
		return fmt.Errorf("%w: it belongs to run %s", journal.ErrConflict, run)
	}
	return s.w.query(nil, "insert into keys(scope,key,run) values(?,?,?)", k.Scope, k.Key, k.Run[:])
}

// touched gathers whose runs a commit has woken.
type touched struct {
	owners map[int64]bool
	nobody bool
}

func (t *touched) reset() {
	clear(t.owners)
	t.nobody = false
}

// add notes the owner in a column.
func (t *touched) add(st stmt, col int) {
	if st.ColumnIsNull(col) {
		t.nobody = true
		return
	}
	if t.owners == nil {
		t.owners = make(map[int64]bool)
	}
	t.owners[st.ColumnInt64(col)] = true
}

// poke tells the other processes whose runs were woken. A run of nobody can be
// taken by any of them, so all are told. They look at the database soon in any
// case, so an error does not matter.
func (t *touched) poke(s *Store) {
	delete(t.owners, s.me.id)
	if t.nobody {
		s.me.pokeAll(s.dir)
		return
	}
	for _, id := range slices.Sorted(maps.Keys(t.owners)) {
		_ = s.w.query(func(st stmt) error { s.me.poke(s.dir, st.ColumnText(0)); return nil }, "select name from owners where id=?", id)
	}
}
