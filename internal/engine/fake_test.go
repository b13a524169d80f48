package engine_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// fakeStore keeps everything in maps; a crash is a new engine over the same store.
type fakeStore struct {
	mu      sync.Mutex
	runs    map[event.RunID]*journal.RunRow
	rows    map[event.RunID][]journal.Row
	snaps   map[event.RunID]journal.Snapshot
	defs    map[string][]byte
	pay     map[string][]byte
	inbox   []journal.InboxRow
	events  []journal.CloudEvent
	subs    []journal.Subscription
	next    int64
	commits int
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		runs: map[event.RunID]*journal.RunRow{}, rows: map[event.RunID][]journal.Row{}, snaps: map[event.RunID]journal.Snapshot{},
		defs: map[string][]byte{}, pay: map[string][]byte{},
	}
}

func (f *fakeStore) Commit(_ context.Context, b *journal.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits++
	for _, d := range b.Definitions {
		f.defs[d.Digest] = d.Source
	}
	for _, p := range b.Payloads {
		f.pay[p.Digest] = p.Data
	}
	for i := range b.Starts {
		s := &b.Starts[i]
		if f.runs[s.ID] != nil {
			s.Existed = true
			continue
		}
		r := &journal.RunRow{ID: s.ID, Digest: s.Digest, Workflow: s.Workflow, Status: s.Status, StartedAt: s.At, Parent: s.Parent, WakeAt: s.WakeAt, Embedded: s.Embedded, Directory: s.Directory}
		if s.Owned {
			r.Owner = "me"
		}
		f.runs[s.ID] = r
	}
	for _, r := range b.Appends {
		if n := len(f.rows[r.Run]); int64(n)+1 != r.Sequence {
			return journal.ErrConflict
		}
		f.rows[r.Run] = append(f.rows[r.Run], r)
	}
	for _, s := range b.Snapshots {
		f.snaps[s.Run] = s
	}
	for _, u := range b.Updates {
		r := f.runs[u.ID]
		if u.Status != 0 {
			r.Status = u.Status
		}
		if !u.EndedAt.IsZero() {
			r.EndedAt = u.EndedAt
		}
		if u.Error != "" {
			r.Error = u.Error
		}
		if !u.WakeAt.IsZero() {
			r.WakeAt = u.WakeAt
		}
		if u.Release {
			r.Owner = ""
		}
		if u.Ended {
			r.Owner, r.WakeAt = "", time.Time{}
		}
	}
	for _, s := range b.Subscriptions {
		f.subs = append(f.subs, s)
	}
	for i := range b.Inbox {
		f.next++
		b.Inbox[i].ID = f.next
		r := f.runs[b.Inbox[i].Run]
		if r == nil || r.Status.Ended() {
			b.Inbox[i].Gone = true
			continue
		}
		f.inbox = append(f.inbox, b.Inbox[i])
		r.WakeAt = time.Unix(1, 0)
	}
	f.inbox = slices.DeleteFunc(f.inbox, func(r journal.InboxRow) bool { return slices.Contains(b.InboxDone, r.ID) })
	for i := range b.Events {
		f.next++
		b.Events[i].Sequence = f.next
		f.events = append(f.events, b.Events[i])
		for _, s := range f.subs {
			if r := f.runs[s.Run]; r != nil && !r.Status.Ended() && (len(s.Types) == 0 || slices.Contains(s.Types, b.Events[i].Type)) {
				r.WakeAt = time.Unix(1, 0)
			}
		}
	}
	return nil
}

func (f *fakeStore) Load(_ context.Context, id event.RunID) (*journal.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[id]
	if r == nil {
		return nil, journal.ErrNotFound
	}
	rec := &journal.Record{Run: *r}
	if s, ok := f.snaps[id]; ok {
		rec.Snapshot = &s
	}
	for _, row := range f.rows[id] {
		if rec.Snapshot == nil || row.Sequence > rec.Snapshot.Sequence {
			rec.Rows = append(rec.Rows, row)
		}
	}
	return rec, nil
}

func (f *fakeStore) Payload(_ context.Context, d string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pay[d], nil
}

func (f *fakeStore) Definition(_ context.Context, d string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.defs[d]; ok {
		return b, nil
	}
	return nil, journal.ErrNotFound
}

func (f *fakeStore) Due(_ context.Context, now time.Time, claim bool, limit int) (due []event.RunID, next time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.runs {
		if r.Status.Ended() || r.WakeAt.IsZero() || r.WakeAt.Equal(journal.NoWake) || (r.Owner == "" && !claim) {
			continue
		}
		if r.WakeAt.After(now) {
			if next.IsZero() || r.WakeAt.Before(next) {
				next = r.WakeAt
			}
			continue
		}
		if len(due) < limit {
			r.Owner = "me"
			due = append(due, id)
		}
	}
	return due, next, nil
}

func (f *fakeStore) Claim(_ context.Context, id event.RunID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[id]
	if r == nil {
		return journal.ErrNotFound
	}
	r.Owner = "me"
	return nil
}

func (f *fakeStore) Abandoned(_ context.Context, limit int) (out []journal.Abandoned, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.runs {
		if !r.Status.Ended() && r.Owner == "dead" && len(out) < limit {
			out = append(out, journal.Abandoned{ID: id, Embedded: r.Embedded})
		}
	}
	return out, nil
}

// kill makes every run's owner a dead one.
func (f *fakeStore) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runs {
		if r.Owner != "" {
			r.Owner = "dead"
		}
	}
}

func (f *fakeStore) Inbox(_ context.Context, id event.RunID) (out []journal.InboxRow, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.inbox {
		if r.Run == id {
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fakeStore) CloudEvents(_ context.Context, after int64, types []string, limit int) (out []journal.CloudEvent, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Sequence > after && (len(types) == 0 || slices.Contains(types, e.Type)) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f *fakeStore) Changed() <-chan struct{} { return nil }

func (f *fakeStore) Runs(context.Context, journal.Query) ([]journal.RunRow, string, error) {
	return nil, "", nil
}

func (f *fakeStore) Run(_ context.Context, id event.RunID) (*journal.RunRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[id]
	if r == nil {
		return nil, journal.ErrNotFound
	}
	c := *r
	return &c, nil
}

func (f *fakeStore) Journal(_ context.Context, id event.RunID, after int64, limit int) (out []journal.Row, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rows[id] {
		if r.Sequence > after && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fakeStore) FindDefinition(context.Context, string) (string, string, error) {
	return "", "", journal.ErrNotFound
}

func (f *fakeStore) FindKey(context.Context, string, string) (event.RunID, error) {
	return event.RunID{}, journal.ErrNotFound
}

func (f *fakeStore) Active(context.Context, string) (int, error) { return 0, nil }
