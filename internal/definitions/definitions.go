// Package definitions compiles definitions once and finds them again: by
// digest for runs that go on, by name for the children that a run can start.
// The engine owns the one Cache of a process.
package definitions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Library finds the definitions of a directory by "namespace/name:version";
// version "latest" means the highest. nil: there is none of that name. What it
// gives is linked.
type Library func(ctx context.Context, id string) (*workflow.Definition, error)

// InvalidError says that a definition cannot be run.
type InvalidError struct {
	Workflow string
	Findings []workflow.Finding
	Reason   string
}

// Error says why.
func (e *InvalidError) Error() string {
	if e.Reason != "" {
		return e.Reason
	}
	if len(e.Findings) > 0 {
		return fmt.Sprintf("workflow %s is invalid: %s", e.Workflow, e.Findings[0].Message)
	}
	return fmt.Sprintf("workflow %s is invalid", e.Workflow)
}

// Definition is a compiled definition and what its runs need to know of it.
type Definition struct {
	Workflow    *workflow.Definition
	Program     *program.Program
	Digest      string
	ID          string // "namespace/name:version"
	Priority    int
	Children    []string // names that `run: workflow` gives
	SecretNames []string
	Concurrency *Concurrency // nil: nothing bounds its runs
	Sealed      bool         // what is stored of its runs is encrypted
	kept        atomic.Bool
}

// Kept reports whether the store has the definition.
func (d *Definition) Kept() bool { return d.kept.Load() }

// Base is where relative names of documents start that tasks read: where the
// definition stands, else the directory of the run.
func (d *Definition) Base(run string) string { return cmp.Or(bundle.Base(d.Workflow), run) }

// Keep notes that the store has the definition.
func (d *Definition) Keep() { d.kept.Store(true) }

// Options is what a Cache works on.
type Options struct {
	Program program.Options
	// Has reports whether something carries out tasks of a kind.
	Has func(kind string) bool
	// Library finds definitions that are not deployed in the store; nil: none.
	Library Library
	Store   journal.Store
	Reader  journal.Reader
	// Seals says why rows cannot be encrypted; nil: they can.
	Seals func() error
}

// Cache holds compiled definitions by digest. It is safe for concurrent use.
type Cache struct {
	o  Options
	mu sync.Mutex
	by map[string]*Definition
}

// New returns an empty cache.
func New(o Options) *Cache { return &Cache{o: o, by: make(map[string]*Definition)} }

// maxDefinitions bounds the cache; past it, it begins anew.
const maxDefinitions = 2048

// Cached returns a definition that is compiled, or nil.
func (d *Cache) Cached(digest string) *Definition {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[digest]
}

// Take compiles a definition, once.
func (d *Cache) Take(def *workflow.Definition) (*Definition, error) {
	if c := d.Cached(def.Digest); c != nil {
		return c, nil
	}
	prog, err := program.Compile(def, d.o.Program)
	if err != nil {
		return nil, &InvalidError{Workflow: def.Document.ID(), Reason: err.Error()}
	}
	c := &Definition{Workflow: def, Program: prog, Digest: def.Digest, ID: def.Document.ID()}
	if def.Downbeat != nil {
		c.Priority = def.Downbeat.Priority
	}
	if c.Concurrency, err = newConcurrency(def, d.o.Program); err != nil {
		return nil, &InvalidError{Workflow: c.ID, Reason: err.Error()}
	}
	for _, s := range def.Use.Secrets {
		c.SecretNames = append(c.SecretNames, s.Name)
	}
	c.Sealed = len(c.SecretNames) > 0 || len(def.Use.Authentications) > 0
	for _, n := range prog.Nodes {
		if n.Task != nil && n.Task.Call != nil && n.Task.Call.Auth != nil {
			c.Sealed = true
		}
		if n.Child != nil && !slices.Contains(c.Children, n.Child.Name) {
			c.Children = append(c.Children, n.Child.Name)
		}
		if n.Op == program.Dispatch && n.Call != nil && !d.o.Has(n.Call.Kind) {
			return nil, &InvalidError{Workflow: c.ID, Reason: fmt.Sprintf(
				"workflow %s: %s is a task of the kind %q, which this version of Downbeat cannot carry out", c.ID, n.Reference, n.Call.Kind)}
		}
	}
	if c.Sealed {
		if err := d.o.Seals(); err != nil {
			return nil, fmt.Errorf("workflow %s uses secrets or authentication, so its runs must be encrypted: %w", c.ID, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.by[c.Digest]; old != nil {
		return old, nil
	}
	if len(d.by) >= maxDefinitions {
		clear(d.by)
	}
	d.by[c.Digest] = c
	return c, nil
}

// Read returns a definition that the store holds.
func (d *Cache) Read(ctx context.Context, digest string) (*Definition, error) {
	if c := d.Cached(digest); c != nil {
		return c, nil
	}
	src, err := d.o.Store.Definition(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("read definition %s: %w", digest, err)
	}
	def, findings := bundle.Decode(src)
	if invalid := func(f workflow.Finding) bool { return f.Severity == workflow.SeverityError }; def == nil || slices.ContainsFunc(findings, invalid) {
		return nil, &InvalidError{Workflow: digest, Findings: findings}
	}
	c, err := d.Take(def)
	if err != nil {
		return nil, err
	}
	c.kept.Store(true)
	return c, nil
}

// Closure resolves every workflow that a run of def can start, directly or
// through its children, so that the run records what each name meant when it began.
func (d *Cache) Closure(ctx context.Context, root *Definition) ([]event.Named, []*Definition, error) {
	var names []event.Named
	var defs []*Definition
	seen := map[string]bool{}
	open := []*Definition{root}
	for len(open) > 0 {
		c := open[0]
		open = open[1:]
		for _, name := range c.Children {
			if seen[name] {
				continue
			}
			seen[name] = true
			child, err := d.find(ctx, name, root)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, event.Named{Name: name, ID: child.ID, Digest: child.Digest})
			if child != root && !slices.Contains(defs, child) {
				defs = append(defs, child)
				open = append(open, child)
			}
		}
	}
	return names, defs, nil
}

// find resolves one name: the library first, then what is deployed, then the
// definition that asks.
func (d *Cache) find(ctx context.Context, name string, root *Definition) (*Definition, error) {
	if d.o.Library != nil {
		switch def, err := d.o.Library(ctx, name); {
		case err != nil:
			return nil, fmt.Errorf("find workflow %s: %w", name, err)
		case def != nil:
			return d.Take(def)
		}
	}
	digest, _, err := d.o.Reader.FindDefinition(ctx, name)
	if err == nil {
		return d.Read(ctx, digest)
	}
	if !errors.Is(err, journal.ErrNotFound) {
		return nil, fmt.Errorf("find workflow %s: %w", name, err)
	}
	doc := root.Workflow.Document
	if name == root.ID || name == doc.Namespace+"/"+doc.Name+":latest" {
		return root, nil
	}
	return nil, &InvalidError{Workflow: root.ID, Reason: fmt.Sprintf(
		"workflow %s runs %s, which is not known; put its definition in the directory given by --workflows, or deploy it", root.ID, name)}
}
