package asyncapi_test

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// mosquitto starts the real server.
func mosquitto(t *testing.T, settings ...string) string {
	t.Helper()
	return broker(t, "mosquitto", func(port, dir string) []string {
		file := filepath.Join(dir, "mosquitto.conf")
		text := "listener " + port + " 127.0.0.1\nuser root\n" + strings.Join(settings, "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"-c", file}
	})
}

// talk is a document for MQTT.
func talk(t *testing.T, protocol, address, server, operation string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mqtt.yaml")
	text := fmt.Sprintf(`asyncapi: 3.0.0
info: {title: test, version: 1.0.0}
servers: {main: {host: %q, protocol: %s, bindings: {mqtt: {%s}}}}
channels: {talk: {address: 'greetings/{who}', parameters: {who: {default: all}}, messages: {m: {correlationId: {location: '$message.payload#/id'}}}}}
operations: {talk: {action: send, channel: {$ref: '#/channels/talk'}, bindings: {mqtt: {%s}}}}
`, address, protocol, server, operation)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// waits makes a session in which messages wait.
func waits(t *testing.T, document string) {
	t.Helper()
	r := request(t, call(document, "subscription", object{"consume": object{"amount": 1, "for": "PT0.1S"}}))
	if _, err := newExecutor(t).Execute(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// DSL 73-77 over MQTT 3.1.1 and 5, the real server, with every quality of service.
func TestMQTT(t *testing.T) {
	address := mosquitto(t, "allow_anonymous true")
	for _, protocol := range []string{"mqtt", "mqtt5"} {
		for _, qos := range []string{"1", "2"} {
			t.Run(protocol+" "+qos, func(t *testing.T) {
				document := talk(t, protocol, address, "clientId: "+protocol+qos+", cleanSession: false", "qos: "+qos)
				waits(t, document)
				behave(t, document, protocol == "mqtt5", true)
			})
		}
		t.Run(protocol+" 0", func(t *testing.T) {
			document := talk(t, protocol, address, "keepAlive: 1", "qos: 0")
			behave(t, document, protocol == "mqtt5", false)
			hangs(t, document)
		})
	}
}

// The server lets 20 messages be without an acknowledgement, 256 in the other
// case: a subscription of more acknowledges what is durable on the way.
func TestMQTTManyMessages(t *testing.T) {
	for protocol, n := range map[string]int{"mqtt": 50, "mqtt5": 300} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			document := talk(t, protocol, mosquitto(t, "allow_anonymous true"), "clientId: many, cleanSession: false", "qos: 1")
			waits(t, document)
			e := newExecutor(t)
			var want []any
			for i := range n {
				publish(t, e, document, object{"n": i}, nil)
				want = append(want, object{"n": i})
			}
			r := request(t, call(document, "subscription", object{"consume": object{"amount": n}}))
			var handles []any
			r.Bind = func(_ context.Context, h any) error { handles = append(handles, h); return nil }
			list, err := subscribing(t, e, r)()
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, payloads(list)); d != "" {
				t.Error(d)
			}
			if len(handles) < 2 {
				t.Errorf("nothing was made durable on the way: %d handles", len(handles))
			}
			// After a crash at any of them, the rest is received and nothing twice.
			again := newExecutor(t)
			if err := again.Recover(t.Context(), handles); err != nil {
				t.Fatal(err)
			}
			result, err := again.Execute(t.Context(), request(t, call(document, "subscription", object{"consume": object{"amount": n}})))
			if err != nil || len(result.Output.([]any)) != n {
				t.Errorf("after a crash: %v %v", result.Output, err)
			}
			got := 0
			for i, h := range handles[:len(handles)-1] {
				if (h.(object)["continues"] == true) != (i > 0) {
					t.Errorf("handle %d does not say what it is", i)
				}
				got += len(h.(object)["messages"].([]any))
			}
			for i := range 3 {
				publish(t, e, document, object{"n": i}, nil)
			}
			if err := again.Recover(t.Context(), handles[:len(handles)-1]); err != nil {
				t.Fatal(err)
			}
			result, err = again.Execute(t.Context(), request(t, call(document, "subscription", object{"consume": object{"amount": got + 3}})))
			if err != nil || len(result.Output.([]any)) != got+3 {
				t.Errorf("after a crash on the way: %v %v", result.Output, err)
			}
		})
	}
}

// What was acknowledged on the way is there when a failed attempt is repeated.
func TestMQTTFailsOnTheWay(t *testing.T) {
	document := talk(t, "mqtt", mosquitto(t, "allow_anonymous true"), "clientId: c, cleanSession: false", "qos: 2")
	waits(t, document)
	e := newExecutor(t)
	const n, window = 25, 20
	var want []any
	for i := range n {
		publish(t, e, document, object{"n": i}, nil)
		want = append(want, object{"n": i})
	}
	subscription := call(document, "subscription", object{"consume": object{"amount": n}})
	r := request(t, subscription)
	lost, binds := errors.New("no journal"), 0
	r.Bind = func(context.Context, any) error {
		if binds++; binds == 2 {
			return lost
		}
		return nil
	}
	if _, err := e.Execute(t.Context(), r); !errors.Is(err, lost) {
		t.Fatalf("got %v", err)
	}
	r = request(t, subscription)
	var first any
	r.Bind = func(_ context.Context, h any) error {
		if first == nil {
			first = h
		}
		return nil
	}
	result, err := e.Execute(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, payloads(result.Output.([]any))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want[:window], payloads(first.(object)["messages"].([]any))); d != "" {
		t.Errorf("the repeated attempt does not make its beginning durable: %s", d)
	}
}

// DSL 77: what came within the duration is acknowledged after it.
func TestDurationEnds(t *testing.T) {
	document := talk(t, "mqtt5", mosquitto(t, "allow_anonymous true"), "clientId: c, cleanSession: false", "qos: 1")
	waits(t, document)
	e := newExecutor(t)
	publish(t, e, document, object{"n": 1}, nil)
	subscription := call(document, "subscription", object{"consume": object{"amount": 3, "for": "PT0.3S"}})
	for _, want := range [][]any{{object{"n": 1}}, {}} {
		result, err := e.Execute(t.Context(), request(t, subscription))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, payloads(result.Output.([]any))); d != "" {
			t.Error(d)
		}
	}
}

// Retained messages, the last will and refusals.
func TestMQTTSettings(t *testing.T) {
	dir := t.TempDir()
	acl, passwords := filepath.Join(dir, "acl"), filepath.Join(dir, "passwords")
	for file, text := range map[string]string{
		acl:       "user ann\ntopic readwrite greetings/#\n",
		passwords: "ann:" + mosquittoPassword(t, "p") + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := mosquitto(t, "allow_anonymous false", "password_file "+passwords, "acl_file "+acl)
	document := talk(t, "mqtt5", address, "clientId: c, lastWill: {topic: greetings/gone, qos: 1, message: bye, retain: false}", "qos: 1, retain: true")
	as := func(a object, user string) object {
		a["authentication"] = object{"basic": object{"username": user, "password": "p"}}
		return a
	}
	e := newExecutor(t)
	if _, err := e.Execute(t.Context(), request(t, as(call(document, "message", object{"payload": "kept", "headers": object{"a": "b", "correlationId": "7"}}), "ann"))); err != nil {
		t.Fatal(err)
	}
	result, err := e.Execute(t.Context(), request(t, as(call(document, "subscription", object{"consume": object{"amount": 1}}), "ann")))
	if err != nil {
		t.Fatal(err)
	}
	want := []any{object{"payload": "kept", "correlationId": "7", "headers": object{"a": "b", "correlationId": "7", "idempotency-key": "key-TestMQTTSettings"}}}
	if d := cmp.Diff(want, result.Output); d != "" {
		t.Error(d)
	}
	old := talk(t, "mqtt", address, "", "qos: 1")
	for name, c := range map[string]struct {
		arguments object
		status    int
		says      string
	}{
		"nobody":            {call(document, "message", object{"payload": 1}), 401, "refused the user, the password"},
		"wrong user":        {as(call(document, "message", object{"payload": 1}), "bob"), 401, "refused the user, the password"},
		"wrong user, 3.1.1": {as(call(old, "message", object{"payload": 1}), "bob"), 401, "refused the user, the password"},
		"wildcard":          {as(call(document, "message", object{"payload": 1}, "server", object{"name": "main", "variables": object{"who": "#"}}), "ann"), 400, "no topic"},
		"headers":           {as(call(old, "message", object{"payload": 1, "headers": object{"a": "b"}}), "ann"), 400, "no headers"},
		"qos":               {as(call(talk(t, "mqtt", address, "", "qos: 3"), "message", object{"payload": 1}), "ann"), 400, "0, 1 or 2"},
		"session":           {as(call(talk(t, "mqtt", address, "cleanSession: false", ""), "subscription", object{"consume": object{"amount": 1}}), "ann"), 400, "clientId"},
		"topic":             {as(call(elsewhere(t, document), "message", object{"payload": 1}), "ann"), 403, "not authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := e.Execute(t.Context(), request(t, c.arguments))
			if p := executortest.CheckProblem(t, err); p.Status != c.status || !strings.Contains(p.Detail, c.says) {
				t.Errorf("got %v; want %d %q", p, c.status, c.says)
			}
		})
	}
}

// elsewhere is a document with another topic.
func elsewhere(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "elsewhere.yaml")
	if err := os.WriteFile(file, bytes.Replace(text, []byte("greetings/{who}"), []byte("other/{who}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// mosquittoPassword is a password as mosquitto_passwd writes it.
func mosquittoPassword(t *testing.T, password string) string {
	t.Helper()
	salt := []byte("salt of test")
	hash, err := pbkdf2.Key(sha512.New, password, salt, 101, 64)
	if err != nil {
		t.Fatal(err)
	}
	return "$7$101$" + base64.StdEncoding.EncodeToString(salt) + "$" + base64.StdEncoding.EncodeToString(hash)
}
