package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

type object = map[string]any

// image is what .ci/components/docker makes.
const image = "localhost/downbeat-busybox:latest"

// engines runs the test by every engine that the environment names
// (.ci/components/docker starts them).
func engines(t *testing.T, f func(t *testing.T, e *engine)) {
	t.Helper()
	found := false
	for _, name := range []string{"DOCKER", "PODMAN"} {
		host := os.Getenv("DOWNBEAT_" + name)
		if host == "" {
			continue
		}
		found = true
		t.Run(strings.ToLower(name), func(t *testing.T) { f(t, newEngine(t, host, container.Config{})) })
	}
	if !found {
		t.Skip("NO CONTAINER ENGINE: set DOWNBEAT_DOCKER or DOWNBEAT_PODMAN, see .ci/components/docker")
	}
}

type engine struct {
	*container.Executor
	client *client.Client
	run    event.RunID // of all its requests, so that what is left can be told
	host   string
}

var runs atomic.Uint32

func newEngine(t *testing.T, host string, c container.Config) *engine {
	t.Helper()
	c.Environment = append(c.Environment, "DOCKER_HOST="+host)
	e := &engine{Executor: container.New(c), host: host}
	e.run = event.RunID{byte(os.Getpid()), byte(os.Getpid() >> 8), byte(runs.Add(1)), byte(time.Now().UnixNano())}
	var err error
	if e.client, err = client.New(client.WithHost(host)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range e.all(t) {
			_, _ = e.client.ContainerRemove(context.Background(), c, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
		e.CloseIdleConnections()
		_ = e.client.Close()
	})
	return e
}

// all lists the containers of the engine's run.
func (e *engine) all(t *testing.T) []string {
	t.Helper()
	list, err := e.client.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "downbeat.run="+e.run.String())})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, c := range list.Items {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

func (e *engine) request(t *testing.T, arguments object) (*executor.Request, *executortest.Log) {
	t.Helper()
	r, log := executortest.Request(t, "container", with(object{"image": image, "pullPolicy": "never", "lifetime": object{"cleanup": "always"}}, arguments))
	r.Run = e.run
	r.Activation = event.Activation(t.Name() + strconv.Itoa(int(runs.Add(1))))
	return r, log
}

func with(m, more object) object {
	maps.Copy(m, more)
	return m
}

func (e *engine) execute(t *testing.T, arguments object) (any, *executortest.Log, error) {
	t.Helper()
	r, log := e.request(t, arguments)
	result, err := e.Execute(t.Context(), r)
	log.Close()
	return result.Output, log, err
}

func (e *engine) wants(t *testing.T, arguments object, want any) {
	t.Helper()
	got, _, err := e.execute(t, arguments)
	if err != nil {
		t.Fatalf("%v: %v", arguments, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%v: %s", arguments, d)
	}
}

func (e *engine) fails(t *testing.T, arguments object, family, detail string) *event.Problem {
	t.Helper()
	_, _, err := e.execute(t, arguments)
	p := executortest.CheckProblem(t, err)
	if p.Type != event.TypePrefix+family || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v: got %s %q; want %s with %q", arguments, p.Type, p.Detail, family, detail)
	}
	return p
}

// own gives every request an attempt of its own.
type own struct{ *engine }

func (o own) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	r.Run = o.run
	r.Activation = event.Activation(strconv.Itoa(int(runs.Add(1))))
	return o.engine.Execute(ctx, r)
}

func TestExercise(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		base := func(command string) object {
			return object{"image": image, "pullPolicy": "never", "command": command, "lifetime": object{"cleanup": "always"}}
		}
		hanging := make(chan struct{}, 1)
		go func() {
			for t.Context().Err() == nil {
				list, err := e.client.ContainerList(context.Background(), client.ContainerListOptions{Filters: client.Filters{}.Add("label", "downbeat.run="+e.run.String())})
				if err == nil && len(list.Items) > 0 && strings.Contains(list.Items[0].Command, "sleep 1000") {
					hanging <- struct{}{}
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		executortest.Exercise(t, executortest.Subject{
			Executor: own{e}, Kind: "container", Works: base("echo hello"), Fails: base("exit 3"), Hangs: base("sleep 1000"), Hanging: hanging,
		})
		if left := e.all(t); len(left) > 0 {
			t.Errorf("containers are left: %v", left)
		}
	})
}

// DSL 132, D27: the forms of return, and exit codes.
func TestReturn(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		command := "echo out; echo error >&2; exit "
		e.wants(t, object{"command": command + "0"}, "out")
		e.wants(t, object{"command": command + "0", "return": "stderr"}, "error")
		e.wants(t, object{"command": command + "0", "return": "none"}, nil)
		e.wants(t, object{"command": command + "7", "return": "code"}, 7)
		e.wants(t, object{"command": command + "7", "return": "all"}, object{"code": 7, "stdout": "out", "stderr": "error"})
		p := e.fails(t, object{"command": command + "7"}, event.Runtime, "exit code 7: error")
		if p.More["exitCode"] != 7 || p.More["stderr"] != "error" {
			t.Errorf("got %v", p.More)
		}
	})
}

// DSL 133, D28: the specification's example, and what reaches the program.
func TestCommandArgumentsStdin(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		e.wants(t, object{
			"command": "input=$(cat)\necho \"STDIN was: $input\"\necho \"ARGS are $1 $2\"\n", "stdin": "Hello World", "arguments": []any{"Foo", "Bar"},
		}, "STDIN was: Hello World\nARGS are Foo Bar")
		e.wants(t, object{"command": "echo", "arguments": []any{"a b", "c"}}, "a b c")
		e.wants(t, object{"command": "cat", "stdin": object{"a": 1}}, `{"a":1}`)
		e.wants(t, object{"command": "echo $GREETING $DOWNBEAT_ATTEMPT $DOWNBEAT_TASK", "environment": object{"GREETING": "hi"}}, "hi 1 /do/0/act")
		e.wants(t, object{"command": "wc -c", "stdin": strings.Repeat("x", 1<<20)}, "1048576")
		e.wants(t, object{"command": "true", "stdin": strings.Repeat("x", 1<<20)}, "")
		if !strings.Contains(e.host, "podman") { // whose import of an image drops the default command
			e.wants(t, object{"arguments": []any{"-c", "echo by the default command"}}, "by the default command")
			e.wants(t, object{}, "") // the image's own command: a shell without input
		}
	})
}

// DSL 133: ports and volumes.
func TestPortsAndVolumes(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "in"), []byte("from the host"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.wants(t, object{
			"command": "cat /data/in; echo x > /out/x; touch /data/no 2>/dev/null || echo ' ro'",
			"volumes": object{dir: "/data:ro", t.TempDir(): "/out"},
		}, "from the host ro")
		if !strings.Contains(e.host, "podman") { // which makes the directory
			e.fails(t, object{"command": "true", "volumes": object{"/not/there": "/data"}}, event.Runtime, "/not/there")
		}
		r, _ := e.request(t, object{"command": "sleep 60", "ports": object{"127.0.0.1:0": "8080/tcp"}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := e.Execute(ctx, r)
			done <- err
		}()
		c := e.running(t)
		var host string
		for port, bindings := range c.Container.NetworkSettings.Ports {
			for _, b := range bindings {
				host = port.String() + " " + b.HostIP.String()
			}
		}
		if host != "8080/tcp 127.0.0.1" {
			t.Errorf("got %q", host)
		}
		cancel()
		<-done
	})
}

// DSL 134: lifetimes.
func TestLifetime(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		e.wants(t, object{"command": "echo a"}, "a")
		if left := e.all(t); len(left) != 0 {
			t.Errorf("always: %v are left", left)
		}
		e.wants(t, object{"command": "echo a", "lifetime": object{"cleanup": "eventually", "after": object{"milliseconds": 1}}}, "a")
		if left := e.all(t); len(left) != 1 {
			t.Errorf("eventually, at its end: %v are there", left)
		}
		e.wants(t, object{"command": "echo a", "lifetime": object{"cleanup": "eventually", "after": "PT1H"}}, "a")
		if left := e.all(t); len(left) != 1 {
			t.Errorf("eventually, later: %v are there", left)
		}
		e.wants(t, object{"command": "echo a", "lifetime": nil}, "a")
		if left := e.all(t); len(left) != 2 {
			t.Errorf("never is the default: %v are there", left)
		}
	})
}

// DSL 135: pull policies. There is no registry: a pull fails, and says so.
func TestPullPolicy(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		e.wants(t, object{"pullPolicy": "ifNotPresent", "command": "echo a"}, "a")
		e.fails(t, object{"pullPolicy": "never", "image": "not-there:1"}, event.Runtime, "no image not-there:1")
		e.fails(t, object{"pullPolicy": "always", "image": "127.0.0.1:1/not-there:1"}, event.Runtime, "pull the image")
		e.fails(t, object{"image": "127.0.0.1:1/not-there:1", "pullPolicy": "ifNotPresent"}, event.Runtime, "pull the image")
		e.fails(t, object{"image": "UPPER/Case", "pullPolicy": "ifNotPresent"}, event.Runtime, "UPPER/Case")
	})
}

// DSL 136: names.
func TestName(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		name := fmt.Sprintf("downbeat-test-%d", time.Now().UnixNano())
		e.wants(t, object{"command": "echo a", "name": name, "lifetime": nil}, "a")
		if _, err := e.client.ContainerInspect(t.Context(), name, client.ContainerInspectOptions{}); err != nil {
			t.Error(err)
		}
		e.fails(t, object{"command": "echo a", "name": name}, event.Runtime, "there is a container with the name")
		r, _ := e.request(t, object{"command": "echo a", "name": name})
		r.Attempt = 2
		if _, err := e.Execute(t.Context(), r); err != nil {
			t.Errorf("second attempt: %v", err)
		}
		e.fails(t, object{"name": "a b"}, event.Configuration, "a container's name")
	})
}

func TestLimits(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		if strings.Contains(e.host, "podman") {
			t.Skip("the engine's control groups are as the machine has them")
		}
		r, _ := e.request(t, object{"command": "sleep 60", "resources": object{"cpu": "500m", "memory": "64Mi"}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := e.Execute(ctx, r)
			done <- err
		}()
		c := e.running(t)
		if c.Container.HostConfig.Memory != 64<<20 || c.Container.HostConfig.NanoCPUs != 5e8 {
			t.Errorf("got %d bytes, %d processors e-9", c.Container.HostConfig.Memory, c.Container.HostConfig.NanoCPUs)
		}
		cancel()
		<-done
		e.fails(t, object{"command": "dd if=/dev/zero of=/dev/null bs=500M", "resources": object{"memory": "16Mi"}}, event.Runtime, "exit code 1")
	})
}

// watch is a log that tells when the standard output holds a text.
type watch struct {
	*executortest.Log
	text string
	seen chan struct{}
	once sync.Once
}

func watching(r *executor.Request, log *executortest.Log, text string) *watch {
	w := &watch{Log: log, text: text, seen: make(chan struct{})}
	r.Log = w
	return w
}

func (w *watch) Stream(name string) io.Writer { return watched{w, w.Log.Stream(name)} }

type watched struct {
	*watch
	to io.Writer
}

// Write hands on and looks.
func (w watched) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if strings.Contains(w.Text("stdout"), w.text) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

// gate is a directory of the host, and what a container does until somebody
// opens it: wait, without an end of its own.
func gate(t *testing.T) (volumes object, command string, open func()) {
	t.Helper()
	dir := t.TempDir()
	return object{dir: "/gate"}, "until [ -e /gate/open ]; do sleep 0.05; done", func() {
		if err := os.WriteFile(filepath.Join(dir, "open"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// DSL 133, D27: after a crash of Downbeat the container is found by its labels,
// followed to its end, and not started twice for the same attempt.
func TestAdoption(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		d := newDoor(t, e.host) // shut, the first Downbeat can do nothing more: it is as good as dead
		dead := container.New(container.Config{Environment: []string{"DOCKER_HOST=unix://" + d.path}})
		defer dead.CloseIdleConnections()
		volumes, wait, open := gate(t)
		r, log := e.request(t, object{"command": "cat; cat /proc/sys/kernel/random/uuid; " + wait + "; echo end", "stdin": "in ", "volumes": volumes})
		second := *r
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun := watching(r, log, "-")
		gone := make(chan error, 1)
		go func() {
			_, err := dead.Execute(ctx, r)
			gone <- err
		}()
		<-begun.seen
		d.shut()
		second.Bind = func(context.Context, any) error { t.Error("it was started again"); return nil }
		_, again := executortest.Request(t, "container", nil)
		adopted := watching(&second, again, "-")
		go func() {
			<-adopted.seen
			open()
		}()
		res, err := e.Execute(t.Context(), &second)
		if err != nil {
			t.Fatal(err)
		}
		// What it printed before is there too, whole and once.
		if got, want := res.Output, strings.TrimSuffix(log.Text("stdout"), "\n")+"\nend"; got != want || !strings.HasPrefix(want, "in ") {
			t.Errorf("got %q, want %q", got, want)
		}
		if left := e.all(t); len(left) != 0 {
			t.Errorf("there are %v", left)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
	})
}

// A crash after the end of the container: its result is still to be had.
func TestAdoptionOfEnded(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		r, _ := e.request(t, object{"command": "cat /proc/sys/kernel/random/uuid", "lifetime": nil})
		one, err := e.Execute(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		again := *r
		again.Bind = func(context.Context, any) error { t.Error("it was started again"); return nil }
		two, err := e.Execute(t.Context(), &again)
		if err != nil || one.Output != two.Output {
			t.Errorf("got %v, %v; want %v", two.Output, err, one.Output)
		}
		r.Attempt = 2
		if three, err := e.Execute(t.Context(), r); err != nil || three.Output == one.Output {
			t.Errorf("the second attempt: %v, %v", three.Output, err)
		}
	})
}

// A crash between the making and the starting, and one while a long input was given.
func TestAdoptionOfCreated(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		r, _ := e.request(t, object{"command": "cat", "stdin": "the input"})
		crashed := errors.New("crashed")
		r.Bind = func(_ context.Context, h any) error { return crashed }
		if _, err := e.Execute(t.Context(), r); !errors.Is(err, crashed) {
			t.Fatalf("got %v", err)
		}
		if left := e.all(t); len(left) != 0 {
			t.Errorf("what was never started is left: %v", left)
		}
		r, _ = e.request(t, object{"command": "cat", "stdin": strings.Repeat("x", 100_000), "lifetime": nil})
		for range 2 {
			res, err := e.Execute(t.Context(), r)
			if s, _ := res.Output.(string); err != nil || len(s) != 100_000 {
				t.Errorf("got %d bytes, %v", len(s), err)
			}
		}
		if left := e.all(t); len(left) != 1 {
			t.Errorf("there are %v", left)
		}
	})
}

// An attempt that is not to be repeated: its container is ended, not awaited.
func TestRecoverEnds(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		if err := e.Recover(t.Context(), object{"pid": 1}); err == nil {
			t.Error("a handle of another kind was taken")
		}
		r, log := e.request(t, object{"command": "trap 'exit 0' TERM; echo up; sleep 600 & wait"})
		up := watching(r, log, "up")
		var handle any
		r.Bind = func(_ context.Context, h any) error { handle = h; return nil }
		done := make(chan error, 1)
		go func() {
			_, err := e.Execute(t.Context(), r)
			done <- err
		}()
		<-up.seen
		if err := e.Recover(t.Context(), handle); err != nil {
			t.Errorf("got %v", err)
		}
		if left := e.all(t); len(left) != 0 {
			t.Errorf("there are %v", left)
		}
		if err := <-done; err != nil && !strings.Contains(err.Error(), "removed by somebody else") {
			t.Errorf("who waited got %v", err)
		}
		if err := e.Recover(t.Context(), handle); err != nil {
			t.Errorf("of a container that is gone: %v", err)
		}
		// One that has ended stays, for its lifetime says never.
		r, _ = e.request(t, object{"command": "true", "lifetime": object{"cleanup": "never"}})
		r.Bind = func(_ context.Context, h any) error { handle = h; return nil }
		if _, err := e.Execute(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := e.Recover(t.Context(), handle); err != nil || len(e.all(t)) != 1 {
			t.Errorf("got %v, there are %v", err, e.all(t))
		}
	})
}

func TestOutputExceeded(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		small := newEngine(t, e.host, container.Config{MaxOutput: 100_000})
		small.fails(t, object{"command": "yes"}, event.Runtime, "more than 100000 bytes")
		if left := small.all(t); len(left) != 0 {
			t.Errorf("there are %v", left)
		}
		got, log, err := small.execute(t, object{"command": "yes | head -c 1000000", "return": "none"})
		if err != nil || got != nil || len(log.Text("stdout")) != 1_000_000 {
			t.Errorf("got %v, %v, %d bytes in the log", got, err, len(log.Text("stdout")))
		}
	})
}

func TestExitCodes(t *testing.T) {
	engines(t, func(t *testing.T, e *engine) {
		t.Helper()
		e.fails(t, object{"command": "exit 5"}, event.Runtime, "exit code 5")
		e.fails(t, object{"command": "exit 137"}, event.Runtime, "killed, by hand or with its engine")
		e.fails(t, object{"image": image, "command": "no-such-program"}, event.Runtime, "exit code 127")
	})
}

func (e *engine) running(t *testing.T) *client.ContainerInspectResult {
	t.Helper()
	for range 500 {
		for _, id := range e.all(t) {
			c, err := e.client.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
			if err == nil && c.Container.State.Running {
				return &c
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no container runs")
	return nil
}
