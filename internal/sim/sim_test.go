package sim_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/sim"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Programs whose outcome does not depend on how long things take.
type generator struct {
	t *rapid.T
	n int
}

func (g *generator) name() string {
	g.n++
	return fmt.Sprintf("t%d", g.n)
}

func (g *generator) list(depth int, indent string) string {
	var b strings.Builder
	for range rapid.IntRange(1, 3).Draw(g.t, "tasks") {
		b.WriteString(g.task(depth, indent))
	}
	return b.String()
}

func (g *generator) shell(failing bool) string {
	failures := 0
	if failing {
		failures = rapid.IntRange(0, 3).Draw(g.t, "failures")
	}
	return fmt.Sprintf("run: {shell: {command: '%d %d o%d'}}", rapid.IntRange(0, 2000).Draw(g.t, "delay"), failures, g.n)
}

func (g *generator) task(depth int, indent string) string {
	name := g.name()
	in := indent + "      "
	kinds := []string{"set", "noop", "shell", "wait", "switch", "emit", "child", "shell", "noop"}
	if depth > 0 {
		kinds = append(kinds, "do", "for", "fork", "try", "map", "try", "fork")
	}
	head := indent + "- " + name + ":\n" + indent + "    "
	switch rapid.SampledFrom(kinds).Draw(g.t, "kind") {
	case "set":
		return head + "set: {v: '${ . }', n: " + fmt.Sprint(g.n) + "}\n"
	case "noop":
		return head + "call: noop\n"
	case "shell":
		return head + g.shell(false) + "\n"
	case "wait":
		return head + fmt.Sprintf("wait: {milliseconds: %d}\n", rapid.SampledFrom([]int{0, 1, 500, 90_000, 600_000}).Draw(g.t, "wait"))
	case "switch":
		return head + "switch:\n" + in + "- c: {when: '$workflow.input.n > 4', then: exit}\n" + in + "- d: {then: continue}\n"
	case "emit":
		return head + "emit: {event: {with: {source: /sim, type: made, data: '${ . }'}}}\n" + indent + "    output: {as: .data}\n"
	case "child":
		return head + "run: {workflow: {namespace: test, name: child, version: latest}}\n"
	case "do":
		return head + "do:\n" + g.list(depth-1, in)
	case "for":
		return head + "for: {in: '${ [1,2] }'}\n" + indent + "    do:\n" + g.list(depth-1, in)
	case "fork":
		return head + "fork:\n" + in + "branches:\n" + g.task(depth-1, in+"  ") + g.task(depth-1, in+"  ")
	case "map":
		return head + "call: map\n" + indent + "    with:\n" + in + "in: '${ [1,2,3] }'\n" + in + "limit: 2\n" + in + "do:\n" + g.list(depth-1, in+"  ")
	case "try":
		g.n++
		return head + "try:\n" + in + "- s: {" + g.shell(true) + "}\n" + g.task(depth-1, in) +
			indent + "    catch:\n" + in + fmt.Sprintf("retry: {delay: {milliseconds: %d}, limit: {attempt: {count: 2}}}\n", rapid.SampledFrom([]int{1, 1000, 100_000}).Draw(g.t, "pause")) +
			in + "do:\n" + in + "  - h: {set: {caught: '${ $error.status }'}}\n"
	}
	return ""
}

func decode(t interface{ Fatalf(string, ...any) }, name, tasks string) *workflow.Definition {
	src := "document: {dsl: '1.0.3', namespace: test, name: " + name + ", version: '1.0.0'}\ndo:\n" + tasks
	def, findings := workflow.Decode([]byte(src))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			t.Fatalf("%s\n%s", f.Format(name), src)
		}
	}
	return def
}

const child = "  - a: {call: noop}\n  - b: {wait: {seconds: 2}}\n  - c: {run: {shell: {command: '700 0 child'}}}\n"

// Invariant 3: a run that crashes at any commits ends as the same run without
// crashes, with the same effects, each at least once and under one key.
func TestCrashesChangeNoOutcome(t *testing.T) {
	t.Parallel()
	lib := decode(t, "child", child)
	library := engine.Library(func(_ context.Context, id string) (*workflow.Definition, error) {
		if strings.HasPrefix(id, "test/child:") {
			return lib, nil
		}
		return nil, nil
	})
	crashes := 0
	rapid.Check(t, func(rt *rapid.T) {
		g := &generator{t: rt}
		tasks := g.list(2, "  ")
		def := decode(rt, "w", tasks)
		input := value.FromJSON(fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 9).Draw(rt, "n")))
		points := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sim.Crash {
			return sim.Crash{Commit: rapid.IntRange(1, 6).Draw(t, "commit"), Stored: rapid.Bool().Draw(t, "stored")}
		}), 1, 8).Draw(rt, "crashes")
		var smooth, rough sim.Outcome
		var failure error
		carry := func(points []sim.Crash) (out sim.Outcome) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.New()
				w.Library = library
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Hour)
				defer cancel()
				out, failure = w.Carry(ctx, def, input, points)
			})
			return out
		}
		if smooth = carry(nil); failure != nil {
			rt.Fatalf("without crashes: %v\n%s", failure, tasks)
		}
		if rough = carry(points); failure != nil {
			rt.Fatalf("with crashes %v: %v\n%s", points, failure, tasks)
		}
		crashes += rough.Crashes
		if d := cmp.Diff(smooth.End, rough.End); d != "" {
			rt.Fatalf("crashes %v changed the outcome (-without +with): %s\n%s", points, d, tasks)
		}
		// A start that was not acknowledged may have left a run of its own behind; its effects are the same ones.
		if d := cmp.Diff(smooth.Effects, rough.Effects); d != "" {
			rt.Fatalf("crashes %v changed the effects (-without +with): %s\n%s", points, d, tasks)
		}
	})
	t.Logf("%d crashes", crashes)
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}
