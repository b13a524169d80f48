package server

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/asyncapi"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// DSL 74: the check of a definition refuses exactly the protocols that are not
// carried out. The two know nothing of each other.
func TestProtocolsOfMessages(t *testing.T) {
	t.Parallel()
	client, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	e := asyncapi.New(client, "test")
	// The names are those of the specification.
	for protocol := range strings.FieldsSeq("amqp amqp1 anypointmq googlepubsub http ibmmq jms kafka mercure mqtt mqtt5 nats pulsar redis sns solace sqs stomp ws") {
		t.Run(protocol, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "api.yaml")
			document := "asyncapi: 3.0.0\nservers: {s: {host: '127.0.0.1:1', protocol: " + protocol + "}}\nchannels: {c: {address: c}}\noperations: {o: {channel: {$ref: '#/channels/c'}}}\n"
			if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
				t.Fatal(err)
			}
			r, _ := executortest.Request(t, "asyncapi", map[string]any{
				"document": map[string]any{"endpoint": file}, "operation": "o", "protocol": protocol, "message": map[string]any{"payload": 1},
			})
			_, err := e.Execute(t.Context(), r)
			p, ok := errors.AsType[*event.Problem](err)
			if !ok {
				t.Fatalf("nobody listens there: %v", err)
			}
			carried := p.Type != event.TypePrefix+event.Configuration

			_, findings := check.Source([]byte("document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\ndo: [{a: {call: asyncapi, with: {document: {endpoint: api.yaml}, operation: o, protocol: "+
				protocol+", message: {payload: 1}}}}]\n"), check.Options{})
			refused := slices.ContainsFunc(findings, func(f workflow.Finding) bool { return f.Rule == "unsupported/asyncapi-protocol" })
			if carried == refused {
				t.Errorf("carried out: %t (%v); refused by the check: %t (%v)", carried, p, refused, findings)
			}
		})
	}
}
