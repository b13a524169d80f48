// Package noop carries out `call: noop`: a durable step without an effect,
// whose output is its arguments (or the task's input when there are none).
package noop

import (
	"context"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

// Executor is the noop executor.
type Executor struct{}

var (
	_ executor.Executor  = Executor{}
	_ executor.Immediate = Executor{}
)

// Execute returns the arguments.
func (Executor) Execute(_ context.Context, r *executor.Request) (executor.Result, error) {
	return executor.Result{Output: r.Arguments}, nil
}

// Immediate marks that Execute neither blocks nor allocates.
func (Executor) Immediate() {}

// Kind describes noop in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "noop",
		Version:  "1.0.0",
		Summary:  "Returns its arguments, or the task's input when it has none: a durable step without an effect.",
		Schema:   map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema"},
		Callable: true,
	}
}
