package container_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// without tries an attempt where the engine is at the host.
func without(t *testing.T, host string, arguments object) *event.Problem {
	t.Helper()
	e := container.New(container.Config{Environment: []string{"DOCKER_HOST=" + host, "HOME=" + t.TempDir()}})
	defer e.CloseIdleConnections()
	r, log := executortest.Request(t, "container", with(object{"image": "x"}, arguments))
	_, err := e.Execute(t.Context(), r)
	log.Close()
	return executortest.CheckProblem(t, err)
}

// DSL 133, 134, 135: mistakes are found before the engine is asked.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		arguments object
		detail    string
	}{
		{object{"image": nil}, "/image is missing"},
		{object{"image": "a b"}, "no name of an image"},
		{object{"command": "a\x00"}, "zero byte"},
		{object{"arguments": "x"}, "arguments must be a list"},
		{object{"environment": object{"A=B": "x"}}, `"A=B" cannot be set`},
		{object{"ports": object{"80": "none"}}, "no port of a container"},
		{object{"ports": object{"none": 80}}, "no port of the host"},
		{object{"ports": object{"70000": 80}}, "no port of the host"},
		{object{"volumes": object{"/a": "b"}}, "absolute path"},
		{object{"volumes": object{"a b": "/b"}}, "neither a directory"},
		{object{"lifetime": object{"cleanup": "eventually"}}, "/lifetime/after"},
		{object{"lifetime": object{"cleanup": "sometimes"}}, "must be one of always, never, eventually"},
		{object{"lifetime": object{}}, "/lifetime/cleanup is missing"},
		{object{"pullPolicy": "often"}, "must be one of ifNotPresent, always, never"},
		{object{"resources": object{"cpu": "many"}}, "no number of processors"},
		{object{"resources": object{"memory": "1 elephant"}}, "no amount of memory"},
		{object{"resources": object{"memory": -1}}, "no amount of memory"},
		{object{"return": "some"}, "must be one of stdout"},
		{object{"unknown": 1}, "not known here"},
	} {
		if p := without(t, "unix:///not/there.sock", c.arguments); p.Type != event.TypePrefix+event.Configuration || !strings.Contains(p.Detail, c.detail) {
			t.Errorf("%v: got %s %q; want %q", c.arguments, p.Type, p.Detail, c.detail)
		}
	}
}

// An engine that is not there, hangs up, or is something else.
func TestNoEngine(t *testing.T) {
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = s.Serve(other) }()
	defer s.Close()
	for _, host := range []string{"unix:///not/there.sock", "unix://" + silent.Addr().String(), "tcp://" + other.Addr().String(), "ssh://host", "nonsense"} {
		p := without(t, host, nil)
		if p.Type != event.TypePrefix+event.Runtime || p.Title != "No container engine" || !strings.Contains(p.Detail, "the engine does not answer: "+host) {
			t.Errorf("%s: got %s: %s", host, p.Title, p.Detail)
		}
	}
}
