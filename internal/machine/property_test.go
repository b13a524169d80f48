package machine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

type obj = map[string]any

// drawTasks makes a random list of tasks.
func drawTasks(t *rapid.T, depth int) []any {
	n := rapid.IntRange(1, 3).Draw(t, "tasks")
	list := make([]any, 0, n)
	for i := range n {
		k := drawTask(t, depth)
		if rapid.IntRange(0, 5).Draw(t, "if") == 0 {
			k["if"] = rapid.SampledFrom([]string{"true", "false", "$context.n != 2"}).Draw(t, "cond")
		}
		if rapid.IntRange(0, 5).Draw(t, "timeout") == 0 {
			k["timeout"] = obj{"after": obj{"seconds": rapid.IntRange(1, 20).Draw(t, "after")}}
		}
		if rapid.IntRange(0, 5).Draw(t, "export") == 0 {
			k["export"] = obj{"as": "{n: ((($context.n // 0) + 1) % 5)}"}
		}
		switch rapid.IntRange(0, 9).Draw(t, "then") {
		case 0:
			k["then"] = "exit"
		case 1:
			k["then"] = "end"
		case 2:
			if i+1 < n { // forward, so that every run ends
				k["then"] = fmt.Sprintf("t%d", rapid.IntRange(i+1, n-1).Draw(t, "target"))
			}
		}
		list = append(list, obj{fmt.Sprintf("t%d", i): k})
	}
	return list
}

func drawTask(t *rapid.T, depth int) obj {
	kinds := []string{"set", "noop", "noop", "wait", "listen", "raise", "child", "emit", "background", "function"}
	if depth > 0 {
		kinds = append(kinds, "do", "for", "fork", "fork", "try", "try", "map", "try", "foreach", "receive")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "set":
		return obj{"set": obj{"v": "${ . }", "n": "${ $context.n }"}, "output": obj{"as": ".n"}}
	case "noop":
		return obj{"call": "noop"}
	case "wait":
		return obj{"wait": obj{"seconds": rapid.IntRange(0, 30).Draw(t, "wait")}}
	case "listen":
		mode := rapid.SampledFrom([]string{"one", "all", "any"}).Draw(t, "mode")
		var to any = obj{"with": obj{"type": "a"}}
		if mode != "one" {
			to = []any{to, obj{"with": obj{"type": "b"}}}
		}
		s := obj{mode: to}
		if mode == "any" && rapid.Bool().Draw(t, "until") {
			s["until"] = rapid.SampledFrom([]any{"length > 1", obj{"one": obj{"with": obj{"type": "stop"}}}}).Draw(t, "how")
		}
		return obj{"listen": obj{"to": s}}
	case "foreach":
		return obj{
			"listen":  obj{"to": obj{"any": []any{}, "until": obj{"one": obj{"with": obj{"type": "stop"}}}}},
			"foreach": obj{"do": drawTasks(t, depth-1), "output": obj{"as": "[$item.x?, $index]"}},
		}
	case "receive":
		return obj{"call": "asyncapi", "with": obj{
			"document": obj{"endpoint": "file:///x"}, "operation": "o",
			"subscription": obj{
				"consume": obj{"until": "${ $context.n == 3 }"},
				"foreach": obj{"do": drawTasks(t, depth-1), "output": obj{"as": "[$item.x?, $index]"}},
			},
		}}
	case "raise":
		return obj{"raise": obj{"error": obj{"type": "https://x.y/raised", "status": 400}}}
	case "child":
		return obj{"run": obj{"workflow": obj{"namespace": "n", "name": "w"}, "await": rapid.Bool().Draw(t, "await")}}
	case "emit":
		return obj{"emit": obj{"event": obj{"with": obj{"type": "x", "data": "${ . }"}}}}
	case "background":
		return obj{"run": obj{"shell": obj{"command": "x"}, "await": false}}
	case "function":
		return obj{"call": "f"}
	case "do":
		return obj{"do": drawTasks(t, depth-1)}
	case "for":
		return obj{"for": obj{"in": "[1, 2, 3]"}, "while": "$index < 2", "do": drawTasks(t, depth-1)}
	case "map":
		return obj{"call": "map", "with": obj{
			"in": "[1, 2, 3]", "limit": 2, "do": drawTasks(t, depth-1),
			"onError": rapid.SampledFrom([]string{"fail", "continue"}).Draw(t, "onError"),
		}}
	case "fork":
		var branches []any
		for i := range rapid.IntRange(1, 3).Draw(t, "branches") {
			branches = append(branches, obj{fmt.Sprintf("b%d", i): obj{"do": drawTasks(t, depth-1)}})
		}
		return obj{"fork": obj{"branches": branches, "compete": rapid.Bool().Draw(t, "compete")}}
	case "try":
		catch := obj{}
		if rapid.Bool().Draw(t, "retry") {
			limit := obj{"attempt": obj{"count": rapid.IntRange(0, 2).Draw(t, "count")}}
			if rapid.Bool().Draw(t, "attempt") {
				limit["attempt"].(obj)["duration"] = obj{"seconds": 7}
			}
			if rapid.Bool().Draw(t, "limit") {
				limit["duration"] = obj{"seconds": 15}
			}
			catch["retry"] = obj{"delay": obj{"seconds": 3}, "backoff": obj{"exponential": obj{}}, "limit": limit, "jitter": obj{"from": obj{"seconds": 0}, "to": obj{"seconds": 2}}}
		}
		if rapid.Bool().Draw(t, "handler") {
			catch["do"] = drawTasks(t, depth-1)
		}
		return obj{"try": drawTasks(t, depth-1), "catch": catch}
	}
	return obj{"call": "noop"}
}

func drawProgram(t *rapid.T) *program.Program {
	doc := obj{
		"document": obj{"dsl": "1.0.3", "namespace": "test", "name": "random", "version": "1.0.0"},
		"use": obj{
			"functions":  obj{"f": obj{"do": drawTasks(t, 0)}},
			"extensions": []any{obj{"x": obj{"extend": "wait", "when": "$context.n != 1", "before": []any{obj{"b": obj{"call": "noop"}}}, "after": []any{obj{"a": obj{"set": obj{"v": "${ . }"}}}}}}},
		},
		"do": drawTasks(t, 3),
	}
	if rapid.IntRange(0, 3).Draw(t, "total") == 0 {
		doc["timeout"] = obj{"after": obj{"seconds": 60}}
	}
	// A function that calls itself is not what is looked for here.
	src, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	def, findings := workflow.Decode([]byte(strings.ReplaceAll(string(src), `"f":{"do":[{"t0":{"call":"f"`, `"f":{"do":[{"t0":{"call":"noop"`)))
	if def == nil {
		t.Fatalf("decode %s: %v", src, findings)
	}
	p, err := program.Compile(def, program.Options{Functions: functions})
	if err != nil {
		t.Fatalf("compile %s: %v", src, err)
	}
	return p
}

// driver applies random events to a machine, keeps a model of what must be
// outstanding, and a second machine that was restored from a snapshot.
type driver struct {
	t       *rapid.T
	p       *program.Program
	m, twin *machine.Machine
	now     time.Time
	events  []event.Event
	steps   []string // what each event gave
	open    map[string]string
	entered map[string]bool
	used    map[string]bool
	ended   bool
	slice   int
	seq     int64
	see     func(*machine.Step)
	lenient bool // of a run that was opened again: tasks may end that were entered before
}

func (d *driver) fresh() *machine.Machine {
	m := machine.New(d.p)
	m.SetSlice(d.slice)
	return m
}

func (d *driver) apply(b event.Body) {
	e := event.Event{At: d.now, Body: b}
	d.events = append(d.events, e)
	if rapid.IntRange(0, 4).Draw(d.t, "snapshot") == 0 && len(d.events) > 1 {
		twin, err := machine.Restore(d.p, d.m.Snapshot())
		if err != nil {
			d.t.Fatalf("restore: %v", err)
		}
		twin.SetSlice(d.slice)
		d.twin = twin
	}
	s, err := d.m.Apply(e)
	if err != nil {
		d.t.Fatalf("apply %T: %v", b, err)
	}
	d.take(s)
	text := showStep(s)
	if d.twin != nil {
		o, err := d.twin.Apply(e)
		if err != nil {
			d.t.Fatalf("apply %T to the restored machine: %v", b, err)
		}
		if diff := cmp.Diff(text, showStep(o)); diff != "" {
			d.t.Fatalf("a restored machine differs at %T (-live +restored):\n%s", b, diff)
		}
	}
	d.steps = append(d.steps, text)
	for s.More {
		if len(d.m.Outstanding()) > 0 && rapid.IntRange(0, 3).Draw(d.t, "interrupt") == 0 {
			d.events = append(d.events, event.Event{At: d.now, Body: &event.Sliced{Slices: d.m.Slices()}})
			for _, m := range []*machine.Machine{d.m, d.twin} {
				if m == nil {
					continue
				}
				if _, err := m.Apply(d.events[len(d.events)-1]); err != nil {
					d.t.Fatal(err)
				}
			}
			d.steps = append(d.steps, "sliced")
			return
		}
		if s, err = d.m.Continue(); err != nil {
			d.t.Fatal(err)
		}
		d.take(s)
		if d.twin != nil {
			if _, err := d.twin.Continue(); err != nil {
				d.t.Fatal(err)
			}
		}
		d.steps[len(d.steps)-1] += showStep(s)
	}
	d.checkOutstanding()
}

func showStep(s *machine.Step) string {
	var b strings.Builder
	for i := range s.Transitions {
		fmt.Fprintln(&b, showTransition(&s.Transitions[i]))
	}
	for _, c := range s.Commands {
		fmt.Fprintln(&b, showCommand(c))
	}
	fmt.Fprintf(&b, "%x\n", s.Hash)
	return b.String()
}

// take follows a step in the model.
func (d *driver) take(s *machine.Step) {
	if d.see != nil {
		d.see(s)
	}
	for i := range s.Transitions {
		x := &s.Transitions[i]
		id := fmt.Sprintf("%s#%d", x.Activation, x.Attempt)
		switch x.Change {
		case machine.Entered:
			if d.entered[id] && !d.lenient {
				d.t.Fatalf("%s entered twice (M3)", id)
			}
			d.entered[id] = true
		case machine.TaskEnds:
			if !d.entered[id] && !d.lenient {
				d.t.Fatalf("%s ended but was not entered, or ended twice", id)
			}
			delete(d.entered, id)
			d.entered[id+" over"] = true
		case machine.Dispatched, machine.Retried, machine.Waits, machine.Resumes, machine.Skipped, machine.RunChanges, machine.Correlates:
		}
	}
	for _, c := range s.Commands {
		if d.ended {
			d.t.Fatalf("after the end: %s (M5)", showCommand(c))
		}
		switch c := c.(type) {
		case *machine.Dispatch:
			id := fmt.Sprintf("%s#%d", c.Activation, c.Attempt)
			if d.used[id] {
				d.t.Fatalf("%s dispatched twice (M3)", id)
			}
			d.used[id] = true
			d.open[id] = showCommand(c)
		case *machine.CancelAttempt:
			id := fmt.Sprintf("%s#%d", c.Activation, c.Attempt)
			if d.open[id] == "" && !d.lenient {
				d.t.Fatalf("%s cancelled, but it is not under way", id)
			}
			d.open[id] = showCommand(c)
		case *machine.StartTimer:
			if d.used[c.ID] && !d.lenient {
				d.t.Fatalf("timer %s started twice", c.ID)
			}
			d.used[c.ID] = true
			d.open[c.ID] = showCommand(c)
		case *machine.StopTimer:
			delete(d.open, c.ID)
		case *machine.Listen:
			d.open["listen "+string(c.Activation)] = showCommand(c)
		case *machine.Unlisten:
			delete(d.open, "listen "+string(c.Activation))
		case *machine.StartChild:
			if c.Await {
				d.open[fmt.Sprintf("%s#%d", c.Activation, c.Attempt)] = showCommand(c)
			}
		case *machine.CancelChild:
			for id, o := range d.open {
				if c.Act == "cancel" && strings.HasPrefix(id, string(c.Activation)+"#") && strings.HasPrefix(o, "! child") {
					d.open[id] = showCommand(c)
				}
			}
		case *machine.End:
			d.ended = true
			for id, o := range d.open {
				if !strings.Contains(o, `"await":false`) && !strings.Contains(o, " listen ") {
					d.t.Fatalf("the run ended, but %s has no answer: %s", id, o)
				}
			}
			for id := range d.entered {
				if !strings.HasSuffix(id, " over") {
					d.t.Fatalf("the run ended, but the task %s did not", id)
				}
			}
		case *machine.Emit, *machine.ResolveSecrets:
		}
	}
}

// checkOutstanding holds that Outstanding is what was commanded and not answered.
func (d *driver) checkOutstanding() {
	if d.ended {
		if got := d.m.Outstanding(); len(got) > 0 {
			d.t.Fatalf("outstanding after the end: %v (M5)", showAll(got))
		}
		return
	}
	if d.m.Status() == event.Suspended {
		return
	}
	var want []string
	for _, o := range d.open {
		want = append(want, o)
	}
	got := showAll(d.m.Outstanding())
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		d.t.Fatalf("outstanding commands (-model +machine):\n%s", diff)
	}
}

// answer answers one outstanding command; kind says how.
func (d *driver) answer(c machine.Command, kind int) {
	switch c := c.(type) {
	case *machine.Dispatch:
		id := fmt.Sprintf("%s#%d", c.Activation, c.Attempt)
		delete(d.open, id)
		switch kind {
		case 0:
			d.apply(&event.TaskFailed{Activation: c.Activation, Attempt: c.Attempt, Error: event.Problem{Status: 503, Title: "no"}})
		case 1:
			d.apply(&event.TaskCancelled{Activation: c.Activation, Attempt: c.Attempt, Unknown: true})
		default:
			output := `{"x": 1}`
			if c.Kind == "asyncapi" {
				output = `[{"x": 1}, {"x": 2}]`
			}
			d.apply(&event.TaskCompleted{Activation: c.Activation, Attempt: c.Attempt, Output: value.FromJSON([]byte(output))})
		}
	case *machine.CancelAttempt:
		delete(d.open, fmt.Sprintf("%s#%d", c.Activation, c.Attempt))
		if kind == 0 {
			d.apply(&event.TaskCompleted{Activation: c.Activation, Attempt: c.Attempt})
			return
		}
		d.apply(&event.TaskCancelled{Activation: c.Activation, Attempt: c.Attempt})
	case *machine.StartTimer:
		if c.At.After(d.now) {
			d.now = c.At
		}
		delete(d.open, c.ID)
		d.apply(&event.TimerFired{Timer: c.ID})
	case *machine.StartChild:
		delete(d.open, fmt.Sprintf("%s#%d", c.Activation, c.Attempt))
		b := &event.ChildEnded{Activation: c.Activation, Attempt: c.Attempt, Child: c.Child, Status: event.Completed, Output: value.FromJSON([]byte("7"))}
		if kind == 0 {
			b.Status, b.Error = event.Faulted, &event.Problem{Status: 500, Title: "child"}
		}
		d.apply(b)
	case *machine.CancelChild:
		for id, o := range d.open {
			if strings.HasPrefix(id, string(c.Activation)+"#") && strings.Contains(o, "child ") && c.Act != "resume" {
				delete(d.open, id)
				var attempt int
				_, _ = fmt.Sscanf(id[strings.IndexByte(id, '#')+1:], "%d", &attempt)
				d.apply(&event.ChildEnded{Activation: c.Activation, Attempt: attempt, Child: c.Child, Status: event.Cancelled})
				return
			}
		}
		d.t.Fatalf("a child is cancelled that is not there: %s", showCommand(c))
	case *machine.Listen:
		d.seq++
		kind := rapid.SampledFrom([]string{"a", "b", "stop"}).Draw(d.t, "type")
		d.apply(&event.CloudEventReceived{Sequence: d.seq, Event: value.FromJSON([]byte(`{"type": "` + kind + `", "data": {"x": 2}}`))})
	case *machine.Unlisten, *machine.StopTimer, *machine.Emit, *machine.ResolveSecrets, *machine.End:
	}
}

func newDriver(t *rapid.T) *driver {
	return &driver{
		t: t, p: drawProgram(t), now: epoch, open: map[string]string{}, entered: map[string]bool{}, used: map[string]bool{},
		slice: rapid.SampledFrom([]int{1, 2, 10_000}).Draw(t, "slice"),
	}
}

// run drives a run to its end by random events.
func (d *driver) run() {
	d.m = d.fresh()
	d.apply(&event.RunStarted{Run: event.RunID{7: 1}, Revision: machine.Revision, Input: value.FromJSON([]byte(`{"i": 1}`))})
	d.goOn()
}

// goOn drives a run that is under way to its end.
func (d *driver) goOn() {
	for i := 0; !d.ended; i++ {
		list := d.m.Outstanding()
		calm := i > 40
		if d.m.Status() == event.Suspended && (calm || rapid.IntRange(0, 3).Draw(d.t, "resume") == 0) {
			d.apply(&event.ResumeRequested{})
			continue
		}
		if len(list) == 0 && d.m.Status() != event.Suspended {
			if s, _ := d.m.Continue(); s.More || d.ended {
				d.take(s)
				continue
			} else if d.take(s); d.ended {
				break
			}
			if len(d.m.Outstanding()) == 0 {
				d.t.Fatalf("the run is %s, has nothing outstanding, and has not ended", d.m.Status())
			}
			continue
		}
		switch a := rapid.IntRange(0, 40).Draw(d.t, "act"); {
		case a == 0 && !calm:
			d.apply(&event.SuspendRequested{})
		case a == 1 && !calm || i > 150:
			d.apply(&event.CancelRequested{})
			for j := 0; !d.ended && j < 200; j++ {
				for _, c := range d.m.Outstanding() {
					d.answer(c, 2)
					break
				}
			}
			if !d.ended {
				d.t.Fatalf("a cancelled run did not end: %v", showAll(d.m.Outstanding()))
			}
		case len(list) > 0:
			d.answer(rapid.SampledFrom(list).Draw(d.t, "command"), rapid.IntRange(0, 3).Draw(d.t, "kind"))
		}
	}
}

// TestReplayDiffersNever holds M1 and M3 to M5 on random runs: what is commanded
// and not answered is outstanding, nothing leaves an ended run, attempts are
// unique, a snapshot changes nothing, and a replay gives the same bytes.
func TestReplayDiffersNever(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver(t)
		d.run()
		again := d.fresh()
		for i, e := range d.events {
			s, err := again.Apply(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := e.Body.(*event.Sliced); ok {
				continue
			}
			text := showStep(s)
			next := i+1 < len(d.events)
			for s.More {
				if next {
					if x, ok := d.events[i+1].Body.(*event.Sliced); ok && again.Slices() == x.Slices {
						break
					}
				}
				if s, err = again.Continue(); err != nil {
					t.Fatal(err)
				}
				text += showStep(s)
			}
			if diff := cmp.Diff(d.steps[i], text); diff != "" {
				t.Fatalf("replay differs at event %d, %T (-live +replay):\n%s", i, e.Body, diff)
			}
		}
		plain, err := replay(d)
		if err != nil {
			t.Fatal(err)
		}
		if plain.Hash() != d.m.Hash() {
			t.Fatalf("a replay without a look at More ends with another hash (M1)")
		}
	})
}

func replay(d *driver) (*machine.Machine, error) {
	m := d.fresh()
	for _, e := range d.events {
		if _, err := m.Apply(e); err != nil {
			return nil, err
		}
	}
	for {
		if s, err := m.Continue(); err != nil || !s.More {
			return m, err
		}
	}
}
