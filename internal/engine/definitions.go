package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Library finds the definitions of a directory by "namespace/name:version";
// version "latest" means the highest. nil: there is none of that name.
type Library func(id string) *workflow.Definition

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

// definition is a compiled definition and what the engine knows of it.
type definition struct {
	e           *Engine
	def         *workflow.Definition
	prog        *program.Program
	digest      string
	id          string // "namespace/name:version"
	priority    int
	children    []string // names that `run: workflow` gives
	secretNames []string
	concurrency *concurrency
	sealed      bool // what is stored of its runs is encrypted
	kept        atomic.Bool
}

// definitions caches compiled definitions by digest.
type definitions struct {
	e  *Engine
	mu sync.Mutex
	by map[string]*definition
}

// maxDefinitions bounds the cache; past it, it begins anew.
const maxDefinitions = 2048

func (d *definitions) init(e *Engine) { d.e, d.by = e, make(map[string]*definition) }

func (d *definitions) cached(digest string) *definition {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[digest]
}

// take compiles a definition, once.
func (d *definitions) take(def *workflow.Definition) (*definition, error) {
	if c := d.cached(def.Digest); c != nil {
		return c, nil
	}
	prog, err := program.Compile(def, d.e.o.Program)
	if err != nil {
		return nil, &InvalidError{Workflow: def.Document.ID(), Reason: err.Error()}
	}
	c := &definition{e: d.e, def: def, prog: prog, digest: def.Digest, id: def.Document.ID()}
	if def.Downbeat != nil {
		c.priority = def.Downbeat.Priority
	}
	if c.concurrency, err = newConcurrency(def, d.e.o.Program); err != nil {
		return nil, &InvalidError{Workflow: c.id, Reason: err.Error()}
	}
	for _, s := range def.Use.Secrets {
		c.secretNames = append(c.secretNames, s.Name)
	}
	c.sealed = len(c.secretNames) > 0 || len(def.Use.Authentications) > 0
	for _, n := range prog.Nodes {
		if n.Task != nil && n.Task.Call != nil && n.Task.Call.Auth != nil {
			c.sealed = true
		}
		if n.Child != nil && !slices.Contains(c.children, n.Child.Name) {
			c.children = append(c.children, n.Child.Name)
		}
		if n.Op == program.Dispatch && n.Call != nil && !d.e.o.Worker.Has(n.Call.Kind) {
			return nil, &InvalidError{Workflow: c.id, Reason: fmt.Sprintf(
				"workflow %s: %s is a task of the kind %q, which this version of Downbeat cannot carry out", c.id, n.Reference, n.Call.Kind)}
		}
	}
	if c.sealed {
		if _, err := d.e.sealer(); err != nil {
			return nil, fmt.Errorf("workflow %s uses secrets or authentication, so its runs must be encrypted: %w", c.id, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.by[c.digest]; old != nil {
		return old, nil
	}
	if len(d.by) >= maxDefinitions {
		clear(d.by)
	}
	d.by[c.digest] = c
	return c, nil
}

// read returns a definition that the store holds.
func (d *definitions) read(ctx context.Context, digest string) (*definition, error) {
	if c := d.cached(digest); c != nil {
		return c, nil
	}
	src, err := d.e.o.Store.Definition(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("read definition %s: %w", digest, err)
	}
	def, findings := workflow.Decode(src)
	if invalid := func(f workflow.Finding) bool { return f.Severity == workflow.SeverityError }; def == nil || slices.ContainsFunc(findings, invalid) {
		return nil, &InvalidError{Workflow: digest, Findings: findings}
	}
	c, err := d.take(def)
	if err != nil {
		return nil, err
	}
	c.kept.Store(true)
	return c, nil
}

// closure resolves every workflow that a run of def can start, directly or
// through its children, so that the run records what each name stands for now.
func (d *definitions) closure(ctx context.Context, root *definition) ([]event.Named, []*definition, error) {
	var names []event.Named
	var defs []*definition
	seen := map[string]bool{}
	todo := []*definition{root}
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		for _, name := range c.children {
			if seen[name] {
				continue
			}
			seen[name] = true
			child, err := d.find(ctx, name, root)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, event.Named{Name: name, ID: child.id, Digest: child.digest})
			if child != root && !slices.Contains(defs, child) {
				defs = append(defs, child)
				todo = append(todo, child)
			}
		}
	}
	return names, defs, nil
}

// find resolves one name: the library first, then what is deployed, then the
// definition that asks.
func (d *definitions) find(ctx context.Context, name string, root *definition) (*definition, error) {
	if d.e.o.Library != nil {
		if def := d.e.o.Library(name); def != nil {
			return d.take(def)
		}
	}
	digest, _, err := d.e.o.Reader.FindDefinition(ctx, name)
	if err == nil {
		return d.read(ctx, digest)
	}
	if !errors.Is(err, journal.ErrNotFound) {
		return nil, fmt.Errorf("find workflow %s: %w", name, err)
	}
	doc := root.def.Document
	if name == root.id || name == doc.Namespace+"/"+doc.Name+":latest" {
		return root, nil
	}
	return nil, &InvalidError{Workflow: root.id, Reason: fmt.Sprintf(
		"workflow %s runs %s, which is not known; put its definition in the directory given by --workflows, or deploy it", root.id, name)}
}

// unstored are the definitions that the store has not been given yet.
func (r *run) unstored() []journal.Definition {
	var out []journal.Definition
	if !r.def.kept.Load() {
		out = append(out, journal.Definition{Digest: r.def.digest, Source: r.def.def.Source})
	}
	for _, c := range r.with {
		if !c.kept.Load() {
			out = append(out, journal.Definition{Digest: c.digest, Source: c.def.Source})
		}
	}
	return out
}

// stored notes that the run's definitions are in the store.
func (r *run) stored() {
	if !r.def.kept.Load() {
		r.def.kept.Store(true)
	}
	for _, c := range r.with {
		c.kept.Store(true)
	}
	r.with = nil
}
