// Package mcp carries out `call: mcp`: one request to a server of the Model
// Context Protocol, over streamable HTTP or to a program by its standard input
// and output.
//
// A call is a session of its own: initialize, the request, the end. The program
// of a stdio server is started for the call, in a process group that ends with
// it, under the rules of `run: shell`. Lists are one page, as the server gives
// it: nextCursor is part of the result, and cursor one of the parameters. A tool
// that reports its own failure (isError) has given a result, which is the
// output; only the protocol's errors are faults.
//
// The client is our own, for the output is the result as the server wrote it
// and the version of the protocol is the author's choice; tests hold it against
// servers of the official SDK.
package mcp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// arguments is `with` of a call.
type arguments struct {
	Method          string     `json:"method" required:"true" enum:"tools/list|tools/call|prompts/list|prompts/get|resources/list|resources/read|resources/templates/list" doc:"The method of the request."`
	Transport       transport  `json:"transport" required:"true" doc:"How the server is reached: exactly one of http and stdio."`
	Parameters      any        `json:"parameters" doc:"The parameters of the method, an object."`
	ProtocolVersion string     `json:"protocolVersion" default:"2025-06-18" doc:"The version of the protocol to ask for."`
	Timeout         any        `json:"timeout" doc:"A duration after which the call fails."`
	Client          clientInfo `json:"client" doc:"What the server is told of the client."`
}

type transport struct {
	HTTP    *httpTransport  `json:"http" doc:"A server over streamable HTTP."`
	Stdio   *stdioTransport `json:"stdio" doc:"A program that is started for the call."`
	Options map[string]any  `json:"options" doc:"Options of the transport: workingDirectory, where the program of stdio starts; http has none."`
}

type httpTransport struct {
	Endpoint executor.Endpoint `json:"endpoint" oneof:"string" required:"true" doc:"Where the server is: a URI, or an object with a URI and an authentication policy."`
	Headers  map[string]any    `json:"headers" doc:"Headers of every request."`
}

type stdioTransport struct {
	Command     string         `json:"command" required:"true" doc:"The program."`
	Arguments   any            `json:"arguments" doc:"Its arguments, a list."`
	Environment map[string]any `json:"environment" doc:"Environment variables."`
}

type clientInfo struct {
	Name    string `json:"name" doc:"The client's name."`
	Version string `json:"version" doc:"The client's version."`
}

const (
	defaultProtocol  = "2025-06-18"       // DSL 82
	workingDirectory = "workingDirectory" // the one option of a transport, of stdio
)

// Executor carries out the kind "mcp".
type Executor struct {
	client    *outbound.Client
	processes *process.Executor
	version   string
}

var (
	_ executor.Executor   = (*Executor)(nil)
	_ executor.Reattacher = (*Executor)(nil)
	_ executor.Checker    = (*Executor)(nil)
)

// New makes an Executor that calls through the client and starts programs as
// processes does. Version is Downbeat's own.
func New(client *outbound.Client, processes *process.Executor, version string) *Executor {
	return &Executor{client: client, processes: processes, version: version}
}

// Kind describes the kind "mcp" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "mcp",
		Version:  "1.0.0",
		Summary:  "Calls a method of a server of the Model Context Protocol (call: mcp).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// CloseIdleConnections closes the connections that nobody uses.
func (e *Executor) CloseIdleConnections() { e.client.CloseIdleConnections() }

// Check finds mistakes in arguments that hold no expressions.
func (e *Executor) Check(args any) []string {
	return executor.CheckArguments(known(args), new(arguments))
}

// Recover ends the program of an attempt whose Downbeat died.
func (e *Executor) Recover(ctx context.Context, handle any) error {
	return e.processes.Recover(ctx, handle)
}

// Execute makes one request in a session of its own.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	a, err := e.read(r)
	if err != nil {
		return executor.Result{}, err
	}
	limited, cancel, err := withTimeout(ctx, a.Timeout)
	if err != nil {
		return executor.Result{}, err
	}
	defer cancel()
	result, err := e.call(limited, r, a)
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return executor.Result{}, context.Cause(ctx)
	case limited.Err() != nil:
		p := executor.NewProblem(event.Runtime, 408, "MCP call timed out", "%s was not answered within %s", a.Method, executor.Text(a.Timeout))
		return executor.Result{}, p
	}
	return executor.Result{}, executor.AsRuntime(err, failed)
}

func (e *Executor) call(ctx context.Context, r *executor.Request, a *arguments) (result executor.Result, err error) {
	var w wire
	if a.Transport.HTTP != nil {
		w, err = e.overHTTP(r, a.Transport.HTTP)
	} else {
		w, err = e.overStdio(ctx, r, a)
	}
	if err != nil {
		return result, err
	}
	s := &session{wire: w, log: r.Log.Stream("log")}
	over := make(chan struct{})
	go func() {
		defer close(over)
		result.Output, err = s.talk(ctx, a)
	}()
	select {
	case <-over:
		w.close(ctx, 0, over)
	case <-ctx.Done():
		w.close(ctx, int(s.pending.Load()), over)
	}
	if h, ok := w.(*httpWire); ok && r.WantsAuthorization {
		result.Authorization = h.authorization
	}
	return result, err
}

// read reads the arguments with their defaults.
func (e *Executor) read(r *executor.Request) (*arguments, error) {
	a := new(arguments)
	if err := executor.ReadArguments(known(r.Arguments), a); err != nil {
		return nil, err
	}
	if (a.Transport.HTTP == nil) == (a.Transport.Stdio == nil) {
		return nil, invalid("transport must have exactly one of http and stdio")
	}
	if _, ok := a.Parameters.(map[string]any); !ok && a.Parameters != nil {
		return nil, invalid("parameters must be an object, not of type %s", value.TypeName(a.Parameters))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Transport.Options)) {
		if name != workingDirectory || a.Transport.Stdio == nil {
			return nil, invalid("transport.options has %q, which is no option here: stdio has %s, http has none", name, workingDirectory)
		}
		if _, ok := a.Transport.Options[name].(string); !ok {
			return nil, invalid("transport.options.%s must be a string, not of type %s", name, value.TypeName(a.Transport.Options[name]))
		}
	}
	if a.ProtocolVersion == "" {
		a.ProtocolVersion = defaultProtocol
	}
	if a.Client.Name == "" {
		a.Client.Name = "downbeat"
	}
	if a.Client.Version == "" {
		a.Client.Version = e.version
	}
	return a, nil
}

// known leaves out the properties that the specification does not name, which
// it allows everywhere in these arguments.
func known(args any) any {
	pick := func(v any, names ...string) any {
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		m = maps.Clone(m)
		maps.DeleteFunc(m, func(k string, _ any) bool { return !slices.Contains(names, k) })
		return m
	}
	args = pick(args, "method", "transport", "parameters", "protocolVersion", "timeout", "client")
	m, ok := args.(map[string]any)
	if !ok {
		return args
	}
	for name, names := range map[string][]string{"transport": {"http", "stdio", "options"}, "client": {"name", "version"}} {
		if v, there := m[name]; there {
			m[name] = pick(v, names...)
		}
	}
	if t, ok := m["transport"].(map[string]any); ok {
		for name, names := range map[string][]string{"http": {"endpoint", "headers"}, "stdio": {"command", "arguments", "environment"}} {
			if v, there := t[name]; there {
				t[name] = pick(v, names...)
			}
		}
	}
	return m
}

func withTimeout(ctx context.Context, timeout any) (context.Context, context.CancelFunc, error) {
	if timeout == nil {
		limited, cancel := context.WithCancel(ctx)
		return limited, cancel, nil
	}
	d, err := value.DurationFromValue(timeout)
	if err != nil {
		return nil, nil, invalid("timeout: %v", err)
	}
	if d.Std() <= 0 {
		return nil, nil, invalid("timeout: %s is no time at all", d)
	}
	limited, cancel := context.WithTimeout(ctx, d.Std())
	return limited, cancel, nil
}

func (e *Executor) overHTTP(r *executor.Request, t *httpTransport) (wire, error) {
	u, err := url.Parse(strings.TrimSpace(t.Endpoint.URI))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, invalid("transport.http.endpoint is no address of a server; it must be one like https://example.com/mcp")
	}
	header, err := outbound.Headers(t.Headers)
	if err != nil {
		return nil, err
	}
	outbound.Identity{UserAgent: "downbeat/" + e.version, Traceparent: r.Traceparent}.Into(header, http.MethodPost)
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json, text/event-stream")
	return &httpWire{client: e.client, url: u, header: header, authentication: t.Endpoint.Authentication, secrets: r.Secrets}, nil
}

func (e *Executor) overStdio(ctx context.Context, r *executor.Request, a *arguments) (wire, error) {
	t := a.Transport.Stdio
	words, err := process.Words(t.Arguments)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(t.Command) == "" || strings.IndexByte(t.Command, 0) >= 0 {
		return nil, invalid("transport.stdio.command is empty; it must be the name of a program")
	}
	if dir, ok := a.Transport.Options[workingDirectory].(string); ok {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.RunDirectory, dir)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, invalid("transport.options.%s is %s, which is no directory here", workingDirectory, dir)
		}
		in := *r
		in.Directory = dir
		r = &in
	}
	s, err := e.processes.Open(ctx, r, append([]string{t.Command}, words...), t.Environment)
	if err != nil {
		return nil, err
	}
	return newStdioWire(s), nil
}

// failed is the title of the errors of this kind.
const failed = "MCP call failed"

func failure(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Runtime, 500, failed, format, args...)
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid arguments", format, args...)
}

func describe(b []byte) string {
	text := strings.ToValidUTF8(string(b[:min(len(b), 200)]), "\ufffd")
	return fmt.Sprintf("%q", text)
}
