package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Memory is a store in memory, for tests and simulations: one process's handle
// on data that several handles may share, as processes share a database.
type Memory struct {
	d       *memoryData
	name    string
	changed chan struct{}
	over    bool // guarded by d.mu

	// Before, if set, is called with the number of each commit of this handle,
	// from 1. When it returns an error, nothing of the batch is stored.
	Before func(n int, b *Batch) error
	// After, if set, is called when a commit is stored and before Commit returns.
	// When it returns an error, that is what Commit returns, and the store is
	// closed: a loss of power after the sync and before anybody heard of it.
	After func(n int, b *Batch) error

	commits int
}

var (
	_ Store     = (*Memory)(nil)
	_ Reader    = (*Memory)(nil)
	_ Keeper    = (*Memory)(nil)
	_ Schedules = (*Memory)(nil)
)

type memoryData struct {
	mu        sync.Mutex
	handles   map[string]*Memory
	owners    int
	runs      map[event.RunID]*memoryRun
	order     []*memoryRun // as they were started
	defs      map[string][]byte
	deployed  map[string]string
	payloads  map[string]*memoryPayload
	inbox     []InboxRow
	inboxed   int64
	events    []CloudEvent
	accepted  int64
	keys      map[[2]string]event.RunID
	schedules map[scheduleKey]Schedule
}

type memoryRun struct {
	row   RunRow
	owner string
	group string
	rows  []Row
	snap  *Snapshot
	subs  []Subscription
	n     int64
}

type memoryPayload struct {
	data []byte
	runs map[event.RunID]bool
}

// woken as a wake time says that something outside woke the run.
var woken = time.UnixMicro(1).UTC()

// NewMemory returns an empty store, and its first owner.
func NewMemory() *Memory {
	d := &memoryData{
		handles: make(map[string]*Memory), runs: make(map[event.RunID]*memoryRun), defs: make(map[string][]byte),
		deployed: make(map[string]string), payloads: make(map[string]*memoryPayload), keys: make(map[[2]string]event.RunID), schedules: make(map[scheduleKey]Schedule),
	}
	return (&Memory{d: d}).Again()
}

// Again returns a further owner of the same data: another process, or the same
// one after it was started again.
func (m *Memory) Again() *Memory {
	d := m.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owners++
	n := &Memory{d: d, name: "owner-" + strconv.Itoa(d.owners), changed: make(chan struct{}, 1)}
	d.handles[n.name] = n
	return n
}

// Kill ends this owner as the end of its process does. Close is the same.
func (m *Memory) Kill() {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.over = true
}

// Close implements io.Closer.
func (m *Memory) Close() error { m.Kill(); return nil }

// Owner is the name under which this handle owns runs.
func (m *Memory) Owner() Owner { return Owner(m.name) }

// Commit implements Store.
func (m *Memory) Commit(ctx context.Context, b *Batch) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	m.commits++
	if m.Before != nil {
		if err := m.Before(m.commits, b); err != nil {
			return err
		}
	}
	m.d.mu.Lock()
	err := m.commit(b)
	m.d.mu.Unlock()
	if err == nil && m.After != nil {
		if err = m.After(m.commits, b); err != nil {
			m.Kill()
		}
	}
	return err
}

func (m *Memory) commit(b *Batch) error {
	if m.over {
		return ErrClosed
	}
	// Everything that can be refused is looked at first, so that a refused batch
	// leaves nothing.
	if err := m.check(b); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	d := m.d
	for _, f := range b.Definitions {
		d.defs[f.Digest] = slices.Clone(f.Source)
		if f.ID != "" {
			d.deployed[f.ID] = f.Digest
		}
	}
	for i := range b.Starts {
		m.start(&b.Starts[i])
	}
	for _, r := range b.Appends {
		if run := d.runs[r.Run]; r.Sequence == int64(len(run.rows))+1 {
			r.Data = slices.Clone(r.Data)
			run.rows = append(run.rows, r)
		}
	}
	for _, p := range b.Payloads {
		if d.payloads[p.Digest] == nil {
			d.payloads[p.Digest] = &memoryPayload{slices.Clone(p.Data), make(map[event.RunID]bool)}
		}
		d.payloads[p.Digest].runs[p.Run] = true
	}
	for _, s := range b.Snapshots {
		s.State = slices.Clone(s.State)
		d.runs[s.Run].snap = &s
	}
	for _, u := range b.Unsubscribe {
		r := d.runs[u.Run]
		r.subs = slices.DeleteFunc(r.subs, func(s Subscription) bool { return s.Activation == u.Activation })
	}
	for _, u := range b.Subscriptions {
		u.Types = slices.Clone(u.Types)
		d.runs[u.Run].subs = append(d.runs[u.Run].subs, u)
	}
	d.inbox = slices.DeleteFunc(d.inbox, func(r InboxRow) bool { return slices.Contains(b.InboxDone, r.ID) })
	for i := range b.Updates {
		m.update(&b.Updates[i])
	}
	for i := range b.Inbox {
		m.leave(&b.Inbox[i])
	}
	for i := range b.Events {
		m.accept(&b.Events[i])
	}
	for _, k := range b.Keys {
		d.keys[[2]string{k.Scope, k.Key}] = k.Run
	}
	for _, s := range b.Schedules {
		m.schedule(s)
	}
	return nil
}

// check refuses what the batch must not do.
func (m *Memory) check(b *Batch) error {
	d := m.d
	for _, f := range b.Definitions {
		if was := d.deployed[f.ID]; f.ID != "" && was != "" && was != f.Digest {
			return fmt.Errorf("deploy %s: %w: that version exists with other content", f.ID, ErrConflict)
		}
	}
	last, existed := make(map[event.RunID]int64), make(map[event.RunID]bool)
	for i := range b.Starts {
		id := b.Starts[i].ID
		_, twice := last[id]
		existed[id] = twice || d.runs[id] != nil
		if last[id] = 0; d.runs[id] != nil {
			last[id] = int64(len(d.runs[id].rows))
		}
	}
	own := func(id event.RunID) error {
		switch r := d.runs[id]; {
		case r != nil && r.owner == m.name:
			return nil
		case r != nil:
			return fmt.Errorf("run %s: %w", id, ErrNotOwner)
		}
		if _, started := last[id]; !started {
			return fmt.Errorf("run %s: %w", id, ErrNotFound)
		}
		return nil
	}
	for _, r := range b.Appends {
		n, known := last[r.Run]
		if !known && d.runs[r.Run] != nil {
			n = int64(len(d.runs[r.Run].rows))
		}
		if existed[r.Run] && r.Sequence == 1 && n >= 1 {
			continue
		}
		if err := own(r.Run); err != nil {
			return err
		}
		if r.Sequence != n+1 {
			return fmt.Errorf("run %s: %w: sequence %d after %d", r.Run, ErrConflict, r.Sequence, n)
		}
		last[r.Run] = r.Sequence
	}
	for _, id := range touchedRuns(b) {
		if err := own(id); err != nil {
			return err
		}
	}
	for _, u := range b.Updates {
		if existed[u.ID] {
			return fmt.Errorf("run %s: %w", u.ID, ErrConflict)
		}
	}
	for _, k := range b.Keys {
		if was, ok := d.keys[[2]string{k.Scope, k.Key}]; ok && was != k.Run {
			return fmt.Errorf("idempotency key %s: %w: it belongs to run %s", k.Key, ErrConflict, was)
		}
	}
	return m.checkSchedules(b.Schedules)
}

func touchedRuns(b *Batch) (ids []event.RunID) {
	for _, s := range b.Snapshots {
		ids = append(ids, s.Run)
	}
	for _, s := range b.Subscriptions {
		ids = append(ids, s.Run)
	}
	for _, s := range b.Unsubscribe {
		ids = append(ids, s.Run)
	}
	for _, u := range b.Updates {
		ids = append(ids, u.ID)
	}
	return ids
}

func (m *Memory) start(s *StartRow) {
	if s.Existed = m.d.runs[s.ID] != nil; s.Existed {
		return
	}
	r := &memoryRun{group: s.Concurrency, n: 1, row: RunRow{
		ID: s.ID, Digest: s.Digest, Workflow: s.Workflow, Status: s.Status, StartedAt: s.At, Trigger: s.Trigger, Parent: s.Parent,
		Priority: s.Priority, Embedded: s.Embedded, Directory: s.Directory, Labels: maps.Clone(s.Labels), WakeAt: wake(s.WakeAt),
	}}
	if n := len(m.d.order); n > 0 {
		r.n = m.d.order[n-1].n + 1
	}
	if s.Owned {
		r.owner = m.name
	}
	m.d.runs[s.ID] = r
	m.d.order = append(m.d.order, r)
}

func wake(at time.Time) time.Time {
	if at.Equal(NoWake) {
		return time.Time{}
	}
	return at
}

func (m *Memory) update(u *RunUpdate) {
	r := m.d.runs[u.ID]
	if u.Status != 0 {
		r.row.Status = u.Status
	}
	if u.Error != "" {
		r.row.Error = u.Error
	}
	if u.Digest != "" {
		r.row.Digest = u.Digest
	}
	if !u.EndedAt.IsZero() {
		r.row.EndedAt = u.EndedAt
	}
	if u.Ended {
		r.owner, r.row.WakeAt, r.subs, r.group = "", time.Time{}, nil, ""
		m.d.inbox = slices.DeleteFunc(m.d.inbox, func(i InboxRow) bool { return i.Run == u.ID })
		return
	}
	if u.Status != 0 && !u.Status.Ended() && !r.row.EndedAt.IsZero() && u.EndedAt.IsZero() {
		r.row.EndedAt, r.row.Error = time.Time{}, u.Error // opened again
	}
	if asleep := u.Asleep || u.Release; !u.WakeAt.IsZero() && (!asleep || !r.row.WakeAt.Equal(woken)) {
		r.row.WakeAt = wake(u.WakeAt)
	}
	if u.Release {
		r.owner = ""
	}
}

// rouse makes a run due at once and tells the owners that may care.
func (m *Memory) rouse(r *memoryRun) {
	r.row.WakeAt = woken
	for name, h := range m.d.handles {
		if h != m && !h.over && (r.owner == "" || r.owner == name) {
			select {
			case h.changed <- struct{}{}:
			default:
			}
		}
	}
}

func (m *Memory) leave(r *InboxRow) {
	run := m.d.runs[r.Run]
	r.ID, r.Gone = 0, run == nil || !run.row.EndedAt.IsZero() && run.owner == ""
	if r.Gone {
		return
	}
	m.rouse(run)
	for _, was := range m.d.inbox {
		if was.Run == r.Run && was.Key == r.Key && r.Key != "" {
			r.ID = was.ID
			return
		}
	}
	m.d.inboxed++
	r.ID = m.d.inboxed
	kept := *r
	kept.Data = slices.Clone(r.Data)
	m.d.inbox = append(m.d.inbox, kept)
}

func (m *Memory) accept(e *CloudEvent) {
	d := m.d
	e.Known = false
	for _, was := range d.events {
		if was.Source == e.Source && was.ID == e.ID {
			e.Known, e.Sequence = true, was.Sequence
			return
		}
	}
	d.accepted++
	e.Sequence = d.accepted
	kept := *e
	kept.Data = slices.Clone(e.Data)
	if n := len(d.events); n > 0 && kept.At.Before(d.events[n-1].At) {
		kept.At = d.events[n-1].At
	}
	d.events = append(d.events, kept)
	for _, r := range d.order {
		if r.row.EndedAt.IsZero() && slices.ContainsFunc(r.subs, func(s Subscription) bool { return wants(s.Types, e.Type) }) {
			m.rouse(r)
		}
	}
}

func wants(types []string, kind string) bool {
	return len(types) == 0 || slices.Contains(types, kind)
}

// locked runs f with the data locked, unless this owner has ended.
func (m *Memory) locked(f func(d *memoryData) error) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.over {
		return ErrClosed
	}
	return f(m.d)
}

func (m *Memory) alive(owner string) bool {
	h := m.d.handles[owner]
	return h != nil && !h.over
}

func (m *Memory) show(r *memoryRun) RunRow {
	row := r.row
	row.Owner, row.OwnerAlive, row.Labels = r.owner, m.alive(r.owner), maps.Clone(r.row.Labels)
	return row
}

func familyOf(workflow string) string {
	family, _, _ := strings.Cut(workflow, ":")
	return family
}
