package engine

import (
	"sync"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// groups bounds how many runs of a workflow are active at once
// (metadata.downbeat.concurrency).
type groups struct {
	mu sync.Mutex
	by map[string]*group
}

// group is the runs that share one key.
type group struct {
	active []*run
	queue  []*run // wait for a place, the most urgent first
}

func (g *groups) init() { g.by = make(map[string]*group) }

// key names the group of a run with this input; "" when nothing bounds it.
func (g *groups) key(def *definition, _ value.Raw) (string, error) {
	if def.def.Downbeat == nil || def.def.Downbeat.Concurrency == nil {
		return "", nil
	}
	doc := &def.def.Document
	return doc.Namespace + "/" + doc.Name, nil
}

// enter gives a run a place in its group; false: it waits, or is refused.
func (g *groups) enter(r *run) bool { return true }

func (r *run) leaveGroup() {}
