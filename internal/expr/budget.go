package expr

import (
	"context"
	"time"
)

// The limits that hold when a Budget does not say otherwise.
const (
	DefaultSteps     = 20_000_000 // of one expression
	DefaultMaxResult = 16 << 20   // bytes of JSON
)

// Budget bounds evaluations. A step is one instruction of jq's machine, or
// the handling of about eight bytes, or one element, inside a built-in
// function: so steps bound time and memory alike, and the same expression on
// the same input takes the same number of them on every machine.
type Budget struct {
	// Steps is what is left of the caller's slice. Each evaluation takes from
	// it what it used; it may go below zero, because an expression runs to its
	// end or to PerExpr: what it gives must not depend on the slice.
	Steps int
	// PerExpr bounds one expression; 0 means DefaultSteps.
	PerExpr int
	// MaxResult bounds any one value that is made, in bytes; 0 means
	// DefaultMaxResult.
	MaxResult int
	// Interrupted, if not nil, is asked now and then whether to give up, which
	// ends the evaluation with the kind Interrupted. What it answers depends
	// on the host, so the caller must journal it.
	Interrupted func() bool
}

// pollSteps is how many steps pass between two calls of Interrupted.
const pollSteps = 1 << 16

// meter counts the steps of one evaluation. It is also the context that gojq
// asks before every instruction (pinned by TestGojqAsksContextEachStep).
type meter struct {
	left      int // steps until the limit
	poll      int // steps until the host is asked
	maxResult int
	total     int
	b         *Budget
	stopped   *stop // set once: the evaluation ends with it, try or no try
	done      chan struct{}
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newMeter(b *Budget) *meter {
	m := &meter{}
	m.init(b)
	return m
}

func (m *meter) init(b *Budget) {
	*m = meter{b: b, left: DefaultSteps, maxResult: DefaultMaxResult, poll: pollSteps}
	if b != nil {
		if b.PerExpr > 0 {
			m.left = b.PerExpr
		}
		if b.MaxResult > 0 {
			m.maxResult = b.MaxResult
		}
	}
	m.total = m.left
}

// used is how many steps were taken so far.
func (m *meter) used() int { return m.total - max(m.left, 0) }

// settle takes what was used from the caller's slice.
func (m *meter) settle() {
	if m.b != nil {
		m.b.Steps -= m.used()
	}
}

// charge takes n steps and reports whether the evaluation may go on.
func (m *meter) charge(n int) bool {
	m.left -= n
	if m.left < 0 {
		m.stop(BudgetExceeded, "it takes too much work: more than its limit of steps")
		return false
	}
	if m.poll -= n; m.poll < 0 {
		m.poll = pollSteps
		if m.b != nil && m.b.Interrupted != nil && m.b.Interrupted() {
			m.stop(Interrupted, "it was interrupted")
		}
	}
	return m.stopped == nil
}

func (m *meter) stop(kind ErrorKind, msg string) *stop {
	if m.stopped == nil {
		m.stopped = &stop{kind: kind, msg: msg}
		m.done = closed
	}
	return m.stopped
}

// Done implements context.Context: a closed channel ends the evaluation.
func (m *meter) Done() <-chan struct{} {
	m.charge(1)
	return m.done
}

// Err implements context.Context.
func (m *meter) Err() error {
	if m.stopped != nil {
		return m.stopped
	}
	return nil
}

// Deadline implements context.Context: there is none, steps alone count.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (m *meter) Value(any) any { return nil }

var _ context.Context = (*meter)(nil)
