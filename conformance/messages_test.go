//go:build unix

package conformance_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	messagesAPI = `asyncapi: 3.0.0
info: {title: Orders, version: 1.0.0}
servers:
  broker: {host: %q, protocol: mqtt, bindings: {mqtt: {clientId: order-desk, cleanSession: false}}}
channels: {orders: {address: shop/orders}}
operations: {orders: {action: send, channel: {$ref: '#/channels/orders'}}}
`
	messagesReceive = `document: {dsl: 1.0.3, namespace: test, name: receive, version: 1.0.0}
do:
  - remember: {set: {skip: -1}, export: {as: .}, output: {as: $input}}
  - receive:
      call: asyncapi
      with:
        document: {endpoint: API}
        operation: orders
        subscription:
          filter: ${ .payload.n != $context.skip and ($workflow.input.from <= .payload.n) }
          consume: {amount: '${ .amount }', for: '${ .wait }'}
          foreach:
            item: order
            at: i
            do: [{book: {set: {n: '${ $order.payload.n }', i: '${ $i }'}}}]
            output: {as: '[.n, .i]'}
            export: {as: '$context + {last: .}'}
  - done: {set: '${ {list: ., last: $context.last} }'}
`
	messagesPublish = `document: {dsl: 1.0.3, namespace: test, name: publish, version: 1.0.0}
do:
  - each:
      for: {in: '[range($input.from; $input.to)]'}
      do: [{send: {call: asyncapi, with: {document: {endpoint: API}, operation: orders, message: {payload: {n: '${ $item }'}}}}}]
`
)

// DSL 76, 77: a process is killed after it has acknowledged messages and before
// its subscription is over. The run goes on with them, and every message is
// worked on once, in order.
func TestMessagesAfterACrash(t *testing.T) {
	t.Parallel()
	needs(t, "mosquitto")
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	log := filepath.Join(dir, "log")
	for name, text := range map[string]string{
		"api.yaml": fmt.Sprintf(messagesAPI, address), "receive.yaml": messagesReceive, "publish.yaml": messagesPublish,
		"mosquitto.conf": "listener " + port + " 127.0.0.1\nallow_anonymous true\nuser root\nlog_type all\nlog_dest file " + log + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "endpoint: API", "endpoint: "+filepath.Join(dir, "api.yaml"))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broker := exec.CommandContext(t.Context(), "mosquitto", "-c", filepath.Join(dir, "mosquitto.conf"))
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill()
		_ = broker.Wait()
	})
	until := func(what string, holds func() bool) {
		t.Helper()
		for range 2400 {
			if holds() {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		t.Fatalf("%s: never", what)
	}
	until("the broker listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	e, data := example{}, t.TempDir()
	run := func(file, input string) string {
		return e.answer(t, data, "run", "-q", filepath.Join(dir, file), "--input", input)
	}
	if got := run("receive.yaml", `{"amount": 1, "wait": "PT0.1S", "from": 0}`); got != `{"last":null,"list":[]}` {
		t.Fatalf("the first time there is nothing: %s", got)
	}
	run("publish.yaml", `{"from": 0, "to": 25}`)
	receive := e.downbeat(t, data, "run", "-q", filepath.Join(dir, "receive.yaml"), "--input", `{"amount": 26, "wait": "PT1M", "from": 2}`)
	if err := receive.Start(); err != nil {
		t.Fatal(err)
	}
	until("acknowledgements", func() bool { // which the broker wants for 20 before it sends the rest
		b, _ := os.ReadFile(log)
		return strings.Count(string(b), "Received PUBACK from order-desk") >= 20
	})
	_ = receive.Process.Kill()
	_ = receive.Wait()
	run("publish.yaml", `{"from": 25, "to": 28}`)
	var list []string
	for n := 2; n < 28; n++ {
		list = append(list, fmt.Sprintf("[%d,%d]", n, n-2))
	}
	want := fmt.Sprintf(`{"last":%s,"list":[%s]}`, list[len(list)-1], strings.Join(list, ","))
	if got := e.answer(t, data, "runs", "resume", "-q"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
