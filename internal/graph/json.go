package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

type (
	graphJSON struct {
		Workflow string     `json:"workflow"`
		Title    string     `json:"title,omitempty"`
		Run      string     `json:"run,omitempty"`
		Status   string     `json:"status,omitempty"`
		Width    int        `json:"width"`
		Height   int        `json:"height"`
		Nodes    []nodeJSON `json:"nodes"`
		Edges    []edgeJSON `json:"edges"`
	}
	nodeJSON struct {
		ID        string    `json:"id"`
		Parent    string    `json:"parent,omitempty"`
		Role      string    `json:"role"`
		Kind      string    `json:"kind,omitempty"`
		Name      string    `json:"name,omitempty"`
		Reference string    `json:"reference,omitempty"`
		Detail    string    `json:"detail,omitempty"`
		If        string    `json:"if,omitempty"`
		Box       [4]int    `json:"box"` // x, y, width, height
		Mark      *markJSON `json:"mark,omitempty"`
	}
	markJSON struct {
		Status         string `json:"status"`
		Skipped        bool   `json:"skipped,omitempty"`
		DurationMillis int64  `json:"durationMillis,omitempty"`
		Entered        int    `json:"entered,omitempty"`
		Attempts       int    `json:"attempts,omitempty"`
		Done           int    `json:"done,omitempty"`
		Failed         int    `json:"failed,omitempty"`
		Total          int    `json:"total,omitempty"`
	}
	edgeJSON struct {
		From  string   `json:"from"`
		To    string   `json:"to"`
		Kind  string   `json:"kind"`
		Label string   `json:"label,omitempty"`
		If    string   `json:"if,omitempty"`
		Taken bool     `json:"taken,omitempty"`
		Route [][2]int `json:"route"`
	}
)

// JSON writes the drawing with the place of every node and the route of every
// edge, so that a page can draw it without a layout of its own.
func (g *Graph) JSON(w io.Writer, o *Overlay) error {
	l := newLayout(g, o != nil)
	out := graphJSON{
		Workflow: g.Workflow, Title: g.Title, Width: l.w, Height: l.h,
		Nodes: make([]nodeJSON, 0, len(g.Nodes)), Edges: make([]edgeJSON, 0, len(g.Edges)),
	}
	if o != nil {
		out.Run, out.Status = o.Run, o.Status.String()
	}
	for i, n := range g.Nodes {
		if l.hidden[i] {
			continue
		}
		b := l.boxes[i]
		j := nodeJSON{
			ID: n.ID, Role: n.Role.String(), Kind: n.Kind, Name: n.Name, Reference: n.Reference,
			Detail: n.Detail, If: n.Condition, Box: [4]int{b.x, b.y, b.w, b.h},
		}
		if n.Parent >= 0 {
			j.Parent = g.Nodes[n.Parent].ID
		}
		if m, ok := o.mark(&n); ok {
			j.Mark = &markJSON{m.Status.String(), m.Skipped, m.Duration.Milliseconds(), m.Entered, m.Attempts, m.Done, m.Failed, m.Total}
		}
		out.Nodes = append(out.Nodes, j)
	}
	for i, e := range g.Edges {
		if len(l.routes[i].route) == 0 {
			continue
		}
		j := edgeJSON{From: g.Nodes[e.From].ID, To: g.Nodes[e.To].ID, Kind: e.Kind.String(), Label: e.Label, If: e.Condition, Taken: o.taken(g, e)}
		for _, p := range l.routes[i].route {
			j.Route = append(j.Route, [2]int{p.x, p.y})
		}
		out.Edges = append(out.Edges, j)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("encode the graph: %w", err)
	}
	return write(w, "JSON", b.Bytes())
}

// mark is what happened to the task of n; false without an overlay or mark.
func (o *Overlay) mark(n *Node) (Mark, bool) {
	if o == nil || n.Reference == "" {
		return Mark{}, false
	}
	m, ok := o.Marks[n.Reference]
	if int(m.Status) >= len(statusColours) {
		return Mark{}, false
	}
	return m, ok
}

func (o *Overlay) taken(g *Graph, e Edge) bool {
	return o != nil && o.Taken[Hop{g.Nodes[e.From].ID, g.Nodes[e.To].ID}]
}
