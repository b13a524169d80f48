package machine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// finish continues a run until it rests, and returns the last step and how
// often it was continued.
func finish(t *testing.T, m *machine.Machine, e event.Event) (*machine.Step, int) {
	t.Helper()
	s, err := m.Apply(e)
	n := 0
	for err == nil && s.More {
		s, err = m.Continue()
		n++
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, n
}

func endOf(t *testing.T, s *machine.Step) *machine.End {
	t.Helper()
	if !s.Ended {
		t.Fatal("the run has not ended")
	}
	end, ok := s.Commands[len(s.Commands)-1].(*machine.End)
	if !ok {
		t.Fatal("the last command is not End")
	}
	return end
}

func wantFault(t *testing.T, end *machine.End, status int, title, reference string) {
	t.Helper()
	if end.Error == nil {
		t.Fatalf("the run ended %s with %s, want a fault", end.Status, end.Output.JSON())
	}
	if end.Error.Status != status || end.Error.Title != title || end.Error.Instance != reference {
		t.Fatalf("the run ended with %s, want [%d %q at %s]", showProblem(end.Error), status, title, reference)
	}
}

// A loop without an end, a deep recursion and a runaway expression end as faults
// with clear errors, within a bounded budget (design: invariant 5).
func TestEndlessLoopEnds(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{a: {set: {x: 1}}}, {b: {set: {x: 2}, then: a}}]")
	s, slices := finish(t, machine.New(p), started())
	wantFault(t, endOf(t, s), 500, "Too many tasks", "/do/0/a")
	if slices != 100 {
		t.Errorf("1,000,000 tasks took %d continuations, want 100 slices of 10,000", slices)
	}
}

func TestEmptyLoopIsBounded(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{l: {for: {in: '[range(300000)]'}, do: [{a: {if: false, set: {x: 1}}}]}}]")
	s, slices := finish(t, machine.New(p), started())
	if end := endOf(t, s); end.Status != event.Completed || slices < 30 {
		t.Errorf("ended %s after %d continuations", end.Status, slices)
	}
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "use: {functions: {f: {do: [{x: {do: [{y: {call: f}}]}}]}}}\ndo: [{a: {call: f}}]")
	s, _ := finish(t, machine.New(p), started())
	wantFault(t, endOf(t, s), 500, "Nested too deep", "/use/functions/f/do/0/x/do/0/y")
}

func TestRunawayExpressionEnds(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"def f: f; f", "[repeat(1)]", "[range(1e9)]", `reduce range(28) as $i ("x"; . + .)`} {
		p := mustCompile(t, "do: [{a: {set: '${ "+src+" }'}}]")
		s, _ := finish(t, machine.New(p), started())
		wantFault(t, endOf(t, s), 400, "Expression failed", "/do/0/a")
	}
}

func TestValueIsBounded(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{a: {call: noop}}]")
	m := machine.New(p)
	finish(t, m, started())
	big := value.FromJSON([]byte(`"` + strings.Repeat("x", 17<<20) + `"`))
	s, _ := finish(t, m, event.Event{At: epoch, Body: &event.TaskCompleted{Activation: "0", Attempt: 1, Output: big}})
	wantFault(t, endOf(t, s), 500, "Value too large", "/do/0/a")
}

func TestLiveStateIsBounded(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{m: {call: map, with: {in: '[range(30)]', limit: 30, do: [{a: {call: noop}}]}}}]")
	m := machine.New(p)
	finish(t, m, started())
	big := value.FromAny(strings.Repeat("x", 15<<20))
	for i := range 30 {
		s, _ := finish(t, m, event.Event{At: epoch, Body: &event.TaskCompleted{Activation: event.Activation(fmt.Sprintf("0.m%d.0", i)), Attempt: 1, Output: big}})
		if len(s.Commands) == 0 {
			continue
		}
		if c, ok := s.Commands[0].(*machine.CancelAttempt); !ok || c.Reason != "sibling faulted" || i != 17 {
			t.Fatalf("at output %d: %v", i, showAll(s.Commands))
		}
		return
	}
	t.Fatal("450 MiB of outputs were collected")
}

// A host that is late does no harm, and one that is wrong is told so.
func TestImpossibleEvents(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{a: {call: noop}}]")
	m := machine.New(p)
	if _, err := m.Apply(event.Event{At: epoch, Body: &event.CancelRequested{}}); err == nil {
		t.Error("an event before RunStarted was taken")
	}
	finish(t, m, started())
	if _, err := m.Apply(started()); err == nil {
		t.Error("RunStarted was taken twice")
	}
	if _, err := m.Apply(event.Event{At: epoch, Body: &event.RunReopened{State: m.Snapshot()}}); err == nil {
		t.Error("a live run was reopened")
	}
	// M2: time never runs backwards.
	s, _ := finish(t, m, event.Event{At: epoch.Add(-time.Hour), Body: &event.TaskFailed{Activation: "0", Attempt: 9}})
	if len(s.Commands)+len(s.Transitions) > 0 {
		t.Error("an answer to an attempt that never was had an effect")
	}
}

// TestTimeRunsBackwardsNever holds M2.
func TestTimeRunsBackwardsNever(t *testing.T) {
	t.Parallel()
	m := machine.New(mustCompile(t, "do: [{a: {call: noop}}, {b: {wait: PT1M}}]"))
	finish(t, m, started())
	e := answer("0", 1, "1")
	e.At = epoch.Add(-time.Hour)
	finish(t, m, e)
	if at, ok := m.NextTimer(); !ok || !at.Equal(epoch.Add(time.Minute)) {
		t.Errorf("the wait ends at %s, want a minute after the start", at)
	}
}

// The guard of a host stops an evaluation once; a replay stops it at the same
// place without a guard (M1).
func TestGuardIsReplayed(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{t: {try: [{a: {set: '${ 1 + 1 }'}}, {b: {set: '${ reduce range(300000) as $i (0; . + $i) }'}}], catch: {do: [{h: {set: '${ [., $error.status] }'}}]}}}, {c: {call: noop}}]")
	m := machine.New(p)
	m.SetGuard(func() bool { return true })
	s, err := m.Apply(started())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Stopped) != 1 || !s.More {
		t.Fatalf("stopped %v, more %v; want one evaluation, and the end of the slice", s.Stopped, s.More)
	}
	stopped := s.Stopped[0]
	for s.More {
		if s, err = m.Continue(); err != nil {
			t.Fatal(err)
		}
	}
	twin := machine.New(p)
	if _, err := twin.Apply(event.Event{At: epoch, Body: &stopped}); err != nil {
		t.Fatal(err)
	}
	if s, err := twin.Apply(started()); err != nil || !s.More || len(s.Stopped) > 0 {
		t.Fatalf("the slice of the replay does not end where the first one did: %v", err)
	}
	again, err := machine.Replay(p, []event.Event{{At: epoch, Body: &stopped}, started()})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "replay with EvaluationStopped", m, again)
	other, err := machine.Replay(p, []event.Event{started()})
	if err != nil {
		t.Fatal(err)
	}
	if other.Hash() == m.Hash() {
		t.Error("without EvaluationStopped the replay is the same: the guard had no effect")
	}
}

// Wants changes nothing (M1).
func TestWantsChangesNothing(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, "do: [{l: {listen: {to: {all: [{with: {type: '${ \"a\" }'}, correlate: {k: {from: .k}}}, {with: {type: b}}]}}}}]")
	m := machine.New(p)
	finish(t, m, started())
	before := m.Snapshot()
	if !m.Wants(map[string]any{"type": "a", "k": 1}, "") || m.Wants(map[string]any{"type": "a"}, "0") || m.Wants(map[string]any{"type": "b"}, "1") {
		t.Error("wants the wrong events")
	}
	if !bytes.Equal(before, m.Snapshot()) {
		t.Error("Wants changed the machine")
	}
}

const retryable = `
do:
  - first: {call: noop}
  - f:
      fork:
        branches:
          - x: {call: noop}
          - y: {do: [{a: {call: noop}}, {b: {call: noop, with: {v: '${ . }'}}}]}
`

// answer is the completion of an attempt.
func answer(a event.Activation, attempt int, out string) event.Event {
	return event.Event{At: epoch, Body: &event.TaskCompleted{Activation: a, Attempt: attempt, Output: value.FromJSON([]byte(out))}}
}

func faultedRun() []event.Event {
	return []event.Event{
		started(), answer("0", 1, "1"), answer("1.b1.0.0", 1, "2"),
		{At: epoch, Body: &event.TaskFailed{Activation: "1.b1.0.1", Attempt: 1, Error: event.Problem{Status: 500}}},
		{At: epoch, Body: &event.TaskCancelled{Activation: "1.b0.0", Attempt: 1}},
	}
}

// rewindTo is the state in which a run begins again at an activation.
func rewindTo(p *program.Program, events []event.Event, a event.Activation) ([]byte, error) {
	var segments []rewind.Segment
	for i, e := range events {
		if _, ok := e.Body.(*event.RunReopened); ok || i == 0 {
			segments = append(segments, rewind.Segment{Program: p})
		}
		s := &segments[len(segments)-1]
		s.Events = append(s.Events, e)
	}
	plan, err := rewind.Rewind(segments, rewind.Choice{At: a})
	if err != nil {
		return nil, err
	}
	return plan.State, nil
}

// A run is retried from just before a task: attempts go on counting, the
// idempotency key stays, and the same holds in a replay that begins there (M3, M5).
func TestReopen(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, retryable)
	events := faultedRun()
	m, err := machine.Replay(p, events)
	if err != nil {
		t.Fatal(err)
	}
	if m.Status() != event.Faulted {
		t.Fatalf("the run is %s", m.Status())
	}
	state, err := rewindTo(p, events, "1.b1.0.1")
	if err != nil {
		t.Fatal(err)
	}
	reopen := event.Event{At: epoch.Add(time.Hour), Body: &event.RunReopened{State: state}}
	s, _ := finish(t, m, reopen)
	want := []string{`! dispatch 1.b0.0#2 noop 1`, `! dispatch 1.b1.0.1#2 noop {"v":2}`}
	if diff := cmp.Diff(want, showAll(s.Commands)); diff != "" {
		t.Fatalf("commands of the reopened run (-want +got):\n%s", diff)
	}
	first, ok := machineOutstanding(t, p, events[:3])["1.b1.0.1"]
	if again := machineOutstanding(t, p, append(events, reopen))["1.b1.0.1"]; !ok || first.IdempotencyKey != again.IdempotencyKey {
		t.Error("the idempotency key of an activation changed with the retry")
	}
	fresh := machine.New(p)
	finish(t, fresh, reopen)
	same(t, "a replay that begins at RunReopened", m, fresh)
	finish(t, m, answer("1.b0.0", 2, "3"))
	s, _ = finish(t, m, answer("1.b1.0.1", 2, "4"))
	if end := endOf(t, s); string(end.Output.JSON()) != "[3,4]" {
		t.Errorf("the output is %s", end.Output.JSON())
	}
	// A second retry counts on from the first.
	events = append(events, reopen, event.Event{At: epoch, Body: &event.TaskFailed{Activation: "1.b1.0.1", Attempt: 2}}, event.Event{At: epoch, Body: &event.TaskCancelled{Activation: "1.b0.0", Attempt: 2}})
	if state, err = rewindTo(p, events, "1.b1.0.1"); err != nil {
		t.Fatal(err)
	}
	s, _ = finish(t, machine.New(p), event.Event{At: epoch, Body: &event.RunReopened{State: state}})
	if got := showAll(s.Commands); len(got) != 2 || !strings.Contains(got[1], "1.b1.0.1#") || strings.Contains(got[1], "#2") {
		t.Errorf("the second retry commands %v, want attempts above 2", got)
	}
	// Also from before the first retry: its attempts are not used again.
	if state, err = rewindTo(p, events, "0"); err != nil {
		t.Fatal(err)
	}
	m = machine.New(p)
	s, _ = finish(t, m, event.Event{At: epoch, Body: &event.RunReopened{State: state}})
	if got := showAll(s.Commands); len(got) != 1 || got[0] != `! dispatch 0#3 noop {"a":1}` {
		t.Errorf("a retry from the beginning commands %v, want attempt 3 (M3)", got)
	}
	if _, err := rewindTo(p, events, "7"); err == nil {
		t.Error("a rewind to an activation that never was")
	}
}

func machineOutstanding(t *testing.T, p *program.Program, events []event.Event) map[event.Activation]*machine.Dispatch {
	t.Helper()
	m, err := machine.Replay(p, events)
	if err != nil {
		t.Fatal(err)
	}
	out := map[event.Activation]*machine.Dispatch{}
	for _, c := range m.Outstanding() {
		if d, ok := c.(*machine.Dispatch); ok {
			out[d.Activation] = d
		}
	}
	return out
}

// A corrected definition takes the state over; one without an open task is refused by its name.
func TestReopenWithAnotherDefinition(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, retryable)
	state, err := rewindTo(p, faultedRun(), "1.b1.0.1")
	if err != nil {
		t.Fatal(err)
	}
	reopen := event.Event{At: epoch, Body: &event.RunReopened{State: state}}
	better := machine.New(mustCompile(t, strings.Replace(retryable, "v: '${ . }'", "better: '${ . }'", 1)))
	s, _ := finish(t, better, reopen)
	if got := showAll(s.Commands); got[len(got)-1] != `! dispatch 1.b1.0.1#2 noop {"better":2}` {
		t.Errorf("commands: %v", got)
	}
	other := machine.New(mustCompile(t, strings.Replace(retryable, "y: {do:", "z: {do:", 1)))
	if _, err := other.Apply(reopen); err == nil || !strings.Contains(err.Error(), "/do/1/f/fork/branches/1/y") {
		t.Errorf("error %v; want one that names the task", err)
	}
}

// A fork is another run with the other's past.
func TestFork(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, retryable)
	events := faultedRun()
	state, err := rewindTo(p, events, "1.b1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	m := machine.New(p)
	s, _ := finish(t, m, event.Event{At: epoch, Body: &event.RunForked{Start: event.RunStarted{Run: event.RunID{9}}, From: event.RunID{15: 1}, State: state}})
	want := []string{`! dispatch 1.b0.0#2 noop 1`, `! dispatch 1.b1.0.0#2 noop 1`}
	if diff := cmp.Diff(want, showAll(s.Commands)); diff != "" {
		t.Fatalf("commands of the fork (-want +got):\n%s", diff)
	}
	first := machineOutstanding(t, p, events[:2])["1.b0.0"].IdempotencyKey
	if d, ok := s.Commands[0].(*machine.Dispatch); !ok || d.IdempotencyKey == first {
		t.Error("a fork is another run: its idempotency keys are its own")
	}
}

// Restore answers damaged bytes with an error, and takes nothing for granted.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, retryable)
	m, err := machine.Replay(p, faultedRun()[:3])
	if err != nil {
		t.Fatal(err)
	}
	state := m.Snapshot()
	for i := range state {
		if _, err := machine.Restore(p, state[:i]); err == nil {
			t.Fatalf("a snapshot cut at %d of %d was restored", i, len(state))
		}
		damaged := bytes.Clone(state)
		damaged[i] ^= 0x5a
		if m, err := machine.Restore(p, damaged); err == nil {
			m.Outstanding()
			m.Snapshot()
		}
	}
}
