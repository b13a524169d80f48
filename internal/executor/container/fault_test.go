package container_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// door is a socket before the engine's, which can be shut and opened.
type door struct {
	path, behind string
	mu           sync.Mutex
	listener     net.Listener
	open         []net.Conn
}

func newDoor(t *testing.T, host string) *door {
	t.Helper()
	d := &door{path: filepath.Join(t.TempDir(), "d"), behind: strings.TrimPrefix(host, "unix://")}
	d.unlock(t)
	t.Cleanup(d.shut)
	return d
}

func (d *door) unlock(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", d.path)
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.listener = l
	d.mu.Unlock()
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("unix", d.behind)
			if err != nil {
				_ = front.Close()
				continue
			}
			d.mu.Lock()
			d.open = append(d.open, front, back)
			d.mu.Unlock()
			pipe := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				if half, ok := to.(*net.UnixConn); ok {
					_ = half.CloseWrite()
				}
			}
			go pipe(front, back)
			go pipe(back, front)
		}
	}()
}

// shut breaks all connections and lets nobody in.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.listener.Close()
	for _, c := range d.open {
		_ = c.Close()
	}
	d.open = nil
}

// The engine goes away in the middle and comes back when the container has
// ended meanwhile: the task waits, and nothing of the output is lost or there twice.
func TestEngineReturns(t *testing.T) {
	engines(t, func(t *testing.T, real *engine) {
		d := newDoor(t, real.host)
		e := newEngine(t, "unix://"+d.path, container.Config{})
		e.run = real.run
		volumes, wait, open := gate(t)
		r, log := e.request(t, object{"command": "echo line 1; echo line 2; " + wait + "; echo line 3", "volumes": volumes})
		second := watching(r, log, "line 2")
		done := make(chan error, 1)
		var output any
		go func() {
			result, err := e.Execute(t.Context(), r)
			output = result.Output
			done <- err
		}()
		<-second.seen
		ended := real.client.ContainerWait(t.Context(), real.all(t)[0], client.ContainerWaitOptions{Condition: dockercontainer.WaitConditionNotRunning})
		d.shut()
		open()
		select {
		case <-ended.Result:
		case err := <-ended.Error:
			t.Fatal(err)
		}
		d.unlock(t)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := "line 1\nline 2\nline 3"
		if output != want || log.Text("stdout") != want+"\n" {
			t.Errorf("got %q, in the log %q", output, log.Text("stdout"))
		}
	})
}

// The engine does not come back: a clear fault.
func TestEngineStaysAway(t *testing.T) {
	engines(t, func(t *testing.T, real *engine) {
		d := newDoor(t, real.host)
		e := container.New(container.Config{Environment: []string{"DOCKER_HOST=unix://" + d.path}, Patience: 300 * time.Millisecond})
		defer e.CloseIdleConnections()
		r, log := real.request(t, object{"command": "echo up; sleep 600"})
		up := watching(r, log, "up")
		done := make(chan error, 1)
		go func() {
			_, err := e.Execute(t.Context(), r)
			done <- err
		}()
		<-up.seen
		d.shut()
		p := executortest.CheckProblem(t, <-done)
		if p.Title != "Container engine not reachable" || !strings.Contains(p.Detail, "did not come back within 300ms") {
			t.Errorf("got %s: %s", p.Title, p.Detail)
		}
		// What runs on is found again, and not started twice.
		again, log := real.request(t, object{"command": "echo up; sleep 600"})
		again.Activation, again.Grace = r.Activation, time.Millisecond
		again.Bind = func(context.Context, any) error { t.Error("it was started again"); return nil }
		up = watching(again, log, "up")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-up.seen
			cancel()
		}()
		if _, err := real.Execute(ctx, again); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if left := real.all(t); len(left) != 0 {
			t.Errorf("there are %v", left)
		}
	})
}

// reaps runs Reap until the containers of the run are the wanted ones.
func reaps(t *testing.T, e *engine, c container.Config, want ...string) {
	t.Helper()
	c.Environment, c.Eager = []string{"DOCKER_HOST=" + e.host}, true
	later := container.New(c)
	defer later.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	over := make(chan struct{})
	go func() {
		later.Reap(ctx)
		close(over)
	}()
	slices.Sort(want)
	left := e.all(t)
	for ; ctx.Err() == nil && !slices.Equal(left, want); left = e.all(t) {
		runtime.Gosched()
	}
	if !slices.Equal(left, want) {
		t.Errorf("there are %v, want %v", left, want)
	}
	cancel()
	<-over
}

// DSL 134: Reap removes what is due, also what an earlier process left, and
// nothing that belongs to another data directory.
func TestReap(t *testing.T) {
	engines(t, func(t *testing.T, real *engine) {
		e := newEngine(t, real.host, container.Config{Node: "here"})
		due := object{"command": "echo a", "lifetime": object{"cleanup": "eventually", "after": "PT1S"}}
		real.run = e.run
		real.wants(t, due, "a")
		others := e.all(t)
		e.wants(t, due, "a")
		if left := e.all(t); len(left) != 2 {
			t.Errorf("there are %v", left)
		}
		reaps(t, e, container.Config{Node: "here"}, others...)
	})
}

// After a crash: the containers of runs that have ended without them are
// removed, those of others are not, nor those that nobody was to wait for.
func TestReapOfEndedRuns(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		ended, alive := e.run, event.RunID{1, byte(time.Now().UnixNano())}
		left := map[string]bool{}
		leave := func(run event.RunID, node string, more object) {
			d := newDoor(t, e.host)
			dead := container.New(container.Config{Environment: []string{"DOCKER_HOST=unix://" + d.path}, Node: node})
			defer dead.CloseIdleConnections()
			r, log := e.request(t, with(object{"command": "echo up; sleep 600"}, more))
			r.Run = run
			up := watching(r, log, "up")
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				_, _ = dead.Execute(ctx, r)
				close(done)
			}()
			<-up.seen
			d.shut()
			cancel()
			<-done
			for _, id := range e.all(t) {
				if _, known := left[id]; !known {
					left[id] = len(more) > 0 || node != "here"
				}
			}
		}
		leave(ended, "here", nil)
		leave(ended, "there", nil)
		leave(ended, "here", object{"await": false})
		leave(alive, "here", nil)
		var want []string
		for id, stays := range left {
			if stays {
				want = append(want, id)
			}
		}
		reaps(t, e, container.Config{Node: "here", Grace: time.Millisecond, Over: func(_ context.Context, run string) bool { return run == ended.String() }}, want...)
		e.run = alive
		others := e.all(t)
		if len(others) != 1 || len(want) != 2 {
			t.Errorf("of the run that goes on there are %v, of the other %v stay", others, want)
		}
		for _, id := range others {
			_, _ = e.client.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{Force: true})
		}
		e.run = ended
	})
}

// A container that could not be removed, for the engine was away, is removed
// when it has come back.
func TestReapOfCancelled(t *testing.T) {
	engines(t, func(t *testing.T, real *engine) {
		d := newDoor(t, real.host)
		e := container.New(container.Config{Environment: []string{"DOCKER_HOST=unix://" + d.path}, Grace: time.Millisecond})
		defer e.CloseIdleConnections()
		r, log := real.request(t, object{"command": "echo up; sleep 600"})
		up := watching(r, log, "up")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := e.Execute(ctx, r)
			done <- err
		}()
		<-up.seen
		d.shut()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		gone := real.client.ContainerWait(t.Context(), real.all(t)[0], client.ContainerWaitOptions{Condition: dockercontainer.WaitConditionRemoved})
		d.unlock(t)
		reaping, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			e.Reap(reaping)
			close(over)
		}()
		select {
		case <-gone.Result:
		case err := <-gone.Error:
			t.Error(err)
		}
		stop()
		<-over
	})
}

// A private registry: the credentials are a secret's. The image has no sh,
// which is told.
func TestPrivateRegistry(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		if strings.Contains(e.host, "podman") {
			t.Skip("Podman takes no registry without TLS unless its configuration says so")
		}
		registry := newRegistry(t)
		image := strings.TrimPrefix(registry.URL, "http://") + "/team/tool:1"
		t.Cleanup(func() {
			_, _ = e.client.ImageRemove(context.Background(), image, client.ImageRemoveOptions{Force: true})
		})
		try := func(secret any) *event.Problem {
			r, log := e.request(t, object{"image": image, "pullPolicy": "always", "command": "true", "registry": "hub"})
			r.Secrets = executortest.Secrets{"hub": secret}
			_, err := e.Execute(t.Context(), r)
			log.Close()
			return executortest.CheckProblem(t, err)
		}
		if p := try("me:wrong"); p.Title != "Image not available" {
			t.Errorf("got %s: %s", p.Title, p.Detail)
		}
		if p := try(1); p.Type != event.TypePrefix+event.Configuration {
			t.Errorf("got %s: %s", p.Title, p.Detail)
		}
		for _, secret := range []any{"me:right", object{"username": "me", "password": "right"}} {
			if p := try(secret); p.Title != "Container not started" || !strings.Contains(p.Detail, "the image has no sh") {
				t.Errorf("got %s: %s", p.Title, p.Detail)
			}
		}
		// As docker login leaves it.
		dir := t.TempDir()
		file := fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6cmlnaHQ="}}}`, strings.TrimPrefix(registry.URL, "http://"))
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		logged := newEngine(t, e.host, container.Config{Environment: []string{"DOCKER_CONFIG=" + dir}})
		logged.fails(t, object{"image": image, "pullPolicy": "always", "command": "true"}, event.Runtime, "the image has no sh")
		if left := append(e.all(t), logged.all(t)...); len(left) != 0 {
			t.Errorf("what did not start is left: %v", left)
		}
	})
}

// newRegistry serves one image, team/tool:1, to me with the password right.
func newRegistry(t *testing.T) *httptest.Server {
	t.Helper()
	var plain, layer bytes.Buffer
	w := tar.NewWriter(&plain)
	_ = w.WriteHeader(&tar.Header{Name: "file", Size: 1, Mode: 0o644})
	_, _ = w.Write([]byte("x"))
	_ = w.Close()
	z := gzip.NewWriter(&layer)
	_, _ = z.Write(plain.Bytes())
	_ = z.Close()
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, digest(plain.Bytes()))
	const media = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":%q},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":%q}]}`,
		media, len(config), digest(config), layer.Len(), digest(layer.Bytes()))
	blobs := map[string][]byte{digest(config): config, digest(layer.Bytes()): layer.Bytes()}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "right" {
			w.Header().Set("Www-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case r.URL.Path == "/v2/":
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", media)
			w.Header().Set("Docker-Content-Digest", digest(manifest))
			_, _ = w.Write(manifest)
		case blobs[name] != nil:
			_, _ = w.Write(blobs[name])
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s
}
