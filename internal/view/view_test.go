package view_test

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

var start = time.Date(2026, 8, 1, 10, 0, 0, 123000, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// threeSteps is the life of a run of three calls.
func threeSteps() []machine.Transition {
	var ts []machine.Transition
	for i := range 3 {
		t := machine.Transition{
			Activation: event.Activation(fmt.Sprint(i)), Reference: fmt.Sprintf("/do/%d/step%d", i, i+1),
			Name: fmt.Sprintf("step%d", i+1), Kind: "call noop", Attempt: 1,
		}
		t.Change, t.Status = machine.Entered, event.Running
		ts = append(ts, t)
		t.Change = machine.Dispatched
		ts = append(ts, t)
		t.Change, t.Status = machine.TaskEnds, event.Completed
		ts = append(ts, t)
	}
	return ts
}

func build(ts []machine.Transition) *view.Builder {
	b := view.New()
	for i := range ts {
		b.Add(at(i), &ts[i])
	}
	return b
}

// The compact form is stored for ever: these bytes are written as literals.
func TestCompactFormIsFixed(t *testing.T) {
	got := build(threeSteps()).AppendTasks(nil)
	const want = "01000300070c00000b2f646f2f302f7374657031000130f6a181e4abfeab06a01f070c000407312f7374657032000131f02ea01f070c000407322f7374657033000132f02ea01f"
	if len(got) > 90 {
		t.Errorf("a run of three steps takes %d bytes", len(got))
	}
	if d := cmp.Diff(want, hex.EncodeToString(got)); d != "" {
		t.Error(d)
	}
}

func TestRunShape(t *testing.T) {
	ts := threeSteps()
	ts[8].Status, ts[8].Error = event.Faulted, &event.Problem{Type: "t", Status: 500, Title: "Broken", More: map[string]any{"exitCode": 2}}
	b := build(ts)
	r := view.Run{
		ID: "0", Workflow: "default/hello:1.0.0", Status: event.Faulted, StartedAt: at(0), EndedAt: at(9),
		Input: value.FromAny(map[string]any{}), Error: ts[8].Error, Tasks: b.Tasks(), TasksTruncated: b.Truncated(),
	}
	got, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"0","workflow":"default/hello:1.0.0","status":"faulted","startedAt":"2026-08-01T10:00:00.000123Z","endedAt":"2026-08-01T10:00:00.009123Z",` +
		`"input":{},"error":{"exitCode":2,"status":500,"title":"Broken","type":"t"},"tasks":[` +
		`{"reference":"/do/0/step1","name":"step1","kind":"call noop","status":"completed","attempts":1,"startedAt":"2026-08-01T10:00:00.000123Z","endedAt":"2026-08-01T10:00:00.002123Z"},` +
		`{"reference":"/do/1/step2","name":"step2","kind":"call noop","status":"completed","attempts":1,"startedAt":"2026-08-01T10:00:00.003123Z","endedAt":"2026-08-01T10:00:00.005123Z"},` +
		`{"reference":"/do/2/step3","name":"step3","kind":"call noop","status":"faulted","attempts":1,"startedAt":"2026-08-01T10:00:00.006123Z","endedAt":"2026-08-01T10:00:00.008123Z","error":{"exitCode":2,"status":500,"title":"Broken","type":"t"}}]}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

// A retry enters the same activations again: one entry, with more attempts.
func TestRetriedTaskAppearsOnce(t *testing.T) {
	call := machine.Transition{Activation: "0.0", Parent: "0", Reference: "/do/0/t/try/0/a", Name: "a", Kind: "call http"}
	seq := []machine.Transition{{Change: machine.Entered, Activation: "0", Reference: "/do/0/t", Name: "t", Kind: "try", Status: event.Running}}
	for attempt := 1; attempt <= 3; attempt++ {
		c := call
		c.Attempt, c.Status = attempt, event.Running
		c.Change = machine.Entered
		seq = append(seq, c)
		c.Change = machine.Dispatched
		seq = append(seq, c)
		c.Change, c.Status = machine.TaskEnds, event.Faulted
		c.Error = &event.Problem{Status: 503}
		if attempt == 3 {
			c.Status, c.Error = event.Completed, nil
		}
		seq = append(seq, c)
	}
	tasks := build(seq).Tasks()
	if len(tasks) != 2 || tasks[1].Attempts != 3 || tasks[1].Status != event.Completed || tasks[1].Error != nil || tasks[1].Parent != 0 {
		t.Errorf("got %+v", tasks)
	}
}

// DSL 9, 22: a skipped task was entered, was never attempted, and has completed.
func TestSkippedTask(t *testing.T) {
	tasks := build([]machine.Transition{{Change: machine.Skipped, Activation: "0", Reference: "/do/0/a~1b", Name: "a/b", Kind: "set", Status: event.Completed}}).Tasks()
	if got := tasks[0]; !got.Skipped || got.Attempts != 0 || got.Status != event.Completed || got.EndedAt.IsZero() || got.Name != "a/b" {
		t.Errorf("got %+v", got)
	}
}

func TestOnlyTheFirstTasksAreListed(t *testing.T) {
	b := view.New()
	for i := range view.MaxTasks + 5 {
		tr := machine.Transition{Change: machine.Entered, Activation: event.Activation(fmt.Sprint(i)), Reference: "/do/0/l/do/0/b", Name: "b", Iteration: []int{i}}
		b.Add(at(0), &tr)
		tr.Change, tr.Status = machine.TaskEnds, event.Completed
		b.Add(at(1), &tr)
	}
	tasks, truncated, err := view.DecodeTasks(b.AppendTasks(nil))
	if err != nil || !truncated || len(tasks) != view.MaxTasks || b.Len() != view.MaxTasks+5 {
		t.Fatalf("%d tasks, truncated %v, %v", len(tasks), truncated, err)
	}
	if last := tasks[view.MaxTasks-1]; last.Iteration[0] != view.MaxTasks-1 || last.Status != event.Completed {
		t.Errorf("last: %+v", last)
	}
}

func drawTransition(t *rapid.T) machine.Transition {
	n := rapid.IntRange(0, 40).Draw(t, "n")
	tr := machine.Transition{
		Change:     machine.Change(rapid.IntRange(1, 9).Draw(t, "change")),
		Activation: event.Activation(fmt.Sprint(n)), Reference: "/do/" + rapid.StringN(0, 5, -1).Draw(t, "ref"),
		Name: rapid.SampledFrom([]string{"a", "b/c", ""}).Draw(t, "name"), Kind: rapid.SampledFrom([]string{"set", "odd", ""}).Draw(t, "kind"),
		Status: event.Status(rapid.IntRange(1, 7).Draw(t, "status")), Attempt: rapid.IntRange(0, 3).Draw(t, "attempt"),
		Total: rapid.IntRange(0, 9).Draw(t, "total"), Iteration: rapid.SliceOfN(rapid.IntRange(0, 1000), 0, 3).Draw(t, "iteration"),
	}
	if n > 0 && rapid.Bool().Draw(t, "nested") {
		tr.Parent = event.Activation(fmt.Sprint(n - 1))
	}
	if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
		tr.Error = &event.Problem{Type: "t", Status: 500, Title: "x", Detail: rapid.String().Draw(t, "detail"), Instance: "/do"}
	}
	return tr
}

func TestSnapshotNeverChangesTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, whole := view.New(), view.New()
		for i := range rapid.IntRange(0, 80).Draw(t, "count") {
			tr := drawTransition(t)
			when := at(i * rapid.IntRange(0, 5).Draw(t, "dt"))
			b.Add(when, &tr)
			whole.Add(when, &tr)
			if rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
				var err error
				if b, err = view.Decode(b.Encode(nil)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if d := cmp.Diff(whole.Tasks(), b.Tasks(), cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		if whole.Status() != b.Status() {
			t.Fatalf("status %v, want %v", b.Status(), whole.Status())
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(build(threeSteps()).AppendTasks(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := view.Decode(data)
		if err != nil {
			return
		}
		again, err := view.Decode(b.Encode(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Tasks()) != len(b.Tasks()) {
			t.Fatal("the list changed")
		}
	})
}

func TestMask(t *testing.T) {
	v := map[string]any{"a": map[string]any{"b": "x", "c": "y"}, "l": []any{map[string]any{"p": 1}, map[string]any{"p": 2}}}
	for p, want := range map[string]string{
		"/a/b":   `{"a":{"b":"***","c":"y"},"l":[{"p":1},{"p":2}]}`,
		"/l/*/p": `{"a":{"b":"x","c":"y"},"l":[{"p":"***"},{"p":"***"}]}`,
		"/l/1":   `{"a":{"b":"x","c":"y"},"l":[{"p":1},"***"]}`,
		"/z/q":   `{"a":{"b":"x","c":"y"},"l":[{"p":1},{"p":2}]}`,
		"":       `"***"`,
	} {
		if got := string(value.Append(nil, view.Mask(v, []string{p}))); got != want {
			t.Errorf("%s: got %s", p, got)
		}
	}
	if got := string(value.Append(nil, v["a"])); got != `{"b":"x","c":"y"}` {
		t.Error("the value itself was changed")
	}
}

func BenchmarkThreeStepRun(b *testing.B) {
	ts := threeSteps()
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		v := view.New()
		for i := range ts {
			v.Add(start, &ts[i])
		}
		dst = v.AppendTasks(dst[:0])
	}
	b.ReportMetric(float64(len(dst)), "bytes/list")
}
