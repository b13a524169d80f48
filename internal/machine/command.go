package machine

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Command is what the host must do next, after the event that caused it is
// durable (M4). Each has an answering event, or is part of the commit itself.
type Command interface{ command() }

// Dispatch asks for one attempt at a task with an outside effect. Answered by
// TaskCompleted, TaskFailed or TaskCancelled with the same activation and attempt.
type Dispatch struct {
	Activation     event.Activation
	Attempt        int    // from 1
	Reference      string // JSON pointer of the task
	Name           string // of the task
	Kind           string // executor kind: "http", "shell", "script", "noop", …
	Arguments      any    // evaluated; a value of package value
	IdempotencyKey string // the same for every attempt of the activation
	// MayRepeat is false when metadata.downbeat.interrupted is "fault".
	MayRepeat bool
	// WantsAuthorization: an expression reads $authorization, so the result must carry it.
	WantsAuthorization bool
	Labels             map[string]string // metadata.downbeat.on
	Workspace          string            // metadata.downbeat.workspace
	Iteration          []int             // indexes of the loops around, outermost first
	Deadline           time.Time         // when a timeout ends it, of the task or around it; zero: none does
	Scope              *program.Scope    // of conditions about what the attempt receives; else nil
}

// CancelAttempt asks to end a dispatched attempt. Answered by TaskCancelled, or
// by the attempt's own result if that came first.
type CancelAttempt struct {
	Activation event.Activation
	Attempt    int
	Reason     string // "cancelled", "timeout", "lost race", "sibling faulted"
}

// StartTimer asks for TimerFired{ID} at At or as soon as possible after.
type StartTimer struct {
	ID string
	At time.Time
}

// StopTimer takes a timer back. A TimerFired that is already under way is ignored by the machine.
type StopTimer struct{ ID string }

// Listen subscribes the run to cloud events. Types lists the exact event types
// wanted; empty means any type. The machine itself decides by [Machine.Wants].
type Listen struct {
	Activation event.Activation
	Types      []string
}

// Unlisten ends the subscription of Listen.
type Unlisten struct{ Activation event.Activation }

// StartChild starts a child run: insert if absent, in the commit of its event.
// With Await it is answered by ChildEnded.
type StartChild struct {
	Activation event.Activation
	Attempt    int
	Reference  string
	Child      event.RunID
	Name       string // as in event.Named.Name
	Input      value.Raw
	Await      bool
}

// CancelChild asks to cancel an awaited child; its ChildEnded answers.
type CancelChild struct {
	Activation event.Activation
	Child      event.RunID
	Act        string // "cancel", "suspend", "resume" (D40)
}

// Emit publishes a cloud event, in the commit of its event.
type Emit struct {
	Activation       event.Activation
	ID, Type, Source string
	Event            value.Raw // the envelope
}

// ResolveSecrets asks for SecretsResolved.
type ResolveSecrets struct{ Names []string }

// End says how the run ended. The host journals RunEnded in the same commit.
type End struct {
	Status event.Status
	Output value.Raw
	Error  *event.Problem
}

func (*Dispatch) command()       {}
func (*CancelAttempt) command()  {}
func (*StartTimer) command()     {}
func (*StopTimer) command()      {}
func (*Listen) command()         {}
func (*Unlisten) command()       {}
func (*StartChild) command()     {}
func (*CancelChild) command()    {}
func (*Emit) command()           {}
func (*ResolveSecrets) command() {}
func (*End) command()            {}
