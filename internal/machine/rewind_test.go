package machine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// drawCorrection changes a random program: not at all, in what its tasks do, or
// by the name of a task.
func drawCorrection(t *rapid.T, p *program.Program) (*program.Program, string) {
	src := string(p.Definition.Source)
	renamed := ""
	switch rapid.IntRange(0, 3).Draw(t, "correction") {
	case 0:
		return p, ""
	case 1:
		src = strings.ReplaceAll(src, `{"call":"noop"`, `{"with":{"corrected":true},"call":"noop"`)
	case 2:
		src = strings.ReplaceAll(src, `"v":"${ . }"`, `"v":"${ [.] }","w":1`)
	default:
		renamed = fmt.Sprintf("t%d", rapid.IntRange(0, 2).Draw(t, "renamed"))
		src = strings.ReplaceAll(src, `"`+renamed+`"`, `"r`+renamed+`"`)
	}
	if !json.Valid([]byte(src)) {
		t.Fatalf("the correction is no JSON: %s", src)
	}
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		t.Fatalf("decode %s: %v", src, findings)
	}
	out, err := program.Compile(def, program.Options{Functions: functions})
	if err != nil {
		t.Fatal(err)
	}
	return out, renamed
}

// retries follows a run that is opened again and again.
type retries struct {
	t        *rapid.T
	d        *driver
	segments []rewind.Segment
	keys     map[event.Activation]string
	renamed  bool // some correction did not keep all names
}

// TestRetriesRedoWhatWasChosen holds, for random runs that are opened again or
// forked at random tasks under random corrected definitions, sometimes twice:
// what was kept is not entered again but by a try that begins anew, all that was
// to be redone is entered at once, no attempt number is used twice and keys stay
// (M3), and a replay that begins at the new event gives the same (M1, M5).
func TestRetriesRedoWhatWasChosen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver(t)
		d.slice = 10_000
		d.run()
		r := &retries{t: t, d: d, segments: []rewind.Segment{{Program: d.p, Events: d.events}}, keys: map[event.Activation]string{}}
		for range rapid.IntRange(1, 2).Draw(t, "retries") {
			if !r.again() {
				return
			}
		}
	})
}

// again opens the run anew, drives it to its end, and reports whether it could.
func (r *retries) again() bool {
	t, d := r.t, r.d
	records, err := rewind.Trace(r.segments)
	if err != nil {
		t.Fatal(err)
	}
	var c rewind.Choice
	if len(records) > 0 && rapid.IntRange(0, 3).Draw(t, "chosen") > 0 {
		c.At = rapid.SampledFrom(records).Draw(t, "record").Activation
	}
	plan, err := rewind.Rewind(r.segments, c)
	if errors.Is(err, rewind.ErrNothing) && c.At == "" {
		return false
	}
	if errors.Is(err, rewind.ErrNeverEntered) && forked(r.segments) {
		return false // the run that it was forked from did
	}
	if err != nil {
		t.Fatalf("rewind to %q: %v", c.At, err)
	}
	twice, err := rewind.Rewind(r.segments, c)
	if err != nil || !bytes.Equal(plan.State, twice.State) || !cmp.Equal(plan.Items, twice.Items) {
		t.Fatalf("a second rewind gives another plan (%v)", err)
	}
	p, renamed := drawCorrection(t, r.segments[len(r.segments)-1].Program)
	r.renamed = r.renamed || renamed != ""
	state, err := plan.Carry(p, nil)
	if err != nil {
		if !r.renamed || !strings.Contains(err.Error(), " /do/") && !strings.Contains(err.Error(), " /use/") {
			t.Fatalf("a definition that fits was refused: %v", err)
		}
		return false
	}
	fork := rapid.IntRange(0, 4).Draw(t, "fork") == 0
	body := event.Body(&event.RunReopened{State: state, Tasks: plan.Tasks})
	if fork {
		body = &event.RunForked{Start: event.RunStarted{Run: event.RunID{9: byte(len(r.segments))}}, State: state, Tasks: plan.Tasks}
		r.keys = map[event.Activation]string{}
		d.used = map[string]bool{}
	}
	r.drive(p, body, plan)
	if fork {
		r.segments = nil
	}
	r.segments = append(r.segments, rewind.Segment{Program: p, Events: d.events})
	return true
}

func forked(segments []rewind.Segment) bool {
	_, ok := segments[0].Events[0].Body.(*event.RunForked)
	return ok
}

// drive runs what was opened again to its end and holds what the plan promised.
func (r *retries) drive(p *program.Program, body event.Body, plan *rewind.Plan) {
	t, d := r.t, r.d
	fate := map[event.Activation]rewind.Fate{}
	for _, x := range plan.Items {
		fate[x.Activation] = x.Fate
	}
	d.now = d.now.Add(time.Hour)
	d.p, d.m, d.twin = p, machine.New(p), nil
	d.events, d.steps, d.ended, d.lenient = nil, nil, false, true
	d.open, d.entered = map[string]string{}, map[string]bool{}
	w := &watching{t: t, fate: fate, began: map[event.Activation]bool{}, retried: map[event.Activation]bool{}, keys: r.keys}
	d.see = w.step
	d.apply(body)
	for a, f := range fate {
		if f == rewind.Again && !w.began[a] && !w.broken {
			t.Fatalf("%s was to be redone, and was not entered", a)
		}
	}
	d.goOn()
	d.see = nil
	again, err := replay(d)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != d.m.Hash() {
		t.Fatal("a replay that begins where the run was opened again differs (M1)")
	}
}

// watching holds what a plan promised, step by step.
type watching struct {
	t              *rapid.T
	fate           map[event.Activation]rewind.Fate
	began, retried map[event.Activation]bool
	keys           map[event.Activation]string
	broken         bool // one of those that were redone failed or ended the run, and so the others
}

func (w *watching) step(s *machine.Step) {
	for _, c := range s.Commands {
		if timer, ok := c.(*machine.StartTimer); ok && strings.HasSuffix(timer.ID, ":retry") {
			a, _, _ := strings.Cut(timer.ID, "#")
			w.retried[event.Activation(a)] = true
		}
	}
	for i := range s.Transitions {
		x := &s.Transitions[i]
		switch x.Change {
		case machine.Entered, machine.Skipped:
			f := w.fate[x.Activation]
			if (f == rewind.Kept || f == rewind.Open) && !w.beneathRetry(x.Activation) {
				w.t.Fatalf("%s was to be kept (%d), and is entered again", x.Activation, f)
			}
			w.began[x.Activation] = true
		case machine.TaskEnds:
			w.broken = w.broken || x.Status != event.Completed
		case machine.Dispatched, machine.Retried, machine.Waits, machine.Resumes, machine.RunChanges, machine.Correlates:
		}
	}
	w.broken = w.broken || s.Ended
	for _, c := range s.Commands {
		if _, ok := c.(*machine.CancelAttempt); ok { // by the directive end
			w.broken = true
		}
		if d, ok := c.(*machine.Dispatch); ok {
			if key := w.keys[d.Activation]; key != "" && key != d.IdempotencyKey {
				w.t.Fatalf("the idempotency key of %s changed", d.Activation)
			}
			w.keys[d.Activation] = d.IdempotencyKey
		}
	}
}

// beneathRetry reports that a try around the activation has begun anew.
func (w *watching) beneathRetry(a event.Activation) bool {
	for try := range w.retried {
		if strings.HasPrefix(string(a), string(try)+".") {
			return true
		}
	}
	return false
}
