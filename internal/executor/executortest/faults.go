package executortest

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// Remote is an executor that calls a service over HTTP.
type Remote struct {
	Executor executor.Executor
	Kind     string
	// Arguments call the service at a URL.
	Arguments func(url string) any
	// Family is that of a failure to communicate: event.Communication, or event.Runtime.
	Family string
	// Media is the type of content that the executor reads; endless answers are of it.
	Media string
	// Redirects says that redirects are followed.
	Redirects bool
}

// bounded is how many bytes an executor may take of an endless answer: the
// largest limit of one, and what buffers hold.
const bounded = 64 << 20

// serverFault is one way in which a server misbehaves.
type serverFault struct {
	name   string
	serve  func(w http.ResponseWriter, r *http.Request, sent *atomic.Int64)
	detail string // the problem's detail holds one of these, '|' between
	hangs  bool   // the answer never ends: the attempt is cancelled when it has begun
}

// HTTPFaults checks that an executor ends with a clear problem, takes a bounded
// amount, and leaves nothing, whatever the server does: closes without an
// answer or within one, speaks something else, answers without end or with a
// gigabyte, also a compressed one, redirects in circles, hangs; and what stands
// between: a certificate of nobody, of another host, nobody there at all.
//
// The executor's client must have a limit of at most 16 MiB.
func HTTPFaults(t *testing.T, s Remote) {
	t.Helper()
	for _, f := range httpFaults(s) {
		t.Run(f.name, func(t *testing.T) { httpFault(t, s, f) })
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		s.refused(t, "http://"+l.Addr().String()+"/x", "refused")
	})
	t.Run("no TLS where it is wanted", func(t *testing.T) {
		h := httptest.NewServer(http.NotFoundHandler())
		defer h.Close()
		defer h.CloseClientConnections()
		s.refused(t, strings.Replace(h.URL, "http:", "https:", 1)+"/x", "TLS")
	})
	t.Run("a certificate of nobody", func(t *testing.T) {
		h := httptest.NewUnstartedServer(http.NotFoundHandler())
		h.Config.ErrorLog = log.New(io.Discard, "", 0)
		h.StartTLS()
		defer h.Close()
		s.refused(t, h.URL+"/x", "certificate")
	})
}

func httpFaults(s Remote) []serverFault {
	write := func(w io.Writer, sent *atomic.Int64, text string) bool {
		n, err := io.WriteString(w, text)
		sent.Add(int64(n))
		return err == nil
	}
	chunk := strings.Repeat("x", 64<<10)
	hijack := func(w http.ResponseWriter, text string) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}
	all := []serverFault{
		{name: "closes without an answer", detail: "closed|EOF|reset", serve: func(w http.ResponseWriter, _ *http.Request, _ *atomic.Int64) { hijack(w, "") }},
		{name: "closes within the answer", detail: "too early", serve: func(w http.ResponseWriter, _ *http.Request, _ *atomic.Int64) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Type: "+s.Media+"\r\nContent-Length: 1000\r\n\r\n{\"a\":")
		}},
		{name: "speaks something else", detail: "malformed|HTTP", serve: func(w http.ResponseWriter, _ *http.Request, _ *atomic.Int64) {
			hijack(w, "220 mail.example.com ESMTP\r\n")
		}},
		{name: "an endless answer", detail: "more than", serve: func(w http.ResponseWriter, _ *http.Request, sent *atomic.Int64) {
			w.Header().Set("Content-Type", s.Media)
			for write(w, sent, chunk) {
			}
		}},
		{name: "a gigabyte", detail: "more than", serve: func(w http.ResponseWriter, _ *http.Request, sent *atomic.Int64) {
			w.Header().Set("Content-Type", s.Media)
			w.Header().Set("Content-Length", fmt.Sprint(1<<30))
			for range 1 << 14 {
				if !write(w, sent, chunk) {
					return
				}
			}
		}},
		{name: "a gigabyte, compressed", detail: "more than", serve: func(w http.ResponseWriter, _ *http.Request, sent *atomic.Int64) {
			w.Header().Set("Content-Type", s.Media)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for i := 0; i < 1<<14 && write(z, sent, chunk); i++ {
			}
			_ = z.Close()
		}},
		{name: "endless headers", detail: "header", serve: func(w http.ResponseWriter, _ *http.Request, sent *atomic.Int64) {
			c, buffer, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close() //nolint:errcheck // the test's own
			out := bufio.NewWriter(io.MultiWriter(buffer.Writer, counter{sent}))
			_, _ = io.WriteString(out, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(out, "X-%d: %s\r\n", i, chunk[:1000]); err != nil {
					return
				}
			}
		}},
		{name: "hangs", hangs: true, serve: func(_ http.ResponseWriter, r *http.Request, _ *atomic.Int64) { <-r.Context().Done() }},
		{name: "hangs within the answer", hangs: true, serve: func(w http.ResponseWriter, r *http.Request, _ *atomic.Int64) {
			w.Header().Set("Content-Type", s.Media)
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
	}
	if s.Redirects {
		all = append(all, serverFault{name: "redirects in circles", detail: "redirected more than", serve: func(w http.ResponseWriter, r *http.Request, _ *atomic.Int64) {
			http.Redirect(w, r, "/x?again", http.StatusTemporaryRedirect)
		}})
	}
	return all
}

type counter struct{ n *atomic.Int64 }

// Write counts.
func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

func httpFault(t *testing.T, s Remote, f serverFault) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	var sent atomic.Int64
	begun := make(chan struct{}, 100)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case begun <- struct{}{}:
		default: // more than anybody wants to know
		}
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
		f.serve(w, r, &sent)
	}))
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the executor does not end"))
	defer cancel()
	if f.hangs {
		var stop context.CancelCauseFunc
		ctx, stop = context.WithCancelCause(ctx)
		go func() {
			<-begun
			stop(errOver)
		}()
	}
	r, lines := Request(t, s.Kind, s.Arguments(h.URL+"/x"))
	result, err := s.Executor.Execute(ctx, r)
	lines.Close()
	switch {
	case f.hangs && !errors.Is(err, errOver):
		t.Errorf("got %v, %v; want the cause of the cancellation", result.Output, err)
	case !f.hangs:
		s.check(t, err, f.detail)
	}
	if n := sent.Load(); n > bounded && f.name != "a gigabyte, compressed" {
		t.Errorf("the server could send %d MiB", n>>20)
	}
	if closer, ok := s.Executor.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
	h.CloseClientConnections()
	h.Close()
	goleak.VerifyNone(t, ignore)
}

var errOver = errors.New("cancelled by the test")

// refused checks a call that cannot get through.
func (s Remote) refused(t *testing.T, url, detail string) {
	t.Helper()
	r, lines := Request(t, s.Kind, s.Arguments(url))
	_, err := s.Executor.Execute(t.Context(), r)
	lines.Close()
	s.check(t, err, detail)
}

func (s Remote) check(t *testing.T, err error, detail string) {
	t.Helper()
	p := CheckProblem(t, err)
	if p.Type != event.TypePrefix+s.Family {
		t.Errorf("got %s: %s; want %s", p.Type, p.Detail, s.Family)
	}
	for want := range strings.SplitSeq(detail, "|") {
		if strings.Contains(p.Detail, want) {
			return
		}
	}
	t.Errorf("got %q; want one of %q", p.Detail, detail)
}
