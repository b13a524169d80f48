package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// D23, D25: a definition of --workflows is linked when it is first asked for,
// once; what cannot be had is an error that names it, and is tried again.
func TestLibraryLinks(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "set: {x: 1}\n")
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	for name, task := range map[string]string{"far": "call: '" + s.URL + "/f.yaml'", "near": "set: {x: 1}", "gone": "call: 'file:nothing.yaml'"} {
		src := "document: {dsl: '1.0.3', namespace: n, name: " + name + ", version: '1.0.0'}\ndo: [{a: {" + task + "}}]\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := 0
	l := &library{dir: dir, logger: slog.New(slog.DiscardHandler), linker: func() (*link.Linker, error) {
		made++
		return Linker(Config{DataDir: t.TempDir()}, false, false)
	}}
	down.Store(true)
	if def, err := l.find(t.Context(), "n/far:latest"); def != nil || err == nil || !strings.Contains(err.Error(), "workflow n/far:latest cannot be linked: far.yaml:2:17: error: ") {
		t.Errorf("down: %v, %v", def, err)
	}
	down.Store(false)
	asked.Store(0)
	var all sync.WaitGroup
	found := make([]*workflow.Definition, 8)
	for i := range found {
		all.Go(func() { found[i], _ = l.find(t.Context(), "n/far:1.0.0") })
	}
	all.Wait()
	for _, def := range found {
		if def == nil || def != found[0] || len(def.Linked) != 1 {
			t.Fatalf("found %v", found)
		}
	}
	near, err := l.find(t.Context(), "n/near")
	if err != nil || near == nil || near.Linked != nil {
		t.Errorf("near: %v, %v", near, err)
	}
	if _, err := l.find(t.Context(), "n/gone"); err == nil || !strings.Contains(err.Error(), "there is no file "+dir+"/nothing.yaml") {
		t.Errorf("gone: %v", err)
	}
	if def, err := l.find(t.Context(), "n/other"); def != nil || err != nil {
		t.Errorf("other: %v, %v", def, err)
	}
	if asked.Load() != 1 || made != 1 {
		t.Errorf("asked %d times by %d linkers", asked.Load(), made)
	}
}

// A catalogue that does not answer holds up only what is linked with it; who
// waits for it can leave.
func TestLibraryWaitsForNobodyElse(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}, 9), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "set: {x: 1}\n")
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	for name, task := range map[string]string{"far": "call: '" + s.URL + "/f.yaml'", "near": "set: {x: 1}"} {
		src := "document: {dsl: '1.0.3', namespace: n, name: " + name + ", version: '1.0.0'}\ndo: [{a: {" + task + "}}]\n"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := &library{dir: dir, logger: slog.New(slog.DiscardHandler), linker: func() (*link.Linker, error) {
		return Linker(Config{DataDir: t.TempDir()}, false, false)
	}}
	far := make(chan error, 1)
	go func() {
		_, err := l.find(t.Context(), "n/far")
		far <- err
	}()
	<-reached
	patience, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	near := make(chan *workflow.Definition, 1)
	go func() {
		def, _ := l.find(patience, "n/near")
		near <- def
	}()
	select {
	case def := <-near:
		if def == nil {
			t.Error("near was not found")
		}
	case <-patience.Done():
		t.Error("near waits for far")
	}
	impatient, leave := context.WithCancelCause(t.Context())
	leave(errors.New("enough"))
	if _, err := l.find(impatient, "n/far"); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("who waits for far: %v", err)
	}
	close(release)
	if err := <-far; err != nil {
		t.Error(err)
	}
}
