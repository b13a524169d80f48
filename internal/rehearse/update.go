package rehearse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

// Update rewrites the test file so that the results are what its cases expect.
// Expectations that a case does not have stay away, and everything else (other
// parts of the file, comments, order) stays as it is. left names what must be
// changed by hand.
func (r *Rehearsal) Update(results []*Result) (src []byte, left []string, err error) {
	e := yamledit.New(r.suite.Source)
	for _, res := range results {
		switch {
		case res.Passed():
		case res.Stopped:
			left = append(left, fmt.Sprintf("%s: the case could not be played", res.Case.Name))
		default:
			before := e.Edits()
			if err := r.rewrite(e, res); err != nil {
				left = append(left, err.Error())
				continue
			}
			if e.Edits() == before {
				left = append(left, fmt.Sprintf("%s: %s", res.Case.Name, res.Failures[0].Message))
			}
		}
	}
	out := e.Apply()
	if _, findings := Decode(out); source.HasErrors(findings) {
		return nil, left, fmt.Errorf("the file cannot be rewritten; change it by hand: %s", findings[0].Message)
	}
	return out, left, nil
}

// rewrite puts the edits for one case.
func (r *Rehearsal) rewrite(e *yamledit.Editor, res *Result) error {
	c, next := res.Case, r.next(res)
	caseFlow := e.At(c.node.Pos) == '{'
	switch n := c.expected; {
	case n == nil && caseFlow:
		return fmt.Errorf("%s: the case has no expect, and is written in braces: add an empty one", c.Name)
	case n == nil:
		e.Add(c.node, "expect", next.value())
	case caseFlow:
		e.ReplaceFlow(n, next.value())
	case n.Kind != source.Map || e.At(n.Pos) == '{' || len(n.Keys) == 0:
		e.ReplaceEntry(keyOf(c.node, "expect"), n, next.value())
	default:
		e.Section(n, next.names, next.values)
	}
	return nil
}

func keyOf(n *source.Node, name string) source.Pos {
	for _, k := range n.Keys {
		if k.Name == name {
			return k.Pos
		}
	}
	return n.Pos
}

// section is the expectations of a case as they should be, in their order.
type section struct {
	names  []string
	values map[string]any
}

func (s *section) set(name string, v any) {
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
	s.values[name] = v
}

func (s *section) drop(name string) {
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
	delete(s.values, name)
}

func (s *section) has(name string) bool { return slices.Contains(s.names, name) }

func (s *section) value() any {
	m := make(map[string]any, len(s.values))
	maps.Copy(m, s.values)
	return m
}

// next makes what a case should expect of what it came to.
func (r *Rehearsal) next(res *Result) *section {
	s := &section{values: map[string]any{}}
	e := &res.Case.Expect
	if n := res.Case.expected; n != nil {
		for i, k := range n.Keys {
			s.set(k.Name, n.Items[i].Any())
		}
	}
	fresh := len(s.names) == 0
	if fresh || e.Status != nil || res.Status == event.Faulted && e.Error == nil {
		s.set("status", res.Status.String())
	}
	out, _ := res.Output.Any()
	if res.Status == event.Completed {
		if e.Output != nil || fresh || e.OutputContains == nil && e.Error != nil {
			s.set("output", out)
		}
		if e.OutputContains != nil {
			s.set("outputContains", project(e.OutputContains.want, out))
		}
	} else {
		s.drop("output")
		s.drop("outputContains")
	}
	r.nextError(s, res)
	if e.Context != nil {
		s.set("context", res.Context)
	}
	if e.Path != nil {
		s.set("path", r.shortPath(res.Path))
	}
	if e.Emitted != nil {
		s.set("emitted", nextEmitted(e.Emitted.want, res.emitted()))
	}
	if len(e.Calls) > 0 {
		s.set("calls", nextCalls(e, res))
	}
	if e.Duration != nil && !e.Duration.After.AddTo(res.Started).Equal(res.Ended) {
		s.set("duration", res.duration())
	}
	return s
}

func (r *Rehearsal) nextError(s *section, res *Result) {
	if res.Status != event.Faulted {
		s.drop("error")
		return
	}
	got, _ := problemValue(res.Error).(map[string]any)
	want := any(map[string]any{"type": nil, "status": nil})
	if x := res.Case.Expect.Error; x != nil {
		want = x.want
	} else if s.has("error") {
		return
	}
	m, _ := project(want, got).(map[string]any)
	if t, ok := m["type"].(string); ok {
		m["type"] = ShortType(t)
	}
	s.set("error", m)
}

// project is the part of got that want names.
func project(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for k, x := range w {
			if y, ok := g[k]; ok {
				out[k] = project(x, y)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		out := make([]any, len(g))
		for i := range g {
			out[i] = project(w[i], g[i])
		}
		return out
	}
	return got
}

// shortPath names tasks by their names where only one has it.
func (r *Rehearsal) shortPath(path []string) []any {
	out := make([]any, len(path))
	for i, ref := range path {
		out[i] = r.root.Short(ref)
	}
	return out
}

func nextEmitted(want any, got []any) any {
	list, _ := want.([]any)
	out := make([]any, len(got))
	for i, g := range got {
		var w any = map[string]any{"type": nil, "data": nil}
		if len(list) == len(got) {
			w = list[i]
		}
		out[i] = project(w, g)
	}
	return out
}

// nextCalls corrects how often a task is called and, of a task that is called
// once, with what.
func nextCalls(e *Expect, res *Result) any {
	var out []any
	for i := range e.Calls {
		k := &e.Calls[i]
		m := map[string]any{"task": k.task.Text}
		if k.workflow.Text != "" {
			m["workflow"] = k.workflow.Text
		}
		var of []*Call
		matching := 0
		for j := range res.Calls {
			c := &res.Calls[j]
			if c.Reference == k.at.reference && c.Workflow == k.at.definition.id() {
				of = append(of, c)
				if k.arguments == nil || len(missing(k.arguments.want, c.Arguments)) == 0 {
					matching++
				}
			}
		}
		if k.arguments != nil {
			m["arguments"] = k.arguments.want
			if matching == 0 && len(of) == 1 {
				m["arguments"] = project(k.arguments.want, of[0].Arguments)
				matching = 1
			}
		}
		if k.times != nil || matching == 0 {
			m["times"] = matching
		}
		out = append(out, m)
	}
	return out
}
