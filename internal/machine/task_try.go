package machine

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// tryState is where a try task is.
type tryState struct {
	epoch     int // of the attempt that runs
	high      int // highest epoch of it and of the tries inside
	retries   int
	deadline  time.Time // of limit.duration; zero: none
	exhausted bool      // the deadline has passed
}

// performTry runs the block (DSL 108).
func (m *Machine) performTry(f *frame) {
	m.entered(f, 0)
	f.try = &tryState{epoch: f.seq.epoch, high: f.seq.epoch}
	if r := f.node.Try.Retry; r != nil && r.Limit != nil {
		d, p := m.duration(f, r.Limit, f.input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		f.try.deadline = d.AddTo(m.now)
		m.startTimer(f, limitTimer, f.attempt, f.try.deadline)
	}
	m.tryBlock(f)
}

// tryBlock begins an attempt at the block.
func (m *Machine) tryBlock(f *frame) {
	if r := f.node.Try.Retry; r != nil && r.AttemptLimit != nil {
		d, p := m.duration(f, r.AttemptLimit, f.input)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.startTimer(f, attemptTimer, f.try.epoch+1, d.AddTo(m.now))
	}
	s := m.child(f, f.node.Body, body, 0, "")
	s.epoch = f.try.epoch
	m.start(s, f.input)
}

// attemptAgain begins the block anew after the delay of a retry. Attempts go on
// above the highest number that the block or a try inside has used (M3).
func (m *Machine) attemptAgain(f *frame) {
	m.setWaiting(f, false)
	f.phase = running
	st := f.try
	st.epoch = st.high + 1
	m.raise(f, st.epoch)
	m.tryBlock(f)
}

// raise tells f and every try around it that an epoch is used.
func (m *Machine) raise(f *frame, epoch int) {
	m.epoch = max(m.epoch, epoch)
	for f != nil {
		if f.try != nil {
			f.try.high = max(f.try.high, epoch)
		}
		f = f.seq.owner
	}
}

// cutAttempt ends the running attempt by a timeout that the catch may handle (D16).
func (m *Machine) cutAttempt(f *frame, detail string, last bool) {
	f.try.exhausted = f.try.exhausted || last
	if f.phase == delayed || f.stop != notStopping || f.seqs == nil || f.seqs[0] == nil || f.seqs[0].role != body {
		return
	}
	f.stop, f.problem = stopCaught, m.problem(event.Timeout, 408, "Timeout", f.node.Reference, detail)
	m.haltSequence(f.seqs[0], reasonTimeout)
	m.settle(f)
}

// caught decides what a fault of the block leads to: it passes, the block is
// tried again, or it is handled (DSL 109-118, D15, D15d).
func (m *Machine) caught(f *frame, p *event.Problem) {
	c, st := f.node.Try, f.try
	m.stopTimersFor(f, attemptTimer)
	if c.With != nil && !matches(c.With, p) {
		m.fault(f, p, "")
		return
	}
	errorValue := problemValue(p)
	vars := bind(c.As, errorValue, f.seq.vars)
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
	m.stopTimersFor(f, limitTimer)
	f.vars = vars // D15b
	st.exhausted = true
	if c.Do != nil {
		m.start(m.child(f, c.Do, handler, 0, "c."), f.input)
		return
	}
	f.flow = c.Then
	m.complete(f, f.input) // D15c
}

// decide evaluates when and exceptWhen on the error.
func (m *Machine) decide(f *frame, vars *binding, when, except *program.Value, errorValue any) (bool, *event.Problem) {
	if when != nil {
		m.aim(f)
		m.eval0.vars = vars
		ok, p := m.conditionAs(when, errorValue)
		if p != nil || !ok {
			return false, p
		}
	}
	if except != nil {
		m.aim(f)
		m.eval0.vars = vars
		no, p := m.conditionAs(except, errorValue)
		if p != nil || no {
			return false, p
		}
	}
	return true, nil
}

const day = 24 * time.Hour

// retry begins the delay before another attempt, or says that there is none (D16, D16b).
func (m *Machine) retry(f *frame, vars *binding, p *event.Problem, errorValue any) (bool, *event.Problem) {
	r, st := f.node.Try.Retry, f.try
	if st.exhausted || r.Count != nil && st.retries >= *r.Count {
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
		m.eval0.vars, m.eval0.ordinal = vars, m.eval0.ordinal+1
		v, err := d.Eval(&m.eval0.budget, errorValue, m.eval0.lookup)
		if err != nil {
			bad = m.evalProblem(err)
		}
		return max(v.Std(), 0)
	}
	delay := backoff(r.Backoff, length(r.Delay), st.retries+1)
	from, to := length(r.JitterFrom), length(r.JitterTo)
	if bad != nil {
		return false, bad
	}
	if r.JitterTo != nil && to >= from {
		s := m.sum("jitter", f.id, st.epoch+1)
		span := uint64(to-from) + 1
		delay += from + time.Duration(binary.BigEndian.Uint64(s[:8])%span)
	}
	if delay == 0 && r.Unlimited() {
		delay = 100 * time.Millisecond
	}
	at := m.now.Add(delay)
	if !st.deadline.IsZero() && at.After(st.deadline) {
		return false, nil // no new attempt starts after it
	}
	st.retries++
	m.transition(f, Transition{Change: Retried, Status: event.Running, Error: p, Delay: delay.Microseconds()})
	f.phase = delayed
	m.setWaiting(f, true)
	m.startTimer(f, retryTimer, st.high+1, at)
	return true, nil
}

// backoff is the delay before the n-th retry, n from 1.
func backoff(kind string, d time.Duration, n int) time.Duration {
	switch kind {
	case "linear":
		if d > 0 && n > int(day/d) {
			return day
		}
		d *= time.Duration(n)
	case "exponential":
		for i := 1; i < n && d > 0 && d < day; i++ {
			d *= 2
		}
	default:
		return d
	}
	return min(d, day)
}

// families are the prefixes of the standard error types through the years (D18c).
var families = []string{
	"https://open-workflow-specification.org/spec/1.0.0/errors/",
	"https://open-workflow-specification.org/dsl/errors/types/",
	"https://serverlessworkflow.io/spec/1.0.0/errors/",
	"https://serverlessworkflow.io/dsl/errors/types/",
}

func family(t string) string {
	for _, prefix := range families {
		if rest, ok := strings.CutPrefix(t, prefix); ok {
			return "*" + rest
		}
	}
	return t
}

// matches is the static filter of a catch (DSL 109).
func matches(with map[string]any, p *event.Problem) bool {
	v := problemValue(p)
	for k, want := range with {
		if k == "details" {
			k = "detail"
		}
		got := v[k]
		if k == "type" {
			a, ok1 := want.(string)
			b, ok2 := got.(string)
			if ok1 && ok2 && family(a) == family(b) {
				continue
			}
			return false
		}
		if !value.Equal(want, got) {
			return false
		}
	}
	return true
}
