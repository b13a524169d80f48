// Command services stands in for what an agent needs: a model behind an
// OpenAI-compatible API (/v1/chat/completions), and a server of the Model
// Context Protocol whose tools look at the services of a shop and act on them,
// over streamable HTTP (/mcp) or by standard input and output. What the tools
// did stands under /effects.
//
//	go run ./examples/agent-tools/services [-addr 127.0.0.1:8095] [-flaky 1]
//	go run ./examples/agent-tools/services -stdio -world http://127.0.0.1:8095
//
// The model is no model: it says what the tests of the example need.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8095", "address to listen on")
	flaky := flag.Int("flaky", 1, "how many requests the model refuses with 429 before it answers")
	stdio := flag.Bool("stdio", false, "be the server of the tools, by standard input and output")
	world := flag.String("world", "http://127.0.0.1:8095", "where the other one listens, for -stdio")
	flag.Parse()
	log.SetFlags(0)
	if err := serve(*addr, *stdio, *world, &shop{flaky: *flaky}); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string, stdio bool, world string, s *shop) error {
	ctx := context.Background() //nolint:forbidigo // the process itself is the context
	if stdio {
		return tools(func(text string) error { return tell(ctx, world, text) }).Run(ctx, &mcp.StdioTransport{})
	}
	server := tools(s.note)
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	mux.HandleFunc("POST /v1/chat/completions", s.complete)
	mux.HandleFunc("GET /effects", s.list)
	mux.HandleFunc("POST /effects", s.add)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.Print("listening on http://" + l.Addr().String())
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}).Serve(l)
}

// shop is what is remembered.
type shop struct {
	mu      sync.Mutex
	flaky   int
	effects []string
}

func (s *shop) note(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.effects = append(s.effects, text)
	return nil
}

func (s *shop) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	write(w, http.StatusOK, append([]string{}, s.effects...))
}

func (s *shop) add(w http.ResponseWriter, r *http.Request) {
	var text string
	if json.NewDecoder(r.Body).Decode(&text) == nil {
		_ = s.note(text)
	}
	w.WriteHeader(http.StatusNoContent)
}

// tell tells the process that has the effects of one more.
func tell(ctx context.Context, world, text string) error {
	b, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("write an effect: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, world+"/effects", bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("tell %s: %w", world, err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("tell %s: %w", world, err)
	}
	return resp.Body.Close()
}

type service struct {
	Service string `json:"service" jsonschema:"the name of the service"`
}

// tools are three that look and act; each act is told to note.
func tools(note func(string) error) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1.0.0"}, nil)
	looks := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(s, &mcp.Tool{Name: "list_services", Description: "Lists the services and their state.", Annotations: looks},
		func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return text(`[{"service": "checkout", "state": "slow"}, {"service": "search", "state": "fine"}]`), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "read_log", Description: "Reads the last lines of a service's log.", Annotations: looks},
		func(_ context.Context, _ *mcp.CallToolRequest, in service) (*mcp.CallToolResult, any, error) {
			if in.Service != "checkout" {
				return nil, nil, errors.New("there is no log of " + in.Service)
			}
			return text("09:14 garbage collection took 4.1 s; heap 3.9 of 4.0 GiB"), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "restart_service", Description: "Restarts a service; its customers wait meanwhile."},
		func(_ context.Context, _ *mcp.CallToolRequest, in service) (*mcp.CallToolResult, any, error) {
			return text(in.Service + " is up again"), nil, note("restarted " + in.Service)
		})
	return s
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

// message is one of a conversation.
type message struct {
	Role       string     `json:"role"`
	Content    *string    `json:"content"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// complete says the next message, and is strict about the conversation so far.
func (s *shop) complete(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		write(w, status, map[string]any{"error": map[string]any{"message": why}})
	}
	var in struct {
		Messages []message `json:"messages"`
		Tools    []struct {
			Type     string `json:"type"`
			Function struct {
				Name       string         `json:"name"`
				Parameters map[string]any `json:"parameters"`
			} `json:"function"`
		} `json:"tools"`
	}
	s.mu.Lock()
	busy := s.flaky > 0
	s.flaky--
	s.mu.Unlock()
	switch err := json.NewDecoder(r.Body).Decode(&in); {
	case busy:
		refuse(http.StatusTooManyRequests, "slow down")
	case r.Header.Get("Authorization") != "Bearer rosebud":
		refuse(http.StatusUnauthorized, "the key is wrong")
	case err != nil || len(in.Messages) < 2 || len(in.Tools) != 3 || in.Tools[0].Function.Parameters["type"] != "object":
		refuse(http.StatusBadRequest, "messages and tools are wanted")
	default:
		turn, open := 0, map[string]bool{}
		for _, m := range in.Messages {
			if m.Role == "assistant" {
				turn++
			}
			for _, c := range m.ToolCalls {
				open[c.ID] = true
			}
			delete(open, m.ToolCallID)
		}
		if len(open) > 0 {
			refuse(http.StatusBadRequest, fmt.Sprintf("%d calls of tools have no answer", len(open)))
			return
		}
		say := next(turn, *in.Messages[1].Content, in.Messages[len(in.Messages)-1])
		for i := range say.ToolCalls {
			say.ToolCalls[i].ID, say.ToolCalls[i].Type = fmt.Sprintf("call-%d-%d", turn+1, i+1), "function"
		}
		say.Role = "assistant"
		write(w, http.StatusOK, map[string]any{"choices": []any{map[string]any{"index": 0, "message": say}}})
	}
}

func next(turn int, question string, last message) message {
	ask := func(name, arguments string) toolCall {
		return toolCall{Function: function{Name: name, Arguments: arguments}}
	}
	final := func(s string) message { return message{Content: &s} }
	switch {
	case strings.Contains(question, "everything"): // it never comes to an end
		return message{ToolCalls: []toolCall{ask("list_services", "")}}
	case turn == 0:
		return message{ToolCalls: []toolCall{ask("list_services", "{}"), ask("read_log", `{"service": "checkout"}`)}}
	case turn == 1 && strings.Contains(question, "disk"): // tools that are not there, arguments that are no JSON
		return message{ToolCalls: []toolCall{ask("format_disk", "{}"), ask("read_log", `{"service": `), ask("read_log", `{"service": "payment"}`)}}
	case turn == 1:
		return message{ToolCalls: []toolCall{ask("restart_service", `{"service": "checkout"}`)}}
	case last.Content != nil && strings.Contains(*last.Content, "up again"):
		return final("Checkout had run out of memory. It has been restarted and is up again.")
	}
	return final("Nothing was done. The last tool said: " + *last.Content)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
