// Package forms reads and writes the forms in which people give and get data:
// definitions and inputs in files or on stdin, cloud events, JSON and YAML. What
// a person got wrong is a [Mistake].
package forms

import (
	"fmt"
)

// Mistake is an error that the user can put right: what is wrong, and what would be right.
type Mistake struct {
	Err  error
	Hint string // may be ""
}

// Error says what is wrong.
func (m *Mistake) Error() string { return m.Err.Error() }

// Unwrap gives the cause.
func (m *Mistake) Unwrap() error { return m.Err }

func usage(hint, format string, args ...any) error {
	return &Mistake{Err: fmt.Errorf(format, args...), Hint: hint}
}
