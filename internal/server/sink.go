package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const (
	sinkQueue   = 10_000 // events that wait; what comes on top is left out
	sinkTimeout = 5 * time.Second
	sinkPause   = 500 * time.Millisecond // before an event is sent once more
)

// Sink tells somebody outside, in the standard's lifecycle events, what happens
// to one run: it appends them to a file, a line each, or posts them one after
// another. It never holds the run up, nor fails it: what cannot be told is
// warned of, once, and counted.
type Sink struct {
	name    string
	put     func(ctx context.Context, e []byte) error
	out     io.Closer // nil: there is nothing to close
	clock   lifecycle.Clock
	warn    func(string)
	life    view.Lifecycle
	hide    []string // JSON pointers into outputs
	masker  *secret.Masker
	output  func(ctx context.Context, id event.RunID) (value.Raw, error)
	queue   chan []byte
	done    chan struct{}
	stop    context.CancelCauseFunc
	lost    atomic.Int64
	failing bool
}

// Lifecycle opens a sink for a run of a definition: an http or https URL, or a
// file. warn may be called from any goroutine. Close it.
func (n *Node) Lifecycle(ctx context.Context, target string, def *workflow.Definition, warn func(string)) (*Sink, error) {
	s := &Sink{
		name: target, clock: n.clock, warn: warn, queue: make(chan []byte, sinkQueue), done: make(chan struct{}),
		life: view.Lifecycle{Namespace: def.Document.Namespace, Name: def.Document.Name, Version: def.Document.Version},
		output: func(ctx context.Context, id event.RunID) (value.Raw, error) {
			res, err := n.Control.Wait(ctx, id)
			return res.Output, err
		},
	}
	if def.Downbeat != nil {
		s.hide = def.Downbeat.Sensitive
	}
	if err := s.masks(ctx, n.resolver, def); err != nil {
		return nil, err
	}
	switch u, err := url.Parse(target); {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https"):
		client, err := outbound.New(n.outbound)
		if err != nil {
			return nil, fmt.Errorf("prepare to send lifecycle events: %w", err)
		}
		s.name, s.put = u.Redacted(), post(u, client.HTTP())
	case err == nil && strings.Contains(target, "://"):
		return nil, fmt.Errorf("lifecycle events can go to a file or to an http or https URL, not to %q", u.Redacted())
	default:
		f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the file of lifecycle events: %w", err)
		}
		s.out, s.put = f, func(_ context.Context, e []byte) error { _, err := f.Write(append(e, '\n')); return err }
	}
	ctx, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	go s.loop(ctx)
	return s, nil
}

// masks prepares to hide the secrets that the run may see.
func (s *Sink) masks(ctx context.Context, from *secret.Resolver, def *workflow.Definition) error {
	var values []any
	for _, name := range def.Use.Secrets {
		v, err := from.Secret(ctx, name.Name)
		if p, refused := errors.AsType[*event.Problem](err); refused && p.Status == http.StatusForbidden {
			continue // there is none: the run will say so
		}
		if err != nil {
			return fmt.Errorf("read secret %s, to mask it: %w", name.Name, err)
		}
		values = append(values, v)
	}
	s.masker = secret.NewMasker(values...)
	return nil
}

// Begin says which run it is; call it before Add.
func (s *Sink) Begin(id event.RunID) { s.life.Run = id }

// Add tells what happened. It does not wait for the reader.
func (s *Sink) Add(ctx context.Context, at time.Time, t *machine.Transition) {
	var output value.Raw
	if t.Change == machine.RunChanges && t.Status == event.Completed {
		output, _ = s.output(ctx, s.life.Run) // without it the event has none
	}
	for _, e := range s.life.Add(at, t, output) {
		if data, ok := e["data"].(map[string]any); ok {
			if out, ok := data["output"]; ok && len(s.hide) > 0 {
				data["output"] = view.Mask(out, s.hide)
			}
			e["data"] = s.masker.Value(data)
		}
		select {
		case s.queue <- value.JSON(e):
		default:
			s.lost.Add(1)
		}
	}
}

// Missed says that changes were left out before they came here.
func (s *Sink) Missed(n int) { s.lost.Add(int64(n)) }

// Close sends what waits, until ctx ends, and warns of what was not sent.
func (s *Sink) Close(ctx context.Context) {
	close(s.queue)
	select {
	case <-s.done:
	case <-ctx.Done():
		s.stop(context.Cause(ctx))
		<-s.done
	}
	s.stop(lifecycle.ErrStopping)
	if n := s.lost.Load(); n > 0 {
		s.warn(fmt.Sprintf("lifecycle events for %s: %d were left out", s.name, n))
	}
	if s.out == nil {
		return
	}
	if err := s.out.Close(); err != nil {
		s.warn(fmt.Sprintf("lifecycle events for %s: %v", s.name, err))
	}
}

func (s *Sink) loop(ctx context.Context) {
	defer close(s.done)
	for e := range s.queue {
		err := s.put(ctx, e)
		if err != nil && !s.failing && ctx.Err() == nil && s.clock.Sleep(ctx, sinkPause) == nil {
			err = s.put(ctx, e) // a receiver knows it by its id
		}
		if err == nil {
			s.failing = false
			continue
		}
		s.lost.Add(1)
		if !s.failing && ctx.Err() == nil {
			s.warn(fmt.Sprintf("lifecycle events do not reach %s: %v; the run goes on without", s.name, err))
		}
		s.failing = true
	}
}

// post sends an event in the structured mode of CloudEvents over HTTP.
func post(u *url.URL, transport http.RoundTripper) func(ctx context.Context, e []byte) error {
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, e []byte) error {
		ctx, cancel := context.WithTimeout(ctx, sinkTimeout)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(e))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection is used again
		if answer.StatusCode/100 != 2 {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return nil
	}
}
