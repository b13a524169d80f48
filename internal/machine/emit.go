package machine

import (
	"slices"
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// transition reports what happened to f.
func (m *Machine) transition(f *state.Frame, t Transition) {
	s := f.Seq
	t.Activation = f.ID
	if s.Owner != nil {
		t.Parent = s.Owner.ID
	}
	t.Reference, t.Name, t.Kind, t.Iteration = f.Node.Reference, f.Node.Name, f.Node.Label, s.Iter
	t.Attempt = f.Attempt
	if f.Node.Op == program.Switch && t.Change == TaskEnds {
		t.Case = caseOf(f)
	}
	m.runTransition(t)
	if m.hook != nil {
		m.hook.Saw(f, &t)
	}
}

// caseOf is the name of the case that a switch has taken.
func caseOf(f *state.Frame) string {
	for i := range f.Node.Cases {
		if f.Flow == &f.Node.Cases[i].Then {
			return f.Node.Task.Switch[i].Name
		}
	}
	return ""
}

func (m *Machine) runTransition(t Transition) {
	h := state.Mix(m.r.Hash, uint64(t.Change)<<8|uint64(t.Status))
	h = state.MixString(h, t.Activation)
	h = state.Mix(h, uint64(t.Attempt))
	if t.Error != nil {
		h = state.MixProblem(h, t.Error)
	}
	m.r.Hash = state.MixRaw(h, &t.Output)
	m.step.Transitions = append(m.step.Transitions, t)
}

// entered reports that f begins.
func (m *Machine) entered(f *state.Frame, total int) {
	if f.Shown {
		return
	}
	f.Shown = true
	status := event.Running
	if f.Phase == state.Sleeping || f.Phase == state.Listening {
		status = event.Waiting
	}
	m.transition(f, Transition{Change: Entered, Status: status, Total: total})
}

// command adds c to the step.
func (m *Machine) command(c Command) {
	m.r.Hash = m.hashCommand(m.r.Hash, c)
	m.step.Commands = append(m.step.Commands, c)
}

func (m *Machine) hashCommand(h uint64, c Command) uint64 {
	switch c := c.(type) {
	case *Dispatch:
		h = state.MixString(state.Mix(h, 1), c.Activation)
		h = state.MixString(state.Mix(h, uint64(c.Attempt)), c.Kind)
		return value.Hash(h, c.Arguments)
	case *CancelAttempt:
		h = state.MixString(state.Mix(h, 2), c.Activation)
		return state.MixString(state.Mix(h, uint64(c.Attempt)), c.Reason)
	case *StartTimer:
		return state.MixTime(state.MixString(state.Mix(h, 3), c.ID), c.At)
	case *StopTimer:
		return state.MixString(state.Mix(h, 4), c.ID)
	case *Listen:
		return state.MixString(state.Mix(h, 5), c.Activation)
	case *Unlisten:
		return state.MixString(state.Mix(h, 6), c.Activation)
	case *StartChild:
		h = state.MixString(state.MixString(state.Mix(h, 7), c.Activation), string(c.Child[:]))
		return state.MixRaw(state.MixString(h, c.Name), &c.Input)
	case *CancelChild:
		return state.MixString(state.MixString(state.Mix(h, 8), string(c.Child[:])), c.Act)
	case *Emit:
		return state.MixRaw(state.MixString(state.Mix(h, 9), c.ID), &c.Event)
	case *ResolveSecrets:
		h = state.Mix(h, 10)
		for _, n := range c.Names {
			h = state.MixString(h, n)
		}
		return h
	case *End:
		return state.MixRaw(state.MixProblem(state.Mix(state.Mix(h, 11), uint64(c.Status)), c.Error), &c.Output)
	}
	return h
}

// addTimer starts a timer under an id of its own.
func (m *Machine) addTimer(f *state.Frame, what state.Purpose, id string, at time.Time) *state.Timer {
	m.r.Order++
	t := &state.Timer{ID: id, Frame: f, What: what, At: at.UTC().Truncate(time.Microsecond), Order: m.r.Order}
	m.r.Timers.Add(t)
	m.command(&StartTimer{ID: id, At: t.At})
	return t
}

// startTimer starts a timer of f; n keeps the ids of one activation apart.
func (m *Machine) startTimer(f *state.Frame, what state.Purpose, n int, at time.Time) {
	id := string(f.ID) + "#" + strconv.Itoa(n) + ":" + what.String()
	f.Timers = append(f.Timers, m.addTimer(f, what, id, at))
}

func (m *Machine) stopTimer(t *state.Timer) {
	m.r.Timers.Remove(t)
	if !t.Fired {
		m.command(&StopTimer{ID: t.ID})
	}
}

func (m *Machine) stopTimers(f *state.Frame) {
	for _, t := range f.Timers {
		m.stopTimer(t)
	}
	f.Timers = nil
}

// stopTimersFor stops the timers of f that have a purpose.
func (m *Machine) stopTimersFor(f *state.Frame, what state.Purpose) {
	f.Timers = slices.DeleteFunc(f.Timers, func(t *state.Timer) bool {
		if t.What == what {
			m.stopTimer(t)
		}
		return t.What == what
	})
}

func (m *Machine) stopRunTimer() {
	if m.r.RunTimer != nil {
		m.stopTimer(m.r.RunTimer)
		m.r.RunTimer = nil
	}
}

// NextTimer is when the next timer is due.
func (m *Machine) NextTimer() (time.Time, bool) {
	if t := m.r.Timers.Next(); t != nil {
		return t.At, true
	}
	return time.Time{}, false
}

func (m *Machine) timerFired(id string) {
	t := m.r.Timers.Find(id)
	if t == nil {
		return
	}
	m.r.Timers.Remove(t)
	f := t.Frame
	if f == nil {
		m.r.RunTimer = nil
		m.stopAll(state.Ending{Status: event.Faulted, Problem: program.NewProblem(event.Timeout, 408, "Timeout", "/timeout", "the workflow did not complete within its timeout")}, reasonTimeout)
		return
	}
	f.Timers = slices.DeleteFunc(f.Timers, func(o *state.Timer) bool { return o == t })
	switch t.What {
	case state.Timeout: // D19
		m.fault(f, program.NewProblem(event.Timeout, 408, "Timeout", f.Node.Reference, "the task did not complete within its timeout"), reasonTimeout)
	case state.Wait:
		m.r.SetWaits(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
		m.complete(f, f.Input)
	case state.Retry:
		m.attemptAgain(f)
	case state.AttemptLimit:
		m.cutAttempt(f, "the attempt did not complete within limit.attempt.duration", false)
	case state.Limit:
		m.cutAttempt(f, "the attempts did not complete within limit.duration", true)
	case state.RunTimeout:
	}
}
