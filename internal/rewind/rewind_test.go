package rewind_test

import (
	"errors"
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
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func compile(t *testing.T, tasks string) *program.Program {
	t.Helper()
	def, findings := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\n" + tasks))
	if def == nil {
		t.Fatal(findings)
	}
	p, err := program.Compile(def, program.Options{Functions: []string{"noop"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// receiving is a task that works on messages.
const receiving = "{r: {call: asyncapi, with: {document: {endpoint: x}, operation: o, subscription: {consume: {amount: 2}, foreach: {do: [{x: {call: noop}}]}}}}}"

// script makes events of lines such as "1.b0.0 ok 5", "1.b1.0 fails",
// "0 cancelled", "timer 0#1:timeout", "cancel", "suspend", "resume", "secrets".
// Each is a second after the one before.
func script(t *testing.T, lines string) []event.Event {
	t.Helper()
	out := []event.Event{{At: epoch, Body: &event.RunStarted{Run: event.RunID{1}, Revision: machine.Revision}}}
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var b event.Body
		attempt := 1
		name, number, ok := strings.Cut(words[0], "#")
		if ok && words[0] != "timer" {
			_, _ = fmt.Sscan(number, &attempt)
		}
		a := event.Activation(name)
		switch {
		case words[0] == "timer":
			b = &event.TimerFired{Timer: words[1]}
		case words[0] == "cancel":
			b = &event.CancelRequested{}
		case words[0] == "suspend":
			b = &event.SuspendRequested{}
		case words[0] == "resume":
			b = &event.ResumeRequested{}
		case words[0] == "secrets":
			b = &event.SecretsResolved{Secrets: []event.Secret{{Name: "s", Value: value.FromAny(words[1])}}}
		case words[1] == "ok":
			b = &event.TaskCompleted{Activation: a, Attempt: attempt, Output: value.FromJSON([]byte(words[2]))}
		case words[1] == "fails":
			b = &event.TaskFailed{Activation: a, Attempt: attempt, Error: event.Problem{Status: 500, Title: "no"}}
		case words[1] == "cancelled":
			b = &event.TaskCancelled{Activation: a, Attempt: attempt}
		default:
			t.Fatalf("line %q", line)
		}
		out = append(out, event.Event{At: epoch.Add(time.Duration(len(out)) * time.Second), Body: b})
	}
	return out
}

// again opens a run again an hour later and shows what it does at once.
func again(t *testing.T, p *program.Program, plan *rewind.Plan, lines ...string) string {
	t.Helper()
	state, err := plan.Carry(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := []event.Event{{At: epoch.Add(time.Hour), Body: &event.RunReopened{State: state, Tasks: plan.Tasks}}}
	for _, l := range lines {
		for _, e := range script(t, l)[1:] {
			events = append(events, event.Event{At: epoch.Add(2 * time.Hour), Body: e.Body})
		}
	}
	m := machine.New(p)
	var out strings.Builder
	for _, e := range events {
		s, err := m.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *machine.Dispatch:
				fmt.Fprintf(&out, "dispatch %s#%d %s\n", c.Activation, c.Attempt, value.JSON(c.Arguments))
			case *machine.StartTimer:
				fmt.Fprintf(&out, "timer %s at %s\n", c.ID, c.At.Sub(epoch))
			case *machine.ResolveSecrets:
				fmt.Fprintf(&out, "secrets %v\n", c.Names)
			case *machine.End:
				if c.Error != nil {
					fmt.Fprintf(&out, "end %s %s\n", c.Status, c.Error.Instance)
				} else {
					fmt.Fprintf(&out, "end %s %s\n", c.Status, c.Output.JSON())
				}
			default:
				fmt.Fprintf(&out, "%T\n", c)
			}
		}
	}
	return out.String()
}

func fates(plan *rewind.Plan) string {
	var out []string
	for _, x := range plan.Items {
		out = append(out, string(x.Activation)+" "+[]string{"", "kept", "open", "again", "later"}[x.Fate])
	}
	return strings.Join(out, ", ")
}

func TestRewind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, tasks, events, at, fates, then, more, end string }{
		{
			name:  "a branch failed: the other keeps its result, also one that came too late to count",
			tasks: "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {call: noop}}, {z: {do: [{p: {call: noop}}, {q: {call: noop}}]}}]}}}, {e: {call: noop}}]",
			events: `
				0.b0.0 ok 1
				0.b1.0 fails
				0.b2.0.0 ok 3`,
			fates: "0 open, 0.b0.0 kept, 0.b2.0 open, 0.b2.0.0 kept, 0.b2.0.1 again, 0.b1.0 again",
			then:  "dispatch 0.b1.0#2 {}\ndispatch 0.b2.0.1#2 3\n",
			more:  "0.b1.0#2 ok 2\n0.b2.0.1#2 ok 4",
			end:   "dispatch 1#2 [1,2,4]\n",
		},
		{
			name:   "an attempt that was cancelled by the failure beside it begins anew",
			tasks:  "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {call: noop}}]}}}]",
			events: "0.b0.0 fails\n0.b1.0 cancelled",
			fates:  "0 open, 0.b0.0 again, 0.b1.0 again",
			then:   "dispatch 0.b0.0#2 {}\ndispatch 0.b1.0#2 {}\n",
		},
		{
			name:  "a chosen task of a completed run: what does not depend on it stays",
			tasks: "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {do: [{p: {call: noop}}, {q: {call: noop}}]}}]}}}, {e: {call: noop}}]",
			at:    "0.b1.0.1",
			events: `
				0.b0.0 ok 1
				0.b1.0.0 ok 2
				0.b1.0.1 ok 3
				1 ok 4`,
			fates: "0 open, 0.b0.0 kept, 0.b1.0 open, 0.b1.0.0 kept, 0.b1.0.1 again, 1 later",
			then:  "dispatch 0.b1.0.1#2 2\n",
			more:  "0.b1.0.1#2 ok 9",
			end:   "dispatch 1#2 [1,9]\n",
		},
		{
			name:   "the loser of a race: the winner is done again too, for else it wins again at once",
			tasks:  "do: [{f: {fork: {compete: true, branches: [{x: {call: noop}}, {y: {call: noop}}]}}}]",
			at:     "0.b1.0",
			events: "0.b0.0 ok 1\n0.b1.0 cancelled",
			fates:  "0 open, 0.b0.0 again, 0.b1.0 again",
			then:   "dispatch 0.b0.0#2 {}\ndispatch 0.b1.0#2 {}\n",
		},
		{
			name:   "a cancelled run goes on with what was under way; a wait keeps its time",
			tasks:  "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {wait: PT2H}}]}}}]",
			events: "cancel\n0.b0.0 cancelled",
			fates:  "0 open, 0.b1.0 open, 0.b0.0 again",
			then:   "timer 0.b1.0#1:wait at 2h0m0s\ndispatch 0.b0.0#2 {}\n",
		},
		{
			name:   "a task that took too long has the time it had left; what was done in it stays",
			tasks:  "do: [{d: {timeout: {after: PT10S}, do: [{a: {call: noop}}, {b: {call: noop}}]}}]",
			events: "0.0 ok 1\ntimer 0#1:timeout\n0.1 cancelled",
			fates:  "0 open, 0.0 kept, 0.1 again",
			then:   "timer 0#1:timeout at 1h0m9s\ndispatch 0.1#2 1\n",
		},
		{
			name:   "the time of the run begins anew",
			tasks:  "timeout: {after: PT1M}\ndo: [{a: {call: noop}}]",
			events: "timer timeout\n0 cancelled",
			fates:  "0 again",
			then:   "timer timeout at 1h1m0s\ndispatch 0#2 {}\n",
		},
		{
			name:   "retries that a try has used stay used; attempts count on",
			tasks:  "do: [{t: {try: [{a: {call: noop}}, {b: {call: noop}}], catch: {retry: {delay: PT1S, limit: {attempt: {count: 1}}}}}}]",
			events: "0.0 ok 1\n0.1 fails\ntimer 0#1:retry\n0.0#2 ok 2\n0.1#2 fails",
			fates:  "0 open, 0.0 kept, 0.1 again",
			then:   "dispatch 0.1#4 2\n",
			more:   "0.1#4 fails",
			end:    "end faulted /do/0/t/try/1/b\n",
		},
		{
			name:   "answers that a suspended run had kept count",
			tasks:  "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {call: noop}}]}}}]",
			events: "suspend\n0.b0.0 ok 1\n0.b1.0 fails\nresume",
			fates:  "0 open, 0.b0.0 kept, 0.b1.0 again",
			then:   "dispatch 0.b1.0#2 {}\n",
		},
		{
			name:   "the output of the run failed: nothing but that is done again",
			tasks:  "output: {as: '.a.b.c | error'}\ndo: [{a: {call: noop}}]",
			events: "0 ok 1",
			fates:  "0 kept",
			then:   "end faulted /output\n",
		},
		{
			name:   "secrets are resolved anew before anything goes on",
			tasks:  "use: {secrets: [s]}\ndo: [{a: {call: noop, with: {v: '${ $secrets.s }'}}}]",
			events: "secrets old\n0 fails",
			fates:  "0 again",
			then:   "secrets [s]\n",
			more:   "secrets new",
			end:    "dispatch 0#2 {\"v\":\"new\"}\n",
		},
		{
			name:   "a task that nobody can fail without is redone though it computes alone",
			tasks:  "do: [{f: {fork: {branches: [{x: {do: [{p: {call: noop}}, {q: {raise: {error: {type: 'https://e.x/y', status: 400}}}}]}}, {y: {call: noop}}]}}}]",
			events: "0.b1.0 ok 2\n0.b0.0.0 ok 1",
			fates:  "0 open, 0.b0.0 open, 0.b1.0 kept, 0.b0.0.0 kept, 0.b0.0.1 again",
			then:   "end faulted /do/0/f/fork/branches/0/x/do/1/q\n",
		},
		{
			name:   "an item of a map that began in the place of the chosen one keeps its result",
			tasks:  "do: [{m: {call: map, with: {in: '[1, 2, 3]', limit: 1, do: [{a: {call: noop}}]}}}, {e: {call: noop}}]",
			at:     "0.m0.0",
			events: "0.m0.0 ok 1\n0.m1.0 ok 2\n0.m2.0 ok 3\n1 ok 4",
			fates:  "0 open, 0.m1.0 kept, 0.m2.0 kept, 0.m0.0 again, 1 later",
			then:   "dispatch 0.m0.0#2 {}\n",
			more:   "0.m0.0#2 ok 9",
			end:    "dispatch 1#2 [9,2,3]\n",
		},
		{
			name:   "but never are more items under way than its limit",
			tasks:  "do: [{m: {call: map, with: {in: '[1, 2, 3]', limit: 1, do: [{a: {call: noop}}]}}}]",
			at:     "0.m0.0",
			events: "0.m0.0 ok 1\n0.m1.0 ok 2\n0.m2.0 fails",
			fates:  "0 open, 0.m0.0 again, 0.m1.0 later, 0.m2.0 later",
			then:   "dispatch 0.m0.0#2 {}\n",
		},
		{
			name:   "the foreach of a subscription goes on at its message, and nothing is received again",
			tasks:  "do: [" + receiving + "]",
			events: `0 ok [{"n":1},{"n":2}]` + "\n0.e0.0 ok 1\n0.e1.0 fails",
			fates:  "0 open, 0.e0.0 kept, 0.e1.0 again",
			then:   `dispatch 0.e1.0#2 {"n":2}` + "\n",
			more:   "0.e1.0#2 ok 5",
			end:    "end completed [1,5]\n",
		},
		{
			name:   "a subscription whose foreach took too long goes on inside it",
			tasks:  "do: [" + strings.Replace(receiving, "{r: {", "{r: {timeout: {after: PT1M}, ", 1) + "]",
			events: `0 ok [{"n":1},{"n":2}]` + "\n0.e0.0 ok 1\ntimer 0#1:timeout\n0.e1.0 cancelled",
			fates:  "0 open, 0.e0.0 kept, 0.e1.0 again",
			then:   "timer 0#1:timeout at 1h0m58s\n" + `dispatch 0.e1.0#2 {"n":2}` + "\n",
		},
		{
			name:   "a subscription that took too long to receive is done again",
			tasks:  "do: [" + strings.Replace(receiving, "{r: {", "{r: {timeout: {after: PT1M}, ", 1) + "]",
			events: "timer 0#1:timeout\n0 cancelled",
			fates:  "0 again",
			then:   "timer 0#2:timeout at 1h1m0s\n" + `dispatch 0#2 {"document":{"endpoint":"x"},"operation":"o","subscription":{"consume":{"amount":2}}}` + "\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, c.tasks)
			plan, err := rewind.Rewind([]rewind.Segment{{Program: p, Events: script(t, c.events)}}, rewind.Choice{At: event.Activation(c.at)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.fates, fates(plan)); diff != "" {
				t.Errorf("fates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.then, again(t, p, plan)); diff != "" {
				t.Fatalf("what is done at once (-want +got):\n%s", diff)
			}
			if c.more != "" {
				if diff := cmp.Diff(c.then+c.end, again(t, p, plan, c.more)); diff != "" {
					t.Errorf("what follows (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestRewindRefuses(t *testing.T) {
	t.Parallel()
	p := compile(t, "input: {schema: {document: {type: array}}}\ndo: [{a: {call: noop}}]")
	past := []rewind.Segment{{Program: p, Events: script(t, "")}}
	if _, err := rewind.Rewind(past, rewind.Choice{}); !errors.Is(err, rewind.ErrNothing) {
		t.Errorf("a run that ended before its first task: %v", err)
	}
	if _, err := rewind.Rewind(past, rewind.Choice{At: "0"}); !errors.Is(err, rewind.ErrNeverEntered) {
		t.Errorf("a task that was never entered: %v", err)
	}
	if _, err := rewind.Rewind(past, rewind.Choice{Awaits: &event.Parent{Activation: "0", Attempt: 1}}); err == nil {
		t.Error("a child that was never awaited")
	}
	if _, err := rewind.Rewind(nil, rewind.Choice{}); err == nil {
		t.Error("no journal at all")
	}
}

// The definition may change where the run is not; inside, it must keep its shape.
func TestCarryNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	const was = "do: [{f: {fork: {branches: [{x: {call: noop}}, {y: {call: noop}}]}}}, {z: {set: {v: 1}}}]"
	p := compile(t, was)
	plan, err := rewind.Rewind([]rewind.Segment{{Program: p, Events: script(t, "0.b0.0 ok 1\n0.b1.0 fails")}}, rewind.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ change, by, want string }{
		{"{set: {v: 1}}", "{set: {v: 2}}", ""},
		{"{y: {call: noop}}", "{y: {wait: PT1S}}", ""}, // it is entered anew, so its kind may change
		{"{x: {call: noop}}", "{x: {set: {v: 1}}}", ""},
		{"{y:", "{w:", "no task /do/0/f/fork/branches/1/y"},
		{"{x:", "{q: {set: {v: 1}}}, {x:", "no task /do/0/f/fork/branches/1/y"},
		{"{f: {fork", "{g: {fork", "no task /do/0/f/fork/branches/1/y"},
		{"{y: {call: noop}}", "{y: {call: noop}}, {w: {call: noop}}", "had 2 branches and has 3"},
	} {
		_, err := plan.Carry(compile(t, strings.Replace(was, c.change, c.by, 1)), nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s instead of %s: %v, want %q", c.by, c.change, err, c.want)
		}
	}
	// A run that is after its messages, in the tasks of an extension, has no
	// part of the foreach left but its state.
	const around = "use: {extensions: [{e: {extend: call, after: [{a: {call: noop}}]}}]}\ndo: [" + receiving + "]"
	plan, err = rewind.Rewind([]rewind.Segment{{Program: compile(t, around), Events: script(t, "0 ok []\n0.x0a.0 fails")}}, rewind.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{"": "", ", foreach: {do: [{x: {call: noop}}]}": "inside the foreach of /do/0/r"} {
		_, err := plan.Carry(compile(t, strings.Replace(around, change, "", 1)), nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("without %q: %v, want %q", change, err, want)
		}
	}
}
