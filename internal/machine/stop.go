package machine

import (
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
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
func (m *Machine) fault(f *frame, p *event.Problem, reason string) {
	f.stop, f.problem = stopFaulted, p
	if reason == "" {
		reason = reasonSibling
	}
	m.halt(f, reason)
	m.settle(f)
}

// halt cancels what f waits for and everything beneath it. What cannot end at
// once is left to settle.
func (m *Machine) halt(f *frame, reason string) {
	m.stopTimers(f)
	m.setWaiting(f, false)
	if f.listen != nil {
		m.unlisten(f)
	}
	if f.outstanding && f.answered {
		// The answer is in the journal already and waits for the resumption.
		f.outstanding = false
		m.forget(f)
	}
	if f.outstanding && !f.told {
		f.told = true
		f.reason = reason
		if f.phase == awaiting {
			m.command(&CancelChild{Activation: f.id, Child: m.childID(f), Act: "cancel"})
		} else {
			m.command(&CancelAttempt{Activation: f.id, Attempt: f.attempt, Reason: reason})
		}
	}
	for _, s := range f.seqs {
		if s != nil {
			m.haltSequence(s, reason)
		}
	}
}

func (m *Machine) haltSequence(s *sequence, reason string) {
	s.dead = true
	if f := s.current; f != nil {
		f.stop = stopCancelled
		m.halt(f, reason)
		if f.live == 0 && !f.outstanding {
			m.cancelled(f)
		}
	}
	if s.current == nil {
		m.drop(s)
	}
}

// cancelled ends a frame that was cancelled and has nothing left beneath.
func (m *Machine) cancelled(f *frame) {
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Cancelled, Unknown: f.unknown})
	f.seq.current = nil
}

// settle goes on with a stopping frame when nothing is left beneath it, and
// with the frames around it that were waiting for that.
func (m *Machine) settle(f *frame) {
	for f != nil && f.stop != notStopping && f.live == 0 && !f.outstanding {
		kind := f.stop
		switch kind {
		case notStopping:
			return
		case stopFaulted:
			m.faulted(f)
			return
		case stopComplete:
			f.stop = notStopping
			m.complete(f, f.out)
			return
		case stopCaught:
			f.stop = notStopping
			m.caught(f, f.problem)
			return
		case stopCancelled:
			m.cancelled(f)
		case stopEnded:
			m.retire(f)
			m.transition(f, Transition{Change: TaskEnds, Status: event.Completed})
			f.seq.current = nil
		}
		s := f.seq
		m.drop(s)
		if s.owner == nil {
			m.rootStopped()
			return
		}
		f = s.owner
	}
}

// faulted ends a frame with its problem and tells the task around it.
func (m *Machine) faulted(f *frame) {
	p := f.problem
	if !f.shown {
		m.entered(f, 0)
	}
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Faulted, Error: p})
	s := f.seq
	s.current = nil
	m.drop(s)
	o := s.owner
	switch {
	case o == nil:
		m.endWith(ending{status: event.Faulted, problem: p})
	case s.role != body:
		m.fault(o, p, "")
	case o.node.Op == program.Try:
		m.caught(o, p)
	case o.node.Op == program.Fork || o.node.Op == program.Map:
		m.branchFaulted(o, s.slot, p)
	default:
		m.fault(o, p, "")
	}
}

// ending is how a run is about to end.
type ending struct {
	status  event.Status
	output  any
	problem *event.Problem
}

// endRun is the directive `end` in s (D10): everything else is cancelled, the
// tasks around complete, and the run ends with v.
func (m *Machine) endRun(s *sequence, v any) {
	if s.owner == nil {
		m.drop(s)
		m.finishRun(v)
		return
	}
	m.ending = &ending{status: event.Completed, output: v}
	m.stopRunTimer()
	for q := s; q.owner != nil; q = q.owner.seq {
		o := q.owner
		o.stop = stopEnded
		m.stopTimers(o)
		m.setWaiting(o, false)
		if o.listen != nil {
			m.unlisten(o)
		}
		for _, other := range o.seqs {
			if other != nil && other != q {
				m.haltSequence(other, reasonEnded)
			}
		}
		q.dead = true
	}
	m.root.dead = true
	m.drop(s)
	m.settle(s.owner)
}

// abort ends the run with a fault that nothing catches, or cancels it.
func (m *Machine) abort(p *event.Problem) {
	m.stopAll(ending{status: event.Faulted, problem: p}, reasonSibling)
}

func (m *Machine) stopAll(e ending, reason string) {
	if m.ending != nil || m.status.Ended() {
		return
	}
	m.ending = &e
	m.stopRunTimer()
	if e.status == event.Cancelled {
		for _, b := range m.background {
			m.command(&CancelAttempt{Activation: b.activation, Attempt: b.attempt, Reason: reason})
		}
	}
	if m.root == nil {
		m.rootStopped()
		return
	}
	m.haltSequence(m.root, reason)
	if m.root.current == nil {
		m.rootStopped()
	}
}

// rootStopped: no task is left; the run ends as it was about to.
func (m *Machine) rootStopped() {
	e := m.ending
	if e == nil {
		return
	}
	if e.status == event.Cancelled && len(m.background) > 0 {
		return // their answers come
	}
	if e.status == event.Completed {
		m.ending = nil
		m.finishRun(e.output)
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
			p = m.validate(m.p.Output.Schema, v, "/output", "output")
		}
		if p != nil {
			p.Instance = "/output"
			m.endWith(ending{status: event.Faulted, problem: p})
			return
		}
	}
	m.endWith(ending{status: event.Completed, output: v})
}

// endWith is the last thing that a run does (M5).
func (m *Machine) endWith(e ending) {
	m.stopRunTimer()
	m.ending = nil
	m.root = nil
	m.work, m.head = m.work[:0], 0
	m.deferred = nil
	m.suspended = false
	m.background = nil
	m.setStatus(e.status, e.problem)
	end := &End{Status: e.status, Error: e.problem}
	if e.status == event.Completed {
		end.Output = rawOf(e.output)
	}
	m.result = e
	m.command(end)
	m.step.Ended = true
}
