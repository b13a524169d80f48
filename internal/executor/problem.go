package executor

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// NewProblem makes an error of one of the standard's families (event.Runtime,
// event.Communication, …). Title is the same for every occurrence, the detail
// says what happened this time and what would be right.
func NewProblem(family string, status int, title, format string, args ...any) *event.Problem {
	return &event.Problem{
		Type:   event.TypePrefix + family,
		Status: status,
		Title:  title,
		Detail: fmt.Sprintf(format, args...),
	}
}

// invalid is the error for arguments that do not fit their kind.
func invalid(format string, args ...any) *event.Problem {
	return NewProblem(event.Configuration, 400, "Invalid arguments", format, args...)
}
