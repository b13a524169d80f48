// Package a2a carries out `call: a2a`: one JSON-RPC request to an agent of the
// Agent2Agent protocol (0.2 and 0.3, whose method names the language has).
//
// The agent is found by its card, or is the server itself. A card is read like
// any external resource; its url is the server, unless its preferred transport
// is another than JSON-RPC: then an additional interface by JSON-RPC is. The
// authentication of the card's endpoint is used for the agent too, when both
// are of one origin: a card on another host gets no credentials sent elsewhere.
//
// The output is the JSON-RPC result. message/stream and tasks/resubscribe give
// the results of their events as an array in the order of arrival, which ends
// with the stream or with the event that says that it is the final one.
package a2a

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// arguments is `with` of a call.
type arguments struct {
	Method     string             `json:"method" required:"true" enum:"message/send|message/stream|tasks/get|tasks/list|tasks/cancel|tasks/resubscribe|tasks/pushNotificationConfig/set|tasks/pushNotificationConfig/get|tasks/pushNotificationConfig/list|tasks/pushNotificationConfig/delete|agent/getAuthenticatedExtendedCard" doc:"The method of the request."`
	AgentCard  *executor.Resource `json:"agentCard" doc:"The card of the agent; it goes before server."`
	Server     *executor.Endpoint `json:"server" oneof:"string" doc:"The agent's server, without a card."`
	Parameters any                `json:"parameters" doc:"The parameters of the method, an object."`
}

// Executor carries out the kind "a2a".
type Executor struct {
	executor.Frame[arguments, *outbound.Client]
}

var (
	_ executor.Executor = (*Executor)(nil)
	_ executor.Checker  = (*Executor)(nil)
)

// New makes an Executor that calls through the client. Version is Downbeat's
// own, which agents see in User-Agent.
func New(client *outbound.Client, version string) *Executor {
	return &Executor{executor.NewFrame[arguments](client, version)}
}

// Kind describes the kind "a2a" in the catalogue.
func Kind() executor.Kind {
	return executor.Kind{
		Name:     "a2a",
		Version:  "1.0.0",
		Summary:  "Calls a method of an agent of the Agent2Agent protocol (call: a2a).",
		Schema:   executor.SchemaOf(arguments{}),
		Callable: true,
	}
}

// Execute makes the request.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	return e.Perform(ctx, r, func(a *arguments) (any, *event.Authorization, error) {
		output, authorization, err := e.execute(ctx, r, a)
		if err != nil {
			err = executor.AsRuntime(err, failed)
		}
		return output, authorization, err
	})
}

func (e *Executor) execute(ctx context.Context, r *executor.Request, a *arguments) (any, *event.Authorization, error) {
	if a.AgentCard == nil && a.Server == nil {
		return nil, nil, invalid("one of agentCard and server must be there")
	}
	parameters, err := parametersOf(r, a)
	if err != nil {
		return nil, nil, err
	}
	server := a.Server
	if a.AgentCard != nil { // DSL 78: the card wins
		if server, err = e.discover(ctx, r, a.AgentCard); err != nil {
			return nil, nil, err
		}
	}
	u, err := address(server.URI)
	if err != nil {
		return nil, nil, err
	}
	m := map[string]any{"jsonrpc": "2.0", "id": r.IdempotencyKey, "method": a.Method}
	if parameters != nil {
		m["params"] = parameters
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	streams := a.Method == "message/stream" || a.Method == "tasks/resubscribe"
	if streams {
		header.Set("Accept", "text/event-stream, application/json")
	}
	outbound.Identity{UserAgent: e.UserAgent, Traceparent: r.Traceparent, IdempotencyKey: r.IdempotencyKey}.Into(header, http.MethodPost)
	s, err := e.Client.Stream(ctx, &outbound.Call{
		Method: http.MethodPost, URL: u, Header: header, Body: value.JSON(m), Authentication: server.Authentication, Secrets: r.Secrets,
	})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	if s.IsEvents() {
		v, err := events(s, a.Method, streams)
		return v, s.Authorization, err
	}
	v, err := single(s, u, a.Method)
	if err == nil && streams {
		v = []any{v} // an agent that answers at once
	}
	return v, s.Authorization, err
}

// parametersOf are the parameters with the defaults of DSL 79. The id of a
// message is the same for every attempt, so that an agent can tell a repetition.
func parametersOf(r *executor.Request, a *arguments) (any, error) {
	if a.Parameters == nil && !strings.HasPrefix(a.Method, "message/") {
		return nil, nil // none are no mistake
	}
	given, ok := a.Parameters.(map[string]any)
	if !ok && a.Parameters != nil {
		return nil, invalid("parameters must be an object, not of type %s", value.TypeName(a.Parameters))
	}
	if !strings.HasPrefix(a.Method, "message/") {
		return given, nil
	}
	message, ok := given["message"].(map[string]any)
	if !ok {
		return nil, invalid("%s wants parameters.message, an object with parts", a.Method)
	}
	message, given = maps.Clone(message), maps.Clone(given)
	if message["messageId"] == nil {
		sum := sha256.Sum256([]byte(r.IdempotencyKey))
		sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
		message["messageId"] = fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	if message["role"] == nil {
		message["role"] = "user"
	}
	if message["kind"] == nil {
		message["kind"] = "message"
	}
	given["message"] = message
	return given, nil
}

// discover reads the card and finds the server in it.
func (e *Executor) discover(ctx context.Context, r *executor.Request, card *executor.Resource) (*executor.Endpoint, error) {
	found, err := e.Client.Resource(ctx, &outbound.ResourceCall{
		URI: card.Endpoint.URI, Directory: r.BaseDirectory, Authentication: card.Endpoint.Authentication, Secrets: r.Secrets, UserAgent: e.UserAgent,
	})
	if err != nil {
		return nil, err
	}
	var c struct {
		URL        string `json:"url"`
		Preferred  string `json:"preferredTransport"`
		Additional []struct {
			URL       string `json:"url"`
			Transport string `json:"transport"`
		} `json:"additionalInterfaces"`
	}
	if err := json.Unmarshal(found.Bytes, &c); err != nil || c.URL == "" {
		return nil, failure("%s is no card of an agent: it must be a JSON object with the url of its server", found)
	}
	uri := c.URL
	if c.Preferred != "" && !strings.EqualFold(c.Preferred, "JSONRPC") {
		uri = ""
		for _, i := range c.Additional {
			if uri == "" && strings.EqualFold(i.Transport, "JSONRPC") {
				uri = i.URL
			}
		}
		if uri == "" {
			return nil, failure("%s: the agent speaks %s and offers no interface by JSONRPC, which call: a2a needs", found, c.Preferred)
		}
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, failure("%s: the url of the agent is none", found)
	}
	server := &executor.Endpoint{URI: uri}
	if found.URL != nil && (found.URL.Scheme == "http" || found.URL.Scheme == "https") {
		u = found.URL.ResolveReference(u)
		server.URI = u.String()
		if u.Scheme == found.URL.Scheme && strings.EqualFold(u.Host, found.URL.Host) {
			server.Authentication = card.Endpoint.Authentication
		}
	} else {
		server.Authentication = card.Endpoint.Authentication // a file of one's own, with what its agent wants
	}
	return server, nil
}

// single reads an answer that is one JSON document.
func single(s *outbound.Stream, u *url.URL, method string) (any, error) {
	b, err := io.ReadAll(s.Body)
	if err != nil {
		return nil, err
	}
	v, _, err := resultOf(b, method)
	if s.Status >= 200 && s.Status < 300 || err == nil {
		return v, err
	}
	if p, ok := errors.AsType[*event.Problem](err); ok && p.More["code"] != nil {
		return nil, p // JSON-RPC's own words say more than the status
	}
	p := failure("%s: POST %s answered %d %s", method, outbound.Shown(u), s.Status, http.StatusText(s.Status))
	if len(b) > 0 {
		p.Detail += ": " + describe(b)
	}
	p.More = map[string]any{"httpStatus": s.Status}
	return nil, p
}

// maxEvent bounds one event of a stream, maxEvents their number.
const maxEvent, maxEvents = 16 << 20, 100_000

// events reads a stream of answers. One that a plain method gets as a stream
// has one answer.
func events(s *outbound.Stream, method string, streams bool) (any, error) {
	all := []any{}
	for e, err := range outbound.Events(s.Body, maxEvent) {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, failure("%s: the agent sent an event of more than %d bytes", method, maxEvent)
		}
		if err != nil {
			return nil, err
		}
		if len(e.Data) == 0 {
			continue
		}
		v, final, err := resultOf(e.Data, method)
		if err != nil {
			return nil, err
		}
		if all = append(all, v); len(all) > maxEvents {
			return nil, failure("%s: the agent sent more than %d events", method, maxEvents)
		}
		if final || !streams {
			break
		}
	}
	switch {
	case streams:
		return all, nil
	case len(all) == 0:
		return nil, failure("%s: the agent ended its answer before the result came", method)
	}
	return all[0], nil
}

// resultOf takes the result out of an answer; final says that it is the last of a stream.
func resultOf(b []byte, method string) (v any, final bool, err error) {
	var m struct {
		Version string          `json:"jsonrpc"`
		Result  json.RawMessage `json:"result"`
		Error   *struct {
			Code    int             `json:"code"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		} `json:"error"`
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Version != "2.0" {
		return nil, false, failure("%s: the agent answered with something that is no message of JSON-RPC: %s", method, describe(b))
	}
	if m.Error != nil {
		p := failure("%s: the agent answered with the error %d: %s", method, m.Error.Code, m.Error.Message)
		p.More = map[string]any{"code": m.Error.Code}
		if data, err := value.Decode(m.Error.Data); err == nil && len(m.Error.Data) > 0 {
			p.More["data"] = data
		}
		return nil, false, p
	}
	if v, err = value.Decode(m.Result); err != nil || len(m.Result) == 0 {
		return nil, false, failure("%s: the agent's answer has no result that can be read: %s", method, describe(b))
	}
	if o, ok := v.(map[string]any); ok {
		final = o["final"] == true
	}
	return v, final, nil
}

func address(uri string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(uri))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, invalid("the agent's server is no address; it must be one like https://example.com/a2a")
	}
	return u, nil
}

// failed is the title of the errors of this kind.
const failed = "A2A call failed"

func failure(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Runtime, 500, failed, format, args...)
}

func invalid(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid arguments", format, args...)
}

func describe(b []byte) string {
	return fmt.Sprintf("%q", strings.ToValidUTF8(string(b[:min(len(b), 200)]), "\ufffd"))
}
