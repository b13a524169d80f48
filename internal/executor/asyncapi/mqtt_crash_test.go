package asyncapi_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// mortal is the real server with persistence, to be killed and started again.
type mortal struct {
	t       *testing.T
	address string
	program string
	file    string
	process *exec.Cmd
}

func mortalMosquitto(t *testing.T) *mortal {
	t.Helper()
	m := &mortal{t: t, program: "/usr/sbin/mosquitto"}
	if path, err := exec.LookPath("mosquitto"); err == nil {
		m.program = path
	} else if !exists(m.program) {
		if os.Getenv("CI") == "true" {
			t.Fatal("mosquitto is not installed")
		}
		t.Skip("mosquitto is not installed: the test did not run")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.address = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(m.address)
	dir := t.TempDir()
	m.file = filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nuser root\nallow_anonymous true\npersistence true\npersistence_location " + dir +
		"/\nautosave_on_changes true\nautosave_interval 1\n"
	if err := os.WriteFile(m.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mortal) start() {
	m.t.Helper()
	m.process = exec.Command(m.program, "-c", m.file)
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	for range 200 {
		if c, err := net.Dial("tcp", m.address); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	m.t.Fatal("mosquitto does not listen")
}

// kill lets the server no time to write anything.
func (m *mortal) kill() {
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

// DSL 77: the server is killed while messages are received, and when they are
// durable here and it has not been told. Neither loses one.
func TestMQTTServerDies(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"mqtt", "mqtt5"} {
		for _, qos := range []string{"1", "2"} {
			t.Run(protocol+" "+qos, func(t *testing.T) {
				t.Parallel()
				server := mortalMosquitto(t)
				document := talk(t, protocol, server.address, "clientId: c, cleanSession: false", "qos: "+qos)
				waits(t, document)
				e := newExecutor(t)
				var want []any
				for i := range 3 {
					publish(t, e, document, object{"n": i, "good": true, "last": i == 2}, nil)
					want = append(want, object{"n": i, "good": true, "last": i == 2})
				}
				subscription := call(document, "subscription", object{"filter": "good", "consume": object{"until": "last", "for": "PT10S"}})

				r := request(t, call(document, "subscription", object{"filter": "good", "consume": object{"until": "never"}}))
				evaluate := r.Evaluate
				r.Evaluate = func(ctx context.Context, expression string, m any) (any, error) {
					server.kill()
					return evaluate(ctx, expression, m)
				}
				_, err := e.Execute(t.Context(), r)
				if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Communication {
					t.Errorf("the server dies: %v", p)
				}

				server.start()
				r = request(t, subscription)
				bound := 0
				r.Bind = func(context.Context, any) error {
					bound++
					server.kill()
					return nil
				}
				result, err := e.Execute(t.Context(), r)
				if err != nil || bound != 1 {
					t.Fatalf("the messages are durable (%d), that the server is away is no fault: %v", bound, err)
				}
				if d := cmp.Diff(want, payloads(result.Output.([]any))); d != "" {
					t.Errorf("after the first crash: %s", d)
				}
				_, err = e.Execute(t.Context(), request(t, subscription))
				if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Communication {
					t.Errorf("without a server: %v", p)
				}

				server.start()
				result, err = e.Execute(t.Context(), request(t, subscription))
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, payloads(result.Output.([]any))); d != "" {
					t.Errorf("after the second crash: %s", d)
				}
				rest, err := e.Execute(t.Context(), request(t, call(document, "subscription", object{"consume": object{"amount": 1, "for": "PT0.3S"}})))
				if err != nil || len(rest.Output.([]any)) != 0 {
					t.Errorf("what was acknowledged is delivered again: %v %v", rest.Output, err)
				}
			})
		}
	}
}
