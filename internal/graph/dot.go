package graph

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

var dotShapes = map[string]string{
	"call": "box", "run": "box3d", "set": "parallelogram", "switch": "hexagon", "wait": "oval",
	"listen": "rarrow", "emit": "cds", "raise": "octagon",
}

// DOT writes the drawing in the language of Graphviz.
func (g *Graph) DOT(w io.Writer, o *Overlay) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", dotText(g.Workflow))
	b.WriteString("  graph [compound=true, rankdir=TB, fontname=\"Helvetica\", fontsize=11, color=\"#b8bec6\"]\n")
	b.WriteString("  node [shape=box, style=rounded, fontname=\"Helvetica\", fontsize=11, color=\"#57606a\"]\n")
	b.WriteString("  edge [fontname=\"Helvetica\", fontsize=10, color=\"#57606a\", arrowsize=0.7]\n")
	g.dotInside(&b, o, -1, "  ")
	for _, e := range g.Edges {
		var attrs []string
		if label := cmp.Or(e.Label, map[EdgeKind]string{Failure: "error"}[e.Kind]); label != "" {
			attrs = append(attrs, "label="+dotText(label))
		}
		switch {
		case o.taken(g, e):
			attrs = append(attrs, "penwidth=2")
		case o != nil:
			attrs = append(attrs, "color=\"#c9d1d9\"")
		}
		if e.Kind == Failure {
			attrs = append(attrs, "style=dashed")
		}
		if e.To <= e.From {
			attrs = append(attrs, "constraint=false")
		}
		if g.clustered(e.From) {
			attrs = append(attrs, fmt.Sprintf("ltail=cluster%d", e.From))
		}
		if g.clustered(e.To) {
			attrs = append(attrs, fmt.Sprintf("lhead=cluster%d", e.To))
		}
		fmt.Fprintf(&b, "  n%d -> n%d", g.innermost(e.From, true), g.innermost(e.To, false))
		if len(attrs) > 0 {
			fmt.Fprintf(&b, " [%s]", strings.Join(attrs, ", "))
		}
		b.WriteByte('\n')
	}
	b.WriteString("}\n")
	return write(w, "DOT", []byte(b.String()))
}

// clustered reports that node i is drawn as a cluster.
func (g *Graph) clustered(i int) bool { return g.Nodes[i].framed() && len(g.children(i)) > 0 }

// innermost is the node that stands for a cluster at the end of an edge: edges
// of DOT join nodes and are cut at the border of the cluster.
func (g *Graph) innermost(i int, last bool) int {
	for g.clustered(i) {
		kids := g.children(i)
		i = kids[0]
		if last {
			i = kids[len(kids)-1]
		}
	}
	return i
}

func (g *Graph) dotInside(b *strings.Builder, o *Overlay, frame int, indent string) {
	for _, i := range g.children(frame) {
		n := &g.Nodes[i]
		if g.clustered(i) {
			fmt.Fprintf(b, "%ssubgraph cluster%d {\n%s  label=%s\n", indent, i, indent, dotText(plainLines(n, o)...))
			if m, ok := o.mark(n); ok {
				fmt.Fprintf(b, "%s  color=%q\n", indent, statusColours[m.Status].light)
			}
			g.dotInside(b, o, i, indent+"  ")
			fmt.Fprintf(b, "%s}\n", indent)
			continue
		}
		switch n.Role {
		case Start:
			fmt.Fprintf(b, "%sn%d [label=\"\", shape=circle, style=filled, fillcolor=\"#57606a\", width=0.2]\n", indent, i)
		case End:
			fmt.Fprintf(b, "%sn%d [label=\"\", shape=doublecircle, style=filled, fillcolor=\"#57606a\", width=0.14]\n", indent, i)
		case Exit, Split, Join:
			fmt.Fprintf(b, "%sn%d [label=\"\", shape=point, width=0.08]\n", indent, i)
		case Step, Frame, Section:
			attrs := "label=" + dotText(plainLines(n, o)...)
			if s := dotShapes[kindWord(n.Kind)]; s != "" && s != "box" {
				attrs += ", style=\"\", shape=" + s
			}
			if m, ok := o.mark(n); ok {
				attrs += fmt.Sprintf(", penwidth=2, color=%q", statusColours[m.Status].light)
			} else if o != nil {
				attrs += ", color=\"#c9d1d9\", fontcolor=\"#8c959f\""
			}
			fmt.Fprintf(b, "%sn%d [%s]\n", indent, i, attrs)
		}
	}
}

// dotText quotes lines as one string of DOT: quotes and backslashes escaped, and
// "&", which Graphviz would take for the beginning of an entity.
func dotText(lines ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;")
	for i, s := range lines {
		lines[i] = escape.Replace(s)
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}
