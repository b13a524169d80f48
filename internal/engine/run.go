package engine

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// state is where a run is in the life of its memory.
type state uint8

const (
	loading state = iota + 1 // being read from the store; events for it wait
	queued                   // waits for a place in its concurrency group
	live
	gone // dropped: what still comes for it is not for this struct
)

// run is one live run in memory. Its shard alone touches it.
type run struct {
	id    event.RunID
	s     *shard
	def   *definition
	m     *machine.Machine
	view  *view.Builder
	state state

	sequence int64     // of the last row that was submitted
	at       time.Time // stamp of the last event
	first    time.Time // stamp of the first
	status   event.Status
	parent   *event.Parent
	started  *event.RunStarted
	opening  event.Event // its stored event that is applied when the run begins; none: started
	directory,
	workflow string
	embedded bool
	group    string // concurrency group; "" none

	// What the next request will hold.
	events   []event.Event
	last     int // place in events of the last one applied, before which evaluations that were stopped go
	commands []machine.Command
	shown    []shown
	acks     []chan error
	facts    []int64 // inbox rows dealt with
	end      *machine.End
	wakes    bool // the row's wake time must be cleared, then the inbox be read
	sleep    bool // evict with this request
	dirty    bool
	more     bool // the machine yielded
	ready    bool // in shard.ready

	inflight bool
	flight   flight

	timers lifecycle.Timers[*run]

	waits    []waiter
	feeds    []*Feed
	handles  history.Attempts
	early    []event.Body // came while the run was not live
	listen   listening
	seen     []int64  // inbox rows dealt with, not yet durably
	load     *loaded  // while loading: whom to tell
	resume   *resumed // commands of an earlier process, to be carried out after the first commit
	with     []*definition
	key      *journal.Key
	spaces   bool // its attempts share working directories, which are removed with it
	looking  bool // the inbox and the cloud events are being read
	lookMore bool // and must be read again

	grown struct { // since the last snapshot
		events, bytes, last int
	}
	bytes int64 // accounted
}

// flight is what a submitted request held and what follows when it is durable.
type flight struct {
	request  journal.Request
	commands []machine.Command
	shown    []shown
	acks     []chan error
	facts    []int64
	at       time.Time
	end      *machine.End
	first    bool
	sleep    bool
	look     bool
	rows     [1]journal.Row
	updates  [1]journal.RunUpdate
}

// offer applies an event, or keeps it until the run is loaded.
func (r *run) offer(body event.Body) {
	switch r.state {
	case queued:
		if _, ok := body.(*event.CancelRequested); ok {
			r.cancelQueued(body)
			return
		}
		r.early = append(r.early, body)
	case loading:
		r.early = append(r.early, body)
	case live:
		switch {
		case r.end != nil:
		case r.inflight && r.flight.sleep:
			r.early = append(r.early, body) // it may belong to nobody in a moment
		default:
			r.apply(body)
		}
	case gone:
	}
}

// present reports that the run is in memory and its shard deals with it.
func (r *run) present() bool { return r.state == live || r.state == queued }

// stamp is the time of the next event: never less than the one before (M2).
func (r *run) stamp() time.Time {
	if r.s.now.After(r.at) {
		r.at = r.s.now
	}
	return r.at
}

// apply gives the machine an event and takes what follows from it.
func (r *run) apply(body event.Body) {
	at := r.stamp()
	_, note := body.(*event.AttemptStarted) // changes nothing, so it needs no place among the slices
	if r.more && !note {
		// Replay must continue the machine as often before this event as was done here.
		sliced := event.Event{At: at, Body: &event.Sliced{Slices: r.m.Slices()}}
		r.events = append(r.events, sliced)
		if _, err := r.m.Apply(sliced); err != nil {
			r.broken(err)
			return
		}
	}
	if r.first.IsZero() {
		r.first = at
	}
	ev := event.Event{At: at, Body: body}
	step, err := r.step(&ev)
	if err != nil {
		r.broken(err)
		return
	}
	if _, fired := body.(*event.TimerFired); !mutantForget || !fired {
		r.events = append(r.events, ev)
	}
	r.handles.Note(body)
	if note {
		if !r.more {
			r.s.touch(r)
		}
		return
	}
	r.last = max(0, len(r.events)-1)
	r.took(step)
}

// proceed continues a machine that yielded.
func (r *run) proceed() {
	step, err := r.step(nil)
	if err != nil {
		r.broken(err)
		return
	}
	r.took(step)
	if mutantGreedy && r.more {
		r.proceed()
	}
}

// took keeps what a step asks for until it is durable. The step's slices are the machine's own.
func (r *run) took(step *machine.Step) {
	for _, stopped := range step.Stopped {
		r.events = append(r.events, event.Event{})
		copy(r.events[r.last+1:], r.events[r.last:])
		r.events[r.last] = event.Event{At: r.at, Body: &stopped}
		r.last++
	}
	r.commands = append(r.commands, step.Commands...)
	for i := range step.Transitions {
		t := &step.Transitions[i]
		r.view.Add(r.at, t)
		if len(r.feeds) > 0 {
			r.shown = append(r.shown, shown{at: r.at, transition: *t})
		}
	}
	if step.Ended {
		if end, ok := step.Commands[len(step.Commands)-1].(*machine.End); ok {
			r.end = end
		}
	}
	r.more = step.More
	if r.more {
		if !r.ready {
			r.ready = true
			r.s.ready = append(r.s.ready, r)
		}
		return
	}
	r.s.touch(r)
}

// step applies an event, or continues without one. A panic of the machine is a
// mistake of ours that halts this run and no other.
func (r *run) step(ev *event.Event) (step *machine.Step, err error) {
	defer func() {
		if v := recover(); v != nil {
			r.s.e.o.Logger.Debug("panic", slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("the run is halted by a mistake in Downbeat: %v", v)
		}
	}()
	r.s.guard.Begin()
	if ev == nil {
		return r.m.Continue()
	}
	return r.m.Apply(*ev)
}

// broken halts a run that cannot go on. Its journal still holds the truth.
func (r *run) broken(err error) {
	r.s.e.o.Logger.Error("run cannot go on", slog.String("run", r.id.String()), errAttr(err))
	r.halted(r.sequence > 0, err)
}

// drop forgets the run's memory; what is under way for it finds nobody.
func (r *run) drop() {
	r.state = gone
	r.timers.StopAll(&r.s.timers)
	if r.s.runs[r.id] == r {
		delete(r.s.runs, r.id)
	}
	r.s.e.account(-r.bytes)
	r.bytes = 0
	r.leaveGroup()
	for _, f := range r.feeds {
		f.End()
	}
	r.feeds = nil
}

// abandon tells everybody who waits for the run that they wait in vain.
func (r *run) abandon(err error) {
	for _, a := range r.acks {
		a <- err
	}
	for _, a := range r.flight.acks {
		a <- err
	}
	r.acks, r.flight.acks = nil, nil
	for _, w := range r.waits {
		w <- outcome{err: err}
	}
	r.waits = nil
	if r.load != nil {
		r.load.finish(err)
		r.load = nil
	}
	for _, f := range r.feeds {
		f.End()
	}
}

// grow accounts for what the run holds in memory, about.
func (r *run) grow(n int) {
	r.grown.bytes += n
	r.bytes += int64(n)
	r.s.e.account(int64(n))
}
