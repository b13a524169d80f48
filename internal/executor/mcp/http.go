package mcp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// httpWire talks over streamable HTTP: every message is a POST, and the answer
// to one that is a request comes as JSON or as server-sent events.
type httpWire struct {
	client         *outbound.Client
	url            *url.URL
	header         http.Header
	authentication any
	secrets        outbound.Secrets
	session        string
	version        string
	authorization  *event.Authorization // of the last request

	stream *outbound.Stream // of the request's answer; nil: none
	next   func() (outbound.Event, error, bool)
	stop   func()
}

func (w *httpWire) agreed(version string) { w.version = version }

func (w *httpWire) call(method string, body []byte) *outbound.Call {
	h := w.header.Clone()
	if w.session != "" {
		h.Set("Mcp-Session-Id", w.session)
	}
	if w.version != "" {
		h.Set("Mcp-Protocol-Version", w.version)
	}
	return &outbound.Call{Method: method, URL: w.url, Header: h, Body: body, Authentication: w.authentication, Secrets: w.secrets, Follow: true}
}

func (w *httpWire) send(ctx context.Context, message []byte, id int) error {
	s, err := w.client.Stream(ctx, w.call(http.MethodPost, message))
	if err != nil {
		return err
	}
	w.authorization = s.Authorization
	if s.Status < 200 || s.Status >= 300 {
		defer s.Close()
		return refused(w.url, s)
	}
	if session := s.Header.Get("Mcp-Session-Id"); session != "" && w.session == "" {
		w.session = session
	}
	if id == 0 {
		s.Close()
		return nil
	}
	w.end()
	w.stream = s
	if s.IsEvents() {
		w.next, w.stop = iter.Pull2(outbound.Events(s.Body, maxMessage))
	}
	return nil
}

// refused is the fault of a status that is no success.
func refused(u *url.URL, s *outbound.Stream) error {
	b, _ := io.ReadAll(io.LimitReader(s.Body, 2<<10)) // as much as is there
	p := failure("POST %s answered %d %s", outbound.Shown(u), s.Status, http.StatusText(s.Status))
	p.More = map[string]any{"httpStatus": s.Status}
	if len(b) > 0 {
		p.Detail += ": " + describe(b)
	}
	return p
}

func (w *httpWire) receive(context.Context) ([]byte, error) {
	if w.stream == nil {
		return nil, failure("%s ended its answer before the result came", outbound.Shown(w.url))
	}
	if w.next == nil {
		b, err := io.ReadAll(w.stream.Body)
		w.end()
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	for {
		e, err, more := w.next()
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return nil, failure("%s sent a message of more than %d bytes", outbound.Shown(w.url), maxMessage)
		case err != nil:
			return nil, err
		case !more:
			w.end()
			return nil, failure("%s ended its answer before the result came", outbound.Shown(w.url))
		case len(e.Data) > 0:
			return e.Data, nil
		}
	}
}

func (w *httpWire) end() {
	if w.stop != nil {
		w.stop()
	}
	if w.stream != nil {
		w.stream.Close()
	}
	w.stream, w.next, w.stop = nil, nil, nil
}

// goodbye is how long a server has to take the end of the session.
const goodbye = 2 * time.Second

func (w *httpWire) close(ctx context.Context, pending int, over <-chan struct{}) {
	<-over // the end of ctx is enough for it
	w.end()
	if w.session == "" {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	// A server need not know of either, and the result is there without.
	if pending != 0 {
		if s, err := w.client.Stream(limited, w.call(http.MethodPost, cancelled(pending))); err == nil {
			s.Close()
		}
	}
	if s, err := w.client.Stream(limited, w.call(http.MethodDelete, nil)); err == nil {
		s.Close()
	}
}
