package graph

import (
	"cmp"
	"slices"
)

const (
	trackGap = 10 // between parallel lines
	laneGap  = 14
	arrowGap = 26 // least height between ranks, room for an arrow head
	shortGap = 12 // above labels
)

// lane is a vertical line right of the ranks that it passes, for edges that lead
// back, and for long ones when there are too many.
type lane struct {
	first, last int // ranks
	label       int // width
	x           int
}

func (n *lane) widen(a, b, label int) {
	n.first, n.last = min(n.first, a, b), max(n.last, a, b)
	n.label = max(n.label, label)
}

// placeLanes sets the x of the lanes, the shortest nearest.
func (l *layered) placeLanes() {
	right := make([]int, len(l.ranks))
	for r, rank := range l.ranks {
		for _, v := range rank {
			right[r] = max(right[r], l.vs[v].x+(l.vs[v].w+1)/2)
		}
	}
	byLength := make([]int, len(l.lanes))
	for i := range byLength {
		byLength[i] = i
	}
	slices.SortStableFunc(byLength, func(a, b int) int {
		return cmp.Compare(l.lanes[a].last-l.lanes[a].first, l.lanes[b].last-l.lanes[b].first)
	})
	for _, i := range byLength {
		n := &l.lanes[i]
		for r := n.first; r <= n.last; r++ {
			n.x = max(n.x, right[r]+laneGap+n.label/2)
		}
		for r := n.first; r <= n.last; r++ {
			right[r] = n.x + n.label/2
		}
	}
}

// group is the lines of one gap between ranks that share a horizontal piece:
// those from one vertex, or to one vertex.
type group struct {
	tops, bottoms []int // where lines come from above, and go on below
	lo, hi        int
	track         int // -1: straight down
	ahead         []*group
	waits         int
}

func (g *group) top(x int)    { g.tops = append(g.tops, x); g.reach(x) }
func (g *group) bottom(x int) { g.bottoms = append(g.bottoms, x); g.reach(x) }

func (g *group) reach(x int) {
	if len(g.tops)+len(g.bottoms) == 1 {
		g.lo, g.hi = x, x
	}
	g.lo, g.hi = min(g.lo, x), max(g.hi, x)
}

// gap is the room above a rank; the last one is below all.
type gap struct {
	groups []*group
	from   map[int]*group // by the vertex above
	to     map[int]*group // by the vertex below
	tracks int
	y      int // of the first track
}

func (p *gap) group(m map[int]*group, key int) *group {
	g := m[key]
	if g == nil {
		g = &group{track: -1}
		m[key] = g
		p.groups = append(p.groups, g)
	}
	return g
}

// route sets the y of all and the points of the links.
func (l *layered) route() {
	gaps := make([]gap, len(l.ranks)+1)
	for i := range gaps {
		gaps[i].from, gaps[i].to = map[int]*group{}, map[int]*group{}
	}
	hops := l.collect(gaps)
	for i := range gaps {
		gaps[i].assign()
	}
	tops := l.heights(gaps)
	for b := range l.boxes {
		v := &l.vs[b]
		l.boxes[b].x, l.boxes[b].y = v.x-v.w/2, tops[v.rank]
	}
	for i := range l.links {
		k := &l.links[i]
		if k.vertices == nil {
			l.routeLane(k, gaps, tops)
			continue
		}
		first := &l.vs[k.from]
		k.route = append(k.route, point{first.x, tops[first.rank] + first.h})
		for j, v := range k.vertices[1:] {
			u, v := &l.vs[k.vertices[j]], &l.vs[v]
			if g := hops[hop{k.vertices[j], k.vertices[j+1]}]; u.x != v.x {
				y := gaps[v.rank].y + g.track*trackGap
				k.route = append(k.route, point{u.x, y}, point{v.x, y})
			}
		}
		k.route = append(k.route, point{l.vs[k.to].x, tops[l.rankOf[k.to]]})
		if k.labelled >= 0 {
			v := &l.vs[k.labelled]
			k.labelX, k.labelY = v.x, tops[v.rank]+labelHeight/2
		}
	}
}

// collect finds the groups of every gap, and of every hop.
func (l *layered) collect(gaps []gap) map[hop]*group {
	back := make([]bool, len(l.boxes)) // the box has a line to a lane
	for i := range l.links {
		if l.links[i].vertices == nil {
			back[l.links[i].from] = true
		}
	}
	hops := make(map[hop]*group, len(l.vs))
	for u := range l.vs {
		for _, d := range l.vs[u].down {
			p := &gaps[l.vs[d].rank]
			var g *group
			if len(l.vs[u].down) > 1 || u < len(l.boxes) && back[u] {
				g = p.group(p.from, u)
			} else {
				g = p.group(p.to, d)
			}
			g.top(l.vs[u].x)
			g.bottom(l.vs[d].x)
			hops[hop{u, d}] = g
		}
	}
	for i := range l.links {
		k := &l.links[i]
		if k.vertices != nil {
			continue
		}
		below, above := &gaps[l.rankOf[k.from]+1], &gaps[l.rankOf[k.to]]
		x := l.lanes[k.lane].x
		s, t := below.group(below.from, k.from), above.group(above.to, k.to)
		s.top(l.vs[k.from].x)
		t.bottom(l.vs[k.to].x)
		if k.backwards {
			s.top(x)
			t.bottom(x)
		} else {
			s.bottom(x)
			t.top(x)
		}
		k.sourceTarget = [2]*group{s, t}
	}
	return hops
}

// assign gives each group that is not straight a track, so that no two lines of
// different groups lie on each other.
func (p *gap) assign() {
	type end struct {
		x int
		g *group
	}
	var bottoms []end
	for _, g := range p.groups {
		for _, x := range g.bottoms {
			bottoms = append(bottoms, end{x, g})
		}
	}
	slices.SortStableFunc(bottoms, func(a, b end) int { return cmp.Compare(a.x, b.x) })
	for _, g := range p.groups {
		for _, x := range g.tops {
			at, _ := slices.BinarySearchFunc(bottoms, x-3, func(e end, x int) int { return cmp.Compare(e.x, x) })
			for ; at < len(bottoms) && bottoms[at].x <= x+3; at++ {
				if b := bottoms[at].g; b != g {
					g.ahead = append(g.ahead, b) // g's line comes down to where b's begins
					b.waits++
				}
			}
		}
	}
	type span struct{ lo, hi int }
	var tracks [][]span
	open := slices.Clone(p.groups)
	slices.SortStableFunc(open, func(a, b *group) int { return cmp.Or(cmp.Compare(a.hi-a.lo, b.hi-b.lo), cmp.Compare(a.lo, b.lo)) })
	least := make(map[*group]int, len(open))
	for len(open) > 0 {
		at := max(0, slices.IndexFunc(open, func(g *group) bool { return g.waits <= 0 })) // 0: a circle is cut
		g := open[at]
		open = slices.Delete(open, at, at+1)
		next := least[g]
		if g.lo < g.hi {
			t := next
			for ; t < len(tracks); t++ {
				if !slices.ContainsFunc(tracks[t], func(s span) bool { return g.lo <= s.hi+4 && s.lo <= g.hi+4 }) {
					break
				}
			}
			if t == len(tracks) {
				tracks = append(tracks, nil)
			}
			tracks[t] = append(tracks[t], span{g.lo, g.hi})
			g.track, next = t, t+1
		}
		for _, b := range g.ahead {
			b.waits--
			least[b] = max(least[b], next)
		}
	}
	p.tracks = len(tracks)
}

// heights returns the upper edge of each rank.
func (l *layered) heights(gaps []gap) []int {
	labels := func(r int) bool {
		return r >= 0 && r < len(l.ranks) && !slices.ContainsFunc(l.ranks[r], func(v int) bool { return l.vs[v].box >= 0 })
	}
	tops := make([]int, len(l.ranks))
	y := 0
	for r := range gaps {
		p := &gaps[r]
		least, above, below := arrowGap, 12, 16
		switch {
		case r == 0 || r == len(l.ranks):
			least = 0
		case labels(r):
			least, above, below = shortGap, 10, 8
		case labels(r - 1):
			least, above = 18, 8
		}
		if p.tracks > 0 {
			p.y = y + above
			least = above + (p.tracks-1)*trackGap + below
			if r == len(l.ranks) {
				least -= below - 2
			}
		}
		y += least
		if r < len(l.ranks) {
			tops[r] = y
			tall := 0
			for _, v := range l.ranks[r] {
				tall = max(tall, l.vs[v].h)
			}
			y += tall
		}
	}
	return tops
}

func (l *layered) routeLane(k *link, gaps []gap, tops []int) {
	n := l.lanes[k.lane]
	from, to := &l.vs[k.from], &l.vs[k.to]
	y1 := gaps[from.rank+1].y + k.sourceTarget[0].track*trackGap
	y2 := gaps[to.rank].y + k.sourceTarget[1].track*trackGap
	k.route = []point{{from.x, tops[from.rank] + from.h}, {from.x, y1}, {n.x, y1}, {n.x, y2}, {to.x, y2}, {to.x, tops[to.rank]}}
	if k.labelW > 0 {
		k.labelX, k.labelY = n.x, (y1+y2)/2
	}
}
