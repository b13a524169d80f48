package view

import (
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// Builder collects the tasks of one run from its transitions. One goroutine
// uses it at a time. It keeps the first [MaxTasks] tasks and counts the rest.
type Builder struct {
	entries []entry
	ints    []int32                    // iteration indexes of all entries
	index   map[event.Activation]int32 // made when the list grows long
	dropped int
	status  event.Status
}

// entry is a Task in the form that costs little to keep for many live runs.
type entry struct {
	activation     event.Activation
	reference      string
	name           string
	kind           string
	err            *event.Problem
	started, ended int64 // microseconds since 1970; ended 0: not yet
	parent         int32 // -1: top level
	attempts       int32
	total          int32
	iteration      int32 // begin of its indexes in ints
	depth          int32 // how many there are
	status         event.Status
	skipped        bool
	unknown        bool
}

// indexFrom is the length of list from which looking up by a map is cheaper than by comparing.
const indexFrom = 24

// New returns a Builder for a new run.
func New() *Builder { return &Builder{} }

// Add takes the next transition of the run, which happened at at. It keeps
// t's strings and its error, and nothing else of it.
func (b *Builder) Add(at time.Time, t *machine.Transition) {
	if t.Change == machine.RunChanges {
		b.status = t.Status
		return
	}
	i := b.find(t.Activation)
	if i < 0 {
		if t.Change != machine.Entered && t.Change != machine.Skipped {
			return // of a task that is not listed
		}
		if i = b.enter(at.UnixMicro(), t); i < 0 {
			return
		}
	}
	e := &b.entries[i]
	switch t.Change {
	case machine.Entered:
		e.again(t)
	case machine.Skipped:
		e.again(t)
		e.status, e.skipped, e.attempts, e.ended = event.Completed, true, 0, at.UnixMicro()
	case machine.Dispatched:
		e.attempts = max(e.attempts, narrow(t.Attempt))
		e.live(event.Running)
	case machine.Retried:
		e.err = t.Error
		if t.Delay > 0 {
			e.live(event.Waiting)
		}
	case machine.Waits:
		e.live(event.Waiting)
	case machine.Resumes:
		e.live(event.Running)
	case machine.TaskEnds:
		e.err, e.unknown = t.Error, t.Unknown
		e.live(t.Status)
		if t.Status.Ended() {
			e.ended = at.UnixMicro()
		}
	case machine.Correlates, machine.RunChanges:
	}
}

func (e *entry) live(s event.Status) { e.status, e.ended = s, 0 }

// narrow is n in half the room.
func narrow(n int) int32 { return int32(n) }

// again marks the entry as entered: for the first time, or anew by a retry of
// the try around it, which keeps activations and raises attempts.
func (e *entry) again(t *machine.Transition) {
	e.status, e.ended, e.err, e.skipped, e.unknown = event.Running, 0, nil, false, false
	if t.Status != 0 {
		e.status = t.Status
	}
	e.attempts = max(e.attempts, 1, narrow(t.Attempt))
	e.total = max(e.total, narrow(t.Total))
}

func (b *Builder) enter(at int64, t *machine.Transition) int {
	n := len(b.entries)
	if n >= MaxTasks {
		b.dropped++
		return -1
	}
	if b.entries == nil {
		b.entries = make([]entry, 0, 4)
	}
	e := entry{
		activation: t.Activation, reference: t.Reference, name: t.Name, kind: t.Kind, started: at,
		parent: -1, iteration: narrow(len(b.ints)), depth: narrow(len(t.Iteration)),
	}
	if t.Parent != "" {
		e.parent = narrow(b.find(t.Parent))
	}
	for _, x := range t.Iteration {
		b.ints = append(b.ints, narrow(x))
	}
	b.entries = append(b.entries, e)
	if b.index != nil {
		b.index[t.Activation] = narrow(n)
	}
	return n
}

// find returns the place of an activation in the list, or -1.
func (b *Builder) find(a event.Activation) int {
	n := len(b.entries)
	if n < indexFrom {
		for i := n - 1; i >= 0; i-- {
			if b.entries[i].activation == a {
				return i
			}
		}
		return -1
	}
	if b.index == nil {
		b.index = make(map[event.Activation]int32, 4*n)
		for i := range b.entries {
			b.index[b.entries[i].activation] = narrow(i)
		}
	}
	if i, ok := b.index[a]; ok {
		return int(i)
	}
	return -1
}

// Len is how many tasks were entered, those that are not listed included.
func (b *Builder) Len() int { return len(b.entries) + b.dropped }

// Truncated reports that more tasks were entered than the list holds.
func (b *Builder) Truncated() bool { return b.dropped > 0 }

// Status is the phase of the run as the last transition said; 0 before the first.
func (b *Builder) Status() event.Status { return b.status }

// Tasks returns the list, in the order of entering.
func (b *Builder) Tasks() []Task {
	out := make([]Task, len(b.entries))
	for i := range b.entries {
		e := &b.entries[i]
		out[i] = Task{
			Activation: e.activation, Parent: int(e.parent), Reference: e.reference, Name: e.name, Kind: e.kind,
			Status: e.status, Attempts: int(e.attempts), Total: int(e.total), StartedAt: time.UnixMicro(e.started).UTC(),
			Error: e.err, Skipped: e.skipped, Unknown: e.unknown,
		}
		if e.ended != 0 {
			out[i].EndedAt = time.UnixMicro(e.ended).UTC()
		}
		if e.depth > 0 {
			out[i].Iteration = make([]int, e.depth)
			for k := range out[i].Iteration {
				out[i].Iteration[k] = int(b.ints[int(e.iteration)+k])
			}
		}
	}
	return out
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// nameOf is the name at the end of a task reference.
func nameOf(reference string) string {
	last := reference[strings.LastIndexByte(reference, '/')+1:]
	if strings.IndexByte(last, '~') < 0 {
		return last
	}
	return unescape.Replace(last)
}

// Keep takes from the list what keep does not want to stay.
func (b *Builder) Keep(keep func(event.Activation) bool) {
	place := make([]int32, len(b.entries))
	kept := b.entries[:0]
	for i := range b.entries {
		e := b.entries[i]
		place[i] = -1
		if !keep(e.activation) {
			continue
		}
		if e.parent >= 0 {
			e.parent = place[e.parent]
		}
		place[i] = narrow(len(kept))
		kept = append(kept, e)
	}
	clear(b.entries[len(kept):])
	b.entries, b.index = kept, nil
}
