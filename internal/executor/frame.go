package executor

import (
	"context"
	"errors"
	"maps"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Frame is what the executors that call out by a client have in common. A is
// the struct of their arguments, C the client.
type Frame[A any, C interface{ CloseIdleConnections() }] struct {
	Client C
	// UserAgent is what services see of Downbeat.
	UserAgent string
}

// NewFrame makes a Frame. Version is Downbeat's own.
func NewFrame[A any, C interface{ CloseIdleConnections() }](client C, version string) Frame[A, C] {
	return Frame[A, C]{Client: client, UserAgent: "downbeat/" + version}
}

// CloseIdleConnections closes the connections that nobody uses.
func (f *Frame[A, C]) CloseIdleConnections() { f.Client.CloseIdleConnections() }

// Check finds mistakes in arguments that hold no expressions.
func (f *Frame[A, C]) Check(args any) []string { return CheckArguments(args, new(A)) }

// Perform reads the arguments, does the work, and makes the result. When the
// attempt was cancelled meanwhile, what went wrong is its cancellation.
func (f *Frame[A, C]) Perform(ctx context.Context, r *Request, do func(a *A) (any, *event.Authorization, error)) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	a := new(A)
	if err := ReadArguments(r.Arguments, a); err != nil {
		return Result{}, err
	}
	output, authorization, err := do(a)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return Result{}, context.Cause(ctx)
	default:
		return Result{}, err
	}
	result := Result{Output: output}
	if r.WantsAuthorization {
		result.Authorization = authorization
	}
	return result, nil
}

// Endpoint is where something is, with an authentication policy (DSL 59).
type Endpoint struct {
	URI            string `json:"uri" required:"true" doc:"The URI."`
	Authentication any    `json:"authentication" doc:"The authentication policy."`
}

// Resource is an external resource (DSL 201).
type Resource struct {
	Endpoint Endpoint `json:"endpoint" oneof:"string" required:"true" doc:"The URI of the document (http, https, file, or a path), or an object with a URI and an authentication policy."`
	Name     string   `json:"name" doc:"The name of the document."`
}

// AsRuntime makes of an error what the standard wants of agents and tool
// servers: also a failure to communicate is a runtime error (DSL 80, 83).
func AsRuntime(err error, title string) error {
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		return NewProblem(event.Runtime, 500, title, "%v", err)
	}
	if p.Type != event.TypePrefix+event.Communication {
		return p
	}
	q := *p
	q.Type, q.Status = event.TypePrefix+event.Runtime, 500
	if q.More = maps.Clone(p.More); q.More == nil {
		q.More = map[string]any{}
	}
	q.More["httpStatus"] = p.Status
	return &q
}
