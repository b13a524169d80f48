package check

import (
	"fmt"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// step is what follows a task of a list: the tasks that may be next, and
// whether the list may be left after it.
type step struct {
	next  []int
	leave bool
}

// flow looks at a task list as a graph: tasks that nothing leads to, and loops
// that nothing leads out of.
func (c *checker) flow(l workflow.TaskList) {
	if len(l) == 0 {
		return
	}
	steps := make([]step, len(l))
	places := make(map[string]int, len(l))
	for i, t := range l {
		places[t.Name] = i
	}
	for i, t := range l {
		steps[i] = follow(t, i, places)
	}
	reached := around(steps, 0)
	for i, t := range l {
		if !reached[i] && (i == 0 || reached[i-1]) {
			c.report(workflow.Finding{
				Pos: t.Pos, Severity: workflow.SeverityWarning, Rule: "flow/unreachable", DSL: "DSL 53-57", Reference: t.Reference,
				Message: fmt.Sprintf("the task %s is never reached", source.Quote(t.Name)), Allowed: "a task before it always leaves, and no `then` leads here",
			})
		}
	}
	c.endless(l, steps, reached)
}

// follow tells what may come after task i.
func follow(t *workflow.Task, i int, places map[string]int) step {
	var s step
	s.leave = t.Kind == workflow.RaiseTask || leavesInside(t)
	if t.If != nil { // skipped: the next one, whatever `then` says (D9)
		s.to(places, i, "")
	}
	switch t.Kind {
	case workflow.RaiseTask:
	case workflow.SwitchTask:
		hasDefault := false
		for _, k := range t.Switch {
			s.to(places, i, k.Then.Name)
			hasDefault = hasDefault || k.When == nil
		}
		if !hasDefault {
			s.to(places, i, t.Then.Name)
		}
	default:
		s.to(places, i, t.Then.Name)
		if t.Try != nil && t.Try.Then.Name != "" {
			s.to(places, i, t.Try.Then.Name)
		}
	}
	return s
}

// to adds where a flow directive of task i leads.
func (s *step) to(places map[string]int, i int, directive string) {
	target := i + 1
	switch directive {
	case "", "continue":
	case "exit", "end":
		s.leave = true
		return
	default:
		var ok bool
		if target, ok = places[directive]; !ok {
			target = len(places) // Decode has reported it
		}
	}
	if target >= len(places) {
		s.leave = true
		return
	}
	s.next = append(s.next, target)
}

// leavesInside reports whether a task inside t may end the run or fail on
// purpose: then t is a way out.
func leavesInside(t *workflow.Task) bool {
	for _, inner := range t.Lists() {
		for _, u := range inner {
			if u.Kind == workflow.RaiseTask || u.Then.Name == "end" || leavesInside(u) {
				return true
			}
			for _, k := range u.Switch {
				if k.Then.Name == "end" {
					return true
				}
			}
			if u.Try != nil && u.Try.Then.Name == "end" {
				return true
			}
		}
	}
	return false
}

// endless reports a loop that cannot be left and does nothing outside: it would
// only burn its budget (DSL 57, DESIGN §7).
func (c *checker) endless(l workflow.TaskList, steps []step, reached []bool) {
	out := wayOut(steps)
	i := 0
	for i < len(l) && (!reached[i] || out[i]) {
		i++
	}
	if i == len(l) {
		return
	}
	// Everything after i has no way out either, so going on comes to a circle.
	for seen := make([]bool, len(l)); !seen[i]; i = steps[i].next[0] {
		seen[i] = true
	}
	if loopActs(l, steps, i) {
		return // it waits or does something each time: a service, perhaps
	}
	t := l[i]
	pos := t.Pos
	if t.Then.Pos.IsValid() {
		pos = t.Then.Pos
	}
	c.report(workflow.Finding{
		Pos: pos, Rule: "flow/endless", DSL: "DSL 57", Reference: t.Reference,
		Message: fmt.Sprintf("the tasks from %s on run in a circle for ever, and none of them does anything outside", source.Quote(t.Name)), Allowed: "leave the circle by a switch or an `if`, or wait in it",
	})
}

// wayOut marks the tasks after which the list can be left, sooner or later.
func wayOut(steps []step) []bool {
	before := make([][]int, len(steps))
	out := make([]bool, len(steps))
	var open []int
	for i, s := range steps {
		for _, j := range s.next {
			before[j] = append(before[j], i)
		}
		if s.leave {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		k := open[len(open)-1]
		open = open[:len(open)-1]
		if !out[k] {
			out[k] = true
			open = append(open, before[k]...)
		}
	}
	return out
}

// around is every task that can follow i, and i.
func around(steps []step, i int) []bool {
	seen := make([]bool, len(steps))
	open := []int{i}
	for len(open) > 0 {
		k := open[len(open)-1]
		open = open[:len(open)-1]
		if !seen[k] {
			seen[k] = true
			open = append(open, steps[k].next...)
		}
	}
	return seen
}

func loopActs(l workflow.TaskList, steps []step, i int) bool {
	for k, in := range around(steps, i) {
		if in && acts(l[k]) {
			return true
		}
	}
	return false
}

// acts reports whether a task does something outside of the run.
func acts(t *workflow.Task) bool {
	switch t.Kind {
	case workflow.CallTask, workflow.EmitTask, workflow.ListenTask, workflow.RunTask, workflow.WaitTask:
		return true
	case workflow.NoKind, workflow.DoTask, workflow.ForTask, workflow.ForkTask, workflow.RaiseTask, workflow.SetTask, workflow.SwitchTask, workflow.TryTask:
	}
	for _, inner := range t.Lists() {
		if slices.ContainsFunc(inner, acts) {
			return true
		}
	}
	return false
}
