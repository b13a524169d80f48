package machine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func mustCompile(tb testing.TB, src string) *program.Program {
	tb.Helper()
	p, err := compile(src)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func started() event.Event {
	return event.Event{At: epoch, Body: &event.RunStarted{Run: event.RunID{15: 1}, Revision: machine.Revision, Input: value.FromAny(map[string]any{"a": 1})}}
}

// BenchmarkApplyTenTasks is one Apply of ten tasks without outside effects and without jq.
func BenchmarkApplyTenTasks(b *testing.B) {
	var src strings.Builder
	src.WriteString("do:\n")
	for i := range 10 {
		fmt.Fprintf(&src, "  - t%d: {set: {x: %d}}\n", i, i)
	}
	p := mustCompile(b, src.String())
	e := started()
	b.ReportAllocs()
	for b.Loop() {
		m := machine.New(p)
		s, err := m.Apply(e)
		if err != nil || !s.Ended {
			b.Fatal(err)
		}
	}
}

// BenchmarkThreeSteps is all that the machine does for the standard run of three durable steps.
func BenchmarkThreeSteps(b *testing.B) {
	p := mustCompile(b, "do: [{a: {call: noop}}, {b: {call: noop}}, {c: {call: noop}}]")
	e := started()
	var done [3]event.Event
	for i := range done {
		done[i] = event.Event{At: epoch, Body: &event.TaskCompleted{Activation: event.Activation(fmt.Sprint(i)), Attempt: 1, Output: value.FromAny(map[string]any{"a": 1})}}
	}
	b.ReportAllocs()
	for b.Loop() {
		m := machine.New(p)
		s, err := m.Apply(e)
		for i := range done {
			s, err = m.Apply(done[i])
		}
		if err != nil || !s.Ended {
			b.Fatal(err)
		}
	}
}

// BenchmarkExpression adds jq to a task.
func BenchmarkExpression(b *testing.B) {
	p := mustCompile(b, "do: [{a: {set: {x: '${ .a }', y: '${ $workflow.id }'}}}]")
	e := started()
	b.ReportAllocs()
	for b.Loop() {
		m := machine.New(p)
		if s, err := m.Apply(e); err != nil || !s.Ended {
			b.Fatal(err)
		}
	}
}

func runAll(tb testing.TB, p *program.Program) {
	tb.Helper()
	m := machine.New(p)
	s, err := m.Apply(started())
	for err == nil && s.More {
		s, err = m.Continue()
	}
	if err != nil || !s.Ended {
		tb.Fatalf("not ended: %v", err)
	}
}

// BenchmarkFanOut and BenchmarkLoop must not be quadratic: the time for each
// item stays the same.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		p := mustCompile(b, fmt.Sprintf("do: [{m: {call: map, with: {in: '[range(%d)]', limit: 10000, do: [{a: {set: {x: 1}}}]}}}]", n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				runAll(b, p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
		})
	}
}

func BenchmarkLoop(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		p := mustCompile(b, fmt.Sprintf("do: [{m: {for: {in: '[range(%d)]'}, do: [{a: {set: {x: 1}}}]}}]", n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				runAll(b, p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
		})
	}
}

// BenchmarkSnapshot is of a run with 1,000 branches under way.
func BenchmarkSnapshot(b *testing.B) {
	p := mustCompile(b, "do: [{m: {call: map, with: {in: '[range(1000)]', limit: 1000, do: [{a: {call: noop}}]}}}]")
	m := machine.New(p)
	if _, err := m.Apply(started()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		state := m.Snapshot()
		if _, err := machine.Restore(p, state); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(state)), "bytes")
	}
}
