package server

import (
	"fmt"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/a2a"
	"github.com/downbeat-dev/downbeat/internal/executor/asyncapi"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/grpc"
	"github.com/downbeat-dev/downbeat/internal/executor/http"
	"github.com/downbeat-dev/downbeat/internal/executor/javascript"
	"github.com/downbeat-dev/downbeat/internal/executor/mcp"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
	"github.com/downbeat-dev/downbeat/internal/executor/openapi"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/reference"
)

// outbound is how calls leave.
func (c *Config) outbound() outbound.Config {
	return outbound.Config{
		Proxy: c.HTTP.Proxy, Authorities: c.HTTP.Authorities, Certificates: c.HTTP.Certificates,
		Deny: c.HTTP.Deny, Allow: c.HTTP.Allow, Clock: c.Clock,
		Tokens: newTokens(c.DataDir),
	}
}

// catalogue is the product's table of contents: all that tasks can do.
func catalogue(c *Config, containers *container.Executor) (*executor.Catalog, error) {
	client, err := outbound.New(c.outbound())
	if err != nil {
		return nil, fmt.Errorf("prepare calls over HTTP: %w", err)
	}
	processes := process.New(process.Config{
		Environment: c.Environ, Grace: c.Grace, JavaScript: c.JavaScript, Embedded: javascript.Command(0, 0),
	})
	return executor.NewCatalog(
		executor.Entry{Kind: container.Kind(), Executor: containers},
		executor.Entry{Kind: grpc.Kind(), Executor: grpc.New(client, c.Version)},
		executor.Entry{Kind: a2a.Kind(), Executor: a2a.New(client, c.Version)},
		executor.Entry{Kind: asyncapi.Kind(), Executor: asyncapi.New(client, c.Version)},
		executor.Entry{Kind: http.Kind(), Executor: http.New(client, c.Version)},
		executor.Entry{Kind: mcp.Kind(), Executor: mcp.New(client, processes, c.Version)},
		executor.Entry{Kind: noop.Kind(), Executor: noop.Executor{}},
		executor.Entry{Kind: openapi.Kind(), Executor: openapi.New(client, c.Version)},
		executor.Entry{Kind: process.Shell(), Executor: processes},
		executor.Entry{Kind: process.Script(), Executor: processes},
	)
}

// Kinds describes all that tasks can do, sorted by name; `map` is the machine's own.
func Kinds() []executor.Kind {
	return []executor.Kind{a2a.Kind(), asyncapi.Kind(), container.Kind(), grpc.Kind(), http.Kind(), reference.Map, mcp.Kind(), noop.Kind(), openapi.Kind(), process.Script(), process.Shell()}
}

// supported are the parts of the language that check.Features names and that
// the catalogue above, and the engine, carry out.
var supported = []string{
	"call:a2a", "call:asyncapi", "call:grpc", "call:mcp", "call:openapi", "run:container", "catalog:remote", "resource:remote", "auth:oauth2", "auth:oidc",
	"downbeat:concurrency", "downbeat:priority", "downbeat:sensitive", "downbeat:interrupted", "downbeat:resources", "downbeat:workspace", "downbeat:registry",
	"downbeat:retention", "downbeat:shell", "downbeat:schedule", "schedule",
}

// CheckOptions tells package check what this version carries out. Nothing is
// opened for it: validating needs the file alone.
func CheckOptions() check.Options {
	o := check.Options{
		Supported: func(feature string) bool { return slices.Contains(supported, feature) },
		Zone:      func(name string) bool { _, err := time.LoadLocation(name); return err == nil && name != "Local" },
	}
	for _, k := range []executor.Kind{noop.Kind()} { // what `call` can name beside the protocols
		o.Functions = append(o.Functions, check.Function{Name: k.Name, Version: k.Version, Summary: k.Summary, Input: k.Schema})
	}
	return o
}
