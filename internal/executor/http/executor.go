// Package http carries out `call: http`: one request over HTTP 1.1 or 2, whose
// response is decoded by its media type.
//
// Every method that may change something carries the attempt's idempotency key
// in the header Idempotency-Key, so that a service can tell a repetition.
package http

import (
	"context"
	"encoding/base64"
	"fmt"
	nethttp "net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// arguments is `with` of a call, its endpoint expanded and its expressions evaluated.
type arguments struct {
	Method   string         `json:"method" required:"true" doc:"The method of the request, in any case."`
	Endpoint endpoint       `json:"endpoint" oneof:"string" required:"true" doc:"Where the request goes: a URI, or an object with a URI and an authentication policy."`
	Headers  map[string]any `json:"headers" doc:"Headers of the request; an array repeats the header."`
	Query    map[string]any `json:"query" doc:"Query parameters, beside those of the URI; an array repeats the parameter."`
	Body     any            `json:"body" doc:"The body: text as it is, a form for application/x-www-form-urlencoded, else JSON."`
	Output   string         `json:"output" enum:"content|raw|response" default:"content" doc:"What the output is: the decoded content, the raw bytes in base64, or the whole response."`
	Redirect bool           `json:"redirect" default:"false" doc:"Whether redirects are followed and a status of 300 to 399 is a success."`
}

type endpoint struct {
	URI            string `json:"uri" required:"true" doc:"The absolute URI."`
	Authentication any    `json:"authentication" doc:"The authentication policy."`
}

// Executor carries out the kind "http".
type Executor struct {
	client    *outbound.Client
	userAgent string
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

// CloseIdleConnections closes the connections that nobody uses.
func (e *Executor) CloseIdleConnections() { e.client.CloseIdleConnections() }

// Check finds mistakes in arguments that hold no expressions.
func (e *Executor) Check(args any) []string { return executor.CheckArguments(args, new(arguments)) }

// Execute sends the request and makes the output of the response.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	var a arguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return executor.Result{}, err
	}
	call, err := e.call(r, &a)
	if err != nil {
		return executor.Result{}, err
	}
	response, err := e.client.Do(ctx, call)
	if err != nil {
		return executor.Result{}, err
	}
	end := 300
	if a.Redirect {
		end = 400
	}
	if response.Status < 200 || response.Status >= end {
		return executor.Result{}, statusProblem(call, response)
	}
	output, err := outputOf(call, response, a.Output)
	if err != nil {
		return executor.Result{}, err
	}
	result := executor.Result{Output: output}
	if r.WantsAuthorization {
		result.Authorization = response.Authorization
	}
	return result, nil
}

// call makes the request of the arguments.
func (e *Executor) call(r *executor.Request, a *arguments) (*outbound.Call, error) {
	method := strings.ToUpper(strings.TrimSpace(a.Method))
	if !isToken(method) {
		return nil, invalid("method %q is none; it must be a word like GET or POST", a.Method)
	}
	u, err := target(a)
	if err != nil {
		return nil, err
	}
	header, err := headers(a.Headers)
	if err != nil {
		return nil, err
	}
	body, contentType, err := encode(a.Body, header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	unlessSet := func(name, v string) {
		if _, set := header[name]; !set && v != "" {
			header.Set(name, v)
		}
	}
	unlessSet("Content-Type", contentType)
	unlessSet("User-Agent", e.userAgent)
	unlessSet("Traceparent", r.Traceparent)
	switch method {
	case nethttp.MethodGet, nethttp.MethodHead, nethttp.MethodOptions:
	default:
		unlessSet("Idempotency-Key", r.IdempotencyKey)
	}
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
		for _, text := range texts(v) {
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

// texts is a value as it is sent in headers and queries: an array repeats, null is left out.
func texts(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, executor.Text(x))
		}
		return all
	}
	return []string{executor.Text(v)}
}

func headers(authored map[string]any) (nethttp.Header, error) {
	h := nethttp.Header{}
	for name, v := range authored {
		if !isToken(name) {
			return nil, invalid("headers: %q is no name of a header", name)
		}
		for _, text := range texts(v) {
			text = strings.TrimSpace(text)
			if strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
				return nil, invalid("headers: the value of %s holds a line break or another control character", name)
			}
			h.Add(name, text)
		}
	}
	return h, nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// statusProblem is the error of a status that is no success, DSL 66.
func statusProblem(call *outbound.Call, r *outbound.Response) *event.Problem {
	title := nethttp.StatusText(r.Status)
	if title == "" {
		title = "Unexpected status"
	}
	detail := fmt.Sprintf("%s %s answered %d", call.Method, outbound.Shown(call.URL), r.Status)
	if r.Status >= 300 && r.Status < 400 {
		detail += "; redirects are followed with redirect: true"
	}
	more := map[string]any{}
	if after := r.Header.Get("Retry-After"); after != "" {
		more["retryAfter"] = after
	}
	media := mediaOf(r.Header.Get("Content-Type"))
	if len(r.Body) > 0 && (media.textual() || media.name == "" && utf8.Valid(r.Body)) {
		more["body"] = head(media.text(r.Body))
	}
	if media.name == "application/problem+json" {
		if t, d := problemDetails(r.Body); t != "" || d != "" {
			if t != "" {
				title = t
			}
			if d != "" {
				detail += ": " + d
			}
		}
	}
	p := executor.NewProblem(event.Communication, r.Status, title, "%s", detail)
	if len(more) > 0 {
		p.More = more
	}
	return p
}

// outputOf makes the task's raw output, DSL 63 and 64.
func outputOf(call *outbound.Call, r *outbound.Response, form string) (any, error) {
	if form == "raw" {
		return base64.StdEncoding.EncodeToString(r.Body), nil
	}
	content, err := decode(r.Body, r.Header.Get("Content-Type"))
	if err != nil {
		return nil, executor.NewProblem(event.Communication, 500, "Response not understood",
			"%s %s answered %d with a body that is not what its Content-Type says: %v; output: raw gives it as it is", call.Method, outbound.Shown(call.URL), r.Status, err)
	}
	if form != "response" {
		return content, nil
	}
	return map[string]any{
		"request": map[string]any{
			"method":  r.Method,
			"uri":     r.URL.Redacted(),
			"headers": flat(r.Sent),
		},
		"statusCode": r.Status,
		"headers":    flat(r.Header),
		"content":    content,
	}, nil
}

func flat(h nethttp.Header) map[string]any {
	m := make(map[string]any, len(h))
	for name, values := range h {
		m[name] = strings.ToValidUTF8(strings.Join(values, ", "), "\ufffd")
	}
	return m
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid request", format, args...)
}
