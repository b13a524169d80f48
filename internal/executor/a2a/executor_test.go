package a2a_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/a2a"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

func newExecutor(t *testing.T) *a2a.Executor {
	t.Helper()
	client, err := outbound.New(outbound.Config{MaxResponse: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return a2a.New(client, "test")
}

func execute(t *testing.T, arguments object) (any, error) {
	t.Helper()
	r, log := executortest.Request(t, "a2a", arguments)
	result, err := newExecutor(t).Execute(t.Context(), r)
	log.Close()
	return result.Output, err
}

func fails(t *testing.T, arguments object, family, detail string) *event.Problem {
	t.Helper()
	_, err := execute(t, arguments)
	p := executortest.CheckProblem(t, err)
	if p.Type != event.TypePrefix+family || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v: got %s %q; want %s with %q", arguments, p.Type, p.Detail, family, detail)
	}
	return p
}

// agent answers as one of A2A 0.3 does; it keeps the last request.
type agent struct {
	*httptest.Server
	last   object
	header http.Header
	hangs  chan struct{}
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{hangs: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/agent-card.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"name":"reporter","protocolVersion":"0.3.0","url":"/rpc","preferredTransport":"JSONRPC"}`)
	})
	mux.HandleFunc("GET /grpc-card.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"url":"grpc://x","preferredTransport":"GRPC","additionalInterfaces":[{"transport":"HTTP+JSON","url":"%[1]s/rest"},{"transport":"JSONRPC","url":"%[1]s/rpc"}]}`, a.URL)
	})
	mux.HandleFunc("GET /only-grpc.json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"url":"grpc://x","preferredTransport":"GRPC"}`)
	})
	mux.HandleFunc("POST /rpc", a.rpc)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *agent) rpc(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	a.last, a.header = nil, r.Header
	_ = json.Unmarshal(b, &a.last)
	params, _ := a.last["params"].(object)
	send := func(result string) { fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%q,"result":%s}`, a.last["id"], result) }
	switch a.last["method"] {
	case "message/stream", "tasks/resubscribe":
		w.Header().Set("Content-Type", "text/event-stream")
		for i, result := range []string{`{"kind":"task","id":"t1"}`, `{"kind":"artifact-update","n":1.50}`, `{"kind":"status-update","final":true}`} {
			fmt.Fprintf(w, "id: %d\ndata: ", i)
			send(result)
			fmt.Fprint(w, "\n\n")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done() // an agent that forgets to end its stream
	case "tasks/get":
		if params["id"] == "hang" {
			a.hangs <- struct{}{}
			<-r.Context().Done()
			return
		}
		if params["id"] == "none" {
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"Task not found","data":{"id":"none"}}}`)
			return
		}
		send(`{"id":"t1","status":{"state":"completed"}}`)
	default:
		send(fmt.Sprintf(`{"method":%q}`, a.last["method"]))
	}
}

// DSL 78: the eleven methods; the card wins over the server.
func TestMethods(t *testing.T) {
	a := newAgent(t)
	server := a.URL + "/rpc"
	for _, method := range []string{
		"message/send", "tasks/list", "tasks/cancel", "tasks/pushNotificationConfig/set", "tasks/pushNotificationConfig/get",
		"tasks/pushNotificationConfig/list", "tasks/pushNotificationConfig/delete", "agent/getAuthenticatedExtendedCard",
	} {
		got, err := execute(t, object{"method": method, "server": server, "parameters": object{"message": object{"parts": []any{}}}})
		if d := cmp.Diff(object{"method": method}, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", method, err, d)
		}
	}
	got, err := execute(t, object{"method": "tasks/get", "server": object{"uri": server, "authentication": object{"basic": object{"username": "u", "password": "p"}}}, "parameters": object{"id": "t1"}})
	if d := cmp.Diff(object{"id": "t1", "status": object{"state": "completed"}}, got); err != nil || d != "" || a.header.Get("Authorization") != "Basic dTpw" {
		t.Errorf("%v %s %v", err, d, a.header)
	}
	file := filepath.Join(t.TempDir(), "card.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"url":%q}`, server), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, card := range []string{a.URL + "/.well-known/agent-card.json", a.URL + "/grpc-card.json", file} {
		got, err := execute(t, object{"method": "tasks/list", "agentCard": object{"endpoint": card}, "server": "http://127.0.0.1:1"})
		if d := cmp.Diff(object{"method": "tasks/list"}, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", card, err, d)
		}
		if _, there := a.last["params"]; there {
			t.Error("parameters out of nothing")
		}
	}
}

// DSL 79: the defaults of a message.
func TestMessageDefaults(t *testing.T) {
	a := newAgent(t)
	ids := map[any]bool{}
	for range 2 { // a repetition has the same id
		if _, err := execute(t, object{"method": "message/send", "server": a.URL + "/rpc", "parameters": object{"message": object{"parts": []any{object{"kind": "text", "text": "Hi"}}}}}); err != nil {
			t.Fatal(err)
		}
		message := a.last["params"].(object)["message"].(object)
		ids[message["messageId"]] = true
		if id, _ := message["messageId"].(string); len(id) != 36 || message["role"] != "user" || message["kind"] != "message" {
			t.Errorf("got %v", message)
		}
	}
	if len(ids) != 1 {
		t.Errorf("got the ids %v", ids)
	}
	if _, err := execute(t, object{"method": "message/send", "server": a.URL + "/rpc", "parameters": object{"message": object{"messageId": "m", "role": "agent"}}}); err != nil {
		t.Fatal(err)
	}
	if m := a.last["params"].(object)["message"].(object); m["messageId"] != "m" || m["role"] != "agent" {
		t.Errorf("got %v", m)
	}
}

// DSL 80: streams give an ordered array.
func TestStreams(t *testing.T) {
	a := newAgent(t)
	want := []any{object{"kind": "task", "id": "t1"}, object{"kind": "artifact-update", "n": 1.5}, object{"kind": "status-update", "final": true}}
	for _, method := range []string{"message/stream", "tasks/resubscribe"} {
		got, err := execute(t, object{"method": method, "server": a.URL + "/rpc", "parameters": object{"message": object{}}})
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", method, err, d)
		}
	}
}

// DSL 80: failures are of the runtime.
func TestFailures(t *testing.T) {
	a := newAgent(t)
	server := a.URL + "/rpc"
	p := fails(t, object{"method": "tasks/get", "server": server, "parameters": object{"id": "none"}}, event.Runtime, "the error -32001: Task not found")
	if d := cmp.Diff(object{"code": -32001, "data": object{"id": "none"}}, p.More); d != "" || p.Status != 500 {
		t.Errorf("%d %s", p.Status, d)
	}
	fails(t, object{"method": "tasks/get"}, event.Configuration, "agentCard and server")
	fails(t, object{"method": "tasks/fly", "server": server}, event.Configuration, "must be one of")
	fails(t, object{"method": "message/send", "server": server}, event.Configuration, "parameters.message")
	fails(t, object{"method": "tasks/get", "server": server, "parameters": "x"}, event.Configuration, "an object")
	fails(t, object{"method": "tasks/get", "server": "mailto:x"}, event.Configuration, "no address")
	fails(t, object{"method": "tasks/get", "server": "http://127.0.0.1:1"}, event.Runtime, "connection refused")
	fails(t, object{"method": "tasks/get", "server": a.URL + "/none"}, event.Runtime, "answered 404")
	fails(t, object{"method": "tasks/get", "agentCard": object{"endpoint": a.URL + "/only-grpc.json"}}, event.Runtime, "speaks GRPC")
	fails(t, object{"method": "tasks/get", "agentCard": object{"endpoint": a.URL + "/none"}}, event.Runtime, "404")
	for answer, detail := range map[string]string{
		"hello":                    "no message of JSON-RPC",
		`{"jsonrpc":"2.0"}`:        "no result",
		`{"result":1}`:             "no message of JSON-RPC",
		strings.Repeat("x", 2<<20): "more than 1048576 bytes",
	} {
		for _, media := range []string{"application/json", "text/event-stream"} {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", media)
				if media != "application/json" {
					_, _ = io.WriteString(w, "data: "+answer+"\n\n")
					return
				}
				_, _ = io.WriteString(w, answer)
			}))
			fails(t, object{"method": "tasks/get", "server": h.URL}, event.Runtime, detail)
			h.Close()
		}
	}
}

// A card's credentials stay with its origin.
func TestCredentialsStay(t *testing.T) {
	a := newAgent(t)
	cards := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"url":"%s/rpc"}`, a.URL)
	}))
	defer cards.Close()
	authentication := object{"bearer": object{"token": "secret"}}
	for uri, want := range map[string]string{cards.URL: "", a.URL + "/.well-known/agent-card.json": "Bearer secret"} {
		if _, err := execute(t, object{"method": "tasks/list", "agentCard": object{"endpoint": object{"uri": uri, "authentication": authentication}}}); err != nil {
			t.Fatal(err)
		}
		if got := a.header.Get("Authorization"); got != want {
			t.Errorf("%s: the agent got %q; want %q", uri, got, want)
		}
	}
}

func TestExercise(t *testing.T) {
	a := newAgent(t)
	get := func(id string) object {
		return object{"method": "tasks/get", "server": a.URL + "/rpc", "parameters": object{"id": id}}
	}
	executortest.Exercise(t, executortest.Subject{
		Executor: newExecutor(t), Kind: "a2a", Works: get("t1"), Fails: get("none"), Hangs: get("hang"), Hanging: a.hangs,
	})
}

// DSL 43, DSL 166: what the policy gave is there for $authorization, where it is wanted.
func TestAuthorization(t *testing.T) {
	a := newAgent(t)
	for method, parameters := range map[string]object{"tasks/get": {"id": "1"}, "message/stream": {"message": object{"parts": []any{}}}} {
		r, _ := executortest.Request(t, "a2a", object{"method": method, "parameters": parameters, "server": object{
			"uri": a.URL + "/rpc", "authentication": object{"bearer": object{"token": "t0ken"}},
		}})
		r.WantsAuthorization = true
		result, err := newExecutor(t).Execute(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := result.Authorization; got == nil || got.Scheme != "Bearer" || got.Parameter != "t0ken" {
			t.Errorf("%s: got %v", method, got)
		}
	}
}
