// Package http carries out `call: http`: one request over HTTP 1.1 or 2, whose
// response is decoded by its media type.
//
// Every method that may change something carries the attempt's idempotency key
// in the header Idempotency-Key, so that a service can tell a repetition.
package http

import (
	"context"
	"net/url"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// arguments is `with` of a call, its endpoint expanded and its expressions evaluated.
type arguments struct {
	Method   string            `json:"method" required:"true" doc:"The method of the request, in any case."`
	Endpoint executor.Endpoint `json:"endpoint" oneof:"string" required:"true" doc:"Where the request goes: a URI, or an object with a URI and an authentication policy."`
	Headers  map[string]any    `json:"headers" doc:"Headers of the request; an array repeats the header."`
	Query    map[string]any    `json:"query" doc:"Query parameters, beside those of the URI; an array repeats the parameter."`
	Body     any               `json:"body" doc:"The body: text as it is, a form for application/x-www-form-urlencoded, else JSON."`
	Output   string            `json:"output" enum:"content|raw|response" default:"content" doc:"What the output is: the decoded content, the raw bytes in base64, or the whole response."`
	Redirect bool              `json:"redirect" default:"false" doc:"Whether redirects are followed and a status of 300 to 399 is a success."`
}

// Executor carries out the kind "http".
type Executor struct {
	executor.Frame[arguments, *outbound.Client]
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

// New makes an Executor that calls through the client. Version is Downbeat's
// own, which services see in User-Agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{executor.NewFrame[arguments](client, version)}
}

// Kind describes the kind "http" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "http",
		Version:  "1.0.0",
		Summary:  "Sends one HTTP request and decodes the response (call: http).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// Execute sends the request and makes the output of the response.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return e.Perform(ctx, r, func(a *arguments) (any, *event.Authorization, error) {
		call, err := e.call(r, a)
		if err != nil {
			return nil, nil, err
		}
		return e.Client.Exchange(ctx, call, a.Output)
	})
}

// call makes the request of the arguments.
func (e *Executor) call(r *executor.Request, a *arguments) (*outbound.Call, error) {
	method := strings.ToUpper(strings.TrimSpace(a.Method))
	if !outbound.IsToken(method) {
		return nil, invalid("method %q is none; it must be a word like GET or POST", a.Method)
	}
	u, err := target(a)
	if err != nil {
		return nil, err
	}
	header, err := outbound.Headers(a.Headers)
	if err != nil {
		return nil, err
	}
	body, contentType, err := outbound.EncodeBody(a.Body, header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if _, set := header["Content-Type"]; !set && contentType != "" {
		header.Set("Content-Type", contentType)
	}
	outbound.Identity{UserAgent: e.UserAgent, Traceparent: r.Traceparent, IdempotencyKey: r.IdempotencyKey}.Into(header, method)
	return &outbound.Call{
		Method: method, URL: u, Header: header, Body: body,
		Authentication: a.Endpoint.Authentication, Secrets: r.Secrets, Follow: a.Redirect,
	}, nil
}

// target is the URI with the query parameters.
func target(a *arguments) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(a.Endpoint.URI))
	if err != nil {
		// The error of url.Parse repeats the URI, which may hold a password.
		return nil, invalid("the endpoint is no URI; it must be one like https://example.com/path")
	}
	switch {
	case u.Scheme == "" || u.Scheme != "http" && u.Scheme != "https" && u.Host == "" && u.Opaque == "":
		return nil, invalid("the endpoint %q is relative; it must be absolute, like https://example.com/path", outbound.Shown(u))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, invalid("the endpoint has the scheme %q; call: http knows http and https", u.Scheme)
	case u.Hostname() == "":
		return nil, invalid("the endpoint %q names no host; it must be like https://example.com/path", outbound.Shown(u))
	}
	query := url.Values{}
	for name, v := range a.Query {
		for _, text := range outbound.Texts(v) {
			query.Add(name, text)
		}
	}
	if len(query) > 0 {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += query.Encode()
	}
	return u, nil
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid request", format, args...)
}
