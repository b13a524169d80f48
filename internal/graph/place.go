package graph

import "slices"

// place gives each vertex its x by the method of Brandes and Köpf: four times
// aligned as far to one side as possible with neighbours that can be above each
// other, and of the four results the mean of the middle two. Long edges become
// straight, and what leads on stands below what leads there.
func (l *layered) place() {
	marked := l.conflicts()
	var results [4][]int
	narrowest, at := 1<<30, 0
	var low, high [4]int
	for i := range results {
		down, left := i < 2, i%2 == 0
		x := l.compact(l.align(marked, down, left), left)
		low[i], high[i] = 1<<30, -1<<30
		for v := range x {
			low[i] = min(low[i], x[v]-l.vs[v].w/2)
			high[i] = max(high[i], x[v]+l.vs[v].w/2)
		}
		if high[i]-low[i] < narrowest {
			narrowest, at = high[i]-low[i], i
		}
		results[i] = x
	}
	leftmost := 1 << 30
	for v := range l.vs {
		var xs [4]int
		for i, x := range results {
			shift := low[at] - low[i]
			if i%2 == 1 {
				shift = high[at] - high[i]
			}
			xs[i] = x[v] + shift
		}
		slices.Sort(xs[:])
		l.vs[v].x = (xs[1] + xs[2]) >> 1
		leftmost = min(leftmost, l.vs[v].x-l.vs[v].w/2)
	}
	for v := range l.vs {
		l.vs[v].x -= leftmost
	}
}

type hop struct{ up, down int }

// conflicts marks the hops that cross a part of a long edge: they yield to it.
func (l *layered) conflicts() map[hop]bool {
	marked := map[hop]bool{}
	inner := func(v int) int { // the way above a way, or -1
		if l.vs[v].w == 0 && l.vs[v].box < 0 {
			for _, u := range l.vs[v].up {
				if l.vs[u].w == 0 && l.vs[u].box < 0 {
					return u
				}
			}
		}
		return -1
	}
	for i := 1; i < len(l.ranks); i++ {
		prev, next := 0, 0
		for at, v := range l.ranks[i] {
			u := inner(v)
			if u < 0 && at+1 < len(l.ranks[i]) {
				continue
			}
			end := len(l.ranks[i-1])
			if u >= 0 {
				end = l.vs[u].pos
			}
			for ; next <= at; next++ {
				w := l.ranks[i][next]
				keep := inner(w)
				for _, a := range l.vs[w].up {
					if p := l.vs[a].pos; (p < prev || p > end) && a != keep {
						marked[hop{a, w}] = true
					}
				}
			}
			prev = end
		}
	}
	return marked
}

// align returns, for each vertex, the first vertex of its column.
func (l *layered) align(marked map[hop]bool, down, left bool) []int {
	root, next := make([]int, len(l.vs)), make([]int, len(l.vs))
	for v := range l.vs {
		root[v], next[v] = v, v
	}
	var near []int
	for i := range l.ranks {
		r := l.ranks[i]
		if !down {
			r = l.ranks[len(l.ranks)-1-i]
		}
		limit := -1 << 30
		for j := range r {
			v := r[j]
			if !left {
				v = r[len(r)-1-j]
			}
			near = l.near(near[:0], v, down)
			if len(near) == 0 {
				continue
			}
			side := func(n int) int {
				if left {
					return l.vs[n].pos
				}
				return -l.vs[n].pos
			}
			slices.SortFunc(near, func(a, b int) int { return side(a) - side(b) })
			for m := (len(near) - 1) / 2; m <= len(near)/2; m++ {
				n := near[m]
				h := hop{n, v}
				if !down {
					h = hop{v, n}
				}
				if next[v] == v && limit < side(n) && !marked[h] {
					next[n], root[v] = v, root[n]
					next[v] = root[v]
					limit = side(n)
				}
			}
		}
	}
	return root
}

// near appends the vertices above or below v that v can stand in line with.
func (l *layered) near(to []int, v int, above bool) []int {
	own, all := l.vs[v].mainUp, l.vs[v].up
	if !above {
		own, all = l.vs[v].mainDown, l.vs[v].down
	}
	for _, n := range all {
		theirs := l.vs[n].mainDown
		if !above {
			theirs = l.vs[n].mainUp
		}
		if (own == 0 || own == n+1) && (theirs == 0 || theirs == v+1) {
			to = append(to, n)
		}
	}
	return to
}

// apart is the least distance between the centers of two neighbours of a rank.
func (l *layered) apart(a, b int) int {
	gap := boxGap
	if l.vs[a].box < 0 || l.vs[b].box < 0 {
		gap = wayGap
	}
	return (l.vs[a].w+1)/2 + gap + (l.vs[b].w+1)/2
}

// compact sets the columns as near to each other as they can stand.
func (l *layered) compact(root []int, left bool) []int {
	type side struct{ column, apart int }
	after := make([][]side, len(l.vs)) // columns to the right
	before := make([]int, len(l.vs))   // how many columns to the left are open
	for _, r := range l.ranks {
		for i := 1; i < len(r); i++ {
			a, b := root[r[i-1]], root[r[i]]
			after[a] = append(after[a], side{b, l.apart(r[i-1], r[i])})
			before[b]++
		}
	}
	var sorted []int
	for v := range l.vs {
		if root[v] == v && before[v] == 0 {
			sorted = append(sorted, v)
		}
	}
	x := make([]int, len(l.vs))
	for i := 0; i < len(sorted); i++ {
		v := sorted[i]
		for _, s := range after[v] {
			x[s.column] = max(x[s.column], x[v]+s.apart)
			if before[s.column]--; before[s.column] == 0 {
				sorted = append(sorted, s.column)
			}
		}
	}
	// Once more from the right: a column goes as near to its right neighbour as
	// it can. When aligned to the right, the whole is pulled there first.
	widest := 0
	for _, v := range sorted {
		widest = max(widest, x[v])
	}
	for _, v := range slices.Backward(sorted) {
		room, bound := widest, !left
		for _, s := range after[v] {
			if most := x[s.column] - s.apart; !bound || most < room {
				room, bound = most, true
			}
		}
		if bound {
			x[v] = max(x[v], room)
		}
	}
	out := make([]int, len(l.vs))
	for v := range l.vs {
		out[v] = x[root[v]]
	}
	return out
}
