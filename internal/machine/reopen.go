package machine

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// Started is the event that began the run, nil before it.
func (m *Machine) Started() *event.RunStarted { return m.r.Begun }

// reopen makes an ended run live again from a state (M5).
func (m *Machine) reopen(b *event.RunReopened) error {
	if m.r.Begun != nil && !m.r.Status.Ended() {
		return errors.New("machine: a run that has not ended cannot be reopened")
	}
	return m.adopt(b.State, nil)
}

// fork begins a run in the past of another.
func (m *Machine) fork(b *event.RunForked) error { return m.adopt(b.State, &b.Start) }

// Snapshot is the whole state of the run: Restore makes the same machine of it.
func (m *Machine) Snapshot() []byte { return m.r.Snapshot(Revision) }

// Restore makes the machine that a snapshot was taken of. p must be the same
// definition, or one in which every task that the run is inside has the same
// reference and kind: the first that has not is named in the error.
func Restore(p *program.Program, taken []byte) (*Machine, error) {
	r, err := state.Restore(p, Revision, taken)
	if err != nil {
		return nil, fmt.Errorf("machine: %w", err)
	}
	m := New(p)
	m.r = *r
	return m, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// adopt takes over a state: of the run itself, or, with start, of another run.
func (m *Machine) adopt(taken []byte, start *event.RunStarted) error {
	from, err := state.Restore(m.p, Revision, taken)
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	if from.Begun == nil || from.Status.Ended() {
		return errors.New("machine: the state is not of a live run")
	}
	from.Now = later(from.Now, m.r.Now)
	m.r = *from
	m.ev.runtime, m.ev.workflow = nil, nil
	if start != nil {
		m.r.Begun, m.r.ID, m.r.StartedAt = start, start.Run, m.r.Now
		m.r.Hash = state.MixString(m.r.Hash, string(start.Run[:]))
	}
	for _, c := range m.Outstanding() {
		m.command(c)
	}
	m.r.Suspended = false
	m.r.Status = event.Pending
	m.setStatus(event.Running, nil)
	return nil
}

// Rewind is the state just before the run entered an activation for the last
// time: what RunReopened (M5) and RunForked carry. Attempts that begin from it
// have numbers above all that the run has used (M3).
func Rewind(p *program.Program, events []event.Event, a event.Activation) ([]byte, error) {
	full := New(p)
	full.watch = &watch{activation: a, stopAt: -1}
	if err := full.applyAll(events); err != nil {
		return nil, err
	}
	if full.watch.seen == 0 {
		return nil, fmt.Errorf("rewind: the run never entered %s", a)
	}
	m := New(p)
	m.watch = &watch{activation: a, stopAt: full.watch.seen}
	if err := m.applyAll(events); err != nil {
		return nil, err
	}
	m.watch = nil
	m.r.More = false
	m.r.RaiseAll(full.r.Epoch)
	return m.Snapshot(), nil
}

// watch stops a machine before it enters an activation for the n-th time.
type watch struct {
	activation event.Activation
	stopAt     int
	seen       int
	stopped    bool
}

func (m *Machine) applyAll(events []event.Event) error {
	for i, e := range events {
		if _, err := m.Apply(e); err != nil {
			return fmt.Errorf("replay event %d of %d: %w", i+1, len(events), err)
		}
		for m.r.More && !m.r.Interrupted && i == len(events)-1 && !m.watch.stopped {
			m.slice()
		}
		if m.watch.stopped {
			return nil
		}
	}
	return nil
}

// stops reports whether a is the entering that the watch waits for.
func (w *watch) stops(a state.Action) bool {
	if a.Index < 0 || a.Seq.Dead {
		return false
	}
	id := a.Seq.Prefix + strconv.Itoa(a.Index)
	if v := a.Seq.Visits; v != nil && v[a.Index] > 0 {
		id += "~" + strconv.Itoa(v[a.Index]+1)
	}
	if event.Activation(id) != w.activation {
		return false
	}
	w.seen++
	w.stopped = w.seen == w.stopAt
	return w.stopped
}
