package rehearse_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/tape"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

type obj = map[string]any

// drawing makes random workflows, in which each task has a name of its own, and
// mocks for what they call.
type drawing struct {
	t     *rapid.T
	n     int
	mocks []any
}

func (d *drawing) tasks(depth int) []any {
	var list []any
	for range rapid.IntRange(1, 3).Draw(d.t, "tasks") {
		d.n++
		name := fmt.Sprintf("t%d", d.n)
		k := d.task(name, depth)
		switch rapid.IntRange(0, 9).Draw(d.t, "extra") {
		case 0:
			k["if"] = rapid.SampledFrom([]string{"false", "$context.n == 1"}).Draw(d.t, "if")
		case 1:
			k["timeout"] = obj{"after": rapid.SampledFrom([]string{"PT3S", "PT20S"}).Draw(d.t, "timeout")}
		case 2:
			k["export"] = obj{"as": "{n: ((($context.n // 0) + 1) % 3)}"}
		case 3:
			k["then"] = rapid.SampledFrom([]string{"exit", "end", "continue"}).Draw(d.t, "then")
		}
		list = append(list, obj{name: k})
	}
	return list
}

func (d *drawing) task(name string, depth int) obj {
	kinds := []string{"set", "call", "call", "call", "wait", "listen", "emit", "raise", "shell"}
	if depth > 0 {
		kinds = append(kinds, "do", "for", "fork", "try", "map", "switch")
	}
	switch rapid.SampledFrom(kinds).Draw(d.t, "kind") {
	case "set":
		return obj{"set": obj{"v": name}}
	case "wait":
		return obj{"wait": obj{"seconds": rapid.IntRange(0, 20).Draw(d.t, "wait")}}
	case "listen":
		return obj{"listen": obj{"to": obj{"one": obj{"with": obj{"type": rapid.SampledFrom([]string{"a", "b"}).Draw(d.t, "type")}}}}}
	case "emit":
		return obj{"emit": obj{"event": obj{"with": obj{"type": rapid.SampledFrom([]string{"a", "c"}).Draw(d.t, "type"), "data": name}}}}
	case "raise":
		return obj{"raise": obj{"error": obj{"type": "https://x.y/raised", "status": 400}}}
	case "do":
		return obj{"do": d.tasks(depth - 1)}
	case "for":
		return obj{"for": obj{"in": rapid.SampledFrom([]string{"[]", "[1, 2]"}).Draw(d.t, "in")}, "do": d.tasks(depth - 1)}
	case "map":
		return obj{"call": "map", "with": obj{"in": "[1, 2, 3]", "limit": 2, "do": d.tasks(depth - 1)}}
	case "fork":
		var branches []any
		for i := range rapid.IntRange(1, 3).Draw(d.t, "branches") {
			branches = append(branches, obj{fmt.Sprintf("%sb%d", name, i): obj{"do": d.tasks(depth - 1)}})
		}
		return obj{"fork": obj{"branches": branches, "compete": rapid.Bool().Draw(d.t, "compete")}}
	case "switch":
		return obj{"switch": []any{obj{"x": obj{"when": "$context.n == 1", "then": "exit"}}, obj{"y": obj{"then": "continue"}}}}
	case "try":
		catch := obj{}
		if rapid.Bool().Draw(d.t, "retry") {
			catch["retry"] = obj{"delay": obj{"seconds": 3}, "limit": obj{"attempt": obj{"count": rapid.IntRange(0, 2).Draw(d.t, "count")}}}
		}
		if rapid.Bool().Draw(d.t, "handler") {
			catch["do"] = d.tasks(depth - 1)
		}
		return obj{"try": d.tasks(depth - 1), "catch": catch}
	}
	return d.call(name)
}

func (d *drawing) call(name string) obj {
	var attempts []any
	for i := range rapid.IntRange(1, 3).Draw(d.t, "attempts") {
		a := obj{"output": fmt.Sprintf("%s.%d", name, i)}
		if rapid.IntRange(0, 3).Draw(d.t, "fails") == 0 {
			a = obj{"error": obj{"type": "communication", "status": 503}}
		}
		if rapid.Bool().Draw(d.t, "slow") {
			a["delay"] = fmt.Sprintf("PT%dS", rapid.IntRange(1, 9).Draw(d.t, "delay"))
		}
		attempts = append(attempts, a)
	}
	d.mocks = append(d.mocks, obj{"task": name, "attempts": attempts})
	if rapid.Bool().Draw(d.t, "http") {
		return obj{"call": "http", "with": obj{"method": "get", "endpoint": "http://x.example/" + name}}
	}
	return obj{"run": obj{"shell": obj{"command": name}}}
}

// draw makes a workflow, and a test file whose mocks stand at its top: those
// need not be asked for.
func draw(t *rapid.T) (def *workflow.Definition, file obj) {
	d := &drawing{t: t}
	doc := obj{"document": obj{"dsl": "1.0.3", "namespace": "test", "name": "random", "version": "1.0.0"}, "do": d.tasks(3)}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	def, findings := workflow.Decode(b)
	if def == nil || source.HasErrors(findings) {
		t.Fatalf("%s: %v", b, findings)
	}
	c := obj{"name": "random"}
	var events []any
	for range rapid.IntRange(0, 3).Draw(t, "events") {
		events = append(events, obj{
			"at":    fmt.Sprintf("PT%dS", rapid.IntRange(0, 40).Draw(t, "at")),
			"event": obj{"type": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "type")},
		})
	}
	c["events"] = events
	if events == nil {
		delete(c, "events")
	}
	if rapid.IntRange(0, 3).Draw(t, "act") == 0 {
		c["suspendAt"] = fmt.Sprintf("PT%dS", rapid.IntRange(0, 9).Draw(t, "suspend"))
		if rapid.Bool().Draw(t, "resumes") {
			c["resumeAt"] = fmt.Sprintf("PT%dS", rapid.IntRange(9, 40).Draw(t, "resume"))
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "cancel") == 0 {
		c["cancelAt"] = fmt.Sprintf("PT%dS", rapid.IntRange(0, 40).Draw(t, "cancelAt"))
	}
	file = obj{"workflow": "w.yaml", "cases": []any{c}}
	if d.mocks != nil {
		file["mocks"] = d.mocks
	}
	return def, file
}

func play(t *rapid.T, def *workflow.Definition, src []byte) *rehearse.Result {
	t.Helper()
	s, findings := rehearse.Decode(src)
	if s == nil {
		t.Fatalf("%s\n%v", src, findings)
	}
	r, findings := rehearse.Link(s, rehearse.Definition{File: "w.yaml", Workflow: def}, nil, program.Options{})
	if r == nil {
		t.Fatalf("%s\n%v", src, findings)
	}
	return r.Play(s.Cases[0])
}

func encode(t *rapid.T, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type outcome struct {
	Status, Error, Output, Context string
	Path                           []string
	Calls                          int
	Duration                       string
}

func outcomeOf(r *rehearse.Result) outcome {
	o := outcome{Status: r.Status.String(), Path: r.Path, Calls: len(r.Calls), Duration: r.Duration.String()}
	if r.Error != nil {
		o.Error = r.Error.Error() + r.Error.Instance
	}
	if !r.Output.IsZero() {
		o.Output = string(r.Output.JSON())
	}
	c, _ := json.Marshal(r.Context)
	o.Context = string(c)
	return o
}

// M1, M3, M6: a crash behind every event changes nothing that anybody can see.
// Play itself compares; here the results are compared once more, as a reader would.
func TestCrashesNeverChangeAResult(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		def, file := draw(t)
		plain := play(t, def, encode(t, file))
		c, _ := file["cases"].([]any)[0].(obj)
		c["crash"] = "every"
		crashed := play(t, def, encode(t, file))
		if crashed.Stopped {
			t.Fatalf("stopped: %+v", crashed.Failures)
		}
		if d := cmp.Diff(outcomeOf(plain), outcomeOf(crashed)); d != "" {
			t.Fatal(d)
		}
		for _, f := range crashed.Failures {
			if f.Pos.Line == 0 {
				t.Fatalf("a failure without a place: %+v", f)
			}
		}
	})
}

// A recorded run passes as a test.
func TestARecordingNeverFails(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		def, file := draw(t)
		real := play(t, def, encode(t, file))
		src, err := tape.Record("recorded", rehearse.Definition{File: "w.yaml", Workflow: def}, program.Options{}, real.Journal)
		if err != nil {
			t.Fatal(err)
		}
		again := play(t, def, src)
		if !again.Passed() {
			t.Fatalf("the recording of a run fails: %+v\n%s", again.Failures, src)
		}
		if d := cmp.Diff(outcomeOf(real), outcomeOf(again)); d != "" {
			t.Fatalf("%s\n%s", d, src)
		}
	})
}

// What --update writes, passes.
func TestAnUpdatedFileNeverFails(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		def, file := draw(t)
		c, _ := file["cases"].([]any)[0].(obj)
		delete(c, "events") // one that nothing consumes cannot be updated away
		delete(c, "cancelAt")
		delete(c, "suspendAt")
		delete(c, "resumeAt")
		c["expect"] = rapid.SampledFrom([]obj{
			{"status": "completed", "output": obj{"wrong": 1}, "path": []any{"t1"}, "duration": "PT1S", "context": nil},
			{"status": "faulted", "error": obj{"title": "wrong"}, "emitted": []any{}},
			{"status": "waiting"},
		}).Draw(t, "expect")
		src := encode(t, file)
		s, findings := rehearse.Decode(src)
		if s == nil {
			t.Fatal(findings)
		}
		r, findings := rehearse.Link(s, rehearse.Definition{File: "w.yaml", Workflow: def}, nil, program.Options{})
		if r == nil {
			t.Fatal(findings)
		}
		res := r.Play(s.Cases[0])
		if res.Stopped {
			return
		}
		out, left, err := r.Update([]*rehearse.Result{res})
		if err != nil {
			t.Fatal(err)
		}
		if again := play(t, def, out); !again.Passed() {
			t.Fatalf("%+v\nleft %v\n%s", again.Failures, left, out)
		}
	})
}
