package asyncapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// url is the address of the channel over HTTP or WebSocket.
func (l *link) url(plain, secured string) *url.URL {
	u := &url.URL{Scheme: plain, Host: l.channel.server.address}
	if l.channel.server.secure {
		u.Scheme = secured
	}
	path, query, _ := strings.Cut(strings.TrimSuffix(l.channel.server.path, "/")+"/"+strings.TrimPrefix(l.channel.address, "/"), "?")
	u.Path, u.RawQuery = path, query
	return u
}

func (l *link) method(fallback string) string {
	if m := strings.ToUpper(stringOf(l.channel.operation["method"])); outbound.IsToken(m) {
		return m
	}
	return fallback
}

func (l *link) header() http.Header {
	h := http.Header{}
	outbound.Identity{UserAgent: l.userAgent, Traceparent: l.request.Traceparent, IdempotencyKey: l.request.IdempotencyKey}.Into(h, http.MethodPost)
	if l.authorization != nil {
		h.Set("Authorization", l.authorization.Scheme+" "+l.authorization.Parameter)
	}
	return h
}

// publishHTTP sends the message as the body of a request.
func publishHTTP(ctx context.Context, l *link, m *message) error {
	h := l.header()
	if m.contentType != "" {
		h.Set("Content-Type", m.contentType)
	}
	for name, v := range m.headers {
		h.Set(name, v)
	}
	_, _, err := l.client.Exchange(ctx, &outbound.Call{Method: l.method(http.MethodPost), URL: l.url("http", "https"), Header: h, Body: m.body, Secrets: l.request.Secrets}, "raw")
	return err
}

// stream is a subscription over HTTP: server-sent events, lines of JSON, or
// one message a response. When a response ends, the server is asked again.
type stream struct {
	link     *link
	response *http.Response
	lines    *bufio.Scanner
	last     string // id of the last event
}

func subscribeHTTP(ctx context.Context, l *link) (source, error) {
	s := &stream{link: l}
	return s, s.open(ctx)
}

// pause is how long the server is left alone between two responses.
const pause = time.Second

func (s *stream) open(ctx context.Context) error {
	u := s.link.url("http", "https")
	r, err := http.NewRequestWithContext(ctx, s.link.method(http.MethodGet), u.String(), nil)
	if err != nil {
		return invalid("%s is no address: %v", outbound.Shown(u), err)
	}
	r.Header = s.link.header()
	r.Header.Del("Idempotency-Key")
	r.Header.Set("Accept", "text/event-stream, application/x-ndjson, application/json, */*;q=0.1")
	if s.last != "" {
		r.Header.Set("Last-Event-Id", s.last)
	}
	if s.response, err = s.link.client.HTTP().RoundTrip(r); err != nil { //nolint:bodyclose // close closes it
		return err
	}
	if s.response.StatusCode < 200 || s.response.StatusCode > 299 {
		s.close()
		return executor.NewProblem("communication", max(300, s.response.StatusCode), "Unexpected status", "%s %s answered %d", r.Method, outbound.Shown(u), s.response.StatusCode)
	}
	s.lines = bufio.NewScanner(s.response.Body)
	s.lines.Buffer(nil, maxOutput)
	return nil
}

func (s *stream) receive(ctx context.Context) (*message, error) {
	for {
		kind, _, _ := mime.ParseMediaType(s.response.Header.Get("Content-Type"))
		m, err := s.next(kind)
		if m != nil || err != nil {
			return m, err
		}
		s.close()
		wait, cancel := context.WithTimeout(ctx, pause)
		<-wait.Done()
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := s.open(ctx); err != nil {
			return nil, err
		}
	}
}

// next is the next message of a response; nil at its end.
func (s *stream) next(kind string) (*message, error) {
	switch kind {
	case "text/event-stream":
		return s.event()
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines":
		for s.lines.Scan() {
			if line := bytes.TrimSpace(s.lines.Bytes()); len(line) > 0 {
				return &message{body: bytes.Clone(line), contentType: "application/json", headers: headersOf(s.response.Header)}, nil
			}
		}
		return nil, s.lines.Err()
	}
	b, err := io.ReadAll(io.LimitReader(s.response.Body, maxOutput+1))
	if err != nil {
		return nil, fmt.Errorf("read the response: %w", err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return &message{body: b, contentType: s.response.Header.Get("Content-Type"), headers: headersOf(s.response.Header)}, nil
}

func headersOf(h http.Header) map[string]string {
	out := map[string]string{}
	for name, values := range h {
		out[name] = strings.Join(values, ", ")
	}
	return out
}

// event reads one server-sent event.
func (s *stream) event() (*message, error) {
	var data []string
	size := 0
	m := &message{headers: map[string]string{}}
	for s.lines.Scan() {
		line := s.lines.Text()
		if size += len(line); size > maxOutput {
			return nil, bufio.ErrTooLong
		}
		field, v, _ := strings.Cut(line, ":")
		v = strings.TrimPrefix(v, " ")
		switch {
		case line == "" && data != nil:
			m.body = []byte(strings.Join(data, "\n"))
			return m, nil
		case line == "":
			m.headers = map[string]string{}
		case field == "data":
			data = append(data, v)
		case field == "id":
			s.last = v
			m.headers["id"] = v
		case field == "event":
			m.headers["event"] = v
		}
	}
	return nil, s.lines.Err()
}

func (s *stream) acknowledge(context.Context) error { return nil }

func (s *stream) close() {
	if s.response != nil {
		_ = s.response.Body.Close() // nobody wants the rest
	}
}
