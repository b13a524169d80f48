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
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/asyncapi"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newExecutor(t *testing.T) *asyncapi.Executor {
	t.Helper()
	client, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return asyncapi.New(client, "1.2.3")
}

// write writes a document of version 3 with the operation "talk".
func write(t *testing.T, protocol, address, channel, bindings string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "asyncapi.yaml")
	text := fmt.Sprintf(`asyncapi: 3.0.0
info: {title: test, version: 1.0.0}
servers:
  other: {host: "127.0.0.1:1", protocol: sns}
  main: {host: %q, protocol: %s}
channels:
  talk:
    address: %q
    messages: {text: {$ref: "#/components/messages/text"}}
    bindings: {%s}
operations:
  talk: {action: send, channel: {$ref: "#/channels/talk"}, bindings: {%s}}
components:
  messages: {text: {contentType: application/json, correlationId: {location: "$message.payload#/id"}}}
`, address, protocol, channel, bindings, bindings)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func call(document string, more ...any) object {
	a := object{"document": object{"endpoint": document}, "operation": "talk"}
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i].(string)] = more[i+1]
	}
	return a
}

func request(t *testing.T, arguments object) *executor.Request {
	t.Helper()
	r, _ := executortest.Request(t, "asyncapi", arguments)
	r.Secrets = executortest.Secrets{"ann": object{"username": "ann", "password": "p"}}
	// The tests' expressions are names of fields of the payload, or their negation.
	r.Evaluate = func(_ context.Context, expression string, input any) (any, error) {
		name, not := strings.CutPrefix(expression, "!")
		v, _ := input.(object)["payload"].(object)[name].(bool)
		return v != not, nil
	}
	return r
}

func publish(t *testing.T, e *asyncapi.Executor, document string, payload any, headers object) {
	t.Helper()
	message := object{"payload": payload}
	if headers != nil {
		message["headers"] = headers
	}
	r, err := e.Execute(t.Context(), request(t, call(document, "message", message)))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if r.Output != nil {
		t.Errorf("publishing gave %v", r.Output)
	}
}

// subscribing runs a subscription beside the test.
func subscribing(t *testing.T, e *asyncapi.Executor, r *executor.Request) func() ([]any, error) {
	t.Helper()
	type outcome struct {
		result executor.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := e.Execute(t.Context(), r)
		done <- outcome{result, err}
	}()
	return sync.OnceValues(func() ([]any, error) {
		select {
		case o := <-done:
			list, _ := o.result.Output.([]any)
			return list, o.err
		case <-time.After(30 * time.Second):
			return nil, errors.New("the subscription does not end")
		}
	})
}

func payloads(list []any) []any {
	out := []any{}
	for _, m := range list {
		out = append(out, m.(object)["payload"])
	}
	return out
}

// durable says whether messages wait in the server for who comes later.
func behave(t *testing.T, document string, headers, durable bool) {
	t.Helper()
	e := newExecutor(t)
	send := func(ps ...any) {
		for _, p := range ps {
			var h object
			if headers {
				h = object{"tenant": "blue"}
			}
			publish(t, e, document, p, h)
		}
	}
	subscribe := func(subscription object, ps ...any) []any {
		t.Helper()
		if durable {
			send(ps...)
		}
		wait := subscribing(t, e, request(t, call(document, "subscription", subscription)))
		stop := make(chan struct{})
		var all sync.WaitGroup
		if !durable {
			// Nobody can tell when the subscription is there: send until it has enough.
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						for _, p := range ps {
							_, _ = e.Execute(t.Context(), request(t, call(document, "message", object{"payload": p})))
						}
					}
				}
			})
		}
		list, err := wait()
		close(stop)
		all.Wait()
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		return list
	}
	one, two, last := object{"n": 1, "id": "c1", "good": true}, object{"n": 2}, object{"n": 3, "last": true, "good": true}
	list := subscribe(object{"consume": object{"amount": 2}}, one, two)
	if durable {
		if d := cmp.Diff([]any{one, two}, payloads(list)); d != "" {
			t.Errorf("amount: %s", d)
		}
		first := list[0].(object)
		if first["correlationId"] != "c1" {
			t.Errorf("correlation id: %v", first)
		}
		if headers {
			found := false
			for k, v := range first["headers"].(object) {
				found = found || strings.EqualFold(k, "tenant") && v == "blue"
			}
			if !found {
				t.Errorf("headers: %v", first)
			}
		}
		if d := cmp.Diff([]any{one, last}, payloads(subscribe(object{"filter": "good", "consume": object{"until": "last"}}, one, two, last))); d != "" {
			t.Errorf("filter and until: %s", d)
		}
		if d := cmp.Diff([]any{two, last}, payloads(subscribe(object{"consume": object{"while": "!last"}}, two, last))); d != "" {
			t.Errorf("while: %s", d)
		}
		if d := cmp.Diff([]any{}, payloads(subscribe(object{"consume": object{"amount": 5, "for": object{"milliseconds": 300}}}))); d != "" {
			t.Errorf("nothing is left: %s", d)
		}
		acknowledged(t, e, document)
	} else {
		if len(list) != 2 {
			t.Errorf("amount: %v", list)
		}
		got := payloads(subscribe(object{"filter": "good", "consume": object{"until": "last"}}, two, last))
		if d := cmp.Diff([]any{last}, got); d != "" {
			t.Errorf("filter and until: %s", d)
		}
		if got := subscribe(object{"consume": object{"amount": 5, "for": "PT0.2S"}}); len(got) != 0 {
			t.Errorf("for: %v", got)
		}
	}
	executortest.Exercise(t, executortest.Subject{
		Executor: e, Kind: "asyncapi",
		Works: call(document, "message", object{"payload": object{"n": 0}}),
		Fails: call(document, "message", object{"payload": 1}, "server", object{"name": "nobody"}),
	})
}

// What could not be journaled is not acknowledged; what was is not delivered
// again, and is there after a crash.
func acknowledged(t *testing.T, e *asyncapi.Executor, document string) {
	t.Helper()
	publish(t, e, document, object{"n": 7}, nil)
	subscription := call(document, "subscription", object{"consume": object{"amount": 1, "for": "PT5S"}})
	lost := errors.New("no journal")
	r := request(t, subscription)
	r.Bind = func(context.Context, any) error { return lost }
	if _, err := e.Execute(t.Context(), r); !errors.Is(err, lost) {
		t.Fatalf("got %v", err)
	}
	r = request(t, subscription)
	var handle any
	r.Bind = func(_ context.Context, h any) error { handle = h; return nil }
	result, err := e.Execute(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{object{"n": 7}}, payloads(result.Output.([]any))); d != "" {
		t.Errorf("delivered again: %s", d)
	}
	again := newExecutor(t)
	if err := again.Recover(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	repeated, err := again.Execute(t.Context(), request(t, subscription))
	if d := cmp.Diff(result.Output, repeated.Output); d != "" || err != nil {
		t.Errorf("after a crash: %v %s", err, d)
	}
}

// hangs checks that a subscription without messages can be cancelled.
func hangs(t *testing.T, document string) {
	t.Helper()
	executortest.Exercise(t, executortest.Subject{
		Executor: newExecutor(t), Kind: "asyncapi",
		Works: call(document, "message", object{"payload": object{"n": 0}}),
		Hangs: call(document, "subscription", object{"consume": object{"amount": 1 << 20}}),
	})
}

// DSL 73, 74, 76, 77
func TestMistakes(t *testing.T) {
	e := newExecutor(t)
	document := write(t, "nats", "127.0.0.1:1", "talk", "")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	message := object{"payload": 1}
	for name, c := range map[string]struct {
		arguments object
		says      string
	}{
		"neither":        {call(document), "either /message"},
		"both":           {call(document, "message", message, "subscription", object{"consume": object{"amount": 1}}), "either /message"},
		"channel":        {call(document, "message", message, "channel", "x"), "either /channel"},
		"operation":      {call(document, "message", message, "operation", "nothing"), "it has [talk]"},
		"server":         {call(document, "message", message, "server", object{"name": "x"}), "it has [main, other]"},
		"protocol":       {call(document, "message", message, "protocol", "redis"), "main (nats)"},
		"foreign":        {call(document, "message", message, "protocol", "sns"), `"sns" is not carried out`},
		"no consumption": {call(document, "subscription", object{"consume": object{}}), "exactly one"},
		"amount":         {call(document, "subscription", object{"consume": object{"amount": 0}}), "whole number"},
		"for":            {call(document, "subscription", object{"consume": object{"amount": 1, "for": "soon"}}), "duration"},
		"foreach":        {call(document, "subscription", object{"consume": object{"amount": 1}, "foreach": object{}}), "foreach"},
		"no document":    {call(file("a", "x: 1"), "message", message), "no AsyncAPI document"},
		"version":        {call(file("b", "asyncapi: 1.2.0"), "message", message), "1.2.0"},
		"no yaml":        {call(file("c", "a: [\n"), "message", message), "cannot be read"},
		"variable":       {call(file("d", "asyncapi: 3.0.0\nservers: {s: {host: '{env}.x', protocol: nats}}\noperations: {talk: {channel: {$ref: '#/channels/c'}}}\nchannels: {c: {address: c}}"), "message", message), `"env" has no value`},
		"refused":        {call(document, "message", message), "nothing listens there"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Execute(t.Context(), request(t, c.arguments))
			if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, c.says) || name != "refused" && p.Type != event.TypePrefix+event.Configuration {
				t.Errorf("got %v; want %q", p, c.says)
			}
		})
	}
}

// broker starts a program of the system on a port of its own; skips without it.
func broker(t *testing.T, program string, arguments func(port, dir string) []string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path = "/usr/sbin/" + program; exec.Command(path, "-h").Run() != nil && !exists(path) {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed", program)
			}
			t.Skipf("%s is not installed: the test did not run", program)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	c := exec.Command(path, arguments(port, t.TempDir())...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	for range 200 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s does not listen", program)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
