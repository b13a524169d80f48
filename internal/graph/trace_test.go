package graph_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/graph"
)

func TestTraceFindsThePathTaken(t *testing.T) {
	t.Parallel()
	g := load(t, "testdata/orders.yaml")
	o := g.Trace("", event.Running, orders())
	loop, fork := "/do/1/checkStock", "/do/4/processPhysical"
	want := map[graph.Hop]bool{
		{From: "#start", To: "/do/0/loadOrder"}:                      true,
		{From: "/do/0/loadOrder", To: loop}:                          true,
		{From: loop, To: "/do/2/kindOfOrder"}:                        true,
		{From: "/do/2/kindOfOrder", To: fork}:                        true,
		{From: loop + "/do/0/reserve", To: loop + "/do/1/enough"}:    true,
		{From: loop + "/do/1/enough", To: loop + "/do/2/note"}:       true,
		{From: loop + "/do/1/enough", To: loop + "#exit"}:            true,
		{From: loop + "/do/2/note", To: loop + "#exit"}:              true,
		{From: loop + "#exit", To: loop + "/do/0/reserve"}:           true,
		{From: fork + "#split", To: fork + "/fork/branches/0/pack"}:  true,
		{From: fork + "#split", To: fork + "/fork/branches/1/label"}: true,
		{From: fork + "#split", To: fork + "/fork/branches/2/truck"}: true,
	}
	if diff := cmp.Diff(want, o.Taken); diff != "" {
		t.Errorf("edges taken (-want +got):\n%s", diff)
	}
	wantLoop := graph.Mark{Status: event.Completed, Duration: 72 * time.Second, Entered: 1, Attempts: 1, Done: 2, Total: 2}
	if diff := cmp.Diff(wantLoop, o.Marks[loop]); diff != "" {
		t.Errorf("mark of the loop (-want +got):\n%s", diff)
	}
	if got, want := o.Marks[fork].Note(), "1 / 3, 1 failed · 1 h 5 min"; got != want {
		t.Errorf("note of the fork: %q, want %q", got, want)
	}
}

// D9, D15c, DSL 113, 116: a skipped task goes on in order; an error caught goes
// to the handler, and back when it is tried again.
func TestTraceOfRetriesSkipsAndEnds(t *testing.T) {
	t.Parallel()
	g := parse(t, head+`
  - guard:
      try:
        - risky: {call: http, with: {method: get, endpoint: 'https://a.example'}}
      catch:
        retry: {limit: {attempt: {count: 2}}}
        do:
          - mend: {set: {x: 1}}
  - maybe: {if: .no, set: {x: 1}, then: end}
  - last: {set: {x: 2}}
`)
	try := "/do/0/guard"
	o := g.Trace("", event.Completed, []graph.Activation{
		{Reference: try, Parent: -1, Status: event.Completed},
		{Reference: try + "/try/0/risky", Parent: 0, Status: event.Faulted, Attempts: 2},
		{Reference: try + "/catch/do/0/mend", Parent: 0, Status: event.Completed},
		{Reference: "/do/1/maybe", Parent: -1, Status: event.Completed, Skipped: true},
		{Reference: "/do/2/last", Parent: -1, Status: event.Completed},
	})
	want := map[graph.Hop]bool{
		{From: "#start", To: try}:                true,
		{From: try + "#try", To: try + "#catch"}: true,
		{From: try + "#catch", To: try + "#try"}: true,
		{From: try, To: "/do/1/maybe"}:           true,
		{From: "/do/1/maybe", To: "/do/2/last"}:  true,
		{From: "/do/2/last", To: "#end"}:         true,
	}
	if diff := cmp.Diff(want, o.Taken); diff != "" {
		t.Errorf("edges taken (-want +got):\n%s", diff)
	}
	if got, want := o.Marks["/do/1/maybe"].Word(), "skipped"; got != want {
		t.Errorf("word %q, want %q", got, want)
	}
	if got, want := o.Marks[try+"/try/0/risky"].Note(), "2 attempts"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
}

// A handler that an error came to is not faint, though no task of it ran; and a
// run that was retried by a person was not retried by its catch.
func TestTraceOfACaughtErrorWithoutTasks(t *testing.T) {
	t.Parallel()
	g := parse(t, head+`
  - guard:
      try:
        - risky: {call: http, with: {method: get, endpoint: 'https://a.example'}}
      catch: {retry: {limit: {attempt: {count: 2}}}}
`)
	faint := func(outer, inner int) int {
		var b strings.Builder
		o := g.Trace("", event.Completed, []graph.Activation{
			{Reference: "/do/0/guard", Parent: -1, Status: event.Completed, Attempts: outer},
			{Reference: "/do/0/guard/try/0/risky", Parent: 0, Status: event.Completed, Attempts: inner},
		})
		if err := g.SVG(&b, o); err != nil {
			t.Fatal(err)
		}
		return strings.Count(b.String(), `<g class="faint">`)
	}
	if got := faint(1, 3); got != 0 {
		t.Errorf("an error was caught: %d groups are faint", got)
	}
	for _, attempts := range []int{1, 3} {
		if got := faint(attempts, attempts); got == 0 {
			t.Errorf("no error was caught (attempt %d of both): the handler is not faint", attempts)
		}
	}
}

// D36: rounds of a map that failed are counted.
func TestTraceCountsTheItemsOfAMap(t *testing.T) {
	t.Parallel()
	g := load(t, "testdata/kinds.yaml")
	m, patch := "/do/4/everyHost", "/do/4/everyHost/with/do/0/patch"
	o := g.Trace("", event.Running, []graph.Activation{
		{Reference: m, Parent: -1, Status: event.Running, Total: 120, Duration: 90 * time.Second},
		{Reference: patch, Parent: 0, Iteration: []int{0}, Status: event.Faulted},
		{Reference: patch, Parent: 0, Iteration: []int{1}, Status: event.Completed},
		{Reference: patch, Parent: 0, Iteration: []int{2}, Status: event.Running},
	})
	if got, want := o.Marks[m].Note(), "2 / 120, 1 failed · 1 min 30 s"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
	if got, want := o.Marks[patch].Status, event.Faulted; got != want {
		t.Errorf("status %v, want %v: a fault needs attention first", got, want)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "<1 ms", 340 * time.Millisecond: "340 ms", 2340 * time.Millisecond: "2.3 s", 59 * time.Second: "59 s",
		72 * time.Minute: "1 h 12 min", 48 * time.Hour: "2 d", 49*time.Hour + time.Second: "2 d 1 h", -time.Second: "<1 ms",
	} {
		if got := graph.Span(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

func TestWriteErrorSaysWhat(t *testing.T) {
	t.Parallel()
	g := parse(t, head+"  - a: {set: {x: 1}}\n")
	for ext, r := range renderers {
		if err := r(g, broken{}, nil); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", ext, err)
		}
	}
}

var errBroken = errors.New("disk full")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// DSL 84: the functions of a document stand beside its flow, and a run shows
// the way through them; no edge leads there, as several tasks may call one.
func TestFunctionsStandBesideTheFlow(t *testing.T) {
	t.Parallel()
	g := parse(t, `document: {dsl: '1.0.3', namespace: test, name: w, version: '1.0.0'}
use:
  functions:
    greet: {do: [{hello: {set: {m: hi}}}, {again: {set: {m: ho}}}]}
    look: {call: http, with: {method: get, endpoint: 'https://a.example'}}
do:
  - one: {call: greet}
  - two: {call: look}
`)
	greet := "/use/functions/greet"
	var functions []string
	for _, n := range g.Nodes {
		if n.Parent < 0 && strings.HasPrefix(n.Reference, "/use") {
			functions = append(functions, n.Name+": "+n.Detail)
		}
	}
	if diff := cmp.Diff([]string{"greet: function", "look: function · GET a.example"}, functions); diff != "" {
		t.Error(diff)
	}
	o := g.Trace("", event.Completed, []graph.Activation{
		{Reference: "/do/0/one", Parent: -1, Status: event.Completed},
		{Reference: greet, Parent: 0, Status: event.Completed},
		{Reference: greet + "/do/0/hello", Parent: 1, Status: event.Completed},
		{Reference: greet + "/do/1/again", Parent: 1, Status: event.Completed},
		{Reference: "/do/1/two", Parent: -1, Status: event.Completed},
	})
	want := map[graph.Hop]bool{
		{From: "#start", To: "/do/0/one"}: true, {From: "/do/0/one", To: "/do/1/two"}: true, {From: "/do/1/two", To: "#end"}: true,
		{From: greet + "/do/0/hello", To: greet + "/do/1/again"}: true,
	}
	if diff := cmp.Diff(want, o.Taken); diff != "" {
		t.Errorf("edges taken (-want +got):\n%s", diff)
	}
	if o.Marks[greet].Status != event.Completed {
		t.Errorf("marks: %v", o.Marks)
	}
}
