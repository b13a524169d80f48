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
	Document       resource       `json:"document" required:"true" doc:"The OpenAPI document: where it is, and how to authenticate there."`
	OperationID    string         `json:"operationId" required:"true" doc:"The operationId of the operation."`
	Parameters     map[string]any `json:"parameters" doc:"Parameters of the operation by name; body, or what is left over, is the request's body."`
	Authentication any            `json:"authentication" doc:"The authentication policy for the operation."`
	Output         string         `json:"output" enum:"content|raw|response" default:"content" doc:"What the output is: the decoded content, the raw bytes in base64, or the whole response."`
	Redirect       bool           `json:"redirect" default:"false" doc:"Whether redirects are followed and a status of 300 to 399 is a success."`
}

// resource is an external resource (DSL 201).
type resource struct {
	Endpoint endpoint `json:"endpoint" oneof:"string" required:"true" doc:"The URI of the document (http, https, file, or a path), or an object with a URI and an authentication policy."`
	Name     string   `json:"name" doc:"The name of the document."`
}

type endpoint struct {
	URI            string `json:"uri" required:"true" doc:"The URI."`
	Authentication any    `json:"authentication" doc:"The authentication policy."`
}

// Executor carries out the kind "openapi".
type Executor struct {
	client    *outbound.Client
	userAgent string
	documents documents
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

// New makes an Executor that calls through the client. Version is Downbeat's
// own, which services see in User-Agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{client: client, userAgent: "downbeat/" + version}
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

// Check finds mistakes in arguments that hold no expressions.
func (e *Executor) Check(args any) []string { return executor.CheckArguments(args, new(arguments)) }

// Execute reads the document, sends the request and makes the output of the response.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	var a arguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return executor.Result{}, err
	}
	call, err := e.call(ctx, r, &a)
	if err != nil {
		return executor.Result{}, err
	}
	output, authorization, err := e.client.Exchange(ctx, call, a.Output)
	if err != nil {
		return executor.Result{}, err
	}
	result := executor.Result{Output: output}
	if r.WantsAuthorization {
		result.Authorization = authorization
	}
	return result, nil
}

// call makes the request of the arguments.
func (e *Executor) call(ctx context.Context, r *executor.Request, a *arguments) (*outbound.Call, error) {
	source, err := e.client.Resource(ctx, &outbound.ResourceCall{
		URI: a.Document.Endpoint.URI, Directory: r.BaseDirectory, UserAgent: e.userAgent,
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
	outbound.Identity{UserAgent: e.userAgent, Traceparent: r.Traceparent, IdempotencyKey: r.IdempotencyKey}.Into(header, o.method)
	return call, nil
}

// methods are those that a path may have.
var methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPatch, http.MethodTrace}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid call of an operation", format, args...)
}
