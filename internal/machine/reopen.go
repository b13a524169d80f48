package machine

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// Started is the event that began the run, nil before it.
func (m *Machine) Started() *event.RunStarted { return m.begun }

// reopen makes an ended run live again from a state (M5).
func (m *Machine) reopen(b *event.RunReopened) error {
	if m.begun != nil && !m.status.Ended() {
		return errors.New("machine: a run that has not ended cannot be reopened")
	}
	return m.adopt(b.State, nil)
}

// fork begins a run in the past of another.
func (m *Machine) fork(b *event.RunForked) error { return m.adopt(b.State, &b.Start) }

// adopt takes over a state: of the run itself, or, with start, of another run.
func (m *Machine) adopt(state []byte, start *event.RunStarted) error {
	from, err := Restore(m.p, state)
	if err != nil {
		return err
	}
	if from.begun == nil || from.status.Ended() {
		return errors.New("machine: the state is not of a live run")
	}
	guard, step, now := m.eval0.budget.Interrupted, m.step, m.now
	*m = *from
	m.eval0.init(m)
	m.eval0.budget.Interrupted, m.step = guard, step
	if now.After(m.now) {
		m.now = now
	}
	if start != nil {
		m.begun, m.run, m.startedAt = start, start.Run, m.now
		m.hash = mixBytes(m.hash, start.Run[:])
	}
	for _, c := range m.Outstanding() {
		m.command(c)
	}
	m.suspended = false
	m.status = event.Pending
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
	m.more = false
	if m.root != nil {
		m.raiseEpochs(m.root, full.epoch+1)
	}
	m.epoch += full.epoch + 1
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
		for m.more && !m.sliced && i == len(events)-1 && !m.watch.stopped {
			m.slice()
		}
		if m.watch.stopped {
			return nil
		}
	}
	return nil
}

// stops reports whether a is the entering that the watch waits for.
func (w *watch) stops(a action) bool {
	if a.index < 0 || a.seq.dead {
		return false
	}
	id := a.seq.prefix + strconv.Itoa(a.index)
	if v := a.seq.visits; v != nil && v[a.index] > 0 {
		id += "~" + strconv.Itoa(v[a.index]+1)
	}
	if event.Activation(id) != w.activation {
		return false
	}
	w.seen++
	w.stopped = w.seen == w.stopAt
	return w.stopped
}

func (m *Machine) raiseEpochs(s *sequence, by int) {
	s.epoch += by
	f := s.current
	if f == nil {
		return
	}
	f.attempt += by
	if f.try != nil {
		f.try.epoch += by
		f.try.high += by
	}
	for _, c := range f.seqs {
		if c != nil {
			m.raiseEpochs(c, by)
		}
	}
}
