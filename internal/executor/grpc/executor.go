// Package grpc carries out `call: grpc`: one method of a service, whose
// messages are described by a proto document or by the server's reflection.
//
// Messages are JSON as Protocol Buffers define it: 64-bit integers are strings,
// bytes are base64, fields have their lowerCamelCase names, and those without a
// value are there with their default. All four kinds of methods can be called:
// where the client streams, the arguments may be an array of messages; where
// the server streams, the output is the array of its messages.
//
// Every call carries the attempt's idempotency key in the metadata
// idempotency-key, so that a service can tell a repetition.
package grpc

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// arguments is `with` of a call, its expressions evaluated (DSL 68).
type arguments struct {
	Proto     *executor.Resource `json:"proto" doc:"The proto document that describes the service; without one, or with the endpoint reflection:, the server is asked."`
	Service   service            `json:"service" required:"true" doc:"The service and where it is."`
	Method    string             `json:"method" required:"true" doc:"The method of the service."`
	Arguments any                `json:"arguments" doc:"The message, an object; where the client streams, an array of messages."`
	Metadata  map[string]any     `json:"metadata" doc:"Metadata of the call; an array repeats the key."`
}

type service struct {
	Name           string `json:"name" required:"true" doc:"The name of the service, with or without its package."`
	Host           string `json:"host" required:"true" doc:"The host; https:// before it asks for TLS, http:// for none."`
	Port           *int   `json:"port" doc:"The port; 443 without one. Port 443 means TLS, any other none, unless the host says it."`
	Authentication any    `json:"authentication" doc:"The authentication policy."`
}

// Executor carries out the kind "grpc".
type Executor struct {
	executor.Frame[arguments, *outbound.Client]
	connections connections
	documents   documents
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

// New makes an Executor that connects by the client's rules. Version is
// Downbeat's own, which services see in user-agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{Frame: executor.NewFrame[arguments](client, version)}
}

// Kind describes the kind "grpc" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "grpc",
		Version:  "1.0.0",
		Summary:  "Calls a method of a gRPC service (call: grpc).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// CloseIdleConnections closes the connections that nobody uses.
func (e *Executor) CloseIdleConnections() {
	e.connections.closeIdle()
	e.Client.CloseIdleConnections()
}

// Execute calls the method.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return e.Perform(ctx, r, func(a *arguments) (any, *event.Authorization, error) {
		to, err := a.target()
		if err != nil {
			return nil, nil, err
		}
		login, err := e.Client.Login(ctx, a.Service.Authentication, r.Secrets, to.url())
		if err != nil {
			return nil, nil, err
		}
		c, err := e.connections.get(e.Client, to, e.UserAgent)
		if err != nil {
			return nil, nil, invalid("the service at %s cannot be called: %v", to.address, err)
		}
		defer c.release()
		for again := false; ; {
			call := &call{connection: c, to: to, arguments: a.Arguments, deadline: r.Deadline}
			if call.metadata, err = metadataOf(r, a, login.Authorization()); err != nil {
				return nil, nil, err
			}
			output, err := e.perform(ctx, call, r, a)
			if p, ok := errors.AsType[*event.Problem](err); !ok || again || p.More["grpcCode"] != outcomes[codes.Unauthenticated].name {
				return output, login.Authorization(), err
			}
			if renewed, failed := login.Refused(ctx); failed != nil || !renewed {
				return nil, nil, cmp.Or(failed, err)
			}
			again = true
		}
	})
}

// perform finds the description of the method and calls it. What the server
// said of itself earlier is asked again when the call does not fit it.
func (e *Executor) perform(ctx context.Context, c *call, r *executor.Request, a *arguments) (any, error) {
	if a.Proto != nil && !isReflection(a.Proto.Endpoint.URI) {
		d, err := e.documents.read(ctx, &reader{client: e.Client, endpoint: a.Proto.Endpoint, request: r, userAgent: e.UserAgent})
		if err != nil {
			return nil, err
		}
		if c.method, err = d.method(a.Service.Name, a.Method); err != nil {
			return nil, err
		}
		c.types = d
		return c.do(ctx)
	}
	for {
		d, fresh, err := c.connection.describe(ctx, c.metadata, a.Service.Name)
		if err != nil {
			return nil, c.problem(err)
		}
		var output any
		c.types = d
		if c.method, err = d.method(a.Service.Name, a.Method); err == nil {
			output, err = c.do(ctx)
		}
		p, ok := errors.AsType[*event.Problem](err)
		if fresh || !ok || p.Type != event.TypePrefix+event.Configuration && p.Status != 501 {
			return output, err
		}
		c.connection.forget(a.Service.Name)
	}
}

// isReflection reports whether an endpoint says that the server is to be asked.
func isReflection(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "reflection"
}

// target is where a service is.
type target struct {
	address string // host:port
	secure  bool
}

func (t target) url() *url.URL {
	return &url.URL{Scheme: "grpc", Host: t.address}
}

func (a *arguments) target() (target, error) {
	host, t := strings.TrimSpace(a.Service.Host), target{}
	scheme := ""
	if before, after, ok := strings.Cut(host, "://"); ok {
		scheme, host = strings.ToLower(before), strings.TrimSuffix(after, "/")
	}
	port := "443"
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	} else if scheme == "http" || scheme == "grpc" {
		port = "80"
	}
	if a.Service.Port != nil {
		if *a.Service.Port < 1 || *a.Service.Port > 65535 {
			return t, invalid("/service/port is %d; it must be from 1 to 65535", *a.Service.Port)
		}
		port = strconv.Itoa(*a.Service.Port)
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.ContainsAny(host, "/?#@ \t\r\n\x00") {
		return t, invalid("/service/host is %q; it must be the name or the address of a host", a.Service.Host)
	}
	switch scheme {
	case "https", "grpcs":
		t.secure = true
	case "http", "grpc":
	case "":
		t.secure = port == "443"
	default:
		return t, invalid("/service/host has the scheme %q; https and http are known, or none", scheme)
	}
	t.address = net.JoinHostPort(host, port)
	return t, nil
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid call of a gRPC method", format, args...)
}
