package machine

import (
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// Reasons of CancelAttempt.
const (
	reasonCancelled = "cancelled"
	reasonTimeout   = "timeout"
	reasonRace      = "lost race"
	reasonSibling   = "sibling faulted"
	reasonEnded     = "the workflow ended"
)

// fault ends a task with a problem, once everything beneath it is gone.
func (m *Machine) fault(f *state.Frame, p *event.Problem, reason string) {
	f.Stop, f.Problem = state.StopFaulted, p
	if reason == "" {
		reason = reasonSibling
	}
	m.halt(f, reason)
	m.settle(f)
}

// halt cancels what f waits for and everything beneath it. What cannot end at
// once is left to settle.
func (m *Machine) halt(f *state.Frame, reason string) {
	m.stopTimers(f)
	m.r.SetWaits(f, false)
	if f.Listen != nil {
		m.unlisten(f)
	}
	if f.Outstanding && f.Answered {
		// The answer is in the journal already and waits for the resumption.
		f.Outstanding = false
		m.r.Forget(f)
	}
	if f.Outstanding && !f.Told {
		f.Told = true
		f.Reason = reason
		if f.Phase == state.Awaiting {
			m.command(&CancelChild{Activation: f.ID, Child: m.childID(f), Act: "cancel"})
		} else {
			m.command(&CancelAttempt{Activation: f.ID, Attempt: f.Attempt, Reason: reason})
		}
	}
	for _, s := range f.Seqs {
		if s != nil {
			m.haltSequence(s, reason)
		}
	}
}

func (m *Machine) haltSequence(s *state.Sequence, reason string) {
	s.Dead = true
	if f := s.Current; f != nil {
		f.Stop = state.StopCancelled
		m.halt(f, reason)
		if f.Live == 0 && !f.Outstanding {
			m.cancelled(f)
		}
	}
	if s.Current == nil {
		s.Drop()
	}
}

// cancelled ends a frame that was cancelled and has nothing left beneath.
func (m *Machine) cancelled(f *state.Frame) {
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Cancelled, Unknown: f.Unknown})
	f.Seq.Current = nil
}

// settle goes on with a stopping frame when nothing is left beneath it, and
// with the frames around it that were waiting for that.
func (m *Machine) settle(f *state.Frame) {
	for f != nil && f.Stop != state.NotStopping && f.Live == 0 && !f.Outstanding {
		kind := f.Stop
		switch kind {
		case state.NotStopping:
			return
		case state.StopFaulted:
			m.faulted(f)
			return
		case state.StopComplete:
			f.Stop = state.NotStopping
			m.complete(f, f.Out)
			return
		case state.StopCaught:
			f.Stop = state.NotStopping
			m.caught(f, f.Problem)
			return
		case state.StopCancelled:
			m.cancelled(f)
		case state.StopEnded:
			m.retire(f)
			m.transition(f, Transition{Change: TaskEnds, Status: event.Completed})
			f.Seq.Current = nil
		}
		s := f.Seq
		s.Drop()
		if s.Owner == nil {
			m.rootStopped()
			return
		}
		f = s.Owner
	}
}

// faulted ends a frame with its problem and tells the task around it.
func (m *Machine) faulted(f *state.Frame) {
	p := f.Problem
	if !f.Shown {
		m.entered(f, 0)
	}
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Faulted, Error: p})
	s := f.Seq
	s.Current = nil
	s.Drop()
	o := s.Owner
	switch {
	case o == nil:
		m.endWith(state.Ending{Status: event.Faulted, Problem: p})
	case s.Role != state.Body:
		m.fault(o, p, "")
	case o.Node.Op == program.Try:
		m.caught(o, p)
	case o.Node.Op == program.Fork || o.Node.Op == program.Map:
		m.branchFaulted(o, s.Slot, p)
	default:
		m.fault(o, p, "")
	}
}

// endRun is the directive `end` in s (D10): everything else is cancelled, the
// tasks around complete, and the run ends with v.
func (m *Machine) endRun(s *state.Sequence, v any) {
	if s.Owner == nil {
		s.Drop()
		m.finishRun(v)
		return
	}
	m.r.Ending = &state.Ending{Status: event.Completed, Output: v}
	m.stopRunTimer()
	for q := s; q.Owner != nil; q = q.Owner.Seq {
		o := q.Owner
		o.Stop = state.StopEnded
		m.stopTimers(o)
		m.r.SetWaits(o, false)
		if o.Listen != nil {
			m.unlisten(o)
		}
		for _, other := range o.Seqs {
			if other != nil && other != q {
				m.haltSequence(other, reasonEnded)
			}
		}
	}
	s.Drop()
	m.settle(s.Owner)
}

// abort ends the run with a fault that nothing catches, or cancels it.
func (m *Machine) abort(p *event.Problem) {
	m.stopAll(state.Ending{Status: event.Faulted, Problem: p}, reasonSibling)
}

func (m *Machine) stopAll(e state.Ending, reason string) {
	if m.r.Ending != nil || m.r.Status.Ended() {
		return
	}
	m.r.Ending = &e
	m.stopRunTimer()
	if e.Status == event.Cancelled {
		for _, b := range m.r.Background {
			m.command(&CancelAttempt{Activation: b.Activation, Attempt: b.Attempt, Reason: reason})
		}
	}
	if m.r.Root == nil {
		m.rootStopped()
		return
	}
	m.haltSequence(m.r.Root, reason)
	if m.r.Root.Current == nil {
		m.rootStopped()
	}
}

// rootStopped: no task is left; the run ends as it was about to.
func (m *Machine) rootStopped() {
	e := m.r.Ending
	if e == nil {
		return
	}
	if e.Status == event.Cancelled && len(m.r.Background) > 0 {
		return // their answers come
	}
	if e.Status == event.Completed {
		m.r.Ending = nil
		m.finishRun(e.Output)
		return
	}
	m.endWith(*e)
}

// finishRun transforms the output of the last task and ends the run (DSL 33).
func (m *Machine) finishRun(v any) {
	if m.p.Output != nil {
		var p *event.Problem
		if m.p.Output.As != nil {
			v, p = m.eval(nil, m.p.Output.As, v)
		}
		if p == nil {
			p = program.Validate(m.p.Output.Schema, v, "/output", "output")
		}
		if p != nil {
			p.Instance = "/output"
			m.endWith(state.Ending{Status: event.Faulted, Problem: p})
			return
		}
	}
	m.endWith(state.Ending{Status: event.Completed, Output: v})
}

// endWith is the last thing that a run does (M5).
func (m *Machine) endWith(e state.Ending) {
	m.stopRunTimer()
	m.r.Ending = nil
	m.r.Root = nil
	m.r.Work, m.r.Head = m.r.Work[:0], 0
	m.r.Deferred = nil
	m.r.Suspended = false
	m.r.Background = nil
	m.setStatus(e.Status, e.Problem)
	end := &End{Status: e.Status, Error: e.Problem}
	if e.Status == event.Completed {
		end.Output = rawOf(e.Output)
	}
	m.r.Outcome = e
	m.command(end)
	m.step.Ended = true
}
