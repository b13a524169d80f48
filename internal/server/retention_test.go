package server_test

import (
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// D38: metadata.downbeat.retention of a workflow stands over what the node keeps;
// its newest run's definition counts.
func TestRetentionOfAWorkflow(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64
	c := server.Config{
		DataDir: t.TempDir(), Keep: 3, KeepFor: 48 * time.Hour,
		Clock: lifecycle.Clock{Shift: func() time.Duration { return time.Duration(shift.Load()) }},
	}
	n := open(t, c)
	for range 6 {
		for name, settings := range map[string]string{
			"plain": "", "few": ", metadata: {downbeat: {retention: {keep: 1}}}", "many": ", metadata: {downbeat: {retention: {keep: 5}}}",
			"brief": ", metadata: {downbeat: {retention: {for: PT1H}}}", "long": ", metadata: {downbeat: {retention: {for: P9D}}}",
		} {
			src := "document: {dsl: '1.0.3', namespace: test, name: " + name + ", version: '1.0.0'" + settings + "}\ndo:\n  - s: {set: {a: 1}}\n"
			def, findings := workflow.Decode([]byte(src))
			if len(findings) > 0 {
				t.Fatal(findings[0].Format(name))
			}
			wait(t, n, start(t, n, def, `{}`))
		}
	}
	// A node that ends prunes a little, somewhere; several do all of it.
	left := func(want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for range 100 {
			shut(t, n)
			n = open(t, c)
			rows, _, err := n.Control.List(t.Context(), journal.Query{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			clear(got)
			for _, r := range rows {
				got[r.Workflow]++
			}
			if maps.Equal(want, got) {
				return
			}
		}
		t.Error(cmp.Diff(want, got))
	}
	left(map[string]int{"test/plain:1.0.0": 3, "test/few:1.0.0": 1, "test/many:1.0.0": 5, "test/brief:1.0.0": 3, "test/long:1.0.0": 3})
	shift.Store(int64(2 * time.Hour))
	left(map[string]int{"test/plain:1.0.0": 3, "test/few:1.0.0": 1, "test/many:1.0.0": 5, "test/long:1.0.0": 3})
	shift.Store(int64(72 * time.Hour))
	left(map[string]int{"test/long:1.0.0": 3})
}
