package graph

// layout places every node of a graph: each frame lays out what is inside it,
// then is one box for the frame around.
type layout struct {
	g       *Graph
	overlay bool
	boxes   []box // by node, in the coordinates of the whole once done
	routes  []link
	hidden  []bool // marks that a compact form does without
	byFrame [][]int
	w, h    int
}

// Sizes in px, on a grid of 4.
const (
	margin       = 24
	framePad     = 16
	headerHeight = 32
	lineHeight   = 16
	columns      = 6 // branches of a fork in a row, when they are more than maxSplit
	maxSplit     = 8
	sectionGap   = 72
	widestName   = 248
	widestLine   = 264
	iconRoom     = 26
	statusRoom   = 168 // of a frame's header
)

func newLayout(g *Graph, overlay bool) *layout {
	l := &layout{
		g: g, overlay: overlay, boxes: make([]box, len(g.Nodes)), routes: make([]link, len(g.Edges)),
		hidden: make([]bool, len(g.Nodes)), byFrame: make([][]int, len(g.Nodes)+1),
	}
	for i, e := range g.Edges {
		f := g.Nodes[e.From].Parent + 1
		l.byFrame[f] = append(l.byFrame[f], i)
	}
	l.w, l.h = l.inside(-1)
	l.shift(-1, margin, margin)
	l.w, l.h = l.w+2*margin, l.h+2*margin
	return l
}

// shift moves what is inside node i from the coordinates of i's content to
// those of the whole.
func (l *layout) shift(i, dx, dy int) {
	for _, e := range l.byFrame[i+1] {
		r := &l.routes[e]
		for j := range r.route {
			r.route[j].x += dx
			r.route[j].y += dy
		}
		r.labelX += dx
		r.labelY += dy
	}
	for _, c := range l.g.children(i) {
		b := &l.boxes[c]
		b.x += dx
		b.y += dy
		if n := &l.g.Nodes[c]; n.framed() {
			w, _ := l.contentSize(c)
			l.shift(c, b.x+(b.w-w)/2, b.y+l.header(n)+framePad)
		}
	}
}

// contentSize is how much room the children of i take.
func (l *layout) contentSize(i int) (w, h int) {
	for _, c := range l.g.children(i) {
		w, h = max(w, l.boxes[c].x+l.boxes[c].w), max(h, l.boxes[c].y+l.boxes[c].h)
	}
	for _, e := range l.byFrame[i+1] {
		r := &l.routes[e]
		for _, p := range r.route {
			w, h = max(w, p.x), max(h, p.y)
		}
		if label := l.g.Edges[e].Label; label != "" {
			w = max(w, r.labelX+labelFace.measure(l.label(e))/2+4)
		}
	}
	return w, h
}

// label is what is drawn of an edge's label.
func (l *layout) label(e int) string { return labelFace.fit(l.g.Edges[e].Label, 180) }

// inside sizes and places the children of i, relative to i's content.
func (l *layout) inside(i int) (w, h int) {
	kids := l.g.children(i)
	for _, c := range kids {
		l.boxes[c] = l.size(c)
	}
	if len(kids) == 0 {
		return 0, 0
	}
	if i >= 0 {
		switch {
		case l.g.Nodes[kids[0]].Role == Section:
			l.sections(i, kids)
			return l.contentSize(i)
		case l.g.Nodes[kids[0]].Role == Split && len(kids) > maxSplit+2:
			l.grid(i, kids)
			return l.contentSize(i)
		}
	}
	at := make(map[int]int, len(kids))
	boxes := make([]box, len(kids))
	for j, c := range kids {
		at[c], boxes[j] = j, l.boxes[c]
	}
	links := make([]link, len(l.byFrame[i+1]))
	for j, e := range l.byFrame[i+1] {
		links[j] = link{from: at[l.g.Edges[e].From], to: at[l.g.Edges[e].To], onward: l.g.Edges[e].onward}
		if l.g.Edges[e].Label != "" {
			links[j].labelW = labelFace.measure(l.label(e)) + 12
		}
	}
	arrange(boxes, links)
	if last := len(kids) - 1; l.g.Nodes[kids[last]].Role == Join && l.g.Nodes[kids[last-1]].Role != End {
		boxes[0], boxes[last] = bar(0, boxes, links), bar(last, boxes, links)
	}
	for j, c := range kids {
		l.boxes[c] = boxes[j]
	}
	for j, e := range l.byFrame[i+1] {
		l.routes[e] = links[j]
	}
	return l.contentSize(i)
}

// bar widens the mark where branches begin or meet to stand over all of them,
// so that its lines are straight.
func bar(j int, boxes []box, links []link) box {
	b := boxes[j]
	lo, hi := b.center(), b.center()
	for i := range links {
		k := &links[i]
		if k.from != j && k.to != j {
			continue
		}
		x := boxes[k.from+k.to-j].center()
		lo, hi = min(lo, x), max(hi, x)
		k.labelX = x
		k.route = []point{{x, boxes[k.from].y + boxes[k.from].h}, {x, boxes[k.to].y}}
	}
	lo, hi = lo-24, hi+24
	return box{lo, b.y, hi - lo, b.h}
}

// sections puts block and handler of a try side by side, with the error's way
// and the retry's way back between them.
func (l *layout) sections(i int, kids []int) {
	x := 0
	for _, c := range kids {
		gap := 0
		for _, e := range l.byFrame[i+1] {
			gap = max(gap, labelFace.measure(l.label(e))+36)
		}
		l.boxes[c].x = x
		x += l.boxes[c].w + max(sectionGap, gap)
	}
	for n, e := range l.byFrame[i+1] {
		from, to := l.boxes[l.g.Edges[e].From], l.boxes[l.g.Edges[e].To]
		y := 16 + 24*n
		a, b := point{from.x + from.w, y}, point{to.x, y}
		if to.x < from.x {
			a, b = point{from.x, y}, point{to.x + to.w, y}
		}
		l.routes[e] = link{from: l.g.Edges[e].From, to: l.g.Edges[e].To, route: []point{a, b}, labelX: (a.x + b.x) / 2, labelY: y}
	}
}

// grid puts the branches of a wide fork in rows, without lines.
func (l *layout) grid(i int, kids []int) {
	var branches []int
	for _, c := range kids {
		if r := l.g.Nodes[c].Role; r == Step || r == Frame {
			branches = append(branches, c)
			continue
		}
		l.hidden[c], l.boxes[c] = true, box{}
	}
	widths := make([]int, columns)
	for j, c := range branches {
		widths[j%columns] = max(widths[j%columns], l.boxes[c].w)
	}
	y := 0
	for first := 0; first < len(branches); first += columns {
		x, tall := 0, 0
		for j, c := range branches[first:min(first+columns, len(branches))] {
			l.boxes[c].x, l.boxes[c].y = x, y
			x += widths[j] + boxGap
			tall = max(tall, l.boxes[c].h)
		}
		y += tall + boxGap/2
	}
	for _, e := range l.byFrame[i+1] {
		l.routes[e] = link{}
	}
}

// size is the box of node c, at no place yet.
func (l *layout) size(c int) box {
	n := &l.g.Nodes[c]
	switch n.Role {
	case Start, End:
		return box{w: 20, h: 20}
	case Exit:
		return box{w: 8, h: 8}
	case Split, Join:
		return box{w: 48, h: 4}
	case Step:
		text := textWidth(n)
		if l.overlay {
			text = max(text, 188)
		}
		w := iconRoom + text + 24 + 2*slant(n.Kind)
		return box{w: max(160, (w+39)/40*40), h: 20 + lineHeight*l.lines(n)}
	case Frame, Section:
	}
	w, h := l.inside(c)
	head := iconRoom + textWidth(n) + 20
	if l.overlay && n.Role == Frame {
		head += statusRoom
	}
	if h > 0 {
		h += 2 * framePad
	}
	return box{w: (max(w+2*framePad, head) + 7) / 8 * 8, h: h + l.header(n)}
}

// textWidth is the room that the text of a node takes, within bounds.
func textWidth(n *Node) int {
	line := detailFace.measure(n.Detail)
	if n.Condition != "" {
		line = max(line, detailFace.measure("if "+expression(n.Condition)))
	}
	return max(min(nameFace.measure(n.Name), widestName), min(line, widestLine))
}

// lines is how many lines of text a node has.
func (l *layout) lines(n *Node) int {
	lines := 1
	if n.Detail != "" {
		lines++
	}
	if n.Condition != "" {
		lines++
	}
	if l.overlay && n.Role == Step {
		lines++
	}
	return lines
}

// header is the height of a frame's head.
func (l *layout) header(n *Node) int {
	return headerHeight - lineHeight + lineHeight*l.lines(n)
}
