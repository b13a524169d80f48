package machine

import (
	"encoding/binary"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// performTry runs the block (DSL 108).
func (m *Machine) performTry(f *state.Frame) {
	m.entered(f, 0)
	f.Try = &state.Try{Epoch: f.Seq.Epoch, High: f.Seq.Epoch}
	if r := f.Node.Try.Retry; r != nil && r.Limit != nil {
		d, p := m.duration(f, r.Limit, f.Input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		f.Try.Deadline = d.AddTo(m.r.Now)
		m.startTimer(f, state.Limit, f.Attempt, f.Try.Deadline)
	}
	m.tryBlock(f)
}

// tryBlock begins an attempt at the block.
func (m *Machine) tryBlock(f *state.Frame) {
	if r := f.Node.Try.Retry; r != nil && r.AttemptLimit != nil {
		d, p := m.duration(f, r.AttemptLimit, f.Input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.startTimer(f, state.AttemptLimit, f.Try.Epoch+1, d.AddTo(m.r.Now))
	}
	s := f.Child(f.Node.Body, state.Body, 0, "")
	s.Epoch = f.Try.Epoch
	m.start(s, f.Input)
}

// attemptAgain begins the block anew after the delay of a retry. Attempts go on
// above the highest number that the block or a try inside has used (M3).
func (m *Machine) attemptAgain(f *state.Frame) {
	m.r.SetWaits(f, false)
	f.Phase = state.Running
	st := f.Try
	st.Epoch = st.High + 1
	m.r.Raise(f, st.Epoch)
	m.tryBlock(f)
}

// cutAttempt ends the running attempt by a timeout that the catch may handle (D16).
func (m *Machine) cutAttempt(f *state.Frame, detail string, last bool) {
	f.Try.Exhausted = f.Try.Exhausted || last
	if f.Phase == state.Delayed || f.Stop != state.NotStopping || f.Seqs == nil || f.Seqs[0] == nil || f.Seqs[0].Role != state.Body {
		return
	}
	f.Stop, f.Problem = state.StopCaught, program.NewProblem(event.Timeout, 408, "Timeout", f.Node.Reference, detail)
	m.haltSequence(f.Seqs[0], reasonTimeout)
	m.settle(f)
}

// caught decides what a fault of the block leads to: it passes, the block is
// tried again, or it is handled (DSL 109-118, D15, D15d).
func (m *Machine) caught(f *state.Frame, p *event.Problem) {
	c, st := f.Node.Try, f.Try
	m.stopTimersFor(f, state.AttemptLimit)
	if !c.Matches(p) {
		m.fault(f, p, "")
		return
	}
	errorValue := program.ErrorValue(p)
	vars := state.Bind(c.As, errorValue, f.Seq.Vars)
	pass, bad := m.decide(f, vars, c.When, c.ExceptWhen, errorValue)
	if bad != nil || !pass {
		if bad == nil {
			bad = p
		}
		m.fault(f, bad, "")
		return
	}
	if c.Retry != nil {
		again, bad := m.retry(f, vars, p, errorValue)
		if bad != nil {
			m.fault(f, bad, "")
			return
		}
		if again {
			return
		}
		if c.Do == nil && c.Then == nil { // D15d
			m.fault(f, p, "")
			return
		}
	}
	m.stopTimersFor(f, state.Limit)
	f.Vars = vars // D15b
	st.Exhausted = true
	if c.Do != nil {
		m.start(f.Child(c.Do, state.Handler, 0, "c."), f.Input)
		return
	}
	f.Flow = c.Then
	m.complete(f, f.Input) // D15c
}

// decide evaluates when and exceptWhen on the error.
func (m *Machine) decide(f *state.Frame, vars *state.Binding, when, except *program.Value, errorValue any) (bool, *event.Problem) {
	if when != nil {
		ok, p := m.conditionIn(f, vars, when, errorValue)
		if p != nil || !ok {
			return false, p
		}
	}
	if except != nil {
		no, p := m.conditionIn(f, vars, except, errorValue)
		if p != nil || no {
			return false, p
		}
	}
	return true, nil
}

// retry begins the delay before another attempt, or says that there is none (D16, D16b).
func (m *Machine) retry(f *state.Frame, vars *state.Binding, p *event.Problem, errorValue any) (bool, *event.Problem) {
	r, st := f.Node.Try.Retry, f.Try
	if st.Exhausted || r.Count != nil && st.Retries >= *r.Count {
		return false, nil
	}
	ok, bad := m.decide(f, vars, r.When, r.ExceptWhen, errorValue)
	if bad != nil || !ok {
		return false, bad
	}
	length := func(d *program.Duration) time.Duration {
		if d == nil || bad != nil {
			return 0
		}
		m.aim(f)
		m.ev.vars = vars
		var v value.Duration
		v, bad = m.ev.Duration(d, errorValue)
		return max(v.Std(), 0)
	}
	delay := r.After(length(r.Delay), st.Retries+1)
	from, to := length(r.JitterFrom), length(r.JitterTo)
	if bad != nil {
		return false, bad
	}
	if r.JitterTo != nil && to >= from {
		s := m.r.Sum("jitter", f.ID, st.Epoch+1)
		span := uint64(to-from) + 1
		delay += from + time.Duration(binary.BigEndian.Uint64(s[:8])%span)
	}
	if delay == 0 && r.Unlimited() {
		delay = 100 * time.Millisecond
	}
	at := m.r.Now.Add(delay)
	if !st.Deadline.IsZero() && at.After(st.Deadline) {
		return false, nil // no new attempt starts after it
	}
	st.Retries++
	m.transition(f, Transition{Change: Retried, Status: event.Running, Error: p, Delay: delay.Microseconds()})
	f.Phase = state.Delayed
	m.r.SetWaits(f, true)
	m.startTimer(f, state.Retry, st.High+1, at)
	return true, nil
}
