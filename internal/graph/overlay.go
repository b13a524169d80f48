package graph

import (
	"fmt"
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Overlay is a run laid over a drawing.
type Overlay struct {
	Run    string // its id; may be ""
	Status event.Status
	// Marks says what happened to each task, by reference; a task without a mark
	// has not been entered.
	Marks map[string]Mark
	// Taken holds the edges that the run went along.
	Taken map[Hop]bool
}

// Hop is an edge by the IDs of its ends.
type Hop struct{ From, To string }

// Mark is what happened to one task. When it was entered several times, Status
// and Duration are those of the entering that needs most attention: a fault
// before what is going on, and that before what is over.
type Mark struct {
	Status   event.Status
	Skipped  bool // its `if` was false
	Duration time.Duration
	Entered  int // how often
	Attempts int // of the entering shown
	// Done, Failed and Total count the rounds of a loop or map, the branches of a
	// fork; Total 0: not known.
	Done, Failed, Total int
}

// Activation is one entering of a task, as package view lists them.
type Activation struct {
	Reference string
	Parent    int   // place of the enclosing task in the list; -1 at top level
	Iteration []int // indexes of the loops around, outermost first
	Status    event.Status
	Skipped   bool
	Attempts  int
	Duration  time.Duration
	Total     int // of a loop, map or fork
}

// weights order statuses by how much attention they need.
var weights = [...]int{
	event.Pending: 1, event.Completed: 2, event.Cancelled: 3, event.Suspended: 4, event.Waiting: 5, event.Running: 6, event.Faulted: 7,
}

// Trace makes the overlay of a run from its tasks, in the order in which they
// were entered. References that the drawing does not have are left out.
func (g *Graph) Trace(run string, status event.Status, tasks []Activation) *Overlay {
	o := &Overlay{Run: run, Status: status, Marks: map[string]Mark{}, Taken: map[Hop]bool{}}
	t := tracer{g: g, o: o, nodes: map[string]int{}, edges: map[[2]int]bool{}, last: map[round]int{}}
	for i, n := range g.Nodes {
		t.nodes[n.ID] = i
	}
	for _, e := range g.Edges {
		t.edges[[2]int{e.From, e.To}] = true
	}
	for i := range tasks {
		if at, ok := t.nodes[tasks[i].Reference]; ok && int(tasks[i].Status) < len(weights) {
			t.entered(at, i, tasks)
		}
	}
	for r, at := range t.last {
		t.left(r, &tasks[at])
	}
	t.rounds(tasks)
	return o
}

// round is one pass through a task list: of one activation of the frame around,
// in one iteration.
type round struct {
	frame     int // node
	parent    int // activation
	iteration int
}

type tracer struct {
	g     *Graph
	o     *Overlay
	nodes map[string]int
	edges map[[2]int]bool
	last  map[round]int // the activation that came last
}

func (t *tracer) take(from, to int) bool {
	if from < 0 || to < 0 || !t.edges[[2]int{from, to}] {
		return false
	}
	t.o.Taken[Hop{t.g.Nodes[from].ID, t.g.Nodes[to].ID}] = true
	return true
}

func (t *tracer) part(frame int, r Role) int {
	id := "#" + r.String()
	if frame >= 0 {
		id = t.g.Nodes[frame].ID + id
	}
	if at, ok := t.nodes[id]; ok {
		return at
	}
	return -1
}

func iteration(a *Activation) int {
	if n := len(a.Iteration); n > 0 {
		return a.Iteration[n-1]
	}
	return -1
}

// entered marks activation i, and the edge that the run came along.
func (t *tracer) entered(at, i int, all []Activation) {
	a := &all[i]
	m := t.o.Marks[a.Reference]
	m.Entered++
	if m.Entered == 1 || weights[a.Status] >= weights[m.Status] {
		m.Status, m.Skipped, m.Duration, m.Attempts, m.Total = a.Status, a.Skipped, a.Duration, a.Attempts, a.Total
	}
	t.o.Marks[a.Reference] = m
	frame := t.g.Nodes[at].Parent
	if split := t.part(frame, Split); split >= 0 {
		t.take(split, at)
		if a.Status == event.Completed {
			t.take(at, t.part(frame, Join))
		}
		return
	}
	r := round{frame, a.Parent, iteration(a)}
	before, again := t.last[r]
	t.last[r] = i
	switch {
	case again && t.take(t.nodes[all[before].Reference], at):
	case frame < 0:
		t.take(t.part(frame, Start), at)
	case t.g.Nodes[frame].Role == Section:
		if try, catch := t.sections(frame); frame == catch {
			t.take(try, catch)
		}
	default:
		if iteration(a) > 0 {
			t.take(t.part(frame, Exit), at)
		}
	}
}

// sections are the block and the handler of the try around a section.
func (t *tracer) sections(section int) (try, catch int) {
	kids := t.g.children(t.g.Nodes[section].Parent)
	return kids[0], kids[len(kids)-1]
}

// left marks the edge by which the run left the last activation of a round.
func (t *tracer) left(r round, a *Activation) {
	if a.Status != event.Completed || r.frame < 0 && t.o.Status != event.Completed {
		return
	}
	at := t.nodes[a.Reference]
	if !t.take(at, t.part(r.frame, Exit)) {
		t.take(at, t.part(r.frame, End))
	}
}

// rounds counts the rounds of loops, and finds the errors that were caught
// without a handler.
func (t *tracer) rounds(all []Activation) {
	type state struct{ open, failed bool }
	rounds := map[int]map[int]state{} // by activation of the loop, by iteration
	for i := range all {
		a := &all[i]
		at, ok := t.nodes[a.Reference]
		if !ok || a.Parent < 0 || a.Parent >= len(all) {
			continue
		}
		frame := t.g.Nodes[at].Parent
		if frame >= 0 && t.g.Nodes[frame].Role == Section {
			try, catch := t.sections(frame)
			again := a.Attempts > max(1, all[a.Parent].Attempts) // a retry enters the same activation again, `runs retry` both
			if again {
				t.take(catch, try)
			}
			if again || a.Status == event.Faulted && all[a.Parent].Status == event.Completed {
				t.take(try, catch)
			}
		}
		round := iteration(a)
		switch {
		case frame >= 0 && t.part(frame, Split) >= 0:
			round = at // a branch counts as a round
		case frame < 0 || !t.g.Nodes[frame].loops() || round < 0:
			continue
		}
		if rounds[a.Parent] == nil {
			rounds[a.Parent] = map[int]state{}
		}
		s := rounds[a.Parent][round]
		s.open = s.open || !a.Status.Ended()
		s.failed = s.failed || a.Status == event.Faulted
		rounds[a.Parent][round] = s
	}
	for i := range all { // in order: the last entering of a loop is shown
		if rounds[i] == nil {
			continue
		}
		m := t.o.Marks[all[i].Reference]
		m.Done, m.Failed, m.Total = 0, 0, all[i].Total
		for _, s := range rounds[i] {
			if !s.open {
				m.Done++
			}
			if s.failed {
				m.Failed++
			}
		}
		t.o.Marks[all[i].Reference] = m
	}
}

// Word is the status as people read it: "completed", "skipped".
func (m Mark) Word() string {
	if m.Skipped {
		return "skipped"
	}
	return m.Status.String()
}

// Note says the rest in a few words: "340 ms · 2 attempts".
func (m Mark) Note() string {
	s := ""
	if m.Total > 0 || m.Done > 0 {
		s = strconv.Itoa(m.Done)
		if m.Total > 0 {
			s += " / " + strconv.Itoa(m.Total)
		}
		if m.Failed > 0 {
			s += ", " + strconv.Itoa(m.Failed) + " failed"
		}
	}
	if m.Duration > 0 && !m.Skipped {
		s = join(s, " · ", Span(m.Duration))
	}
	if m.Attempts > 1 {
		s = join(s, " · ", strconv.Itoa(m.Attempts)+" attempts")
	}
	if m.Entered > 1 {
		s = join(s, " · ", "×"+strconv.Itoa(m.Entered))
	}
	return s
}

// Span writes a duration in its largest two units: "1 h 12 min", "340 ms".
func Span(d time.Duration) string {
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	switch {
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d.%d s", d/time.Second, d%time.Second/(100*time.Millisecond))
	}
	for i, u := range units {
		if n := d / u.of; n > 0 {
			s := fmt.Sprintf("%d %s", n, u.name)
			if i+1 < len(units) {
				if rest := d % u.of / units[i+1].of; rest > 0 {
					s += fmt.Sprintf(" %d %s", rest, units[i+1].name)
				}
			}
			return s
		}
	}
	return ""
}
