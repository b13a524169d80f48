// Package asyncapi carries out `call: asyncapi`: it publishes a message, or
// receives messages, over a channel that an AsyncAPI document describes
// (2.x and 3.0).
//
// Which of both is done says the call: with a message it publishes, with a
// subscription it receives, whatever the document calls that.
//
// Messages are acknowledged only when they are durable: those that were
// received are journaled as the handle of the attempt (Request.Bind), then
// acknowledged. After a crash in between, the repeated attempt begins with
// them. That is done at the end of a subscription, so that a fault before it
// costs nothing; earlier only where the server sends no more without it. Where
// a protocol knows no acknowledgement (http, ws, nats, redis, and mqtt with
// QoS 0), what arrives during a crash is lost.
package asyncapi

import (
	"context"
	"errors"
	"net/url"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// arguments is `with` of a call (DSL 73). The conditions about each message of
// a subscription are not evaluated yet: Request.Evaluate does it.
type arguments struct {
	Document       resource      `json:"document" required:"true" doc:"The AsyncAPI document: where it is, and how to authenticate there."`
	Channel        string        `json:"channel" doc:"The channel, of version 2 of AsyncAPI."`
	Operation      string        `json:"operation" doc:"The operation, of version 3 of AsyncAPI."`
	Server         *serverChoice `json:"server" doc:"The server; without one the first that fits."`
	Protocol       string        `json:"protocol" doc:"The protocol by which the server is chosen when server is not given."`
	Message        *outgoing     `json:"message" doc:"The message to publish."`
	Subscription   *subscription `json:"subscription" doc:"The messages to receive."`
	Authentication any           `json:"authentication" doc:"The authentication policy for the server."`
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

// serverChoice is DSL 74.
type serverChoice struct {
	Name      string         `json:"name" required:"true" doc:"The name of the server in the document."`
	Variables map[string]any `json:"variables" doc:"Variables of the server and parameters of the channel."`
}

// outgoing is DSL 75.
type outgoing struct {
	Payload any            `json:"payload" doc:"The content."`
	Headers map[string]any `json:"headers" doc:"The headers."`
}

// subscription is DSL 76.
type subscription struct {
	Filter  string   `json:"filter" doc:"An expression; messages for which it is false are left out."`
	Consume lifetime `json:"consume" required:"true" doc:"How long messages are received."`
	Foreach any      `json:"foreach" doc:"The tasks for each message."`
}

// lifetime is DSL 77.
type lifetime struct {
	Amount any    `json:"amount" doc:"How many messages."`
	While  string `json:"while" doc:"An expression, evaluated for each message; false ends the subscription after it."`
	Until  string `json:"until" doc:"An expression, evaluated for each message; true ends the subscription after it."`
	For    any    `json:"for" doc:"The longest duration."`
}

// Executor carries out the kind "asyncapi".
type Executor struct {
	client    *outbound.Client
	userAgent string

	left leftovers
}

var (
	_ executor.Executor   = (*Executor)(nil)
	_ executor.Checker    = (*Executor)(nil)
	_ executor.Reattacher = (*Executor)(nil)
)

// New makes an Executor that connects by the client's rules. Version is
// Downbeat's own, which services see in User-Agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{client: client, userAgent: "downbeat/" + version}
}

// Kind describes the kind "asyncapi" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "asyncapi",
		Version:  "1.0.0",
		Summary:  "Publishes or receives messages over a channel that an AsyncAPI document describes (call: asyncapi).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// CloseIdleConnections closes the connections that nobody uses.
func (e *Executor) CloseIdleConnections() { e.client.CloseIdleConnections() }

// Check finds mistakes in arguments that hold no expressions.
func (e *Executor) Check(args any) []string { return executor.CheckArguments(args, new(arguments)) }

// Recover takes the messages that an earlier process had received: the next
// attempt of the same task begins with them. Several handles are the parts of
// what one attempt has received.
func (e *Executor) Recover(_ context.Context, handle any) error {
	parts, ok := handle.([]any)
	if !ok {
		parts = []any{handle}
	}
	key, left := "", leftover{durable: true}
	for _, part := range parts {
		h, _ := part.(object)
		if key, ok = h["key"].(string); !ok {
			return errors.New("asyncapi: the handle is not of this kind")
		}
		left.messages = append(left.messages, listOf(h["messages"])...)
		left.over = h["over"] == true
	}
	e.left.keep(key, left)
	return nil
}

// Execute publishes the message, or receives messages.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	var a arguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return executor.Result{}, err
	}
	result, err := e.execute(ctx, r, &a)
	if err == nil {
		return result, nil
	}
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	return executor.Result{}, err
}

func (e *Executor) execute(ctx context.Context, r *executor.Request, a *arguments) (executor.Result, error) {
	switch {
	case (a.Channel == "") == (a.Operation == ""):
		return executor.Result{}, invalid("give either /channel (AsyncAPI 2) or /operation (AsyncAPI 3)")
	case (a.Message == nil) == (a.Subscription == nil):
		return executor.Result{}, invalid("give either /message, to publish, or /subscription, to receive")
	}
	p, err := readPolicy(r, a.Subscription)
	if err != nil {
		return executor.Result{}, err
	}
	source, err := e.client.Resource(ctx, &outbound.ResourceCall{
		URI: a.Document.Endpoint.URI, Directory: r.BaseDirectory, UserAgent: e.userAgent,
		Authentication: a.Document.Endpoint.Authentication, Secrets: r.Secrets,
	})
	if err != nil {
		return executor.Result{}, err
	}
	named, _ := url.Parse(a.Document.Endpoint.URI) // it was read: it is a URL, or a path
	d, err := readDocument(source, func(u *url.URL) (*outbound.Resource, error) {
		more := &outbound.ResourceCall{URI: address(u), UserAgent: e.userAgent, Secrets: r.Secrets}
		if named != nil && origin(u) == origin(named) {
			more.Authentication = a.Document.Endpoint.Authentication
		}
		return e.client.Resource(ctx, more)
	})
	if err != nil {
		return executor.Result{}, err
	}
	c, err := d.channel(a)
	if err != nil {
		return executor.Result{}, err
	}
	authorization, err := e.client.Authorize(ctx, a.Authentication, r.Secrets, &url.URL{Scheme: c.server.protocol, Host: c.server.address})
	if err != nil {
		return executor.Result{}, err
	}
	result := executor.Result{}
	if r.WantsAuthorization {
		result.Authorization = authorization
	}
	t := &link{wanted: wanted(p), client: e.client, userAgent: e.userAgent, request: r, channel: c, authorization: authorization}
	if a.Message != nil {
		m, err := t.encode(a.Message)
		if err != nil {
			return executor.Result{}, err
		}
		if err := protocols[c.server.protocol].publish(ctx, t, m); err != nil {
			return executor.Result{}, t.problem("publish to", err)
		}
		return result, nil
	}
	result.Output, err = e.receive(ctx, t, p)
	return result, err
}

// wanted is how many messages a subscription takes at most; 0: nobody knows.
func wanted(p *policy) int {
	if p == nil || p.filter != "" {
		return 0
	}
	return p.amount
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid call of AsyncAPI", format, args...)
}
