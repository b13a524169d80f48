package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// Started is the event that began the run, nil before it.
func (m *Machine) Started() *event.RunStarted { return m.r.Begun }

// State is the state of the run. Only package rewind changes it, before it
// takes a snapshot.
func (m *Machine) State() *state.Run { return &m.r }

// Hook looks on at a replay, and holds work back.
type Hook interface {
	// Hold reports whether a piece of work is not to be done.
	Hold(a state.Action) bool
	// Saw is told what happened to a task.
	Saw(f *state.Frame, t *Transition)
}

// SetHook lets h look on.
func (m *Machine) SetHook(h Hook) { m.hook = h }

// BeginItem begins the next item of a map, as the end of another does.
func (m *Machine) BeginItem(f *state.Frame) { m.beginItem(f) }

// Evaluate evaluates an expression in the scope of a task. It leaves no trace.
func (m *Machine) Evaluate(f *state.Frame, e *expr.Expr, input any) (any, error) {
	m.aim(f)
	return e.Eval(nil, input, m.variable)
}

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

// reopen makes an ended run live again from a state (M5).
func (m *Machine) reopen(b *event.RunReopened) error {
	if m.r.Begun != nil && !m.r.Status.Ended() {
		return errors.New("machine: a run that has not ended cannot be reopened")
	}
	return m.adopt(b.State, nil, b.Child)
}

// fork begins a run in the past of another.
func (m *Machine) fork(b *event.RunForked) error { return m.adopt(b.State, &b.Start, event.RunID{}) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// adopt takes over a state: of the run itself, or, with start, of another run.
// The child is reopened beside it, so its start is not commanded.
func (m *Machine) adopt(taken []byte, start *event.RunStarted, child event.RunID) error {
	from, err := state.Restore(m.p, Revision, taken)
	if err != nil {
		return fmt.Errorf("machine: %w", err)
	}
	if from.Begun == nil || from.Status.Ended() {
		return errors.New("machine: the state is not of a live run")
	}
	still := m.r.Now.Sub(from.Now)
	from.Now = later(from.Now, m.r.Now)
	m.r = *from
	m.ev.runtime, m.ev.workflow = nil, nil
	if start != nil {
		m.r.Begun, m.r.ID, m.r.StartedAt = start, start.Run, m.r.Now
		m.r.Hash = state.MixString(m.r.Hash, string(start.Run[:]))
	}
	m.r.Retime(func(t *state.Timer) time.Time { return t.At.Add(max(0, still)) }) // the run's time stood still
	bad := m.restartTimeout()
	if len(m.p.Secrets) > 0 && m.r.Root != nil { // they may have changed since
		m.r.WantsSecrets, m.r.SecretsAnswered = true, false
	}
	for _, c := range m.Outstanding() {
		if s, ok := c.(*StartChild); !ok || s.Child != child {
			m.command(c)
		}
	}
	m.r.Suspended = false
	m.r.Status = event.Pending
	m.setStatus(event.Running, nil)
	if bad != nil {
		m.abort(bad)
	}
	return nil
}

// restartTimeout gives a run that is opened again the whole time of its timeout.
func (m *Machine) restartTimeout() *event.Problem {
	if m.r.Root == nil {
		return nil
	}
	if t := m.r.RunTimer; t != nil {
		m.r.Timers.Remove(t)
		m.r.RunTimer = nil
	}
	if m.p.Timeout == nil {
		return nil
	}
	d, p := m.duration(nil, m.p.Timeout, m.r.RawInput)
	if p != nil {
		p.Instance = "/timeout"
		return p
	}
	m.r.Order++
	m.r.RunTimer = &state.Timer{ID: "timeout", What: state.RunTimeout, At: d.AddTo(m.r.Now).UTC().Truncate(time.Microsecond), Order: m.r.Order}
	m.r.Timers.Add(m.r.RunTimer)
	return nil
}

// withheld reports that tasks wait for the secrets of a run that was opened again.
func (m *Machine) withheld() bool { return m.r.WantsSecrets && m.r.Root != nil }
