// Package server puts Downbeat together: it is the one place that knows every
// adapter. [Open] gives a node that carries out runs in a data directory, for
// `downbeat run` (embedded) or as a server.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	nethttp "net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
	"github.com/downbeat-dev/downbeat/internal/trigger"
	"github.com/downbeat-dev/downbeat/internal/worker"
)

// Mode says whose runs a node carries out.
type Mode uint8

const (
	// Embedded nodes carry out what they start; after a crash their runs go on by `runs resume`.
	Embedded Mode = iota
	// Serving nodes also take over the runs of servers that ended.
	Serving
)

// Config is what a node is made of.
type Config struct {
	DataDir     string
	Mode        Mode
	SecretsFile string // a YAML or JSON map; "" none
	Offline     bool   // definitions of Workflows are linked from the cache alone
	Workflows   string // directory of definitions that `run: workflow` may name; "" none
	Version     string
	Environ     []string      // os.Environ(), for DOWNBEAT_SECRET_* and for processes
	Grace       time.Duration // of cancelled attempts; 0: 10 s
	Keep        int           // finished runs of a workflow that does not say otherwise; 0: 100,000
	KeepFor     time.Duration // how long those are kept; 0: 30 days
	JavaScript  string        // what runs scripts: "node", "embedded"; "auto" or "": node where there is one
	Logger      *slog.Logger
	HTTP        HTTP
	// Clock is the system's unless a test says otherwise.
	Clock lifecycle.Clock
}

// HTTP changes how calls leave, for networks with a proxy and for tests with stand-ins.
type HTTP struct {
	// Proxy chooses the proxy of a request; nil: by the environment.
	Proxy func(*nethttp.Request) (*url.URL, error)
	// Authorities are certificates (PEM) to trust beside the system's.
	Authorities []byte
	// Certificates are what we show to servers that ask who we are (mutual TLS).
	Certificates []tls.Certificate
	// Deny and Allow are the egress rules: hosts, addresses, networks.
	Deny, Allow []string
}

// Node is a running Downbeat.
type Node struct {
	Control *control.Control
	Engine  *engine.Engine
	Catalog *executor.Catalog
	// Warnings are what the user should know of the configuration.
	Warnings []string

	services lifecycle.Group
	store    *sqlite.Store
	commits  *journal.Committer
	clock    lifecycle.Clock
	resolver *secret.Resolver
	outbound outbound.Config
	once     sync.Once
	closed   error
}

// Open makes a node that is ready when Open returns.
func Open(ctx context.Context, c Config) (*Node, error) {
	if c.DataDir == "" {
		return nil, errors.New("open: there is no data directory")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Keep, c.KeepFor = cmp.Or(c.Keep, keepRuns), cmp.Or(c.KeepFor, keepFor)
	n := &Node{clock: c.Clock, outbound: c.outbound()}
	secrets, warning, err := c.secrets()
	if err != nil {
		return nil, err
	}
	if warning != "" {
		n.Warnings = append(n.Warnings, warning)
	}
	n.resolver = secrets
	containers := n.containers(&c)
	if n.Catalog, err = catalogue(&c, containers); err != nil {
		return nil, err
	}
	if n.store, err = sqlite.Open(ctx, c.DataDir, sqlite.Options{}); err != nil {
		return nil, err
	}
	n.wire(&c, secrets)
	n.services.Add("reaper", &reaper{containers: containers})
	if err := n.services.Start(ctx); err != nil {
		return nil, errors.Join(err, n.store.Close())
	}
	return n, nil
}

// secrets come from the file first, then from the environment. The warning is
// about the file.
func (c *Config) secrets() (r *secret.Resolver, warning string, err error) {
	stores := []secret.Store{}
	if c.SecretsFile != "" {
		f, err := secret.OpenFile(c.SecretsFile)
		if err != nil {
			return nil, "", err
		}
		warning = f.Warning()
		stores = append(stores, f)
	}
	stores = append(stores, secret.NewEnvironment(c.Environ))
	return secret.NewResolver(stores...), warning, nil
}

func (n *Node) wire(c *Config, secrets *secret.Resolver) {
	executors := map[string]executor.Executor{}
	var callable []string
	for _, k := range n.Catalog.Kinds() {
		executors[k.Name], _ = n.Catalog.Lookup(k.Name)
		if k.Callable {
			callable = append(callable, k.Name)
		}
	}
	w := worker.New(worker.Options{
		Executors: executors, Directories: map[string]bool{"container": true, "mcp": true, "script": true, "shell": true}, DataDir: c.DataDir,
		Secrets: secrets, Clock: c.Clock, Logger: c.Logger, Grace: c.Grace,
		Passing: func(err error) bool { return errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrBusy) },
	})
	n.commits = journal.NewCommitter(n.store)
	o := engine.Options{
		Store: n.store, Reader: n.store, Committer: n.commits, Worker: w, Secrets: secrets,
		Sealer: func() (engine.Sealer, error) {
			key, err := secret.OpenKey(c.DataDir)
			if err != nil {
				return nil, err
			}
			return secret.NewSealer(key), nil
		},
		Program: program.Options{Functions: callable}, Clock: c.Clock, Logger: c.Logger, Version: c.Version,
		Adopt: c.Mode == Serving, Embedded: c.Mode == Embedded,
	}
	if c.Workflows != "" {
		o.Library = (&library{dir: c.Workflows, logger: c.Logger, linker: func() (*link.Linker, error) { return Linker(*c, c.Offline, false) }}).find
	}
	n.Engine = engine.New(o)
	n.Control = control.New(control.Options{
		Engine: n.Engine, Store: n.store, Reader: n.store, Clock: c.Clock,
		LogFile: func(run event.RunID, a event.Activation, attempt int) string {
			return worker.LogFile(c.DataDir, run, a, attempt)
		},
	})
	n.services.Add("engine", n.Engine)
	n.services.Add("keeper", &keeper{
		store: n.store, clock: c.Clock, logger: c.Logger, dir: c.DataDir, prunes: c.Mode == Serving, keep: c.Keep, age: c.KeepFor,
	})
}

// Schedules makes what starts the node's runs by schedules; the caller says of
// which definitions, and who hears of it, and starts and stops it. A node has one.
func (n *Node) Schedules(o trigger.Options) (*trigger.Trigger, error) {
	o.Runs, o.Store, o.Commit, o.Accepted, o.Clock = n.Control, n.store, n.Engine.Commit, n.commits.Accepted(), n.clock
	return trigger.New(o)
}

// Remembered reads how far the schedules of a data directory have come, without
// making one; nil: there is none. end closes it.
func Remembered(ctx context.Context, dir string) (known journal.Schedules, end func(), err error) {
	if _, err := os.Stat(filepath.Join(dir, sqlite.File)); err != nil {
		return nil, func() {}, nil //nolint:nilerr // nothing is remembered
	}
	store, err := sqlite.Open(ctx, dir, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	return store, func() { _ = store.Close() }, nil // it was only read
}

// Keeper looks after the size of the node's store.
func (n *Node) Keeper() journal.Keeper { return n.store }

// Close stops the node. Attempts in progress end without a result; their runs
// go on when they are resumed or taken over.
func (n *Node) Close(ctx context.Context) error {
	n.once.Do(func() {
		n.closed = errors.Join(n.services.Stop(ctx), n.store.Close())
	})
	return n.closed
}
