package rehearse

import (
	"container/heap"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// maxEvents is how many events a case may take; more means that it has no end.
const maxEvents = 100_000

// host plays one case: it is to the machines what the engine is, without a
// world around it.
type host struct {
	r       *Rehearsal
	c       *Case
	now     time.Time
	queue   queue
	order   uint64
	runs    []*run // the root first
	byID    map[event.RunID]*run
	bus     []accepted // cloud events, in the order of acceptance
	applied int
	answers map[place]int // how often a mock was asked at a place, and all of them together
	asked   map[*Mock]int // highest attempt that was asked for, from 1
	crashes bool
	// interrupted: a crash hit an attempt that must not be repeated.
	interrupted bool
	hit         func(point)
	after       []func() // when all is over
	res         *Result
}

// place is where the answers of a mock are counted: a jump back to the task
// goes on counting, another iteration of a loop around it counts anew.
type place struct {
	run       event.RunID
	reference string
	iteration string
	mock      *Mock // nil: all together
}

// run is one run of a case.
type run struct {
	id      event.RunID
	d       *definition
	m       *machine.Machine
	parent  *machine.StartChild
	of      *run
	journal []event.Event
	since   int // the cloud events accepted before it started
	track   tracker
	pending map[string]*item // answers under way, by what they are for
	timers  map[string]alarm // by id
	taken   map[int]bool     // cloud events that it has consumed, by place on the bus
	ended   bool
}

// alarm is a timer that was started.
type alarm struct {
	*item
	due time.Time
}

// accepted is a cloud event on its way to whoever listens.
type accepted struct {
	envelope map[string]any
	consumed bool
}

// item is something that will happen.
type item struct {
	at    time.Time
	order uint64
	dead  bool
	do    func()
}

type queue []*item

// Len implements heap.Interface.
func (q *queue) Len() int { return len(*q) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool {
	a, b := (*q)[i], (*q)[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.order < b.order
}

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) { (*q)[i], (*q)[j] = (*q)[j], (*q)[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(*item)) } //nolint:errcheck // the queue pushes items alone

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

func newHost(r *Rehearsal, c *Case, crashes bool, hit func(point)) *host {
	h := &host{
		r: r, c: c, now: c.Start, byID: map[event.RunID]*run{}, answers: map[place]int{}, asked: map[*Mock]int{}, crashes: crashes, hit: hit,
		res: &Result{Case: c},
	}
	return h
}

// at puts something into the queue.
func (h *host) at(t time.Time, do func()) *item {
	if t.Before(h.now) {
		t = h.now
	}
	h.order++
	it := &item{at: t, order: h.order, do: do}
	heap.Push(&h.queue, it)
	return it
}

func (h *host) soon(do func()) *item { return h.at(h.now, do) }

// play runs the case until nothing happens any more.
func (h *host) play() {
	c := h.c
	doc := h.r.root.Workflow.Document
	root := h.begin(h.r.root, c.ID, nil, nil)
	h.soon(func() {
		h.apply(root, &event.RunStarted{
			Run: root.id, Revision: machine.Revision, Definition: h.r.root.Workflow.Digest, Namespace: doc.Namespace, Name: doc.Name, Version: doc.Version,
			Input: value.FromAny(c.Input), Trigger: "manual", Runtime: "test",
		})
	})
	for i := range c.Events {
		in := &c.Events[i]
		h.at(in.After.AddTo(c.Start), func() { h.incoming(root, in) })
	}
	h.act(root, c.Cancel, "cancelAt", &event.CancelRequested{By: "test"})
	h.act(root, c.Suspend, "suspendAt", &event.SuspendRequested{By: "test"})
	h.act(root, c.Resume, "resumeAt", &event.ResumeRequested{By: "test"})
	for h.queue.Len() > 0 && !h.res.Stopped {
		it, _ := heap.Pop(&h.queue).(*item)
		if it.dead {
			continue
		}
		h.now = it.at
		it.dead = true
		it.do()
		if h.applied > maxEvents {
			h.stop(c.Pos, fmt.Sprintf("the case went on for more than %d events; after %s of its time it had not ended", maxEvents, h.since()), "")
		}
	}
	h.finish(root)
}

// act schedules what a person does to the run.
func (h *host) act(root *run, m *Moment, what string, body event.Body) {
	if m == nil {
		return
	}
	h.at(m.After.AddTo(h.c.Start), func() {
		if root.ended {
			h.fail(m.Pos, fmt.Sprintf("%s comes too late: the run ended after %s", what, h.since()), nil)
			return
		}
		h.apply(root, body)
	})
}

// since is how much time of the case has passed.
func (h *host) since() string {
	end := h.now
	if !h.res.Ended.IsZero() {
		end = h.res.Ended
	}
	return value.Duration{Nanos: int64(end.Sub(h.c.Start))}.String()
}

// begin makes a run.
func (h *host) begin(d *definition, id event.RunID, of *run, parent *machine.StartChild) *run {
	d.ran = true
	r := &run{id: id, d: d, m: machine.New(d.prog), of: of, parent: parent, since: len(h.bus), pending: map[string]*item{}, timers: map[string]alarm{}, taken: map[int]bool{}}
	r.track = tracker{d: d, hit: h.hit}
	h.runs = append(h.runs, r)
	h.byID[id] = r
	return r
}

// runID is the id of the run of a case: always the same, so that what is derived
// from it (identifiers, jitter) is too.
func runID(name string) (id event.RunID) {
	sum := sha256.Sum256([]byte("downbeat test " + name))
	copy(id[:], sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// apply gives a fact to a run.
func (h *host) apply(r *run, body event.Body) {
	if r.ended || h.res.Stopped {
		return
	}
	e := event.Event{At: h.now, Body: body}
	r.journal = append(r.journal, e)
	h.applied++
	step, err := r.m.Apply(e)
	for {
		if err != nil {
			h.stop(h.c.Pos, "the machine refused an event: "+err.Error(), "this is a mistake of Downbeat: please report it")
			return
		}
		h.take(r, step)
		if h.res.Stopped || !step.More {
			break
		}
		step, err = r.m.Continue()
	}
	if h.crashes && !h.res.Stopped && (h.c.Crash.Every || slices.Contains(h.c.Crash.After, h.applied)) {
		h.crash(r)
	}
}

// take does what a step asks for. All of it goes through the queue: nothing
// comes back to a machine while its step is looked at.
func (h *host) take(r *run, s *machine.Step) {
	for i := range s.Transitions {
		t := &s.Transitions[i]
		r.track.add(t)
		if r.of == nil && t.Change == machine.Entered {
			h.res.Path = append(h.res.Path, t.Reference)
		}
	}
	for _, c := range s.Commands {
		h.carry(r, c)
	}
}

func answerKey(a event.Activation, attempt int) string {
	return fmt.Sprintf("answer %s %d", a, attempt)
}
func childKey(a event.Activation) string { return "child " + string(a) }

// carry carries a command out.
func (h *host) carry(r *run, c machine.Command) {
	switch c := c.(type) {
	case *machine.Dispatch:
		h.dispatch(r, c)
	case *machine.CancelAttempt:
		h.answer(r, c.Activation, c.Attempt, h.now, &event.TaskCancelled{Activation: c.Activation, Attempt: c.Attempt})
	case *machine.StartTimer:
		id := c.ID
		r.timers[id] = alarm{h.at(c.At, func() {
			delete(r.timers, id)
			h.apply(r, &event.TimerFired{Timer: id})
		}), c.At}
	case *machine.StopTimer:
		if t, ok := r.timers[c.ID]; ok {
			t.dead = true
			delete(r.timers, c.ID)
		}
	case *machine.Listen:
		a := c.Activation
		h.soon(func() { h.early(r, a) })
	case *machine.Unlisten:
	case *machine.StartChild:
		h.startChild(r, c)
	case *machine.CancelChild:
		h.tellChild(r, c)
	case *machine.Emit:
		v, err := c.Event.Any()
		if m, ok := v.(map[string]any); ok && err == nil {
			h.res.Emitted = append(h.res.Emitted, m)
			h.soon(func() { h.accept(m) })
		}
	case *machine.ResolveSecrets:
		h.secrets(r, c.Names)
	case *machine.End:
		h.ended(r, c)
	}
}

func (r *run) expect(key string, it *item) {
	if old := r.pending[key]; old != nil {
		old.dead = true
	}
	r.pending[key] = it
}

// answer schedules how an attempt ends; an answer that was under way is dropped.
func (h *host) answer(r *run, a event.Activation, attempt int, at time.Time, body event.Body) {
	key := answerKey(a, attempt)
	r.expect(key, h.at(at, func() {
		delete(r.pending, key)
		h.apply(r, body)
	}))
}

func (h *host) secrets(r *run, names []string) {
	body := &event.SecretsResolved{}
	for _, n := range names {
		if v, ok := h.c.Secrets[n]; ok {
			body.Secrets = append(body.Secrets, event.Secret{Name: n, Value: value.FromAny(v)})
		} else {
			body.Missing = append(body.Missing, n)
		}
	}
	r.expect("secrets", h.soon(func() {
		delete(r.pending, "secrets")
		h.apply(r, body)
	}))
}

// ended closes a run and tells the run that waits for it.
func (h *host) ended(r *run, c *machine.End) {
	r.ended = true
	for k, it := range r.pending {
		// A child that a cancelled run has begun ends by itself.
		it.dead = true
		delete(r.pending, k)
	}
	for id, t := range r.timers {
		t.dead = true
		delete(r.timers, id)
	}
	if r.of == nil {
		h.res.Ended = h.now
		h.res.Status, h.res.Output, h.res.Error = c.Status, c.Output, c.Error
		return
	}
	if p := r.parent; p.Await {
		h.childEnded(r.of, p, h.now, &event.ChildEnded{
			Activation: p.Activation, Attempt: p.Attempt, Child: r.id, Status: c.Status, Output: c.Output, Error: c.Error,
		})
	}
}

func (h *host) childEnded(r *run, p *machine.StartChild, at time.Time, body *event.ChildEnded) {
	r.expect(childKey(p.Activation), h.at(at, func() {
		delete(r.pending, childKey(p.Activation))
		h.apply(r, body)
	}))
}

// finish notes how the root is left.
func (h *host) finish(root *run) {
	res := h.res
	res.Started, res.Events, res.Journal = h.c.Start, h.applied, root.journal
	if res.Ended.IsZero() { // it is left where it last moved
		res.Ended = h.c.Start
		if n := len(root.journal); n > 0 {
			res.Ended = root.journal[n-1].At
		}
	}
	if !root.ended {
		res.Status = root.m.Status()
		if res.Status == event.Running { // a child of it waits
			res.Status = event.Waiting
		}
	}
	res.Context = root.m.Context()
	res.Duration = res.Ended.Sub(res.Started)
	for i := range h.c.Crash.After {
		if n := h.c.Crash.After[i]; n > h.applied && !res.Stopped {
			h.fail(h.c.Crash.Pos, fmt.Sprintf("there is no event %d to crash after: the case has %d", n, h.applied), nil)
		}
	}
	if res.Stopped {
		return
	}
	for _, f := range h.after {
		f()
	}
	h.unused()
}

// unused reports answers of the case's own mocks that nobody asked for.
func (h *host) unused() {
	for _, m := range h.c.Mocks {
		n, most := h.asked[m], len(m.Attempts)
		switch {
		case n == 0:
			h.fail(m.Pos, fmt.Sprintf("the mock of %s was never asked: the run did not come to that task%s", m.Task.Text, onlyWhen(m)), nil)
		case m.given && n < most:
			h.fail(m.Attempts[n].Pos, fmt.Sprintf("this attempt of the mock of %s was never asked for: there were %d", m.Task.Text, n), nil)
		}
	}
}

func onlyWhen(m *Mock) string {
	if m.When != nil {
		return ", or its when never held"
	}
	return ""
}

// fail notes a failure; the case goes on.
func (h *host) fail(pos source.Pos, message string, diff []string) {
	h.res.fail(pos, message, diff)
}

// stop notes a failure after which going on makes no sense.
func (h *host) stop(pos source.Pos, message, hint string) {
	h.res.Stopped = true
	h.res.Failures = append(h.res.Failures, Failure{Pos: pos, Message: message, Hint: hint})
}
