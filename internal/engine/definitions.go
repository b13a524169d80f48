package engine

import (
	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// What callers know of definitions and of what is stored by these names.
type (
	// InvalidError says that a definition cannot be run.
	InvalidError = definitions.InvalidError
	// Library finds the definitions of a directory by name.
	Library = definitions.Library
	// Sealer encrypts what is stored of runs that hold secrets.
	Sealer = history.Sealer
)

type definition = definitions.Definition

// unstored are the definitions that the store has not been given yet.
func (r *run) unstored() []journal.Definition {
	var out []journal.Definition
	if !r.def.Kept() {
		out = append(out, journal.Definition{Digest: r.def.Digest, Source: r.def.Workflow.Source})
	}
	for _, c := range r.with {
		if !c.Kept() {
			out = append(out, journal.Definition{Digest: c.Digest, Source: c.Workflow.Source})
		}
	}
	return out
}

// stored notes that the run's definitions are in the store.
func (r *run) stored() {
	if !r.def.Kept() {
		r.def.Keep()
	}
	for _, c := range r.with {
		c.Keep()
	}
	r.with = nil
}
