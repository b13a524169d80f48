package graph

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// svg writes one drawing.
type svg struct {
	strings.Builder

	g *Graph
	o *Overlay
	l *layout
}

// SVG writes the drawing as an SVG of its own: no fonts, scripts or links to
// anything outside, light or dark as its reader's system is.
func (g *Graph) SVG(w io.Writer, o *Overlay) error {
	s := &svg{g: g, o: o, l: newLayout(g, o != nil)}
	s.head()
	depth := make([]int, len(g.Nodes)) // frames around, so that fills alternate
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Parent >= 0 {
			depth[i] = depth[n.Parent] + 1
		}
		if n.framed() {
			s.frame(i, depth[i])
		}
	}
	for i := range g.Edges { // what was taken lies above what was not
		if !o.taken(g, g.Edges[i]) {
			s.edge(i)
		}
	}
	for i := range g.Edges {
		if o.taken(g, g.Edges[i]) {
			s.edge(i)
		}
	}
	for i := range g.Edges {
		s.label(i)
	}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; !n.framed() && !s.l.hidden[i] {
			s.node(i)
		}
	}
	s.WriteString("</svg>\n")
	return write(w, "SVG", []byte(s.String()))
}

func (s *svg) head() {
	name := s.g.Workflow
	if s.g.Title != "" {
		name = s.g.Title + " (" + s.g.Workflow + ")"
	}
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" class="downbeat-graph" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n",
		s.l.w, s.l.h, s.l.w, s.l.h, escape("Workflow "+name))
	fmt.Fprintf(s, "<title>%s</title>\n<desc>%s</desc>\n<style>\n%s</style>\n<defs>\n", escape(name), escape(s.describe()), styleSheet(s.o != nil))
	for _, m := range []string{"a", "aon", "aoff"} {
		fmt.Fprintf(s, `<marker id="downbeat-%s" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="%s" d="M0 .5L8 4 0 7.5z"/></marker>`+"\n", m, m)
	}
	fmt.Fprintf(s, "</defs>\n<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", s.l.w, s.l.h)
}

// describe says in words what the drawing shows, for those who do not see it.
func (s *svg) describe() string {
	tasks, byStatus := 0, [len(statusColours)]int{}
	for i := range s.g.Nodes {
		if n := &s.g.Nodes[i]; n.Reference != "" {
			tasks++
			m, _ := s.o.mark(n)
			byStatus[m.Status]++
		}
	}
	text := "Flow of " + count(tasks, "task", "tasks") + ", from top to bottom."
	if s.o == nil {
		return text
	}
	text += " The run is " + s.o.Status.String() + "."
	for st := event.Pending; st <= event.Completed; st++ {
		if byStatus[st] > 0 {
			text += fmt.Sprintf(" %d %s.", byStatus[st], st)
		}
	}
	return text
}

// open begins the group of a node, with what a pointer or a reader is told.
func (s *svg) open(i int) Mark {
	n := &s.g.Nodes[i]
	m, entered := s.o.mark(n)
	attrs := ""
	if n.Reference != "" {
		attrs = ` data-reference="` + escape(n.Reference) + `"`
	}
	if entered {
		attrs += ` data-status="` + m.Status.String() + `"`
	}
	if s.o != nil && !entered && !s.inUse(n, i) {
		attrs += ` class="faint"`
	}
	fmt.Fprintf(s, "<g%s>", attrs)
	tip := join(n.Kind, " ", n.Name)
	tip = join(tip, "\n", n.Detail)
	if n.Condition != "" {
		tip += "\nif " + expression(n.Condition)
	}
	if entered {
		tip += "\n" + join(m.Word(), " · ", m.Note())
	}
	if tip != "" {
		fmt.Fprintf(s, "<title>%s</title>", escape(tip))
	}
	return m
}

// inUse reports that a section of a try has been entered; a handler also by an
// error that was tried again.
func (s *svg) inUse(n *Node, i int) bool {
	return n.Role == Section && (slices.ContainsFunc(s.g.children(i), func(c int) bool {
		_, entered := s.o.mark(&s.g.Nodes[c])
		return entered
	}) || slices.ContainsFunc(s.g.Edges, func(e Edge) bool { return e.To == i && s.o.taken(s.g, e) }))
}

func (s *svg) frame(i, depth int) {
	n, b := &s.g.Nodes[i], s.l.boxes[i]
	m := s.open(i)
	class := fmt.Sprintf("f f%d", depth%2)
	if n.Role == Section && n.Name == "catch" {
		class += " catch"
	}
	if m.Status != 0 {
		class += " " + m.Status.String()
	}
	if n.Kind == "call map" {
		fmt.Fprintf(s, `<path class="%s" d="%s"/>`, class, roundedRect(box{b.x + 5, b.y + 5, b.w, b.h}, 8))
	}
	fmt.Fprintf(s, `<path class="%s" d="%s"/>`, class, roundedRect(b, 8))
	x, y, text := b.x+14, b.y+22, b.w-28
	face := "t"
	if n.Role == Section {
		face = "p"
	} else {
		s.icon(n.Kind, x, b.y+9)
		x, text = x+iconRoom-2, text-iconRoom+2
	}
	if s.o != nil && n.Role == Frame {
		w := min(statusWidth(m), b.w/2)
		s.statusAt(m, b.x+b.w-14-w, y, w)
		text -= w + 8
	}
	s.lines(n, m, face, x, y, text, b.x+b.w-14-x)
	s.WriteString("</g>\n")
}

// lines writes name, detail and condition of a node, each in its room; it
// returns the y of the next line.
func (s *svg) lines(n *Node, m Mark, face string, x, y, name, width int) int {
	if m.Status == event.Cancelled {
		face += " struck"
	}
	fmt.Fprintf(s, `<text class="%s" x="%d" y="%d">%s</text>`, face, x, y, escape(nameFace.fit(n.Name, min(name, widestName))))
	detail := []string{n.Detail}
	if n.Condition != "" {
		detail = append(detail, "if "+expression(n.Condition))
	}
	for _, d := range detail {
		if d != "" {
			y += lineHeight
			fmt.Fprintf(s, `<text class="d" x="%d" y="%d">%s</text>`, x, y, escape(detailFace.fit(d, min(width, widestLine))))
		}
	}
	return y + lineHeight
}

func (s *svg) icon(kind string, x, y int) {
	if p := kindPaths[kindWord(kind)]; p != "" {
		fmt.Fprintf(s, `<path class="k" transform="translate(%d %d)" d="%s"/>`, x, y, p)
	}
}

// statusAt writes sign, word and note of a mark on one line.
func (s *svg) statusAt(m Mark, x, y, width int) {
	if m.Status == 0 {
		return
	}
	path, class := statusPaths[m.Status], m.Status.String()
	if m.Skipped {
		path, class = skippedPath, event.Pending.String()
	}
	fmt.Fprintf(s, `<path class="i %s" transform="translate(%d %d)" d="%s"/>`, class, x, y-10, path)
	fmt.Fprintf(s, `<text class="w %s" x="%d" y="%d">%s`, class, x+17, y, m.Word())
	if note := labelFace.fit(m.Note(), width-statusWidth(Mark{Status: m.Status, Skipped: m.Skipped})); note != "" {
		fmt.Fprintf(s, `<tspan class="v" dx="6">%s</tspan>`, escape(note))
	}
	s.WriteString("</text>")
}

func statusWidth(m Mark) int {
	if m.Status == 0 {
		return 0
	}
	return 17 + labelFace.measure(m.Word()) + 6 + labelFace.measure(m.Note())
}

func (s *svg) node(i int) {
	n, b := &s.g.Nodes[i], s.l.boxes[i]
	switch n.Role {
	case Start:
		fmt.Fprintf(s, `<circle class="m" cx="%d" cy="%d" r="7"><title>start</title></circle>`+"\n", b.center(), b.y+b.h/2)
	case End:
		fmt.Fprintf(s, `<g><title>end</title><circle class="o" cx="%d" cy="%d" r="8.5"/><circle class="m" cx="%d" cy="%d" r="5"/></g>`+"\n", b.center(), b.y+b.h/2, b.center(), b.y+b.h/2)
	case Exit:
		fmt.Fprintf(s, `<circle class="m" cx="%d" cy="%d" r="3.5"/>`+"\n", b.center(), b.y+b.h/2)
	case Split, Join:
		fmt.Fprintf(s, `<rect class="m" x="%d" y="%d" width="%d" height="%d" rx="2"/>`+"\n", b.x, b.y, b.w, b.h)
	case Step:
		m := s.open(i)
		class := "n"
		if m.Status != 0 && !m.Skipped {
			class += " " + m.Status.String()
		}
		fmt.Fprintf(s, `<path class="%s" d="%s"/>`, class, outline(n.Kind, b))
		x := b.x + 12 + slant(n.Kind)
		s.icon(n.Kind, x, b.y+10)
		room := b.w - 24 - iconRoom - 2*slant(n.Kind) + 2
		y := s.lines(n, m, "t", x+iconRoom-2, b.y+22, room, room)
		s.statusAt(m, x+iconRoom-2, y, room)
		s.WriteString("</g>\n")
	case Frame, Section:
	}
}

func (s *svg) edge(i int) {
	e, route := &s.g.Edges[i], s.l.routes[i].route
	if len(route) < 2 {
		return
	}
	class, marker := "e", "a"
	switch {
	case s.o.taken(s.g, *e):
		class, marker = "e on", "aon"
	case s.o != nil:
		class, marker = "e off", "aoff"
	}
	if e.Kind == Failure {
		class += " error"
	}
	end := ` marker-end="url(#downbeat-` + marker + `)"`
	if r := s.g.Nodes[e.To].Role; r == Join || r == Exit {
		end = ""
	}
	fmt.Fprintf(s, `<path class="%s" d="%s"%s/>`+"\n", class, rounded(route), end)
}

// rounded is the path through points, with rounded corners.
func rounded(route []point) string {
	var b strings.Builder
	last, end := route[0], route[len(route)-1]
	fmt.Fprintf(&b, "M%d %d", last.x, last.y)
	for i := 1; i+1 < len(route); i++ {
		p, next := route[i], route[i+1]
		r := min(6, length(last, p)/2, length(p, next)/2)
		a, z := toward(p, last, r), toward(p, next, r)
		fmt.Fprintf(&b, "L%d %dQ%d %d %d %d", a.x, a.y, p.x, p.y, z.x, z.y)
		last = p
	}
	fmt.Fprintf(&b, "L%d %d", end.x, end.y)
	return b.String()
}

// length is the distance of two points on a horizontal or vertical line.
func length(a, b point) int { return max(a.x-b.x, b.x-a.x) + max(a.y-b.y, b.y-a.y) }

// toward is the point r px from p on the way to q.
func toward(p, q point, r int) point {
	step := func(from, to int) int { return max(-r, min(r, to-from)) }
	return point{p.x + step(p.x, q.x), p.y + step(p.y, q.y)}
}

func (s *svg) label(i int) {
	e, k := &s.g.Edges[i], &s.l.routes[i]
	if e.Label == "" || len(k.route) < 2 {
		return
	}
	text := s.l.label(i)
	w, faint := labelFace.measure(text)+10, ""
	if s.o != nil && !s.o.taken(s.g, *e) {
		faint = ` class="faint"`
	}
	y, tip := k.labelY, ""
	if e.Condition != "" || text != e.Label {
		tip = "<title>" + escape(join(e.Label, "\n", e.Condition)) + "</title>"
	}
	fmt.Fprintf(s, `<g%s>%s<rect class="c" x="%d" y="%d" width="%d" height="%d" rx="8"/><text class="l" x="%d" y="%d">%s</text></g>`+"\n",
		faint, tip, k.labelX-w/2, y-labelHeight/2, w, labelHeight, k.labelX, y+4, escape(text))
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

// escape makes s text or attribute of XML; what XML cannot hold is left out.
func escape(s string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r == '\n' || inXML(r) {
			return r
		}
		return -1
	}, s))
}
