package graph

import (
	"cmp"
	"slices"
)

// The layout of one frame's content is Sugiyama's: nodes stand in ranks from top
// to bottom, edges over several ranks pass through places of their own, places
// are ordered to cross little, then given coordinates (place.go) and routes
// (route.go). The order of the definition is a topological order of all edges
// but those that lead back, so no cycle has to be searched.

type point struct{ x, y int }

// box is a rectangle; x and y are its left upper corner.
type box struct{ x, y, w, h int }

func (b box) center() int { return b.x + b.w/2 }

// link is an edge between two boxes, with the size of its label (0: none).
type link struct {
	from, to     int
	labelW       int
	route        []point
	labelX       int // center of the label; labelY too
	labelY       int
	vertices     []int // from, places on the way, to; nil when it runs in a lane
	lane         int   // place in layered.lanes, when vertices is nil
	labelled     int   // the vertex that is the label; -1
	backwards    bool
	onward       bool      // drawn straight down when that can be
	sourceTarget [2]*group // of a link in a lane: its groups below from and above to
}

// vertex is a place in a rank: a box, a label, or where an edge passes through.
type vertex struct {
	box      int // -1: no box
	rank     int
	pos      int
	w, h     int
	x        int // center
	up, down []int
	mainUp   int // the vertex above that it should stand below, plus 1; 0: any
	mainDown int
}

type layered struct {
	boxes  []box
	links  []link
	vs     []vertex
	ranks  [][]int
	lanes  []lane
	rankOf []int
}

const (
	labelHeight = 16
	boxGap      = 28     // between boxes of a rank
	wayGap      = 14     // between a way through and anything
	maxPlaces   = 12_000 // ways through; edges beyond go round in lanes
)

// arrange places boxes, at least one, and routes links.
// A link from a box to one of the same or a lower index leads back.
func arrange(boxes []box, links []link) {
	l := &layered{boxes: boxes, links: links}
	l.rank()
	l.connect()
	l.order()
	l.place()
	l.placeLanes()
	l.route()
}

// rank puts each box below all that lead to it.
func (l *layered) rank() {
	in := make([][]int, len(l.boxes))
	for i := range l.links {
		k := &l.links[i]
		k.labelled = -1
		if k.backwards = k.to <= k.from; !k.backwards {
			in[k.to] = append(in[k.to], i)
		}
	}
	l.rankOf = make([]int, len(l.boxes))
	for b := range l.boxes {
		if b > 0 && len(in[b]) == 0 && len(l.links) > 0 {
			l.rankOf[b] = l.rankOf[b-1] + 1 // not reached: keeps its place in the list
		}
		for _, i := range in[b] {
			k := &l.links[i] // a label takes a rank of its own
			l.rankOf[b] = max(l.rankOf[b], l.rankOf[k.from]+1+min(1, k.labelW))
		}
	}
}

func (l *layered) vertex(v vertex) int {
	l.vs = append(l.vs, v)
	return len(l.vs) - 1
}

func (l *layered) hop(a, b int) {
	if !slices.Contains(l.vs[b].up, a) {
		l.vs[a].down = append(l.vs[a].down, b)
		l.vs[b].up = append(l.vs[b].up, a)
	}
}

// connect makes the vertices. Long edges to the same box share their ways, so
// that twenty jumps to the end are one line with twenty inlets.
func (l *layered) connect() {
	for b, bx := range l.boxes {
		l.vertex(vertex{box: b, rank: l.rankOf[b], w: bx.w, h: bx.h})
	}
	type way struct{ to, rank int }
	ways := map[way]int{}
	laneOf := map[int]int{} // by target, one more for links that lead back
	for i := range l.links {
		k := &l.links[i]
		last := l.rankOf[k.to]
		if k.backwards || last-l.rankOf[k.from] > 1 && len(l.vs)-len(l.boxes)+last-l.rankOf[k.from] > maxPlaces {
			key := k.to * 2
			if k.backwards {
				key++
			}
			at, ok := laneOf[key]
			if !ok {
				at = len(l.lanes)
				laneOf[key] = at
				l.lanes = append(l.lanes, lane{first: 1 << 30})
			}
			k.lane = at
			l.lanes[at].widen(l.rankOf[k.from], last, k.labelW)
			continue
		}
		path := []int{k.from}
		step := func(v int) {
			l.hop(path[len(path)-1], v)
			path = append(path, v)
		}
		r := l.rankOf[k.from] + 1
		if k.labelW > 0 {
			k.labelled = l.vertex(vertex{box: -1, rank: r, w: k.labelW, h: labelHeight})
			step(k.labelled)
			r++
		}
		for ; r < last; r++ {
			v, ok := ways[way{k.to, r}]
			if !ok {
				v = l.vertex(vertex{box: -1, rank: r})
				ways[way{k.to, r}] = v
			}
			step(v)
		}
		step(k.to)
		k.vertices = path
		for j := 1; j < len(path) && k.onward; j++ {
			l.main(path[j-1], path[j])
		}
	}
}

// main makes b stand below a, rather than below or above another.
func (l *layered) main(a, b int) {
	if l.vs[a].mainDown == 0 && l.vs[b].mainUp == 0 {
		l.vs[a].mainDown, l.vs[b].mainUp = b+1, a+1
	}
}

// order decides who stands left and who right in each rank.
func (l *layered) order() {
	deepest := 0
	for i := range l.vs {
		deepest = max(deepest, l.vs[i].rank)
	}
	l.ranks = make([][]int, deepest+1)
	seen := make([]bool, len(l.vs))
	for b := range l.boxes { // depth first, in the order of the definition
		stack := []int{b}
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if seen[v] {
				continue
			}
			seen[v] = true
			l.ranks[l.vs[v].rank] = append(l.ranks[l.vs[v].rank], v)
			for _, d := range slices.Backward(l.vs[v].down) {
				stack = append(stack, d)
			}
		}
	}
	l.number()
	best, bestOrder := l.crossings(), l.copyRanks()
	for round := range 12 {
		if best == 0 {
			break
		}
		l.sweep(round%2 == 0, round%4 < 2)
		if c := l.crossings(); c < best {
			best, bestOrder = c, l.copyRanks()
		}
	}
	l.ranks = bestOrder
	l.number()
}

func (l *layered) copyRanks() [][]int {
	out := make([][]int, len(l.ranks))
	for i, r := range l.ranks {
		out[i] = slices.Clone(r)
	}
	return out
}

func (l *layered) number() {
	for _, r := range l.ranks {
		for i, v := range r {
			l.vs[v].pos = i
		}
	}
}

// sweep orders each rank by the mean place of its neighbours in the rank before.
func (l *layered) sweep(down, keepTies bool) {
	mean := make([]int, len(l.vs))
	for i := range l.ranks {
		r := l.ranks[i]
		if !down {
			r = l.ranks[len(l.ranks)-1-i]
		}
		if len(r) < 2 {
			continue
		}
		for _, v := range r {
			near := l.vs[v].up
			if !down {
				near = l.vs[v].down
			}
			mean[v] = l.vs[v].pos * 1024
			if len(near) > 0 {
				sum := 0
				for _, n := range near {
					sum += l.vs[n].pos
				}
				mean[v] = sum * 1024 / len(near)
			}
		}
		slices.SortStableFunc(r, func(a, b int) int {
			if c := cmp.Compare(mean[a], mean[b]); c != 0 || keepTies {
				return c
			}
			return cmp.Compare(l.vs[b].pos, l.vs[a].pos)
		})
		for i, v := range r {
			l.vs[v].pos = i
		}
	}
}

// crossings counts how often edges cross, with a tree of sums for each rank.
func (l *layered) crossings() int {
	total := 0
	var tree []int
	for i := 1; i < len(l.ranks); i++ {
		width := len(l.ranks[i])
		tree = slices.Grow(tree[:0], width+1)[:width+1]
		clear(tree)
		placed := 0
		for _, v := range l.ranks[i-1] {
			for _, d := range l.vs[v].down {
				notRight := 0
				for j := l.vs[d].pos + 1; j > 0; j -= j & -j {
					notRight += tree[j]
				}
				total += placed - notRight
			}
			for _, d := range l.vs[v].down {
				for j := l.vs[d].pos + 1; j <= width; j += j & -j {
					tree[j]++
				}
				placed++
			}
		}
	}
	return total
}
