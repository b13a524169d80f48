// Package jq holds jq's built-in functions with a brake: what each of them
// costs, and the ones that we replace because gojq would do the work without
// asking anybody, in a way that depends on the host, or inside the caller's
// own values.
//
// Package expr is its caller: it rewrites an expression so that it calls what
// is listed in code.go, compiles it with [Compile] and runs it under a
// [Meter]. A meter and a [Code] serve one evaluation at a time.
package jq

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

// Reason is why an evaluation was stopped.
type Reason uint8

// The reasons to stop.
const (
	OutOfSteps  Reason = iota + 1 // it took more steps than it may
	TooLarge                      // it made a value larger or deeper than allowed
	Interrupted                   // the host stopped it
)

// Stop is an error of ours that ends an evaluation. It must not be caught by
// jq's own try, or "try f catch 0" would outlive any limit: who runs a program
// asks [Meter.Stopped] after each value.
type Stop struct {
	Reason  Reason
	Message string
}

// Error implements error.
func (s *Stop) Error() string { return s.Message }

// Meter counts the steps of one evaluation. It is also the context that gojq
// asks before every instruction (pinned by TestGojqAsksContextEachStep).
type Meter struct {
	left      int // steps until the limit
	poll      int // steps until the host is asked
	maxResult int
	total     int
	b         *Budget
	stopped   *Stop // set once: the evaluation ends with it, try or no try
	done      chan struct{}
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Init begins an evaluation within b; nil has the default limits.
func (m *Meter) Init(b *Budget) {
	*m = Meter{b: b, left: DefaultSteps, maxResult: DefaultMaxResult, poll: pollSteps}
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

// used says how many steps were taken so far.
func (m *Meter) used() int { return m.total - max(m.left, 0) }

// Settle takes what was used from the caller's slice.
func (m *Meter) Settle() {
	if m.b != nil {
		m.b.Steps -= m.used()
	}
}

// Charge takes n steps and reports whether the evaluation may go on.
func (m *Meter) Charge(n int) bool {
	m.left -= n
	if m.left < 0 {
		m.stop(OutOfSteps, "it takes too much work: more than its limit of steps")
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

// Stopped returns why the evaluation was stopped, nil if it was not.
func (m *Meter) Stopped() *Stop { return m.stopped }

func (m *Meter) stop(reason Reason, msg string) {
	if m.stopped == nil {
		m.stopped = &Stop{Reason: reason, Message: msg}
		m.done = closed
	}
}

// Done implements context.Context: a closed channel ends the evaluation.
func (m *Meter) Done() <-chan struct{} {
	m.Charge(1)
	return m.done
}

// Err implements context.Context.
func (m *Meter) Err() error {
	if m.stopped != nil {
		return m.stopped
	}
	return nil
}

// Deadline implements context.Context: there is none, steps alone count.
func (m *Meter) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (m *Meter) Value(any) any { return nil }

var _ context.Context = (*Meter)(nil)
