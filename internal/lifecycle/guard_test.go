package lifecycle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		heap := uint64(500)
		g := &lifecycle.Guard{Time: time.Second, Heap: 100, Size: func() uint64 { return heap }}
		over := func(want bool, what string) {
			t.Helper()
			if got := g.Over(); got != want {
				t.Errorf("%s: over is %v", what, got)
			}
		}
		g.Begin()
		over(false, "the heap was large before")
		heap = 600
		over(false, "as much as it may")
		heap = 601
		over(true, "a byte more")
		heap = 300
		over(false, "a collection")
		heap = 401
		over(true, "grown since the collection")
		g.Begin()
		over(false, "another computation begins with what is there")
		time.Sleep(time.Second)
		over(false, "as long as it may")
		time.Sleep(time.Millisecond)
		over(true, "too long")
		g.Heap, heap = 0, 1<<40
		g.Begin()
		over(false, "no limit of the heap")
	})
}

var kept [][]byte

func TestGuardMeasuresThisProcess(t *testing.T) {
	g := &lifecycle.Guard{Time: time.Hour, Heap: 16 << 20}
	g.Begin()
	if g.Over() {
		t.Error("over at the begin")
	}
	for range 64 {
		kept = append(kept, make([]byte, 1<<20))
	}
	if !g.Over() {
		t.Error("64 MiB were made, and it did not see them")
	}
	kept = nil
}

func BenchmarkGuard(b *testing.B) {
	g := &lifecycle.Guard{Time: time.Hour, Heap: 1 << 50}
	g.Begin()
	for b.Loop() {
		g.Over()
	}
}
