package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// ErrEnded says that the run has ended and nothing more can be done to it.
var ErrEnded = errors.New("run has ended")

// StartRequest asks for a new run.
type StartRequest struct {
	Definition *workflow.Definition
	Input      value.Raw
	Trigger    string // "manual" when empty
	Labels     map[string]string
	Directory  string // working directory of `downbeat run`
	// KeyScope and Key make the start once: the idempotency key of a caller.
	KeyScope, Key string
	// Feed gets all updates of the run from the first on; nil: none.
	Feed *Feed
}

// outcome answers a waiter.
type outcome struct {
	Result
	err error
}

// waiter is told once; it has room for the answer.
type waiter chan outcome

// start is a StartRequest on its way.
type start struct {
	id    event.RunID
	q     *StartRequest
	def   *definition
	names []event.Named
	with  []*definition // what names stand for
	group string
	ack   chan error
	wait  waiter // nil: the caller does not wait
}

// NewRunID makes an id that sorts by time: UUID version 7.
func NewRunID(now time.Time) event.RunID {
	var id event.RunID
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|rand.Uint64()&0x0fff|0x7000) //nolint:gosec // an id must be unique, not secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&(1<<62-1)|1<<63)                           //nolint:gosec // as above
	return id
}

// Submit starts a run. When it returns nil the start is durable.
func (e *Engine) Submit(ctx context.Context, q StartRequest) (event.RunID, error) {
	st, err := e.prepare(ctx, &q)
	if err != nil {
		return event.RunID{}, err
	}
	return st.id, e.begin(ctx, st)
}

// Run starts a run and waits for its end. When ctx ends before, the run goes on.
func (e *Engine) Run(ctx context.Context, q StartRequest) (Result, error) {
	st, err := e.prepare(ctx, &q)
	if err != nil {
		return Result{}, err
	}
	st.wait = make(waiter, 1)
	if err := e.begin(ctx, st); err != nil {
		return Result{ID: st.id}, err
	}
	select {
	case o := <-st.wait:
		return o.Result, o.err
	case <-ctx.Done():
		return Result{ID: st.id}, context.Cause(ctx)
	}
}

func (e *Engine) prepare(ctx context.Context, q *StartRequest) (*start, error) {
	if q.Definition == nil {
		return nil, errors.New("start a run: there is no definition")
	}
	if err := e.reserve(ctx); err != nil {
		return nil, err
	}
	def, err := e.defs.Take(q.Definition)
	if err != nil {
		return nil, err
	}
	st := &start{id: NewRunID(e.o.Clock.Now()), q: q, def: def, ack: make(chan error, 1)}
	if len(def.Children) > 0 {
		if st.names, st.with, err = e.defs.Closure(ctx, def); err != nil {
			return nil, err
		}
	}
	if st.group, err = def.Group(q.Input); err != nil {
		return nil, err
	}
	return st, e.full(ctx, def, st.group)
}

func (e *Engine) begin(ctx context.Context, st *start) error {
	if !e.shard(st.id).send(message{kind: msgStart, id: st.id, init: st}) {
		return e.ended()
	}
	select {
	case err := <-st.ack:
		return err
	case <-ctx.Done():
		return fmt.Errorf("start run %s: %w", st.id, context.Cause(ctx))
	}
}

func (e *Engine) ended() error {
	if err := e.Err(); err != nil {
		return err
	}
	return ErrStopped
}

// start makes a run live and applies its first event.
func (s *shard) start(st *start) {
	if s.stopping {
		st.ack <- s.e.ended()
		return
	}
	q := st.q
	trigger := q.Trigger
	if trigger == "" {
		trigger = "manual"
	}
	doc := &st.def.Workflow.Document
	body := &event.RunStarted{
		Run: st.id, Revision: machine.Revision, Definition: st.def.Digest, Namespace: doc.Namespace, Name: doc.Name,
		Version: doc.Version, Definitions: st.names, Input: q.Input, Trigger: trigger, Labels: q.Labels,
		Runtime: s.e.o.Version, Directory: q.Directory,
	}
	r := s.fresh(st.id, st.def, body)
	r.with, r.group = st.with, st.group
	r.acks = append(r.acks, st.ack)
	if q.Key != "" {
		r.key = &journal.Key{Scope: q.KeyScope, Key: q.Key, Run: st.id}
	}
	if st.wait != nil {
		r.waits = append(r.waits, st.wait)
	}
	if q.Feed != nil {
		r.feeds = append(r.feeds, q.Feed)
	}
	if st.group != "" && !s.e.groups.enter(r) {
		return
	}
	r.apply(body)
}

// fresh puts a run whose first event is still to be applied in the shard.
func (s *shard) fresh(id event.RunID, def *definition, body *event.RunStarted) *run {
	r := &run{
		id: id, s: s, def: def, m: machine.New(def.Program), view: view.New(), state: live, status: event.Running,
		parent: body.Parent, started: body, directory: body.Directory, workflow: def.ID, embedded: s.e.o.Embedded,
	}
	r.flight.request.Tag, r.flight.request.Queue = r, s.over
	r.m.SetGuard(s.stopGuard)
	r.grow(baseBytes)
	s.runs[id] = r
	return r
}

// baseBytes is what a live run costs at least.
const baseBytes = 3 << 10

// Wait returns how a run ended, whichever process carries it out.
func (e *Engine) Wait(ctx context.Context, id event.RunID) (Result, error) {
	w := make(waiter, 1)
	here := false
	err := e.shard(id).ask(func(s *shard) {
		if r := s.runs[id]; r != nil && r.state != gone {
			r.waits = append(r.waits, w)
			here = true
		}
	})
	if err != nil && e.Err() != nil {
		return Result{ID: id}, e.Err()
	}
	if here && err == nil {
		select {
		case o := <-w:
			if !errors.Is(o.err, ErrElsewhere) {
				return o.Result, o.err
			}
		case <-ctx.Done():
			return Result{ID: id}, context.Cause(ctx)
		}
	}
	return e.poll(ctx, id)
}

// poll looks at the store until a run that is not live here has ended.
func (e *Engine) poll(ctx context.Context, id event.RunID) (Result, error) {
	for pause := 20 * time.Millisecond; ; pause = min(pause*2, time.Second) {
		row, err := e.o.Reader.Run(ctx, id)
		if err != nil {
			return Result{ID: id}, fmt.Errorf("wait for run %s: %w", id, err)
		}
		if row.Status.Ended() {
			end, err := e.Outcome(ctx, id)
			if err != nil {
				return Result{ID: id}, err
			}
			return Result{ID: id, Status: end.Status, Output: end.Output, Error: end.Error}, nil
		}
		if err := e.o.Clock.Sleep(ctx, pause); err != nil {
			return Result{ID: id}, err
		}
		if err := e.running(); err != nil {
			return Result{ID: id}, err
		}
	}
}

// Watch attaches a feed to a live run. ErrElsewhere when it is not live here.
func (e *Engine) Watch(id event.RunID, f *Feed) error {
	found := false
	err := e.shard(id).ask(func(s *shard) {
		if r := s.runs[id]; r != nil && r.state != gone && r.end == nil {
			r.feeds = append(r.feeds, f)
			found = true
		}
	})
	if err != nil {
		return err
	}
	if !found {
		return ErrElsewhere
	}
	return nil
}

// Live is how many runs are in memory.
func (e *Engine) Live() int {
	n := 0
	for _, s := range e.shards {
		if s.ask(func(s *shard) { n += len(s.runs) }) != nil {
			return n
		}
	}
	return n
}

// Continue goes on with a live run whose process has ended, and with its
// children. ErrNotOwner when that process still lives.
func (e *Engine) Continue(ctx context.Context, id event.RunID, f *Feed) error {
	if err := e.running(); err != nil {
		return err
	}
	if err := e.o.Store.Claim(ctx, id); err != nil && !mutantSteal {
		return fmt.Errorf("continue run %s: %w", id, err)
	}
	done := make(chan error, 1)
	sent := e.shard(id).send(message{kind: msgCall, call: func(s *shard) {
		r := s.runs[id]
		if r == nil {
			r = s.newLoading(id)
			r.load = &loaded{done: done}
			e.read(id)
		} else {
			done <- nil
		}
		if f != nil {
			r.feeds = append(r.feeds, f)
		}
	}})
	if !sent {
		return e.ended()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Tell stores a fact for a run, whoever owns it, and lets its owner know.
// ErrEnded when the run has ended, ErrNotFound when there is none.
func (e *Engine) Tell(ctx context.Context, id event.RunID, kind journal.InboxKind, key string, body event.Body) error {
	row, err := e.o.Reader.Run(ctx, id)
	if err != nil {
		return err
	}
	if row.Status.Ended() {
		return fmt.Errorf("run %s is %s: %w", id, row.Status, ErrEnded)
	}
	now := e.o.Clock.Now()
	data := event.Append(nil, []event.Event{{At: now, Body: body}}, nil) // acts hold no secrets
	b := journal.Batch{Inbox: []journal.InboxRow{{Run: id, Kind: kind, Key: key, Data: data, At: now}}}
	if err := e.Commit(ctx, &b); err != nil {
		return err
	}
	if b.Inbox[0].Gone {
		return fmt.Errorf("run %s: %w", id, ErrEnded)
	}
	e.tell(&b.Inbox[0])
	return nil
}

// Commit stores a batch that is not the engine's own, among its commits.
func (e *Engine) Commit(ctx context.Context, b *journal.Batch) error {
	done := make(chan error, 1)
	q := &journal.Request{Batch: *b, Done: func(q *journal.Request) { done <- q.Err }}
	e.o.Committer.Submit(q)
	select {
	case err := <-done:
		*b = q.Batch
		if err == nil && (len(b.Events) > 0 || len(b.Inbox) > 0) {
			e.waker.poke()
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
