// Package event holds every fact that a run's journal can hold, and the codec
// that turns facts into bytes and back, for ever: forms are added, never changed.
//
// The machine takes events; the engine journals them. Nothing here is derived:
// what follows from an event (transitions, commands) is computed by the machine.
package event

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// Event is one fact about one run. At is stamped by the owner of the run, in
// whole microseconds UTC, and never runs backwards within a run.
type Event struct {
	At   time.Time
	Body Body
}

// Body is what happened: one of the types of this package.
type Body interface{ kind() kind }

// Activation names one entering of a task within its run: the path of (task
// index, iteration or branch, visit) from the root. It is opaque outside machine.
type Activation string

// Status is the phase of a run or task (DSL 175).
type Status uint8

// The phases.
const (
	Pending Status = iota + 1
	Running
	Waiting
	Suspended
	Cancelled
	Faulted
	Completed
)

// RunStarted is the first event of a run.
type RunStarted struct {
	Run         RunID
	Revision    uint32 // semantic revision of the machine that journals this run
	Definition  string // digest
	Namespace   string
	Name        string
	Version     string
	Definitions []Named // all other definitions that the run can name, by digest
	Input       value.Raw
	Trigger     string // "manual", "event", "schedule", "child"
	Parent      *Parent
	Depth       int // nesting of child runs; 0 at the root
	Labels      map[string]string
	Runtime     string // version of Downbeat, what $runtime.version shows
	Directory   string // working directory of `downbeat run`, for relative paths
}

// Named is a definition that a run can name: "namespace/name:version" as
// written (version may be "latest") and what it stood for when the run started.
type Named struct {
	Name   string // as the definition names it
	ID     string // what it resolved to
	Digest string
}

// Parent is the activation that started a child run.
type Parent struct {
	Run        RunID
	Activation Activation
	Attempt    int
	Await      bool
}

// TaskCompleted ends an attempt with a result.
type TaskCompleted struct {
	Activation    Activation
	Attempt       int
	Output        value.Raw
	Authorization *Authorization // only where an expression of the task reads it
}

// Authorization is what $authorization shows (DSL 43, 166).
type Authorization struct{ Scheme, Parameter string }

// TaskFailed ends an attempt with an error.
type TaskFailed struct {
	Activation Activation
	Attempt    int
	Error      Problem
}

// TaskCancelled ends an attempt that was cancelled. Unknown: it could not be
// reached, so whether it took effect is not known.
type TaskCancelled struct {
	Activation Activation
	Attempt    int
	Unknown    bool
}

// AttemptStarted records what an attempt started outside, before it starts:
// a process by boot id, pid and start time, a container by label.
type AttemptStarted struct {
	Activation Activation
	Attempt    int
	Handle     value.Raw
}

// TimerFired says that the timer's time has come.
type TimerFired struct{ Timer string }

// CloudEventReceived offers an accepted cloud event to the run's listeners.
// Sequence is its place in the store's order of acceptance.
type CloudEventReceived struct {
	Sequence int64
	Event    value.Raw  // the envelope, structured JSON form
	Listener Activation // set: only to this listener, which was entered after the event was accepted
}

// ChildEnded tells a parent how an awaited child run ended.
type ChildEnded struct {
	Activation Activation
	Attempt    int
	Child      RunID
	Status     Status
	Output     value.Raw
	Error      *Problem
}

// SecretsResolved answers the command ResolveSecrets.
type SecretsResolved struct {
	Secrets []Secret
	Missing []string
}

// Secret is one resolved secret.
type Secret struct {
	Name, Version string
	Value         value.Raw
}

// What people do to a run.
type (
	// CancelRequested ends the run, as soon as its tasks have ended.
	CancelRequested struct{ By, Reason string }
	// SuspendRequested holds the run before its next task.
	SuspendRequested struct{ By, Reason string }
	// ResumeRequested lets a suspended run go on.
	ResumeRequested struct{ By string }
)

// EvaluationStopped records that the host's guard (time, heap) stopped the
// evaluation with this ordinal within the run; it is journaled before the event
// whose application was stopped, so that replay does not depend on speed.
type EvaluationStopped struct {
	Ordinal uint64
	Reason  string
}

// Sliced records that the machine had been continued this often since the
// event before, when the next event came in between.
type Sliced struct{ Slices int }

// RunEnded is how the run ended, stored with its compact task list (the form of
// package view), so that finished runs never need a replay.
type RunEnded struct {
	Status Status
	Output value.Raw
	Error  *Problem
	Tasks  []byte
}

// RunReopened makes an ended run live again from a state of the machine. What
// came before it is never replayed.
type RunReopened struct {
	Definition string
	State      []byte
	By         string
	Child      RunID  // an awaited child that is reopened with it; zero: none
	Tasks      []byte // the task list of what the state holds, in the form of package view
}

// RunForked is the first event of a run that begins in another's past.
type RunForked struct {
	Start    RunStarted
	From     RunID
	Sequence int64
	State    []byte
	Tasks    []byte // as in RunReopened
}
