// Package openapi carries out `call: openapi`: one operation of a service that
// an OpenAPI document describes (Swagger 2.0, OpenAPI 3.0 and 3.1).
//
// The document is read as it is, not judged: many that work in practice break
// a rule of their specification somewhere. What the called operation needs
// must be there; the rest may be anything.
package openapi

import (
	"context"
	"net/http"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// arguments is `with` of a call, its expressions evaluated (DSL 71).
type arguments struct {
	Document       executor.Resource `json:"document" required:"true" doc:"The OpenAPI document: where it is, and how to authenticate there."`
	OperationID    string            `json:"operationId" required:"true" doc:"The operationId of the operation."`
	Parameters     map[string]any    `json:"parameters" doc:"Parameters of the operation by name; body, or what is left over, is the request's body."`
	Authentication any               `json:"authentication" doc:"The authentication policy for the operation."`
	Output         string            `json:"output" enum:"content|raw|response" default:"content" doc:"What the output is: the decoded content, the raw bytes in base64, or the whole response."`
	Redirect       bool              `json:"redirect" default:"false" doc:"Whether redirects are followed and a status of 300 to 399 is a success."`
}

// Executor carries out the kind "openapi".
type Executor struct {
	executor.Frame[arguments, *outbound.Client]
	documents documents
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

// New makes an Executor that calls through the client. Version is Downbeat's
// own, which services see in User-Agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{Frame: executor.NewFrame[arguments](client, version)}
}

// Kind describes the kind "openapi" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "openapi",
		Version:  "1.0.0",
		Summary:  "Calls an operation of a service that an OpenAPI document describes (call: openapi).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// Execute reads the document, sends the request and makes the output of the response.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return e.Perform(ctx, r, func(a *arguments) (any, *event.Authorization, error) {
		call, err := e.call(ctx, r, a)
		if err != nil {
			return nil, nil, err
		}
		return e.Client.Exchange(ctx, call, a.Output)
	})
}

// call makes the request of the arguments.
func (e *Executor) call(ctx context.Context, r *executor.Request, a *arguments) (*outbound.Call, error) {
	source, err := e.Client.Resource(ctx, &outbound.ResourceCall{
		URI: a.Document.Endpoint.URI, Directory: r.BaseDirectory, UserAgent: e.UserAgent,
		Authentication: a.Document.Endpoint.Authentication, Secrets: r.Secrets,
	})
	if err != nil {
		return nil, err
	}
	d, err := e.documents.read(source)
	if err != nil {
		return nil, err
	}
	o, err := d.operation(a.OperationID)
	if err != nil {
		return nil, err
	}
	q, err := o.request(a.Parameters)
	if err != nil {
		return nil, err
	}
	header, err := outbound.Headers(q.headers)
	if err != nil {
		return nil, err
	}
	call := &outbound.Call{
		Method: o.method, URL: q.url, Header: header, Body: q.body,
		Authentication: a.Authentication, Secrets: r.Secrets, Follow: a.Redirect,
	}
	if q.contentType != "" {
		header.Set("Content-Type", q.contentType)
	}
	if header.Get("Accept") == "" {
		header.Set("Accept", o.accept())
	}
	outbound.Identity{UserAgent: e.UserAgent, Traceparent: r.Traceparent, IdempotencyKey: r.IdempotencyKey}.Into(header, o.method)
	return call, nil
}

// methods are those that a path may have.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPatch, http.MethodTrace}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid call of an operation", format, args...)
}
