package asyncapi_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// listener is a server that does to each connection what it is told.
func listener(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				do(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

var everyProtocol = []string{"http", "ws", "nats", "redis", "kafka", "amqp", "mqtt", "mqtt5"}

// Servers that are none: each is a fault that says where, soon.
func TestServersThatBreak(t *testing.T) {
	t.Parallel()
	garbage := make([]byte, 4096)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(garbage)
	for name, do := range map[string]func(net.Conn){
		"closes": func(net.Conn) {},
		"garbage": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 512))
			_, _ = c.Write(garbage)
			_, _ = io.Copy(io.Discard, c)
		},
		"too large": func(c net.Conn) { // as MQTT says that a packet has 256 MiB
			_, _ = c.Read(make([]byte, 512))
			_, _ = c.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f})
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		address := listener(t, do)
		for _, protocol := range everyProtocol {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				e := newExecutor(t)
				document := write(t, protocol, address, "greetings", "")
				for _, more := range [][]any{{"message", object{"payload": 1}}, {"subscription", object{"consume": object{"amount": 1}}}} {
					// Some ask again and again; a task has a timeout for that.
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errLate)
					begun := time.Now()
					_, err := e.Execute(ctx, request(t, call(document, more...)))
					cancel()
					if took := time.Since(begun); took > 6*time.Second {
						t.Errorf("%v took %v", more[0], took)
					}
					if errors.Is(err, errLate) {
						continue
					}
					if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Communication || !strings.Contains(p.Detail, address) {
						t.Errorf("%v: got %v", more[0], p)
					}
				}
			})
		}
	}
}

var errLate = errors.New("the task's timeout")

// A server that accepts and says nothing: a cancelled task ends all the same.
func TestServersThatHang(t *testing.T) {
	t.Parallel()
	address := listener(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, protocol := range everyProtocol {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			e := newExecutor(t)
			document := write(t, protocol, address, "greetings", "")
			for _, more := range [][]any{{"message", object{"payload": 1}}, {"subscription", object{"consume": object{"amount": 1}}}} {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errLate)
				begun := time.Now()
				_, err := e.Execute(ctx, request(t, call(document, more...)))
				cancel()
				if took := time.Since(begun); took > 5*time.Second || err == nil {
					t.Errorf("%v took %v: %v", more[0], took, err)
				}
			}
		})
	}
}

// A stream that never ends is bounded by the size of what it gives.
func TestEndlessStream(t *testing.T) {
	t.Parallel()
	line := `{"text": "` + strings.Repeat("x", 1<<20) + `"}` + "\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	document := write(t, "http", strings.TrimPrefix(s.URL, "http://"), "greetings", "")
	_, err := newExecutor(t).Execute(t.Context(), request(t, call(document, "subscription", object{"consume": object{"until": "never"}})))
	if p := executortest.CheckProblem(t, err); p.Title != "Messages too large" || !strings.Contains(p.Detail, "consume fewer") {
		t.Errorf("got %v", p)
	}
}
