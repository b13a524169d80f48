package machine

import (
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Step is what one Apply or Continue did. Its slices are the machine's own and
// hold until the next Apply or Continue.
type Step struct {
	Commands    []Command
	Transitions []Transition
	// Stopped holds the evaluations that the host's guard ended; the host
	// journals one EvaluationStopped for each, before the event.
	Stopped []event.EvaluationStopped
	// More: the machine yielded; call Continue before the run can rest. Another
	// event may be applied in between (the machine must be told by Sliced; see Machine.Slices).
	More bool
	// Hash covers everything that the machine has done so far.
	Hash uint64
	// Ended: the last command is End.
	Ended bool
}

// Change is what happened to a task or run.
type Change uint8

// The changes.
const (
	Entered    Change = iota + 1 // a task begins (status running, or waiting for wait and listen)
	Dispatched                   // an attempt leaves for its executor
	Retried                      // a try begins anew, or waits to (Delay)
	Waits                        // status waiting
	Resumes                      // status running after waiting or suspension
	Skipped                      // `if` was false: entered and completed at once
	TaskEnds                     // completed, faulted or cancelled: Status
	RunChanges                   // Status of the whole run
	Correlates                   // correlation started or completed (Status Running or Completed)
)

// Transition is what happened to a task or to the run; derived, never journaled.
type Transition struct {
	Change     Change
	Activation event.Activation
	Parent     event.Activation // of the enclosing task; "" at top level
	Reference  string
	Name       string
	Kind       string // "call http", "set", "for", …
	Status     event.Status
	Attempt    int
	Iteration  []int          // indexes of the loops around, outermost first; empty outside loops
	Total      int            // of a loop, map or fork when it is entered: how many
	Case       string         // of a completed switch: the case that was taken; "": none held
	Error      *event.Problem // of a fault or retry
	Output     value.Raw      // of a completed task: its transformed output
	Delay      int64          // of Retried: microseconds until the next attempt
	Unknown    bool           // of a cancelled attempt: outcome unknown
}
