package outbound_test

import (
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// What egress rules refuse is refused for every protocol.
func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, rule := range []string{"localhost", "127.0.0.0/8"} {
		c, err := outbound.New(outbound.Config{Deny: []string{rule}})
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		_, err = c.Dial(t.Context(), "tcp4", net.JoinHostPort("localhost", port))
		if p, ok := errors.AsType[*event.Problem](err); !ok || p.Status != 403 {
			t.Errorf("deny %s: got %v", rule, err)
		}
	}
	c, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// DSL 153
func TestAuthorize(t *testing.T) {
	c, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	where := &url.URL{Scheme: "kafka", Host: "broker:9092"}
	got, err := c.Authorize(t.Context(), map[string]any{"basic": map[string]any{"username": "ann", "password": "p"}}, nil, where)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&event.Authorization{Scheme: "Basic", Parameter: "YW5uOnA="}, got); d != "" {
		t.Error(d)
	}
	if got, err := c.Authorize(t.Context(), nil, nil, where); got != nil || err != nil {
		t.Errorf("no policy gives %v, %v", got, err)
	}
	_, err = c.Authorize(t.Context(), map[string]any{"digest": map[string]any{"username": "ann", "password": "p"}}, nil, where)
	if p, ok := errors.AsType[*event.Problem](err); !ok || p.Status != 400 {
		t.Errorf("digest: got %v", err)
	}
}
