package progress

import (
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// tree is a live run as it is drawn: the tasks that were entered, with the
// iterations of loops folded. Its size is bounded by the definition and by what
// is active, not by the length of the run.
type tree struct {
	root   node
	index  map[event.Activation]*node
	status event.Status
	ended  int // tasks
	failed int
}

// node is one task, or the folded iterations of a loop's body.
type node struct {
	activation event.Activation
	parent     *node
	children   []*node

	name      string
	kind      string
	reference string
	iteration int // -1 outside of a loop's body
	status    event.Status
	attempts  int
	visits    int // how often a jump or a loop came back here
	started   time.Time
	ended     time.Time
	until     time.Time // of a retry that waits
	skipped   bool
	err       *event.Problem
	lines     []string // the last that the task printed

	// Of a loop, map or fork.
	total  int
	passes map[int]*pass // active iterations
	done   int           // iterations that are over
	broken int           // iterations in which a task faulted at last
	bulk   int           // of passes, at which the next are settled
	slow   time.Duration // of the slowest iteration that is over
	slowAt int           // its index
}

// pass is one active iteration of a loop.
type pass struct {
	live  int // tasks of it that have not ended
	fault bool
	begun time.Time
	ended time.Time // of its last task
}

// maxPasses is how many iterations are kept before those that are over are folded.
const maxPasses = 1024

// keepBroken is how many failed iterations of a loop keep a line.
const keepBroken = 5

// keepLines is how many lines of a task's output are shown under it.
const keepLines = 3

func newTree() *tree {
	return &tree{index: map[event.Activation]*node{}, root: node{iteration: -1}}
}

// add takes the next transition.
func (t *tree) add(at time.Time, tr *machine.Transition) {
	if tr.Change == machine.RunChanges {
		t.status = tr.Status
		return
	}
	n := t.index[tr.Activation]
	if n == nil {
		if tr.Change != machine.Entered && tr.Change != machine.Skipped {
			return
		}
		n = t.enter(at, tr)
	} else if tr.Change == machine.Entered {
		t.again(n, tr)
	}
	switch tr.Change {
	case machine.Entered, machine.Dispatched, machine.Resumes:
		n.until = time.Time{}
		if tr.Status != 0 && !tr.Status.Ended() {
			n.status = tr.Status
		} else {
			n.status = event.Running
		}
		n.attempts = max(n.attempts, tr.Attempt)
	case machine.Skipped:
		n.skipped = true
		t.end(n, at, event.Completed)
	case machine.Retried:
		n.err = tr.Error
		n.attempts = max(n.attempts, tr.Attempt)
		n.until = at.Add(time.Duration(tr.Delay) * time.Microsecond)
	case machine.Waits:
		n.status = event.Waiting
	case machine.TaskEnds:
		n.err = tr.Error
		t.end(n, at, tr.Status)
	case machine.Correlates, machine.RunChanges:
	}
}

func (t *tree) enter(at time.Time, tr *machine.Transition) *node {
	parent := t.index[tr.Parent]
	if parent == nil {
		parent = &t.root
	}
	n := &node{
		activation: tr.Activation, parent: parent, name: tr.Name, kind: tr.Kind, reference: tr.Reference,
		iteration: -1, started: at, total: tr.Total, visits: 1,
	}
	if parent.folds() && len(tr.Iteration) > 0 {
		n.iteration = tr.Iteration[len(tr.Iteration)-1]
		p := parent.passes[n.iteration]
		if p == nil {
			if parent.passes == nil {
				parent.passes = map[int]*pass{}
			}
			p = &pass{begun: at}
			parent.passes[n.iteration] = p
		}
		p.live++
		if len(parent.passes) > max(maxPasses, parent.bulk) {
			t.settle(parent, n.iteration)
			parent.bulk = 2 * len(parent.passes) // many are active: do not look at each for each
		}
	}
	// A task that is entered again (a jump back) takes the place of its earlier visit.
	for i, c := range parent.children {
		if c.iteration == n.iteration && c.status.Ended() && c.reference == n.reference {
			n.visits = c.visits + 1
			t.forget(c)
			parent.children = append(parent.children[:i], parent.children[i+1:]...)
			break
		}
	}
	parent.children = append(parent.children, n)
	t.index[tr.Activation] = n
	return n
}

// again is for a task that a retry of the try around it enters with the same activation.
func (t *tree) again(n *node, tr *machine.Transition) {
	if n.status.Ended() && n.iteration >= 0 {
		if p := n.parent.passes[n.iteration]; p != nil {
			p.live++
		}
	}
	if n.status == event.Faulted {
		t.failed--
	}
	n.status, n.ended, n.err, n.skipped, n.total = event.Running, time.Time{}, nil, false, max(n.total, tr.Total)
}

func (t *tree) end(n *node, at time.Time, s event.Status) {
	already := n.status.Ended()
	n.status, n.ended, n.until = s, at, time.Time{}
	if already {
		return
	}
	t.ended++
	if s == event.Faulted {
		t.failed++
	}
	if n.iteration < 0 {
		return
	}
	if p := n.parent.passes[n.iteration]; p != nil {
		p.live--
		p.fault, p.ended = s == event.Faulted, at
	}
}

// settle folds the iterations of a loop that are over: nothing of them is
// active. It is called between steps; in the middle of one, only when very many
// have piled up. The first failed stay to be seen.
func (t *tree) settle(loop *node, current int) {
	var over []int
	for i, p := range loop.passes {
		if i != current && p.live <= 0 {
			over = append(over, i)
		}
	}
	if len(over) == 0 {
		return
	}
	slices.Sort(over)
	drop := make(map[int]bool, len(over)) // true: faulted tasks are kept
	for _, i := range over {
		p := loop.passes[i]
		loop.done++
		if p.fault {
			loop.broken++
		}
		if took := p.ended.Sub(p.begun); took > loop.slow || took == loop.slow && i < loop.slowAt {
			loop.slow, loop.slowAt = took, i
		}
		drop[i] = p.fault && loop.broken <= keepBroken
		delete(loop.passes, i)
	}
	kept := loop.children[:0]
	for _, c := range loop.children {
		if faulted, over := drop[c.iteration]; over && (c.status != event.Faulted || !faulted) {
			t.forget(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(loop.children[len(kept):])
	loop.children = kept
}

// forget takes a task and what is under it out of the index.
func (t *tree) forget(n *node) {
	delete(t.index, n.activation)
	for _, c := range n.children {
		t.forget(c)
	}
}

// fold settles all loops; it is called before drawing, when no step is half shown.
func (t *tree) fold(n *node) {
	if n.folds() && len(n.passes) > 0 {
		t.settle(n, -1)
	}
	for _, c := range n.children {
		if !c.status.Ended() || c.folds() {
			t.fold(c)
		}
	}
}

// log keeps a line that a task printed.
func (t *tree) log(a event.Activation, line string) {
	n := t.index[a]
	if n == nil {
		return
	}
	line = strings.TrimRight(line, "\r\n")
	if strings.TrimSpace(line) == "" {
		return
	}
	if len(n.lines) >= keepLines {
		n.lines = append(n.lines[:0], n.lines[len(n.lines)-keepLines+1:]...)
	}
	n.lines = append(n.lines, line)
}

// folds reports that the node's children are iterations of a body.
func (n *node) folds() bool {
	switch n.kind {
	case "for", "call map", "map", "listen", "foreach", "call asyncapi":
		return true
	}
	return false
}

// label is the name with its iteration and visits: "check[3]", "poll ×4".
func (n *node) label() string {
	s := OneLine(n.name)
	if n.iteration >= 0 {
		s += "[" + itoa(n.iteration) + "]"
	}
	if n.visits > 1 {
		s += " ×" + itoa(n.visits)
	}
	return s
}
