package graph

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// The brackets of a Mermaid node, by the first word of the task's kind.
var mermaidShapes = map[string][2]string{
	"call": {"[", "]"}, "run": {"[[", "]]"}, "set": {"[/", "/]"}, "switch": {"{{", "}}"}, "wait": {"([", "])"},
	"listen": {">", "]"}, "emit": {"[/", "\\]"}, "raise": {"[\\", "/]"},
}

// Mermaid writes the drawing as a Mermaid flowchart.
func (g *Graph) Mermaid(w io.Writer, o *Overlay) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%%%% %s\nflowchart TB\n", mermaidText(" · ", g.Workflow, g.Title))
	g.mermaidInside(&b, o, -1, "  ")
	for _, e := range g.Edges {
		arrow := "-->"
		switch {
		case e.Kind == Failure:
			arrow = "-.->"
		case o.taken(g, e):
			arrow = "==>"
		}
		if label := mermaidText("", cmp.Or(e.Label, map[EdgeKind]string{Failure: "error", Loop: "next"}[e.Kind])); label != "" {
			arrow += "|\"" + label + "\"|"
		}
		fmt.Fprintf(&b, "  n%d %s n%d\n", e.From, arrow, e.To)
	}
	if o != nil {
		for s := event.Pending; s <= event.Completed; s++ {
			fmt.Fprintf(&b, "  classDef %s stroke:%s,stroke-width:2px\n", s, statusColours[s].light)
		}
		b.WriteString("  classDef faint opacity:0.5\n")
		for i := range g.Nodes {
			n := &g.Nodes[i]
			if m, ok := o.mark(n); ok && m.Status != 0 {
				fmt.Fprintf(&b, "  class n%d %s\n", i, m.Status)
			} else if n.Role == Step || n.Role == Frame {
				fmt.Fprintf(&b, "  class n%d faint\n", i)
			}
		}
	}
	return write(w, "Mermaid", []byte(b.String()))
}

func (g *Graph) mermaidInside(b *strings.Builder, o *Overlay, frame int, indent string) {
	for _, i := range g.children(frame) {
		n := &g.Nodes[i]
		switch n.Role {
		case Start:
			fmt.Fprintf(b, "%sn%d((start))\n", indent, i)
		case End:
			fmt.Fprintf(b, "%sn%d(((end)))\n", indent, i)
		case Exit, Split, Join:
			fmt.Fprintf(b, "%sn%d(( ))\n", indent, i)
		case Step:
			shape, ok := mermaidShapes[kindWord(n.Kind)]
			if !ok {
				shape = [2]string{"[", "]"}
			}
			fmt.Fprintf(b, "%sn%d%s\"%s\"%s\n", indent, i, shape[0], mermaidText("<br/>", plainLines(n, o)...), shape[1])
		case Frame, Section:
			label := mermaidText(" · ", plainLines(n, o)...)
			if len(g.children(i)) == 0 { // Mermaid has no empty subgraphs
				fmt.Fprintf(b, "%sn%d[\"%s\"]\n", indent, i, label)
				continue
			}
			fmt.Fprintf(b, "%ssubgraph n%d[\"%s\"]\n", indent, i, label)
			g.mermaidInside(b, o, i, indent+"  ")
			fmt.Fprintf(b, "%send\n", indent)
		}
	}
}

// mermaidText joins lines and escapes in them what Mermaid, its Markdown or HTML
// could take for its own: all but letters, digits and harmless marks.
func mermaidText(sep string, lines ...string) string {
	var b strings.Builder
	for i, s := range lines {
		if i > 0 {
			b.WriteString(sep)
		}
		for _, r := range s {
			if r >= 0x80 || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(" .,:/-+=?!", r) {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, "#%d;", r)
			}
		}
	}
	return b.String()
}

// plainLines are the lines of a node where no icons and columns are.
func plainLines(n *Node, o *Overlay) []string {
	head := nameFace.fit(n.Name, widestName)
	switch {
	case n.Role == Section || n.Kind == "":
	case strings.Contains(n.Detail, ":") && kindWord(n.Kind) == "run":
	default:
		head = n.Kind + " " + head
	}
	lines := []string{head}
	if n.Detail != "" {
		lines = append(lines, detailFace.fit(n.Detail, widestLine))
	}
	if n.Condition != "" {
		lines = append(lines, detailFace.fit("if "+expression(n.Condition), widestLine))
	}
	if m, ok := o.mark(n); ok {
		lines = append(lines, join(statusSigns[m.Status]+" "+m.Word(), " · ", m.Note()))
	}
	return lines
}

// kindWord is the DSL's word for a kind: "call" of "call http"; "map" of "call map".
func kindWord(kind string) string {
	if kind == "call map" {
		return "map"
	}
	word, _, _ := strings.Cut(kind, " ")
	return word
}
