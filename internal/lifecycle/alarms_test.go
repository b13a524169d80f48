package lifecycle_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// Alarms come in order of due time, those due together in order of starting.
func TestAlarmsComeInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h lifecycle.Alarms[int]
		var want []*lifecycle.Alarm[int]
		for i := range rapid.IntRange(0, 200).Draw(t, "alarms") {
			want = append(want, h.Start(time.Unix(int64(rapid.IntRange(0, 20).Draw(t, "at")), 0), i))
		}
		want = slices.DeleteFunc(want, func(a *lifecycle.Alarm[int]) bool {
			if rapid.IntRange(0, 3).Draw(t, "stop") > 0 {
				return false
			}
			h.Stop(a)
			h.Stop(a)
			return true
		})
		slices.SortStableFunc(want, func(a, b *lifecycle.Alarm[int]) int { return a.At.Compare(b.At) })
		for _, w := range want {
			a := h.Next()
			if a != w || !a.Running() {
				t.Fatalf("alarm %v comes, want %d", a, w.What)
			}
			h.Stop(a)
		}
		if h.Next() != nil {
			t.Fatal("a stopped alarm comes")
		}
	})
}
