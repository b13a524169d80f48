package sqlite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// live is what the store remembers of a run that this process owns, so that an
// append needs no look-up. Nobody else can change it while our lock is held.
type live struct {
	id       int64
	last     int64 // sequence of the last journal row
	looked   bool  // read from the database: it may have ended, and be opened again
	slot     bool  // it may hold a concurrency slot
	listens  bool  // it may have subscriptions
	borrowed bool  // nobody's: in this batch only
	existed  bool  // its start found it there
}

// maxLive bounds the memory: beyond it everything is looked up again.
const maxLive = 1 << 18

// hot are the statements of nearly every commit.
type hot struct {
	begin, commit, start, row, status, end, wake stmt
}

const (
	sqlStart = `insert into runs(uuid,definition,family,workflow,status,started,cause,parent,owner,wake_at,priority,flags,directory,labels)
values(?,?,?,?,?,?,?,?,?,?,?,?,?,?) on conflict(uuid) do nothing`
	sqlRow    = "insert into journal(key,at,revision,hash,data) values(?,?,?,?,?)"
	sqlStatus = "update runs set status=?, error=coalesce(?,error) where id=?"
	sqlEnd    = "update runs set status=coalesce(?,status), ended=?, error=coalesce(?,error), wake_at=null, owner=null where id=?"
	// ?1 wake time or null, ?2 keep what woke it, ?3 owner
	sqlWake = "update runs set wake_at=case when ?2 and wake_at=1 then 1 else ?1 end, owner=?3 where id=?4"
)

func (h *hot) prepare(c *conn) error {
	for query, st := range map[string]*stmt{
		"begin immediate": &h.begin, "commit": &h.commit, sqlStart: &h.start, sqlRow: &h.row,
		sqlStatus: &h.status, sqlEnd: &h.end, sqlWake: &h.wake,
	} {
		var err error
		if *st, err = c.prepare(query); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements journal.Store.
func (s *Store) Commit(ctx context.Context, b *journal.Batch) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	// Compressing takes long: not under the write lock.
	packed := s.packer.pack(b.Payloads)
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.err(); err != nil {
		return err
	}
	if s.me.name == "" {
		return fmt.Errorf("commit: %w: the store was opened for reading only", journal.ErrNotOwner)
	}
	if err := s.turn.take(s.hot.begin.run); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.touch.reset()
	err := s.store(b, packed)
	if err == nil {
		err = s.hot.commit.run()
	}
	if err != nil {
		s.undo()
		return fmt.Errorf("commit: %w", err)
	}
	s.settle(b)
	s.turn.pass()
	s.commits.Add(1)
	s.touch.poke(s)
	return nil
}

// undo ends a transaction that went wrong and forgets what it taught.
func (s *Store) undo() {
	if !s.w.AutocommitEnabled() {
		if err := s.w.exec("rollback"); err != nil {
			s.fail(err)
		}
	}
	clear(s.live)
	clear(s.names)
}

// settle drops from memory what this process does not own any more.
func (s *Store) settle(b *journal.Batch) {
	for i := range b.Starts {
		st := &b.Starts[i]
		l := s.live[st.ID]
		switch {
		case l == nil:
		case l.borrowed:
			delete(s.live, st.ID)
		default:
			l.existed = false
		}
	}
	for i := range b.Updates {
		if u := &b.Updates[i]; u.Ended || u.Release {
			delete(s.live, u.ID)
		}
	}
	if len(s.live) > maxLive {
		clear(s.live)
	}
	if len(s.names) > maxLive {
		clear(s.names)
	}
}

// store carries a batch out, within the transaction. The order matters: rows
// before those that name them, and what wakes a run after what puts it to sleep.
func (s *Store) store(b *journal.Batch, packed []packed) error {
	for i := range packed {
		if err := s.payload(&packed[i]); err != nil {
			return err
		}
	}
	for i := range b.Definitions {
		if err := s.define(&b.Definitions[i]); err != nil {
			return err
		}
	}
	for i := range b.Starts {
		if err := s.start(&b.Starts[i]); err != nil {
			return fmt.Errorf("start run %s: %w", b.Starts[i].ID, err)
		}
	}
	for i := range b.Appends {
		if err := s.append(&b.Appends[i]); err != nil {
			return fmt.Errorf("append to run %s: %w", b.Appends[i].Run, err)
		}
	}
	for i := range packed {
		if err := s.payloadRef(&packed[i]); err != nil {
			return err
		}
	}
	for i := range b.Snapshots {
		if err := s.snapshot(&b.Snapshots[i]); err != nil {
			return fmt.Errorf("snapshot of run %s: %w", b.Snapshots[i].Run, err)
		}
	}
	if err := s.subscriptions(b); err != nil {
		return err
	}
	for _, id := range b.InboxDone {
		if err := s.w.query(nil, "delete from inbox where id=?", id); err != nil {
			return err
		}
	}
	if err := s.updates(b.Updates); err != nil {
		return err
	}
	return s.outside(b)
}

// own returns what is known of a run that this process owns.
func (s *Store) own(id event.RunID) (*live, error) {
	if l := s.live[id]; l != nil {
		if l.borrowed && l.existed {
			return nil, journal.ErrNotOwner
		}
		return l, nil
	}
	l := &live{looked: true, slot: true, listens: true}
	var owner int64
	err := s.w.query(func(st stmt) error {
		l.id, owner = st.ColumnInt64(0), st.ColumnInt64(1)
		return nil
	}, "select id, owner from runs where uuid=?", id[:])
	switch {
	case err != nil:
		return nil, err
	case l.id == 0:
		return nil, journal.ErrNotFound
	case owner != s.me.id:
		return nil, journal.ErrNotOwner
	}
	if l.last, err = s.w.last(l.id); err != nil {
		return nil, err
	}
	s.live[id] = l
	return l, nil
}

// last is the sequence of a run's last journal row, 0 without any.
func (c *conn) last(run int64) (last int64, err error) {
	err = c.query(func(st stmt) error {
		last = st.ColumnInt64(0) & maxSequence
		return nil
	}, "select key from journal where key between ? and ? order by key desc limit 1", journalKey(run, 0), journalKey(run, maxSequence))
	return last, err
}

func (s *Store) append(r *journal.Row) error {
	l, err := s.own(r.Run)
	if err != nil {
		// A start that another process owns: its first row is there already.
		if l = s.live[r.Run]; l == nil || !l.existed {
			return err
		}
	}
	if l.existed && r.Sequence == 1 && l.last >= 1 {
		return nil
	}
	switch {
	case l.borrowed && l.existed:
		return err
	case r.Sequence != l.last+1:
		return fmt.Errorf("%w: sequence %d after %d", journal.ErrConflict, r.Sequence, l.last)
	case r.Sequence > maxSequence:
		return fmt.Errorf("the run has %d journal rows and there is no room for more", maxSequence)
	}
	st := s.hot.row
	st.BindInt64(1, journalKey(l.id, r.Sequence))
	st.BindInt64(2, r.At.UnixMicro())
	st.BindInt64(3, int64(r.Revision))
	st.BindInt64(4, int64(r.Hash))
	st.BindBytes(5, r.Data)
	if err := st.run(); err != nil {
		return err
	}
	l.last = r.Sequence
	return nil
}

func (s *Store) start(r *journal.StartRow) error {
	r.Existed = false
	var ids [4]int64
	for i, text := range [...]string{r.Digest, r.Workflow, r.Trigger, r.Directory} {
		id, err := s.name(text)
		if err != nil {
			return err
		}
		ids[i] = id
	}
	family, err := s.name(familyOf(r.Workflow))
	if err != nil {
		return err
	}
	st := s.hot.start
	st.BindBytes(1, r.ID[:])
	st.BindInt64(2, ids[0])
	st.BindInt64(3, family)
	st.BindInt64(4, ids[1])
	st.BindInt64(5, int64(r.Status))
	st.BindInt64(6, r.At.UnixMicro())
	st.BindInt64(7, ids[2])
	if r.Parent.IsZero() {
		st.BindNull(8)
	} else {
		st.BindBytes(8, r.Parent[:])
	}
	if r.Owned {
		st.BindInt64(9, s.me.id)
	} else {
		st.BindNull(9)
	}
	bindWake(st, 10, r.WakeAt)
	st.BindInt64(11, int64(r.Priority))
	flags := int64(0)
	if r.Embedded {
		flags = flagEmbedded
	}
	st.BindInt64(12, flags)
	st.BindInt64(13, ids[3])
	if len(r.Labels) == 0 {
		st.BindNull(14)
	} else {
		st.BindText(14, labelText(r.Labels))
	}
	if err := st.run(); err != nil {
		return err
	}
	if s.w.Changes() == 0 {
		return s.existed(r)
	}
	l := &live{id: s.w.LastInsertRowID(), borrowed: !r.Owned}
	s.live[r.ID] = l
	for k, v := range r.Labels {
		if err := s.w.query(nil, "insert into labels(label,run) values(?,?)", k+"="+v, l.id); err != nil {
			return err
		}
	}
	if r.Concurrency != "" && !r.Status.Ended() {
		l.slot = true
		return s.w.query(nil, "insert into slots(name,run) values(?,?)", r.Concurrency, l.id)
	}
	return nil
}

// existed notes that a start found its run there.
func (s *Store) existed(r *journal.StartRow) error {
	r.Existed = true
	l, err := s.own(r.ID)
	if err != nil { // another owner's, nobody's, or ended
		l = &live{borrowed: true}
		if err := s.w.query(func(st stmt) error { l.id = st.ColumnInt64(0); return nil }, "select id from runs where uuid=?", r.ID[:]); err != nil {
			return err
		}
		if l.last, err = s.w.last(l.id); err != nil {
			return err
		}
		s.live[r.ID] = l
	}
	l.existed = true
	return nil
}

func bindWake(st stmt, param int, at time.Time) {
	if us := at.UnixMicro(); at.IsZero() || us <= 0 {
		st.BindNull(param)
	} else {
		st.BindInt64(param, us)
	}
}

func (s *Store) updates(us []journal.RunUpdate) error {
	// Facts are rare: one look for all runs that end, instead of one each.
	s.facts = false
	if slices.ContainsFunc(us, func(u journal.RunUpdate) bool { return u.Ended }) {
		if err := s.w.query(func(st stmt) error { s.facts = st.ColumnBool(0); return nil }, "select exists(select 1 from inbox)"); err != nil {
			return err
		}
	}
	for i := range us {
		u := &us[i]
		l, err := s.own(u.ID)
		switch {
		case err != nil:
		case l.existed:
			err = journal.ErrConflict
		default:
			err = s.update(u, l)
		}
		if err != nil {
			return fmt.Errorf("update run %s: %w", u.ID, err)
		}
	}
	return nil
}

func (s *Store) update(u *journal.RunUpdate, l *live) error {
	if u.Digest != "" {
		id, err := s.name(u.Digest)
		if err != nil {
			return err
		}
		if err := s.w.query(nil, "update runs set definition=? where id=?", id, l.id); err != nil {
			return err
		}
	}
	if u.Ended {
		return s.end(u, l)
	}
	if !u.WakeAt.IsZero() || u.Release {
		st := s.hot.wake
		bindWake(st, 1, u.WakeAt)
		st.BindBool(2, u.Asleep || u.Release)
		if u.Release {
			st.BindNull(3)
		} else {
			st.BindInt64(3, s.me.id)
		}
		st.BindInt64(4, l.id)
		if u.Release && u.WakeAt.IsZero() {
			// Released and no word about waking: what is there stays.
			if err := s.w.query(nil, "update runs set owner=null where id=?", l.id); err != nil {
				return err
			}
		} else if err := st.run(); err != nil {
			return err
		}
	}
	switch {
	case u.Status == 0 && u.Error == "" && u.EndedAt.IsZero():
		return nil
	case !u.EndedAt.IsZero() || u.Status == 0:
		return s.w.query(nil, "update runs set status=coalesce(?,status), ended=coalesce(?,ended), error=coalesce(?,error) where id=?",
			nullable(int64(u.Status)), nullTime(u.EndedAt), nullText(u.Error), l.id)
	}
	st := s.hot.status
	st.BindInt64(1, int64(u.Status))
	bindText(st, 2, u.Error)
	st.BindInt64(3, l.id)
	if err := st.run(); err != nil {
		return err
	}
	return s.reopened(u, l)
}

// reopened makes a run live again that had ended, when its status says so.
func (s *Store) reopened(u *journal.RunUpdate, l *live) error {
	if l.looked && !u.Status.Ended() {
		return s.w.query(nil, "update runs set ended=null, error=null where id=? and ended is not null", l.id)
	}
	return nil
}

func (s *Store) end(u *journal.RunUpdate, l *live) error {
	st := s.hot.end
	if u.Status == 0 {
		st.BindNull(1)
	} else {
		st.BindInt64(1, int64(u.Status))
	}
	st.BindInt64(2, u.EndedAt.UnixMicro())
	bindText(st, 3, u.Error)
	st.BindInt64(4, l.id)
	if err := st.run(); err != nil {
		return err
	}
	if l.slot {
		if err := s.w.query(nil, "delete from slots where run=?", l.id); err != nil {
			return err
		}
	}
	if l.listens {
		if err := s.w.query(nil, "delete from subscriptions where run=?", l.id); err != nil {
			return err
		}
	}
	if !s.facts {
		return nil
	}
	return s.w.query(nil, "delete from inbox where run=?", l.id)
}

func bindText(st stmt, param int, text string) {
	if text == "" {
		st.BindNull(param)
	} else {
		st.BindText(param, text)
	}
}

func nullable(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func nullTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func nullText(text string) any {
	if text == "" {
		return nil
	}
	return text
}
