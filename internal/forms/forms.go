// Package forms reads and writes the forms in which people give and get data:
// definitions and inputs in files or on stdin, cloud events, JSON and YAML. What
// a person got wrong is an [InputError].
package forms

import (
	"fmt"
)

// InputError is an error that the user can put right: what is wrong, and what would be right.
type InputError struct {
	Err  error
	Hint string // may be ""
}

// Error says what is wrong.
func (m *InputError) Error() string { return m.Err.Error() }

// Unwrap gives the cause.
func (m *InputError) Unwrap() error { return m.Err }

func usage(hint, format string, args ...any) error {
	return &InputError{Err: fmt.Errorf(format, args...), Hint: hint}
}
