package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// groups bounds how many runs of a workflow are active at once
// (metadata.downbeat.concurrency). A run in a group stays in memory, so the
// counts are this process's; `reject` also counts the runs of others.
type groups struct {
	mu sync.Mutex
	by map[string]*group
}

// group is the runs that share one key.
type group struct {
	active []*run
	queue  []*run // wait for a place, the most urgent first
}

func (g *groups) init() { g.by = make(map[string]*group) }

// full reports whether a start would be rejected because of runs here or elsewhere.
func (e *Engine) full(ctx context.Context, def *definition, name string) error {
	if name == "" || def.Concurrency.On != "reject" {
		return nil
	}
	n, err := e.o.Reader.Active(ctx, name)
	if err != nil {
		return fmt.Errorf("count the active runs of %s: %w", name, err)
	}
	if n >= def.Concurrency.Limit {
		return rejected(def)
	}
	return nil
}

func rejected(def *definition) error {
	return fmt.Errorf("workflow %s: %d runs are active and its concurrency limit is %d: %w", def.ID, def.Concurrency.Limit, def.Concurrency.Limit, ErrRejected)
}

// enter gives a run a place in its group; false: it waits, or is refused.
func (g *groups) enter(r *run) bool {
	c := r.def.Concurrency
	if c == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.by[r.group]
	if p == nil {
		p = &group{}
		g.by[r.group] = p
	}
	if len(p.active) < c.Limit {
		p.active = append(p.active, r)
		return true
	}
	switch c.On {
	case "reject":
		r.group = ""
		r.abandon(rejected(r.def))
		r.drop()
		return false
	case "replace":
		for _, old := range p.active[:len(p.active)-c.Limit+1] {
			id := old.id
			old.s.send(message{kind: msgEvent, id: id, body: &event.CancelRequested{By: "concurrency", Reason: "replaced by run " + r.id.String()}})
		}
	}
	i := len(p.queue)
	for i > 0 && p.queue[i-1].def.Priority < r.def.Priority {
		i--
	}
	p.queue = slices.Insert(p.queue, i, r)
	r.state, r.status = queued, event.Pending
	if r.sequence == 0 { // it is pending until it has a place: its first event is durable, and not applied
		r.first = r.stamp()
		r.events = append(r.events, event.Event{At: r.at, Body: r.started})
		r.s.touch(r)
	}
	return false
}

// leaveGroup gives a run's place to the next that waits.
func (r *run) leaveGroup() {
	if r.group == "" {
		return
	}
	g := &r.s.e.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.by[r.group]
	if p == nil {
		return
	}
	same := func(x *run) bool { return x == r }
	p.queue = slices.DeleteFunc(p.queue, same)
	p.active = slices.DeleteFunc(p.active, same)
	for len(p.queue) > 0 && len(p.active) < r.def.Concurrency.Limit {
		next := p.queue[0]
		p.queue = slices.Delete(p.queue, 0, 1)
		p.active = append(p.active, next)
		next.s.send(message{kind: msgCall, call: func(*shard) { next.leaveQueue() }})
	}
	if len(p.active) == 0 && len(p.queue) == 0 {
		delete(g.by, r.group)
	}
}

// leaveQueue begins a run that waited for a place.
func (r *run) leaveQueue() {
	if r.state != queued || r.s.stopping {
		return
	}
	r.state = live
	early := r.early
	r.early = nil
	first := r.opening
	if first.Body == nil {
		first = event.Event{At: r.first, Body: r.started} // as journaled: a replay gives the same timers
	}
	r.begin(first)
	for _, body := range early {
		r.offer(body)
	}
}

// cancelQueued ends a run that still waits for a place.
func (r *run) cancelQueued(body event.Body) {
	g := &r.s.e.groups
	g.mu.Lock()
	if p := g.by[r.group]; p != nil {
		p.queue = slices.DeleteFunc(p.queue, func(x *run) bool { return x == r })
	}
	g.mu.Unlock()
	r.early = append(r.early, body)
	r.leaveQueue()
}
