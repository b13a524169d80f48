package grpc_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// server answers connections by serve, which must return when its connection ends.
func server(t *testing.T, serve func(c net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// asGRPC is a server that begins an answer of gRPC with these bytes, and ends
// it unless it hangs.
func asGRPC(t *testing.T, text []byte, hangs chan<- struct{}) (port int) {
	t.Helper()
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(text)
		_ = http.NewResponseController(w).Flush()
		if hangs != nil {
			hangs <- struct{}{}
			<-r.Context().Done()
		}
	}))
	h.Config.Protocols = new(http.Protocols)
	h.Config.Protocols.SetUnencryptedHTTP2(true)
	h.Start()
	t.Cleanup(h.Close)
	return h.Listener.Addr().(*net.TCPAddr).Port
}

// DSL 68: whatever the server does, the fault is clear and the memory bounded.
func TestFaults(t *testing.T) {
	s := setup(t, options{})
	gigabyte := binary.BigEndian.AppendUint32([]byte{0}, 1<<30)
	for name, c := range map[string]struct {
		port   int
		status int
		says   string
	}{
		"closes":           {server(t, func(net.Conn) {}), 503, "UNAVAILABLE"},
		"prints garbage":   {server(t, func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("220 mail.example.com ESMTP\r\n", 10)) }), 503, "UNAVAILABLE"},
		"a gigabyte":       {asGRPC(t, gigabyte, nil), 429, "larger than max (1073741824 vs. 16777216)"},
		"no message":       {asGRPC(t, []byte{0, 0, 0, 0, 3, 0xff, 0xff, 0xff}, nil), 500, "INTERNAL"},
		"strange encoding": {asGRPC(t, []byte{1, 0, 0, 0, 1, 0}, nil), 500, "INTERNAL"},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := s.arguments("Get", object{"sku": "a"})
			arguments["service"].(object)["port"] = c.port
			_, err := s.call(t, arguments)
			s.CloseIdleConnections()
			if p := executortest.CheckProblem(t, err); p.Status != c.status || !strings.Contains(p.Detail, c.says) {
				t.Errorf("got %d %s", p.Status, p.Detail)
			}
		})
	}
	begun := make(chan struct{}, 1)
	for name, port := range map[string]int{
		"hangs": server(t, func(c net.Conn) {
			begun <- struct{}{}
			_, _ = io.Copy(io.Discard, c)
		}),
		"hangs within the answer": asGRPC(t, []byte{0, 0, 0, 0, 9, 1}, begun),
	} {
		t.Run(name, func(t *testing.T) {
			arguments := s.arguments("Get", object{"sku": "a"})
			arguments["service"].(object)["port"] = port
			r, _ := executortest.Request(t, "grpc", arguments)
			r.BaseDirectory, _ = filepath.Abs("testdata")
			ctx, cancel := context.WithCancelCause(t.Context())
			over := errors.New("over")
			go func() {
				<-begun
				cancel(over)
			}()
			if _, err := s.Execute(ctx, r); !errors.Is(err, over) {
				t.Errorf("got %v", err)
			}
			s.CloseIdleConnections()
		})
	}
	t.Run("a server of HTTP/1", func(t *testing.T) {
		h := httptest.NewServer(http.NotFoundHandler())
		defer h.Close()
		defer h.CloseClientConnections()
		arguments := s.arguments("Get", object{"sku": "a"})
		arguments["service"].(object)["port"] = h.Listener.Addr().(*net.TCPAddr).Port
		_, err := s.call(t, arguments)
		s.CloseIdleConnections()
		if p := executortest.CheckProblem(t, err); p.Status != 503 {
			t.Errorf("got %d %s", p.Status, p.Detail)
		}
	})
}

// A token that was revoked since it was cached is renewed, once, and the call
// repeated; one that is refused when it is new is a fault.
func TestTokenIsRenewed(t *testing.T) {
	var given atomic.Int64
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, given.Add(1))
	}))
	defer authority.Close()
	s := setup(t, options{outbound: outbound.Config{Clock: lifecycle.Clock{}}})
	arguments := s.arguments("Get", object{"sku": "a"})
	arguments["service"].(object)["authentication"] = object{"oauth2": object{
		"authority": authority.URL, "grant": "client_credentials", "client": object{"id": "me", "secret": "s"},
	}}
	for _, step := range []struct {
		valid string // the token that the service takes
		given int64  // tokens so far
		works bool
	}{{"Bearer t1", 1, true}, {"Bearer t1", 1, true}, {"Bearer t2", 2, true}, {"none", 3, false}, {"Bearer t4", 4, true}} {
		s.valid.Store(&step.valid)
		result, err := s.call(t, arguments)
		if step.works && (err != nil || "Bearer "+result.Authorization.Parameter != step.valid) || given.Load() != step.given {
			t.Errorf("%s: got %v, %v after %d tokens", step.valid, result.Authorization, err, given.Load())
		}
		if !step.works {
			if p := executortest.CheckProblem(t, err); p.Status != 401 {
				t.Errorf("got %v", p)
			}
		}
	}
}

// A call whose attempt ends, as by the task's timeout, ends at the server too.
func TestServerSeesTheEnd(t *testing.T) {
	s := setup(t, options{})
	r, _ := executortest.Request(t, "grpc", s.arguments("Get", object{"sku": "hang"}))
	r.BaseDirectory, _ = filepath.Abs("testdata")
	cause := errors.New("timeout")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-s.hanging
		cancel(cause)
	}()
	if _, err := s.Execute(ctx, r); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	select {
	case <-s.ended: // its handler saw it
	case <-time.After(time.Minute):
		t.Error("the server goes on")
	}
}
