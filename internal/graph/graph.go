// Package graph draws a definition: as Mermaid, DOT, SVG or JSON, alone or with
// a run laid over it.
//
// [Build] turns a definition into a [Graph] of nodes and edges. A task that holds
// tasks (do, for, fork, try, map, foreach) is a frame around their nodes; an edge
// always joins two nodes of the same frame, as the directives of the language do.
// [Graph.Trace] turns the tasks of a run into an [Overlay]: what happened to each
// task and which edges were taken. Each renderer takes a graph and an overlay,
// which may be nil, and writes the same bytes for the same arguments. The package
// is pure; it is called by the command line and the API.
package graph

import (
	"fmt"
	"io"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Graph is the drawing of one definition.
type Graph struct {
	Workflow string // "namespace/name:version"
	Title    string // of the document; may be ""
	// Nodes lists every node; a frame stands before what it holds, and tasks of
	// one list in the order of the definition.
	Nodes []Node
	// Edges lists every edge; both ends have the same Parent.
	Edges []Edge

	inside [][]int // the nodes of each frame; the first entry is the top level
}

// Role tells what a node stands for.
type Role uint8

// The roles of nodes.
const (
	Start   Role = iota + 1 // where the run begins
	End                     // where the run ends; also inside frames, for `then: end`
	Step                    // a task without tasks inside
	Frame                   // a task with tasks inside
	Section                 // the block or the handler of a try
	Exit                    // where a frame's list, or a round of a loop, ends
	Split                   // where a fork's branches begin
	Join                    // where a fork's branches meet
)

var roleNames = [...]string{"", "start", "end", "task", "frame", "section", "exit", "split", "join"}

// String is the name of the role in the JSON form.
func (r Role) String() string { return roleNames[r] }

// Node is one box or mark of the drawing.
type Node struct {
	// ID is the task reference, or that of the frame around followed by "#" and
	// the part: "#start", "/do/0/loop#exit", "/do/1/guard#catch".
	ID        string
	Parent    int // place of the frame in Graph.Nodes; -1 at top level
	Role      Role
	Kind      string // the task's kind: "call http", "run shell", "set"; "" for marks
	Name      string
	Reference string // of the task; "" for marks
	Detail    string // one line of what it does
	Condition string // the task's `if`
}

// EdgeKind tells why the run goes along an edge.
type EdgeKind uint8

// The kinds of edge.
const (
	Sequence EdgeKind = iota + 1 // on to the next task
	Jump                         // `then: name`
	Case                         // a case of a switch
	Skip                         // the task was skipped
	Failure                      // an error was caught
	Loop                         // the next round, or the next try
	Leave                        // `then: exit`
	Finish                       // `then: end`
)

var edgeNames = [...]string{"", "sequence", "jump", "case", "skip", "error", "loop", "exit", "end"}

// String is the name of the kind in the JSON form.
func (k EdgeKind) String() string { return edgeNames[k] }

// Edge is one arrow of the drawing.
type Edge struct {
	From, To  int // places in Graph.Nodes
	Kind      EdgeKind
	Label     string
	Condition string // of a case

	onward bool // it leads to the next task of the list, as `continue` does
}

// Build makes the drawing of def. It draws what it can of a definition with
// mistakes: a directive that names no task is left out.
func Build(def *workflow.Definition) *Graph {
	b := &builder{def: def, edges: map[[2]int]int{}, g: &Graph{Workflow: clean(def.Document.ID(), maxName), Title: clean(def.Document.Title, maxDetail)}}
	b.list(-1, def.Do, plainList)
	for _, f := range def.Use.Functions {
		n := &b.g.Nodes[b.task(-1, f)] // beside the flow: several tasks may call it
		n.Detail = clean(join("function", " · ", n.Detail), maxDetail)
	}
	return b.g.index()
}

// index fills the list of each frame's nodes.
func (g *Graph) index() *Graph {
	g.inside = make([][]int, len(g.Nodes)+1)
	for i, n := range g.Nodes {
		g.inside[n.Parent+1] = append(g.inside[n.Parent+1], i)
	}
	return g
}

// children are the nodes directly inside node i; -1 is the top level.
func (g *Graph) children(i int) []int { return g.inside[i+1] }

// framed reports that a node is a box around others.
func (n *Node) framed() bool { return n.Role == Frame || n.Role == Section }

// loops reports that a frame is gone through once for each item or event.
func (n *Node) loops() bool {
	return n.Role == Frame && !slices.Contains([]string{"do", "fork", "try"}, n.Kind)
}

// write hands a finished drawing to w in one piece.
func write(w io.Writer, what string, drawing []byte) error {
	if _, err := w.Write(drawing); err != nil {
		return fmt.Errorf("write the graph as %s: %w", what, err)
	}
	return nil
}
