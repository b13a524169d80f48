package ctk_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// host is the real engine on a data directory of its own, whose calls to the
// public services end at the stand-in. The definitions of the kit stay as they are.
type host struct{ node *server.Node }

func newHost(t *testing.T) *host {
	t.Helper()
	s := standIn(t)
	proxy := tunnel(t, s.Listener.Addr().String())
	node, err := server.Open(t.Context(), server.Config{
		DataDir: t.TempDir(), Version: "test",
		HTTP: server.HTTP{
			Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
			Proxy:       func(*http.Request) (*url.URL, error) { return url.Parse(proxy) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := node.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &host{node}
}

// run checks a definition and carries it out. The run is nil when the
// definition was refused, for the reasons in the findings.
func (h *host) run(t *testing.T, definition string, input any) (*view.Run, []source.Finding) {
	t.Helper()
	def, findings := check.Source([]byte(definition), server.CheckOptions())
	for _, f := range findings {
		if f.Severity <= source.SeverityUnsupported {
			return nil, findings
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result, err := h.node.Engine.Run(ctx, engine.StartRequest{Definition: def, Input: value.FromAny(input)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.node.Control.Get(ctx, result.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r, findings
}
