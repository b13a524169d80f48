package graph_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/graph"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// tasks draws a list of tasks of any kind, nested, with any directives.
func tasks(t *rapid.T, ref string, depth int) workflow.TaskList {
	var list workflow.TaskList
	n := rapid.IntRange(1, 9).Draw(t, "n")
	for i := range n {
		name := fmt.Sprintf("t%d", i)
		task := &workflow.Task{Name: name, Reference: fmt.Sprintf("%s/%d/%s", ref, i, name)}
		directive := func() workflow.Directive {
			names := []string{"", "", "", "", "continue", "exit", "end", "nowhere", fmt.Sprintf("t%d", rapid.IntRange(0, n-1).Draw(t, "to"))}
			return workflow.Directive{Name: rapid.SampledFrom(names).Draw(t, "then")}
		}
		task.Then = directive()
		if rapid.IntRange(0, 5).Draw(t, "if") == 0 {
			task.If = &workflow.Expr{Source: "${ .x == 1 }"}
		}
		task.Kind = workflow.Kind(rapid.IntRange(0, int(workflow.WaitTask)).Draw(t, "kind"))
		inner := func(part string) workflow.TaskList {
			if depth == 0 {
				return nil
			}
			return tasks(t, task.Reference+part, depth-1)
		}
		switch task.Kind {
		case workflow.DoTask, workflow.ForTask:
			task.Do, task.For = inner("/do"), &workflow.For{Each: "item"}
		case workflow.ForkTask:
			task.Do, task.Fork = inner("/fork/branches"), &workflow.Fork{}
		case workflow.TryTask:
			task.Do, task.Try = inner("/try"), &workflow.Catch{Then: directive()}
			if rapid.Bool().Draw(t, "handler") {
				task.Try.Do = inner("/catch/do")
			}
			if rapid.Bool().Draw(t, "retry") {
				task.Try.Retry = &workflow.Retry{}
			}
		case workflow.SwitchTask:
			for c := range rapid.IntRange(0, 6).Draw(t, "cases") {
				task.Switch = append(task.Switch, workflow.Case{Name: fmt.Sprintf("case %d", c), When: &workflow.Expr{Source: ".y"}, Then: directive()})
			}
		case workflow.ListenTask:
			task.Listen = &workflow.Listen{Foreach: &workflow.Foreach{Do: inner("/foreach/do")}}
		case workflow.NoKind, workflow.CallTask, workflow.EmitTask, workflow.RaiseTask, workflow.RunTask, workflow.SetTask, workflow.WaitTask:
		}
		list = append(list, task)
	}
	return list
}

func TestBoxesNeverOverlapAndEdgesGoRoundThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := graph.Build(&workflow.Definition{Do: tasks(t, "/do", rapid.IntRange(0, 3).Draw(t, "depth"))})
		sound(t, g, nil)
		sound(t, g, &graph.Overlay{})
	})
}

func TestTraceNeverPanicsAndTakesOnlyEdges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := graph.Build(&workflow.Definition{Do: tasks(t, "/do", 2)})
		var refs []string
		edges := map[graph.Hop]bool{}
		for _, n := range g.Nodes {
			refs = append(refs, n.ID)
		}
		for _, e := range g.Edges {
			edges[graph.Hop{From: g.Nodes[e.From].ID, To: g.Nodes[e.To].ID}] = true
		}
		run := rapid.SliceOf(rapid.Custom(func(t *rapid.T) graph.Activation {
			return graph.Activation{
				Reference: rapid.SampledFrom(append(refs, "/nowhere")).Draw(t, "ref"),
				Parent:    rapid.IntRange(-1, 30).Draw(t, "parent"),
				Iteration: rapid.SliceOfN(rapid.IntRange(0, 3), 0, 2).Draw(t, "iteration"),
				Status:    event.Status(rapid.IntRange(0, 9).Draw(t, "status")),
				Duration:  time.Duration(rapid.Int64().Draw(t, "duration")),
				Total:     rapid.IntRange(0, 5).Draw(t, "total"),
			}
		})).Draw(t, "run")
		o := g.Trace("", event.Status(rapid.IntRange(0, 9).Draw(t, "status")), run)
		for h := range o.Taken {
			if !edges[h] {
				t.Fatalf("%v is no edge", h)
			}
		}
		for ext, r := range renderers {
			var b discard
			if err := r(g, &b, o); err != nil {
				t.Fatalf("%s: %v", ext, err)
			}
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestSameDrawingEveryTime(t *testing.T) {
	t.Parallel()
	for ext, r := range renderers {
		g := load(t, "testdata/orders.yaml")
		want := draw(t, r, g, g.Trace("", event.Running, orders()))
		for range 5 {
			g := load(t, "testdata/orders.yaml")
			if got := draw(t, r, g, g.Trace("", event.Running, orders())); got != want {
				t.Errorf("%s: drawn otherwise the second time", ext)
			}
		}
	}
}

// Where too many edges would need a way of their own, they run in lanes.
func TestLanesRoundManyEdges(t *testing.T) {
	t.Parallel()
	for _, factor := range []int{0, 1, 7919} {
		const n = 300
		def := &workflow.Definition{}
		for i := range n {
			to := i * factor % n
			if factor == 0 {
				to = (i + n) / 2
			}
			def.Do = append(def.Do, &workflow.Task{
				Name: fmt.Sprint("t", i), Reference: fmt.Sprint("/do/", i), Kind: workflow.SetTask,
				If: &workflow.Expr{Source: ".x"}, Then: workflow.Directive{Name: fmt.Sprint("t", to)},
			})
		}
		sound(t, graph.Build(def), nil)
	}
}

// A drawing of 2,000 tasks takes less than a second on an idle machine, whatever
// its edges; what grows with their square would take many minutes.
func TestManyTasksAreDrawnInBoundedTime(t *testing.T) {
	t.Parallel()
	const n = 2000
	plain := func(i int) *workflow.Task {
		return &workflow.Task{Name: fmt.Sprint("t", i), Reference: fmt.Sprint("/do/", i), Kind: workflow.SetTask}
	}
	shapes := map[string]func(i int, t *workflow.Task){
		"sequence":    func(int, *workflow.Task) {},
		"jump to end": func(_ int, t *workflow.Task) { t.If, t.Then.Name = &workflow.Expr{Source: "."}, "end" },
		"jump ahead": func(i int, t *workflow.Task) {
			t.If, t.Then.Name = &workflow.Expr{Source: "."}, fmt.Sprint("t", (i+n)/2)
		},
		"jump back": func(i int, t *workflow.Task) { t.If, t.Then.Name = &workflow.Expr{Source: "."}, fmt.Sprint("t", i/2) },
		"jump about": func(i int, t *workflow.Task) {
			t.If, t.Then.Name = &workflow.Expr{Source: "."}, fmt.Sprint("t", i*7919%n)
		},
		"one to all":   func(i int, t *workflow.Task) { toAll(i, t, n) },
		"wide fork":    nil,
		"spread cases": func(i int, t *workflow.Task) { spread(i, t, n) },
	}
	for name, change := range shapes {
		def := &workflow.Definition{}
		for i := range n {
			task := plain(i)
			if change != nil {
				change(i, task)
			}
			def.Do = append(def.Do, task)
		}
		if change == nil {
			def.Do = workflow.TaskList{{Name: "fork", Reference: "/do/0/fork", Kind: workflow.ForkTask, Fork: &workflow.Fork{}, Do: def.Do}}
		}
		start := time.Now()
		var b discard
		if err := graph.Build(def).SVG(&b, nil); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("%s: %v", name, took)
		if took > time.Minute { // an alarm, not a promise: machines are busy, and the race detector is slow
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func toAll(i int, t *workflow.Task, n int) {
	t.Then.Name = "end"
	if i == 0 {
		t.Kind = workflow.SwitchTask
		for j := range n {
			t.Switch = append(t.Switch, workflow.Case{Name: fmt.Sprint("case", j), Then: workflow.Directive{Name: fmt.Sprint("t", j)}})
		}
	}
}

func spread(i int, t *workflow.Task, n int) {
	t.Kind = workflow.SwitchTask
	for j := range 4 {
		t.Switch = append(t.Switch, workflow.Case{Name: fmt.Sprint("case", j), Then: workflow.Directive{Name: fmt.Sprint("t", (i*31+j*977)%n)}})
	}
}
