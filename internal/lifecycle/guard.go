package lifecycle

import (
	"runtime/metrics"
	"time"
)

// Guard says when a computation has taken too much of this machine: too long,
// or too much memory. What it says depends on the machine. One goroutine uses
// it at a time.
type Guard struct {
	Clock Clock
	Time  time.Duration // at most
	Heap  uint64        // that the process may grow by, in bytes; 0: any
	// Size measures the heap; nil: of this process, dead objects that were not
	// collected yet included.
	Size func() uint64

	began time.Time
	base  uint64
	last  [1]metrics.Sample
}

// Begin says that a computation begins. It costs next to nothing: the heap is
// measured when Over is called first.
func (g *Guard) Begin() { g.began, g.base = g.Clock.Monotonic(), 0 }

// Over reports whether the computation should be given up.
func (g *Guard) Over() bool {
	if g.Clock.Since(g.began) > g.Time {
		return true
	}
	if g.Heap == 0 {
		return false
	}
	now := g.size()
	if g.base == 0 || now < g.base {
		g.base = now // a collection in between gave the computation's room back
		return false
	}
	return now-g.base > g.Heap
}

func (g *Guard) size() uint64 {
	if g.Size != nil {
		return g.Size()
	}
	g.last[0].Name = "/memory/classes/heap/objects:bytes"
	metrics.Read(g.last[:])
	return g.last[0].Value.Uint64()
}
