package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// wire carries messages to one server and back.
type wire interface {
	// send sends a message; a request's answer, and what the server says before
	// it, is then given to receive. Id is 0 for a message without an answer.
	send(ctx context.Context, message []byte, id int) error
	// receive gives the next message of the server.
	receive(ctx context.Context) ([]byte, error)
	// agreed tells the version of the protocol.
	agreed(version string)
	// close ends the session, which makes the conversation end (over), and waits
	// for that. When a request is pending (not 0) the server is told that nobody
	// waits for it. It works although ctx is over.
	close(ctx context.Context, pending int, over <-chan struct{})
}

// session is a conversation: one request at a time.
type session struct {
	wire    wire
	log     io.Writer
	pending atomic.Int64 // id of the request that waits for its answer; 0 none
	ids     int
}

// message is any message of JSON-RPC.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error,omitempty"`
}

// maxForeign is how many messages of its own a server may send before it answers.
const maxForeign = 100_000

// talk begins the session and makes the request of the arguments.
func (s *session) talk(ctx context.Context, a *arguments) (any, error) {
	hello, err := s.request(ctx, "initialize", map[string]any{
		"protocolVersion": a.ProtocolVersion,
		"capabilities":    map[string]any{},
		"clientInfo":      map[string]any{"name": a.Client.Name, "version": a.Client.Version},
	})
	if err != nil {
		return nil, err
	}
	m, _ := hello.(map[string]any)
	version, ok := m["protocolVersion"].(string)
	if !ok {
		return nil, failure("the server answered initialize without the version of its protocol; is it a server of MCP?")
	}
	s.wire.agreed(version)
	if err := s.notify(ctx, "notifications/initialized", nil); err != nil {
		return nil, err
	}
	return s.request(ctx, a.Method, a.Parameters)
}

func (s *session) notify(ctx context.Context, method string, params any) error {
	return s.wire.send(ctx, encode(nil, method, params), 0)
}

// request sends a request and waits for its answer.
func (s *session) request(ctx context.Context, method string, params any) (any, error) {
	s.ids++
	id := s.ids
	if method != "initialize" { // which may not be cancelled
		s.pending.Store(int64(id))
		defer s.pending.Store(0)
	}
	if err := s.wire.send(ctx, encode(id, method, params), id); err != nil {
		return nil, err
	}
	for range maxForeign {
		b, err := s.wire.receive(ctx)
		if err != nil {
			return nil, err
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil || m.Version != "2.0" {
			return nil, failure("%s: the server sent something that is no message of JSON-RPC: %s", method, describe(b))
		}
		if m.Method != "" {
			if err := s.foreign(ctx, &m); err != nil {
				return nil, err
			}
			continue
		}
		if string(m.ID) != fmt.Sprint(id) && (m.Error == nil || len(m.ID) != 0 && string(m.ID) != "null") {
			continue // an answer to nothing that was asked
		}
		if m.Error != nil {
			p := failure("%s: the server answered with the error %d: %s", method, m.Error.Code, m.Error.Message)
			p.More = map[string]any{"code": m.Error.Code}
			if v, err := value.Decode(m.Error.Data); err == nil && len(m.Error.Data) > 0 {
				p.More["data"] = v
			}
			return nil, p
		}
		v, err := value.Decode(m.Result)
		if len(m.Result) == 0 || err != nil {
			return nil, failure("%s: the server's answer has no result that can be read: %s", method, describe(b))
		}
		return v, nil
	}
	return nil, failure("%s: the server sent %d messages of its own and no answer", method, maxForeign)
}

// foreign takes a message that the server sends by itself: its log goes to
// ours, a ping is answered, other requests are declined, the rest is nothing to us.
func (s *session) foreign(ctx context.Context, m *message) error {
	switch {
	case len(m.ID) > 0 && m.Method == "ping":
		return s.wire.send(ctx, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID), 0)
	case len(m.ID) > 0:
		return s.wire.send(ctx, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID), 0)
	case m.Method == "notifications/message":
		_, _ = fmt.Fprintf(s.log, "%s\n", m.Params) // a log that cannot be written must not fail the task
	}
	return nil
}

func encode(id any, method string, params any) []byte {
	m := map[string]any{"jsonrpc": "2.0", "method": method}
	if id != nil {
		m["id"] = id
	}
	if params != nil {
		m["params"] = params
	}
	return value.JSON(m)
}
