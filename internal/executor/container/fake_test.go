package container_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// fake is an engine that knows one container and misbehaves as it is told.
type fake struct {
	host string

	mu     sync.Mutex
	status string         // of the container; "" none
	labels map[string]any // of it
	calls  []string
	// breaks says how many calls of a kind break off after they were carried out.
	breaks map[string]int
	// hangs is the kind of call that is never answered.
	hangs string
	begun chan struct{}
	auth  string // what the last pull came with
	// prints is the container's log, without its frames.
	prints string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{breaks: map[string]int{}, begun: make(chan struct{}, 10), prints: "hello\n"}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f.host = "unix://" + path
	s := &http.Server{Handler: f}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return f
}

// ServeHTTP answers as Docker does, as far as one container goes.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.Path
	if i := strings.Index(call, "/v1."); i > 0 {
		_, rest, _ := strings.Cut(call[i+1:], "/")
		call = r.Method + " /" + rest
	}
	f.mu.Lock()
	kind := strings.ReplaceAll(call, "/c1", "")
	f.calls = append(f.calls, kind)
	if f.hangs == kind {
		f.mu.Unlock()
		f.begun <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return
	}
	if kind == "POST /images/create" {
		f.auth = r.Header.Get("X-Registry-Auth")
	}
	answer, status := f.answer(call, r)
	broken := f.breaks[kind] > 0
	f.breaks[kind]--
	f.mu.Unlock()
	if broken {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Api-Version", "1.43")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

func (f *fake) answer(call string, r *http.Request) (answer string, status int) {
	encode := func(v any) (string, int) {
		b, _ := json.Marshal(v)
		return string(b), 200
	}
	switch call {
	case "GET /containers/json":
		if f.status == "" {
			return "[]", 200
		}
		return encode([]any{object{"Id": "c1", "Labels": f.labels, "State": f.status}})
	case "POST /containers/create":
		var body struct{ Labels map[string]any }
		_ = json.NewDecoder(r.Body).Decode(&body)
		f.status, f.labels = "created", body.Labels
		return `{"Id":"c1"}`, 201
	case "POST /containers/c1/start":
		f.status = "exited"
		return "", 204
	case "GET /containers/c1/json":
		if f.status == "" {
			return `{"message":"No such container: c1"}`, 404
		}
		return encode(object{"Id": "c1", "State": object{"Status": f.status}, "Config": object{"Labels": f.labels}})
	case "GET /containers/c1/logs":
		return string([]byte{1, 0, 0, 0, 0, 0, 0, byte(len(f.prints))}) + f.prints, 200
	case "DELETE /containers/c1":
		f.status = ""
		return "", 204
	default: // pings, images, stops
		return "{}", 200
	}
}

func (f *fake) count(kind string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == kind {
			n++
		}
	}
	return n
}

func (f *fake) execute(t *testing.T, ctx context.Context, arguments object, environment ...string) (any, error) { //nolint:revive // as the other helpers have it
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	e := container.New(container.Config{Environment: append(environment, "DOCKER_HOST="+f.host), Patience: 200 * time.Millisecond, Grace: time.Millisecond})
	r, log := executortest.Request(t, "container", with(object{"image": "x", "pullPolicy": "never", "lifetime": object{"cleanup": "always"}}, arguments))
	r.Grace = time.Millisecond
	result, err := e.Execute(ctx, r)
	log.Close()
	e.CloseIdleConnections()
	goleak.VerifyNone(t, ignore)
	return result.Output, err
}

// An engine that breaks off does not lose the container, nor start it twice:
// what it did before is looked up.
func TestEngineBreaksOff(t *testing.T) {
	for _, kind := range []string{"POST /containers/create", "POST /containers/start", "GET /containers/logs"} {
		t.Run(kind, func(t *testing.T) {
			f := newFake(t)
			f.breaks[kind] = 1
			got, err := f.execute(t, t.Context(), object{"command": "echo hello"})
			if err != nil || got != "hello" {
				t.Errorf("got %v, %v", got, err)
			}
			if made, started := f.count("POST /containers/create"), f.count("POST /containers/start"); made != 1 || started != 1 || f.status != "" {
				t.Errorf("made %d times, started %d times, now %q", made, started, f.status)
			}
		})
	}
	t.Run("for ever", func(t *testing.T) {
		f := newFake(t)
		f.breaks["GET /containers/json"] = 1000
		_, err := f.execute(t, t.Context(), object{"command": "echo hello"})
		if p := executortest.CheckProblem(t, err); p.Title != "Container engine not reachable" {
			t.Errorf("got %s: %s", p.Title, p.Detail)
		}
	})
}

// An engine that does not answer holds nobody who is cancelled.
func TestEngineHangs(t *testing.T) {
	for _, kind := range []string{"HEAD /_ping", "GET /containers/json", "GET /images/x/json", "POST /containers/create", "POST /containers/start", "GET /containers/logs"} {
		t.Run(kind, func(t *testing.T) {
			f := newFake(t)
			f.hangs = kind
			ctx, cancel := context.WithCancelCause(t.Context())
			over := errors.New("over")
			go func() {
				<-f.begun
				cancel(over)
			}()
			if _, err := f.execute(t, ctx, object{"command": "echo hello"}); !errors.Is(err, over) {
				t.Errorf("got %v", err)
			}
			if f.mu.Lock(); f.status != "" {
				t.Errorf("a container is left, %s", f.status)
			}
			f.mu.Unlock()
		})
	}
}

// What answers is no engine.
func TestNoEngineAtAll(t *testing.T) {
	for name, says := range map[string]string{"garbage": "220 mail.example.com ESMTP\r\n", "another server": "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
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
					_, _ = c.Read(make([]byte, 1000))
					_, _ = fmt.Fprint(c, says)
					_ = c.Close()
				}
			})
			defer all.Wait()
			defer l.Close()
			f := &fake{host: "tcp://" + l.Addr().String()}
			_, err = f.execute(t, t.Context(), nil)
			if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Runtime || p.Title != "No container engine" && p.Title != "Container not found" {
				t.Errorf("got %s: %s", p.Title, p.Detail)
			}
		})
	}
}

// The credentials of docker login, where a helper keeps them: for one registry,
// or for all; a helper that knows nothing, or is not there, is no mistake.
func TestCredentialHelpers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the helpers of this test are scripts of sh")
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	script := func(name, body string) { write("docker-credential-"+name, "#!/bin/sh\nread server\n"+body+"\n", 0o700) }
	script("one", `echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"at $server\"}"`)
	script("token", `echo '{"Username":"<token>","Secret":"identity"}'`)
	script("nosy", `echo "{\"Username\":\"$HOME\",\"Secret\":\"got $DOWNBEAT_SECRET_OTHER\"}"`)
	script("empty", `echo "credentials not found in native keychain"; exit 1`)
	script("broken", `echo "out of order" >&2; exit 1`)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for name, c := range map[string]struct{ image, config, want string }{
		"of the registry":   {"r.example.com/x", `{"credsStore":"broken","credHelpers":{"r.example.com":"one"}}`, `{"username":"me","password":"at r.example.com","serveraddress":"r.example.com"}`},
		"of all":            {"x", `{"credsStore":"one"}`, `{"username":"me","password":"at https://index.docker.io/v1/","serveraddress":"https://index.docker.io/v1/"}`},
		"a token":           {"r.example.com/x", `{"credsStore":"token"}`, `{"serveraddress":"r.example.com","identitytoken":"identity"}`},
		"no other secrets":  {"r.example.com/x", `{"credsStore":"nosy"}`, `{"username":"/home/me","password":"got ","serveraddress":"r.example.com"}`},
		"nothing known":     {"r.example.com/x", `{"credsStore":"empty"}`, ``},
		"nothing, but file": {"r.example.com/x", `{"credsStore":"broken","auths":{"r.example.com":{"auth":"bWU6cHc="}}}`, `{"username":"me","password":"pw","serveraddress":"r.example.com"}`},
		"not there":         {"r.example.com/x", `{"credsStore":"nobody"}`, ``},
		"no name":           {"r.example.com/x", `{"credsStore":"../one"}`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			write("config.json", c.config, 0o600)
			f := newFake(t)
			if _, err := f.execute(t, t.Context(), object{"image": c.image, "pullPolicy": "always", "command": "true"}, "DOCKER_CONFIG="+dir, "HOME=/home/me", "DOWNBEAT_SECRET_OTHER=0ther"); err != nil {
				t.Fatal(err)
			}
			got, err := base64.URLEncoding.DecodeString(f.auth)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}
