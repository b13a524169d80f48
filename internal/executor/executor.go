// Package executor is the port through which tasks act on the world: one
// Executor carries out one kind of task. Adapters live in folders beneath, one
// a kind; server lists them.
//
// An executor is called at least once for every activation that its kind has.
// Attempts of one activation carry the same idempotency key.
package executor

import (
	"context"
	"io"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Executor carries out tasks of one kind. It must end soon after ctx is done,
// leaving nothing behind; the caller waits for it.
type Executor interface {
	// Execute returns the task's raw output as a value of package value, or an
	// *event.Problem (any other error becomes a runtime error). On cancellation
	// it returns context.Cause(ctx) after it has cleaned up.
	Execute(ctx context.Context, r *Request) (Result, error)
}

// Immediate is for executors that neither block nor allocate much: the engine
// may call Execute on its own goroutine.
type Immediate interface{ Immediate() }

// Reattacher is for executors whose work can outlive this process. After a
// crash the engine calls Recover with the handle that Bind journaled, before it
// repeats the attempt or reports it as interrupted. Recover ends or awaits what survived.
type Reattacher interface {
	Recover(ctx context.Context, handle any) error
}

// Adopter is for reattachers whose Execute finds by itself what survived, and
// goes on with it: they are asked to Recover only what is not to be repeated,
// and end it.
type Adopter interface {
	Reattacher
	// Adopts only says so.
	Adopts()
}

// Checker finds mistakes in arguments before a run starts.
type Checker interface{ Check(arguments any) []string }

// Request is one attempt.
type Request struct {
	Run            event.RunID
	Workflow       string // "namespace/name:version"
	Namespace      string
	WorkflowName   string
	Reference      string
	Name           string // of the task
	Activation     event.Activation
	Attempt        int
	IdempotencyKey string
	Kind           string
	Arguments      any
	Secrets        Secrets
	// Log takes output lines while the task runs; never nil.
	Log Log
	// Bind journals what the attempt is about to start outside; it returns when that is durable. Never nil.
	Bind func(ctx context.Context, handle any) error
	// Evaluate evaluates a condition of the arguments that is about what the
	// attempt meets, as the filter of a subscription is, with input as its `.`
	// and the task's variables, as they were on entry; it gives true or false.
	// The condition is named by its text. Nil where the caller offers none.
	Evaluate func(ctx context.Context, condition string, input any) (any, error)
	// Directory is the working directory for processes: the workspace that the
	// task asks for, else the directory of the run, else one of the attempt's own.
	Directory string
	// Scratch is a directory of the attempt's own, made and removed by the worker;
	// "" when there is none.
	Scratch string
	// RunDirectory is where the run was started: relative paths of volumes and
	// of processes start there.
	RunDirectory string
	// BaseDirectory is where the definition stands: relative paths of documents
	// that it names start there.
	BaseDirectory string
	// Deadline is when a timeout of the workflow will cancel the attempt, for
	// those who tell the other side; zero: there is none.
	Deadline time.Time
	// Grace is how long a cancelled attempt has before it is killed.
	Grace              time.Duration
	WantsAuthorization bool
	// Traceparent is the W3C trace context of the attempt; "" when there is none.
	Traceparent string
}

// Result is what an attempt gave.
type Result struct {
	Output        any
	Authorization *event.Authorization
}

// Secrets resolves secrets by name at each attempt.
type Secrets interface {
	// Secret returns the value of a secret; an *event.Problem of type authorization/403 when it is absent.
	Secret(ctx context.Context, name string) (any, error)
}

// Log takes what a task prints. Safe for use by several goroutines.
type Log interface {
	// Stream returns a writer for one stream: "stdout", "stderr" or "log".
	Stream(name string) io.Writer
}

// Kind describes what an executor carries out, for validation and docs.
type Kind struct {
	Name     string // "http", "shell", "script", "noop"
	Version  string // semantic version
	Summary  string // one sentence
	Schema   any    // JSON Schema of the arguments
	Callable bool   // may be named by `call` (function of the default catalogue)
}
