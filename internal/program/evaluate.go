package program

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Evaluator evaluates the values of a program for one run: under a budget, each
// evaluation with a number, so that what a host's guard stopped is stopped at
// the same place in a replay.
type Evaluator struct {
	Budget expr.Budget
	Lookup func(string) any
	// At is the reference of the task that is at work, for errors.
	At string
	// Ordinal is the number of the last evaluation, Stopped are those that a
	// guard ended when they were first made.
	Ordinal *uint64
	Stopped *[]uint64
	// Now collects what the guard ended in this step.
	Now []event.EvaluationStopped
	// HasSecret reports whether the run may read a secret.
	HasSecret func(name string) bool
}

// plenty is more steps than a slice has: an expression ends by its own limit.
const plenty = math.MaxInt / 2

// NewSlice begins to count steps anew.
func (ev *Evaluator) NewSlice() { ev.Budget.Steps = plenty }

// Used is how many steps were taken since NewSlice.
func (ev *Evaluator) Used() int { return plenty - ev.Budget.Steps }

// stopReason is what EvaluationStopped says.
const stopReason = "the evaluation took too much time or memory, and was stopped"

// Eval evaluates v.
func (ev *Evaluator) Eval(v *Value, input any) (any, *event.Problem) {
	if p := ev.enter(v); p != nil {
		return nil, p
	}
	r, err := v.Eval(&ev.Budget, input, ev.Lookup)
	if err != nil {
		return nil, ev.problem(err)
	}
	return r, nil
}

// Bool evaluates a condition (D14d).
func (ev *Evaluator) Bool(v *Value, input any) (bool, *event.Problem) {
	if p := ev.enter(v); p != nil {
		return false, p
	}
	ok, err := v.EvalBool(&ev.Budget, input, ev.Lookup)
	if err != nil {
		return false, ev.problem(err)
	}
	return ok, nil
}

// Duration evaluates a duration.
func (ev *Evaluator) Duration(d *Duration, input any) (value.Duration, *event.Problem) {
	if d.value != nil {
		if p := ev.enter(d.value); p != nil {
			return value.Duration{}, p
		}
	}
	r, err := d.Eval(&ev.Budget, input, ev.Lookup)
	if err != nil {
		return r, ev.problem(err)
	}
	return r, nil
}

// enter counts an evaluation and refuses it when it was stopped before, or
// reads a secret that is not there (D17).
func (ev *Evaluator) enter(v *Value) *event.Problem {
	*ev.Ordinal++
	if len(*ev.Stopped) > 0 && slices.Contains(*ev.Stopped, *ev.Ordinal) {
		ev.Budget.Steps = 0 // the slice ends here, as it did the first time
		return NewProblem(event.Runtime, 500, "Evaluation stopped", ev.At, stopReason)
	}
	for _, name := range v.Secrets() {
		if !ev.HasSecret(name) {
			return NewProblem(event.Forbidden, 403, "Secret not available", ev.At, "the secret "+quote(name)+
				" is not available: it must be listed in use.secrets and provided to the runtime")
		}
	}
	return nil
}

func (ev *Evaluator) problem(err error) *event.Problem {
	if bad, ok := errors.AsType[*BadDuration](err); ok {
		return NewProblem(event.Expression, 400, "Not a duration", ev.At, "the expression gives no duration: "+bad.Error())
	}
	if e, ok := errors.AsType[*expr.Error](err); ok {
		switch e.Kind {
		case expr.Interrupted:
			ev.Budget.Steps = 0
			ev.Now = append(ev.Now, event.EvaluationStopped{Ordinal: *ev.Ordinal, Reason: stopReason})
			return NewProblem(event.Runtime, 500, "Evaluation stopped", ev.At, stopReason)
		case expr.SecretMissing:
			return NewProblem(event.Forbidden, 403, "Secret not available", ev.At, e.Error())
		case expr.Failed, expr.BudgetExceeded, expr.TooLarge:
		}
	}
	return NewProblem(event.Expression, 400, "Expression failed", ev.At, Describe(err))
}

// Validate checks a value against a schema, if there is one (DSL 24, 28, 30).
func Validate(s *Schema, v any, reference, what string) *event.Problem {
	if s == nil {
		return nil
	}
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	p := NewProblem(event.Validation, 400, "Validation failed", reference, "the "+what+" does not match its schema: "+err.Error())
	if invalid, ok := errors.AsType[*schema.Invalid](err); ok {
		list := make([]any, 0, len(invalid.Problems))
		for _, x := range invalid.Problems {
			list = append(list, map[string]any{"pointer": x.Pointer, "message": x.Message})
		}
		p.More = map[string]any{"errors": list}
	}
	return p
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
