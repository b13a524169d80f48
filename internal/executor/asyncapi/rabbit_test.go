//go:build unix

package asyncapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// rabbit is RabbitMQ on ports of its own.
type rabbit struct {
	address, secure string
	dir             string
	ports           []string // AMQP, distribution, the daemon of Erlang, AMQP over TLS
	process         *exec.Cmd
}

// newRabbit starts RabbitMQ; skips without it.
func newRabbit(t *testing.T, a *authority) *rabbit {
	t.Helper()
	if !exists(rabbitProgram) {
		if os.Getenv("CI") == "true" {
			t.Fatal("RabbitMQ is not installed")
		}
		t.Skip("RabbitMQ is not installed: the test did not run")
	}
	r := &rabbit{dir: t.TempDir()}
	for range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		r.ports = append(r.ports, port)
		_ = l.Close()
	}
	r.address, r.secure = "127.0.0.1:"+r.ports[0], "127.0.0.1:"+r.ports[3]
	text := fmt.Sprintf("listeners.tcp.local = %s\nlisteners.ssl.local = %s\nssl_options.cacertfile = %s\nssl_options.certfile = %s\nssl_options.keyfile = %s\n", r.address, r.secure, a.root, a.cert, a.key)
	if err := os.WriteFile(filepath.Join(r.dir, "rabbitmq.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	t.Cleanup(func() {
		r.kill()
		// The daemon that Erlang leaves ends when it knows that the server is gone.
		for range 100 {
			if out, err := exec.Command("epmd", "-port", r.ports[2], "-kill").CombinedOutput(); errors.Is(err, exec.ErrNotFound) || strings.Contains(string(out), "Killed") {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error("epmd is left")
	})
	return r
}

const rabbitProgram = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// start starts the server, or starts it again with what it had.
func (r *rabbit) start(t *testing.T) {
	t.Helper()
	c := exec.Command(rabbitProgram)
	c.Env = append(os.Environ(), "HOME="+r.dir, "RABBITMQ_NODENAME=test"+r.ports[0]+"@localhost", "RABBITMQ_CONFIG_FILE="+filepath.Join(r.dir, "rabbitmq"),
		"RABBITMQ_DIST_PORT="+r.ports[1], "ERL_EPMD_PORT="+r.ports[2], "RABBITMQ_MNESIA_BASE="+r.dir, "RABBITMQ_LOG_BASE="+r.dir,
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(r.dir, "plugins"), "RABBITMQ_PID_FILE="+filepath.Join(r.dir, "pid"))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r.process = c
	for range 300 {
		if conn, err := amqp.Dial("amqp://guest:guest@" + r.address); err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("RabbitMQ does not start")
}

// kill ends the server as a power failure does.
func (r *rabbit) kill() {
	if r.process == nil {
		return
	}
	_ = syscall.Kill(-r.process.Process.Pid, syscall.SIGKILL)
	_ = r.process.Wait()
	r.process = nil
}

// DSL 73-77 over AMQP 0-9-1, the real server.
func TestAMQP(t *testing.T) {
	a := newAuthority(t)
	r := newRabbit(t, a)
	document := func(queue string) string {
		return write(t, "amqp", r.address, queue, "amqp: {is: queue, queue: {durable: true}}")
	}
	declared := r.declare(t, "vanishing")
	greetings := document("greetings")
	behave(t, greetings, true, true)
	hangs(t, greetings)
	t.Run("secured", func(t *testing.T) {
		a.secured(t, write(t, "amqps", r.secure, "greetings", ""), "guest", "guest")
	})
	t.Run("refused", func(t *testing.T) { r.refuses(t) })
	t.Run("correlation", func(t *testing.T) { r.correlates(t, document("correlation")) })
	t.Run("many", func(t *testing.T) { r.many(t, document("many")) })
	t.Run("vanishes", func(t *testing.T) {
		// The server writes the definitions of queues up to two seconds late: one
		// that is killed before has forgotten the queue, with what is in it.
		time.Sleep(time.Until(declared.Add(5 * time.Second)))
		r.vanishes(t, document("vanishing"))
	})
}

// declare makes a durable queue and says when it was there.
func (r *rabbit) declare(t *testing.T, queue string) time.Time {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

func (r *rabbit) refuses(t *testing.T) {
	t.Helper()
	// amq.rabbitmq.* is the server's own.
	reserved := write(t, "amqp", r.address, "amq.rabbitmq.x", "amqp: {is: queue}")
	_, err := newExecutor(t).Execute(t.Context(), request(t, call(reserved, "message", object{"payload": 1})))
	if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Forbidden || p.Status != 403 {
		t.Errorf("got %v", p)
	}
}

// correlates: where the document says that the id is, the property gets it.
func (r *rabbit) correlates(t *testing.T, document string) {
	t.Helper()
	publish(t, newExecutor(t), document, object{"id": "c9"}, nil)
	conn, err := amqp.Dial("amqp://guest:guest@" + r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	m, ok, err := c.Get("correlation", true)
	if err != nil || !ok || m.CorrelationId != "c9" || m.MessageId == "" || m.ContentType != "application/json" {
		t.Errorf("got %+v %v %v", m, ok, err)
	}
}

// many: more messages than the server sends without an acknowledgement. What
// comes within the duration is acknowledged after it.
func (r *rabbit) many(t *testing.T, document string) {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	publish(t, newExecutor(t), document, 0, nil) // declares the queue
	const n = 600
	for i := 1; i < n; i++ {
		if err := c.PublishWithContext(t.Context(), "", "many", false, false, amqp.Publishing{ContentType: "application/json", Body: []byte(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	var want []any
	for i := range n {
		want = append(want, i)
	}
	subscription := call(document, "subscription", object{"consume": object{"amount": n + 1, "for": "PT2S"}})
	list, err := subscribing(t, newExecutor(t), request(t, subscription))()
	if d := cmp.Diff(want, payloads(list)); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	subscription = call(document, "subscription", object{"consume": object{"amount": 1, "for": "PT0.3S"}})
	if list, err = subscribing(t, newExecutor(t), request(t, subscription))(); len(list) > 0 || err != nil {
		t.Errorf("delivered again: %v %v", list, err)
	}
}

// vanishes: the server dies when messages have been received and not yet
// acknowledged. They come again, once.
func (r *rabbit) vanishes(t *testing.T, document string) {
	t.Helper()
	e := newExecutor(t)
	for i := range 2 {
		publish(t, e, document, object{"n": i}, nil)
	}
	q := request(t, call(document, "subscription", object{"filter": "!seen", "consume": object{"amount": 3}}))
	evaluate, seen := q.Evaluate, make(chan struct{}, 8)
	q.Evaluate = func(ctx context.Context, condition string, input any) (any, error) {
		seen <- struct{}{}
		return evaluate(ctx, condition, input)
	}
	wait := subscribing(t, e, q)
	<-seen
	<-seen
	r.kill()
	_, err := wait()
	if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Communication || !strings.Contains(p.Detail, "receive from") {
		t.Errorf("got %v", p)
	}
	r.start(t)
	list, err := subscribing(t, e, request(t, call(document, "subscription", object{"consume": object{"amount": 3, "for": "PT1S"}})))()
	if d := cmp.Diff([]any{object{"n": 0}, object{"n": 1}}, payloads(list)); d != "" || err != nil {
		t.Errorf("after the server came back: %v %s", err, d)
	}
	list, err = subscribing(t, e, request(t, call(document, "subscription", object{"consume": object{"amount": 3, "for": "PT0.3S"}})))()
	if len(list) > 0 || err != nil {
		t.Errorf("they came twice: %v %v", list, err)
	}
	// It dies when they are in the journal and not yet acknowledged: the run has
	// them, and the next subscription gets them again.
	publish(t, e, document, object{"n": 2}, nil)
	q = request(t, call(document, "subscription", object{"consume": object{"amount": 1}}))
	q.Bind = func(context.Context, any) error { r.kill(); return nil }
	list, err = subscribing(t, e, q)()
	if d := cmp.Diff([]any{object{"n": 2}}, payloads(list)); d != "" || err != nil {
		t.Errorf("what is in the journal: %v %s", err, d)
	}
	r.start(t)
	list, err = subscribing(t, e, request(t, call(document, "subscription", object{"consume": object{"amount": 1}})))()
	if d := cmp.Diff([]any{object{"n": 2}}, payloads(list)); d != "" || err != nil {
		t.Errorf("what was not acknowledged: %v %s", err, d)
	}
}
