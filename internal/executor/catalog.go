package executor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Entry is one kind with the executor that carries it out.
type Entry struct {
	Kind
	Executor Executor
}

// Catalog is the list of all kinds that this process carries out: Downbeat's
// default catalogue and what `run` names. It is never changed after NewCatalog.
type Catalog struct {
	entries []Entry // sorted by name
	byName  map[string]int
}

// NewCatalog checks and sorts the entries.
func NewCatalog(entries ...Entry) (*Catalog, error) {
	c := &Catalog{entries: slices.Clone(entries), byName: make(map[string]int, len(entries))}
	slices.SortFunc(c.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	var errs []error
	for i, e := range c.entries {
		switch {
		case e.Name == "" || e.Version == "" || e.Summary == "" || e.Schema == nil:
			errs = append(errs, fmt.Errorf("catalogue: kind %q lacks its name, version, summary or schema", e.Name))
		case e.Executor == nil:
			errs = append(errs, fmt.Errorf("catalogue: kind %q has no executor", e.Name))
		case strings.ContainsAny(e.Name, ":@ "):
			errs = append(errs, fmt.Errorf("catalogue: %q is no name of a kind: it holds one of ':', '@', ' '", e.Name))
		}
		if _, twice := c.byName[e.Name]; twice {
			errs = append(errs, fmt.Errorf("catalogue: kind %q is there twice", e.Name))
		}
		c.byName[e.Name] = i
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// Lookup returns the executor of a kind by its plain name.
func (c *Catalog) Lookup(name string) (Executor, bool) {
	i, ok := c.byName[name]
	if !ok {
		return nil, false
	}
	return c.entries[i].Executor, true
}

// Find returns the entry that a `call` names: "ssh", "ssh:1.0.0",
// "ssh@default" or "ssh:1.0.0@default". A version must be the one that is there.
func (c *Catalog) Find(call string) (Entry, bool) {
	name, catalog, named := strings.Cut(call, "@")
	if named && catalog != "default" {
		return Entry{}, false
	}
	name, version, versioned := strings.Cut(name, ":")
	i, ok := c.byName[name]
	if !ok || versioned && version != c.entries[i].Version {
		return Entry{}, false
	}
	return c.entries[i], true
}

// Kinds returns all kinds, sorted by name.
func (c *Catalog) Kinds() []Kind {
	kinds := make([]Kind, len(c.entries))
	for i, e := range c.entries {
		kinds[i] = e.Kind
	}
	return kinds
}
