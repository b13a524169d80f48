package asyncapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// DSL 73-77 over NATS, an embedded server.
func TestNATS(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, Username: "ann", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10e9) {
		t.Fatal("NATS does not start")
	}
	document := write(t, "nats", strings.TrimPrefix(s.ClientURL(), "nats://"), "greetings/{who}", "nats: {queue: workers}")
	e := newExecutor(t)
	as := func(a object) object {
		a["authentication"] = object{"basic": object{"use": "ann"}}
		a["server"] = object{"name": "main", "variables": object{"who": "all"}}
		return a
	}
	before := s.NumSubscriptions()
	wait := subscribing(t, e, request(t, as(call(document, "subscription", object{"consume": object{"amount": 2}}))))
	for s.NumSubscriptions() == before {
		time.Sleep(5 * time.Millisecond)
	}
	for i := range 2 {
		if _, err := e.Execute(t.Context(), request(t, as(call(document, "message", object{"payload": object{"n": i, "id": "c"}, "headers": object{"tenant": "blue"}})))); err != nil {
			t.Fatal(err)
		}
	}
	list, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	want := object{
		"payload": object{"n": 0, "id": "c"}, "correlationId": "c",
		"headers": object{"tenant": "blue", "Content-Type": "application/json", "Nats-Msg-Id": "key-TestNATS"},
	}
	if d := cmp.Diff(want, list[0]); d != "" {
		t.Error(d)
	}
	_, err = e.Execute(t.Context(), request(t, call(document, "message", object{"payload": 1}, "server", object{"name": "main", "variables": object{"who": "x"}})))
	if p := executortest.CheckProblem(t, err); p.Status != 401 || !strings.Contains(p.Detail, "refused the user") {
		t.Errorf("without credentials: %v", p)
	}
}

func TestNATSExercise(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10e9) {
		t.Fatal("NATS does not start")
	}
	behave(t, write(t, "nats", s.Addr().String(), "greetings", ""), true, false)
}

// DSL 73-77 over Redis, the real server.
func TestRedis(t *testing.T) {
	address := broker(t, "redis-server", func(port, dir string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir}
	})
	document := write(t, "redis", address, "greetings", "")
	behave(t, document, false, false)
	hangs(t, document)
	_, err := newExecutor(t).Execute(t.Context(), request(t, call(document, "message", object{"payload": 1, "headers": object{"a": "b"}})))
	if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, "no headers") {
		t.Errorf("got %v", p)
	}
}

// DSL 73-77 over WebSocket: a room that repeats to all what one says.
func TestWebSocket(t *testing.T) {
	var mu sync.Mutex
	room := map[*websocket.Conn]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil || r.URL.Path != "/v1/room" {
			return
		}
		mu.Lock()
		room[c] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			delete(room, c)
			mu.Unlock()
			_ = c.CloseNow()
		}()
		for {
			_, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			mu.Lock()
			for other := range room {
				if other != c {
					_ = other.Write(r.Context(), websocket.MessageText, b)
				}
			}
			mu.Unlock()
		}
	}))
	t.Cleanup(s.Close)
	document := write(t, "ws", strings.TrimPrefix(s.URL, "http://")+"/v1", "room", "")
	behave(t, document, false, false)
	hangs(t, document)
}

// DSL 73-77 over HTTP, by a document of version 2 in JSON.
func TestHTTP(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			b, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Tenant")+" "+r.Header.Get("Idempotency-Key")+" "+string(b))
			return
		}
		switch r.URL.Path {
		case "/events/sse":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": hello\n\nid: 1\nevent: news\ndata: {\"n\":\ndata: 1}\n\ndata: 2\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/events/lines":
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "{\"n\":1}\n\n{\"n\":2}\n")
		default:
			w.WriteHeader(404)
		}
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "asyncapi.json")
	text := fmt.Sprintf(`{"asyncapi": "2.6.0", "defaultContentType": "application/json",
	"servers": {"main": {"url": "http://{host}/{base}", "protocol": "http", "variables": {"host": {"default": %q}, "base": {"default": "events"}}}},
	"channels": {"sse": {"publish": {"bindings": {"http": {"method": "PUT"}}}, "subscribe": {"message": {"$ref": "#/components/messages/m"}}}, "lines": {}, "none": {}},
	"components": {"messages": {"m": {"correlationId": {"location": "$message.header#/id"}}}}}`, strings.TrimPrefix(s.URL, "http://"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := newExecutor(t)
	with := func(channel string, more ...any) object {
		a := call(file, more...)
		delete(a, "operation")
		a["channel"] = channel
		return a
	}
	if _, err := e.Execute(t.Context(), request(t, with("sse", "message", object{"payload": "hi", "headers": object{"Tenant": "blue"}}))); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{`PUT /events/sse application/json blue key-TestHTTP "hi"`}, got); d != "" {
		t.Error(d)
	}
	r, err := e.Execute(t.Context(), request(t, with("sse", "subscription", object{"consume": object{"amount": 2}})))
	if err != nil {
		t.Fatal(err)
	}
	want := []any{
		object{"payload": object{"n": 1}, "headers": object{"id": "1", "event": "news"}, "correlationId": "1"},
		object{"payload": 2, "headers": object{}},
	}
	if d := cmp.Diff(want, r.Output); d != "" {
		t.Error(d)
	}
	r, err = e.Execute(t.Context(), request(t, with("lines", "subscription", object{"consume": object{"amount": 3}})))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{object{"n": 1}, object{"n": 2}, object{"n": 1}}, payloads(r.Output.([]any))); d != "" {
		t.Error(d)
	}
	_, err = e.Execute(t.Context(), request(t, with("none", "subscription", object{"consume": object{"amount": 3}})))
	if p := executortest.CheckProblem(t, err); p.Status != 404 {
		t.Errorf("got %v", p)
	}
	executortest.Exercise(t, executortest.Subject{
		Executor: e, Kind: "asyncapi", Works: with("sse", "message", object{"payload": 1}), Fails: with("none", "subscription", object{"consume": object{"amount": 3}}),
		Hangs: with("sse", "subscription", object{"consume": object{"amount": 3}}),
	})
}
