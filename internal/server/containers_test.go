package server_test

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/server"
)

// docker is a container engine that knows what it is told of: by name, the
// labels of containers that run.
type docker struct {
	mu      sync.Mutex
	running map[string]map[string]string
	made    map[string]string // the labels of the last one that was made; it has ended
	removed chan string
}

// ServeHTTP answers as Docker does, as far as the tests go.
func (e *docker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if _, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok && strings.HasPrefix(path, "/v1.") {
		path = "/" + rest
	}
	name, verb, _ := strings.Cut(strings.TrimPrefix(path, "/containers/"), "/")
	w.Header().Set("Api-Version", "1.43")
	w.Header().Set("Content-Type", "application/json")
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case path == "/containers/json":
		list := []any{}
		for id, labels := range e.running {
			list = append(list, map[string]any{"Id": id, "Labels": labels, "State": "running"})
		}
		_ = json.NewEncoder(w).Encode(list)
	case path == "/containers/create":
		var body struct{ Labels map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		e.made = body.Labels
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"made"}`)
	case verb == "logs":
		_, _ = io.WriteString(w, "\x01\x00\x00\x00\x00\x00\x00\x02ok")
	case verb == "json" && strings.HasPrefix(path, "/containers/"):
		_, _ = io.WriteString(w, `{"Id":"made","State":{"Status":"exited"}}`)
	case r.Method == http.MethodDelete:
		delete(e.running, name)
		e.removed <- name
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusNoContent)
	default: // pings, images
		_, _ = io.WriteString(w, "{}")
	}
}

// A node removes the containers that a run of its data directory left when it
// ended, and touches those of no other.
func TestLeftOverContainers(t *testing.T) {
	t.Parallel()
	e := &docker{removed: make(chan string, 100)}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { _ = h.Close() })
	config := server.Config{DataDir: t.TempDir(), Mode: server.Serving, Environ: []string{"DOCKER_HOST=unix://" + socket}}
	def := define(t, "w", "do:\n  - box: {run: {container: {image: x, pullPolicy: never}}}\n")
	node := open(t, config)
	if got := wait(t, node, start(t, node, def, `{}`)); got != `completed "ok"` {
		t.Fatal(got)
	}
	shut(t, node)
	if len(e.made["downbeat.node"]) < 8 {
		t.Errorf("the container has the labels %v, and no name of its data directory", e.made)
	}
	with := func(name, value string) map[string]string {
		m := maps.Clone(e.made)
		m[name] = value
		return m
	}
	e.mu.Lock()
	e.running = map[string]map[string]string{
		"left": e.made, "of another directory": with("downbeat.node", "another"),
		"of nobody": with("downbeat.run", "01a1fcf7-f897-7814-a409-96df369957a3"), "detached": with("downbeat.detached", "true"),
	}
	e.mu.Unlock()
	node = open(t, config)
	if got := <-e.removed; got != "left" {
		t.Errorf("%q was removed", got)
	}
	shut(t, node)
	if len(e.removed) != 0 || len(e.running) != 3 {
		t.Errorf("%q was removed too", <-e.removed)
	}
}
