package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// told runs a workflow with a sink and returns what was warned of.
func told(t *testing.T, n *server.Node, target, body string) []string {
	t.Helper()
	var mu sync.Mutex
	var warnings []string
	def := define(t, "told", body)
	s, err := n.Lifecycle(t.Context(), target, def, func(w string) { mu.Lock(); warnings = append(warnings, w); mu.Unlock() })
	if err != nil {
		t.Fatal(err)
	}
	feed := engine.NewFeed(0)
	id, err := n.Control.Start(t.Context(), control.StartRequest{Definition: def, Input: value.FromJSON([]byte(`{}`)), Feed: feed})
	if err != nil {
		t.Fatal(err)
	}
	s.Begin(id)
	for {
		us, _, err := feed.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range us {
			if u.Transition != nil {
				s.Add(t.Context(), u.At, u.Transition)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
	mu.Lock()
	defer mu.Unlock()
	return warnings
}

var wantKinds = []string{
	"workflow.started", "workflow.status-changed", "task.created", "task.started", "task.status-changed",
	"task.completed", "task.status-changed", "workflow.completed", "workflow.status-changed",
}

func kindOf(t *testing.T, src []byte) string {
	t.Helper()
	var e struct {
		Type, ID, Source string
		Data             map[string]any
	}
	if err := json.Unmarshal(src, &e); err != nil || e.ID == "" || e.Source == "" {
		t.Errorf("%s: %v", src, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(e.Type, "io.serverlessworkflow."), ".v1")
}

const secretive = "use: {secrets: [token]}\ndo:\n  - a: {set: {t: 'it is ${ $secrets.token }'}}\n"

// DSL 175-194: what happens to a run is appended to a file; secrets are masked.
func TestLifecycleIntoAFile(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir(), Environ: append(os.Environ(), "DOWNBEAT_SECRET_TOKEN=hunter2-hunter2")})
	file := filepath.Join(t.TempDir(), "events.jsonl")
	for range 2 {
		if w := told(t, n, file, secretive); len(w) > 0 {
			t.Error(w)
		}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(src), "hunter2") || !strings.Contains(string(src), `"output":{"t":"it is ***"}`) {
		t.Errorf("the secret is not masked: %s", src)
	}
	var kinds []string
	for line := range strings.Lines(string(src)) {
		kinds = append(kinds, kindOf(t, []byte(line)))
	}
	if d := cmp.Diff(slices.Concat(wantKinds, wantKinds), kinds); d != "" {
		t.Error(d)
	}
}

// DSL 175: the events are posted in order, in the structured mode; one that is
// refused is sent again.
func TestLifecycleToAServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kinds []string
	refused := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") {
			t.Errorf("%s %s", r.Method, r.Header)
		}
		if refused == 0 && len(kinds) == 3 {
			refused++
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		kinds = append(kinds, kindOf(t, body))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	n := open(t, server.Config{DataDir: t.TempDir()})
	if w := told(t, n, s.URL+"/sink", "do:\n  - a: {set: {t: 1}}\n"); len(w) > 0 {
		t.Error(w)
	}
	if d := cmp.Diff(wantKinds, kinds); d != "" || refused != 1 {
		t.Error(d, refused)
	}
}

// A sink that fails or hangs is warned of, and holds nothing up for long.
func TestLifecycleSinkThatFails(t *testing.T) {
	t.Parallel()
	n := open(t, server.Config{DataDir: t.TempDir()})
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(over)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, url := range []string{gone.URL, s.URL} {
		begin := time.Now()
		w := told(t, n, url, "do:\n  - a: {set: {t: 1}}\n")
		if len(w) == 0 || !strings.Contains(w[len(w)-1], "9 were left out") || time.Since(begin) > 20*time.Second {
			t.Errorf("%v: %q", time.Since(begin), w)
		}
	}
	if _, err := n.Lifecycle(t.Context(), "ftp://x/y", define(t, "w", "do:\n  - a: {set: {t: 1}}\n"), nil); err == nil || !strings.Contains(err.Error(), "ftp://x/y") {
		t.Errorf("got %v", err)
	}
}
