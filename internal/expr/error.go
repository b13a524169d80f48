package expr

import (
	"errors"
	"fmt"

	"github.com/itchyny/gojq"

	"github.com/downbeat-dev/downbeat/internal/jq"
)

// ErrorKind says why an evaluation gave no value.
type ErrorKind uint8

// The kinds of [Error].
const (
	Failed         ErrorKind = iota + 1 // the expression itself failed on its input
	BudgetExceeded                      // it took more steps than it may
	TooLarge                            // it made a value larger or deeper than allowed
	Interrupted                         // the host stopped it
	SecretMissing                       // it reads a secret that is not there
)

// String names the kind.
func (k ErrorKind) String() string {
	switch k {
	case Failed:
		return "failed"
	case BudgetExceeded:
		return "budget exceeded"
	case TooLarge:
		return "too large"
	case Interrupted:
		return "interrupted"
	case SecretMissing:
		return "secret missing"
	}
	return "unknown"
}

// Error is why an expression gave no value. All kinds but [Interrupted] are
// the same each time that the same expression meets the same input.
type Error struct {
	Kind    ErrorKind
	Message string // for people; never longer than a few lines
	Source  string // the expression, shortened
	Secret  string // for SecretMissing: its name
}

// Error implements error.
func (e *Error) Error() string {
	if e.Source == "" {
		return e.Message
	}
	return fmt.Sprintf("expression %s: %s", e.Source, e.Message)
}

// kindOf says which kind of error a stop is.
func kindOf(r jq.Reason) ErrorKind {
	switch r {
	case jq.OutOfSteps:
		return BudgetExceeded
	case jq.TooLarge:
		return TooLarge
	case jq.Interrupted:
		return Interrupted
	}
	return Failed
}

// SyntaxError is why text is no expression.
type SyntaxError struct {
	Offset  int // in bytes, from 0, into the text given to Compile
	Message string
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Message }

// userError turns what gojq reports into the text of a Failed error.
func userError(err error) string {
	if _, ok := errors.AsType[*gojq.HaltError](err); ok {
		return "halt is not allowed in an expression"
	}
	if v, ok := errors.AsType[gojq.ValueError](err); ok {
		// The message is made here: gojq's own writes the whole value.
		switch w := v.Value().(type) {
		case nil:
			return "error (null)"
		case string:
			return jq.Shorten(w, 400)
		default:
			return "error: " + gojq.Preview(w)
		}
	}
	return jq.Shorten(err.Error(), 600)
}
