package machine_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

var functions = []string{"noop", "ssh"}

// compile makes a program of a definition; a document without a head gets one.
func compile(src string) (*program.Program, error) {
	if !strings.HasPrefix(src, "document:") {
		src = "document: {dsl: 1.0.3, namespace: test, name: script, version: 1.0.0}\n" + src
	}
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		return nil, fmt.Errorf("decode: %v", findings)
	}
	return program.Compile(def, program.Options{Functions: functions})
}

// host drives one run by a script, as an engine would, and holds the laws at
// every step: a replay of its events, and a restored snapshot, are like the
// machine itself.
type host struct {
	p      *program.Program
	m      *machine.Machine
	events []event.Event
	now    time.Time
	seq    int64
	quiet  bool // transitions are not shown
	child  map[event.Activation]*machine.StartChild
	tries  map[event.Activation]int
	src    string      // of the definition
	hashes []uint64    // after each event
	runs   []recording // for golden journals
}

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		h := &host{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			out := h.do(t, d)
			h.checkLaws(t, d.Pos)
			return out
		})
		h.record()
		if *recordJournals {
			writeGolden(t, filepath.Base(path), h.runs)
		}
	})
}

func (h *host) do(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	h.quiet = d.HasArg("quiet")
	switch d.Cmd {
	case "define":
		p, err := compile(d.Input)
		h.record()
		h.p, h.m, h.src = p, nil, d.Input
		if err != nil && !d.HasArg("error") {
			d.Fatalf(t, "%v", err)
		}
		if err != nil {
			return err.Error() + "\n"
		}
		return ""
	case "start":
		h.record()
		h.hashes = nil
		h.m, h.events, h.now, h.seq = machine.New(h.p), nil, epoch, 0
		h.child, h.tries = map[event.Activation]*machine.StartChild{}, map[event.Activation]int{}
		s := &event.RunStarted{Run: event.RunID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Revision: machine.Revision, Runtime: "9.9.9", Trigger: "manual"}
		if d.Input != "" {
			s.Input = value.FromJSON([]byte(d.Input))
		}
		if d.HasArg("depth") {
			d.ScanArgs(t, "depth", &s.Depth)
		}
		return h.apply(t, s)
	case "done":
		id, attempt := h.dispatched(t, d)
		in := d.Input
		if in == "" {
			in = "null"
		}
		b := &event.TaskCompleted{Activation: id, Attempt: attempt, Output: value.FromJSON([]byte(in))}
		if d.HasArg("bearer") {
			b.Authorization = &event.Authorization{Scheme: "Bearer", Parameter: "abc"}
		}
		return h.apply(t, b)
	case "fail":
		id, attempt := h.dispatched(t, d)
		b := &event.TaskFailed{Activation: id, Attempt: attempt, Error: event.Problem{Type: event.TypePrefix + event.Communication, Status: 503, Title: "Service unavailable"}}
		if d.Input != "" {
			b.Error = problemOf(t, d.Input)
		}
		return h.apply(t, b)
	case "cancelled":
		id, attempt := h.dispatched(t, d)
		return h.apply(t, &event.TaskCancelled{Activation: id, Attempt: attempt, Unknown: d.HasArg("unknown")})
	case "child":
		return h.childEnds(t, d)
	case "advance":
		return h.advance(t, d.CmdArgs[0].Key)
	case "event":
		h.seq++
		b := &event.CloudEventReceived{Sequence: h.seq, Event: value.FromJSON([]byte(d.Input))}
		if d.HasArg("to") {
			var to string
			d.ScanArgs(t, "to", &to)
			b.Listener = event.Activation(to)
		}
		if d.HasArg("again") {
			h.seq--
			b.Sequence = h.seq
		}
		var ev map[string]any
		if json.Unmarshal([]byte(d.Input), &ev) == nil {
			n := value.Normalize(ev).(map[string]any)
			wanted := h.m.Wants(n, b.Listener)
			return fmt.Sprintf("wanted: %v\n", wanted) + h.apply(t, b)
		}
		return h.apply(t, b)
	case "secrets":
		var given map[string]any
		if err := json.Unmarshal([]byte(d.Input), &given); err != nil {
			t.Fatal(err)
		}
		b := &event.SecretsResolved{}
		for _, k := range h.p.Secrets {
			if v, ok := given[k]; ok {
				b.Secrets = append(b.Secrets, event.Secret{Name: k, Value: value.FromAny(value.Normalize(v))})
			} else {
				b.Missing = append(b.Missing, k)
			}
		}
		return h.apply(t, b)
	case "cancel":
		return h.apply(t, &event.CancelRequested{By: "script"})
	case "suspend":
		return h.apply(t, &event.SuspendRequested{By: "script"})
	case "resume":
		return h.apply(t, &event.ResumeRequested{By: "script"})
	case "outstanding":
		var b strings.Builder
		for _, c := range h.m.Outstanding() {
			fmt.Fprintln(&b, showCommand(c))
		}
		return b.String()
	case "status":
		next, ok := h.m.NextTimer()
		return fmt.Sprintf("%s busy=%v listening=%v timer=%v %v\n", h.m.Status(), h.m.Busy(), h.m.Listening(), ok, next.Sub(h.now).Round(time.Millisecond))
	}
	d.Fatalf(t, "no such command: %s", d.Cmd)
	return ""
}

// dispatched finds the outstanding attempt with the activation or task name of
// the first argument; attempt=n names another one.
func (h *host) dispatched(t *testing.T, d *datadriven.TestData) (event.Activation, int) {
	t.Helper()
	want := d.CmdArgs[0].Key
	if d.HasArg("attempt") {
		var n int
		d.ScanArgs(t, "attempt", &n)
		return event.Activation(want), n
	}
	for _, c := range h.m.Outstanding() {
		switch c := c.(type) {
		case *machine.Dispatch:
			if string(c.Activation) == want || c.Name == want {
				return c.Activation, c.Attempt
			}
		case *machine.CancelAttempt:
			if string(c.Activation) == want {
				return c.Activation, c.Attempt
			}
		}
	}
	return event.Activation(want), h.tries[event.Activation(want)]
}

func (h *host) childEnds(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	c := h.child[event.Activation(d.CmdArgs[0].Key)]
	if c == nil {
		d.Fatalf(t, "no such child")
	}
	b := &event.ChildEnded{Activation: c.Activation, Attempt: c.Attempt, Child: c.Child, Status: event.Completed}
	switch {
	case d.HasArg("faulted"):
		p := problemOf(t, d.Input)
		b.Status, b.Error = event.Faulted, &p
	case d.HasArg("cancelled"):
		b.Status = event.Cancelled
	default:
		b.Output = value.FromJSON([]byte(d.Input))
	}
	return h.apply(t, b)
}

// advance moves the clock and fires what is due, in the order of due time (D39).
func (h *host) advance(t *testing.T, by string) string {
	t.Helper()
	d, err := time.ParseDuration(by)
	if err != nil {
		t.Fatal(err)
	}
	until := h.now.Add(d)
	var b strings.Builder
	for {
		var due *machine.StartTimer
		for _, c := range h.m.Outstanding() {
			if s, ok := c.(*machine.StartTimer); ok && !s.At.After(until) && (due == nil || s.At.Before(due.At)) {
				due = s
			}
		}
		if due == nil || h.m.Status() == event.Suspended && slices.ContainsFunc(h.events, func(e event.Event) bool {
			f, ok := e.Body.(*event.TimerFired)
			return ok && f.Timer == due.ID
		}) {
			break
		}
		if due.At.After(h.now) {
			h.now = due.At
		}
		b.WriteString(h.apply(t, &event.TimerFired{Timer: due.ID}))
	}
	h.now = until
	return b.String()
}

func (h *host) apply(t *testing.T, body event.Body) string {
	t.Helper()
	e := event.Event{At: h.now, Body: body}
	h.events = append(h.events, e)
	s, err := h.m.Apply(e)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for {
		if !h.quiet {
			for i := range s.Transitions {
				fmt.Fprintln(&b, showTransition(&s.Transitions[i]))
			}
		}
		for _, c := range s.Commands {
			fmt.Fprintln(&b, showCommand(c))
			switch c := c.(type) {
			case *machine.StartChild:
				h.child[c.Activation] = c
			case *machine.Dispatch:
				h.tries[c.Activation] = c.Attempt
			}
		}
		if !s.More {
			h.hashes = append(h.hashes, s.Hash)
			return b.String()
		}
		if s, err = h.m.Continue(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkLaws holds M1: a replay gives the same machine.
func (h *host) checkLaws(t *testing.T, pos string) {
	t.Helper()
	if h.m == nil || h.events == nil {
		return
	}
	again, err := machine.Replay(h.p, h.events)
	if err != nil {
		t.Fatalf("%s: replay: %v", pos, err)
	}
	same(t, pos+": replay", h.m, again)
	restored, err := machine.Restore(h.p, h.m.Snapshot())
	if err != nil {
		t.Fatalf("%s: restore: %v", pos, err)
	}
	same(t, pos+": restored", h.m, restored)
	if diff := cmp.Diff(h.m.Snapshot(), restored.Snapshot()); diff != "" {
		t.Errorf("%s: a snapshot of the restored machine differs", pos)
	}
	h.m = restored // the script goes on with it: a snapshot changes nothing afterwards
}

func same(t *testing.T, what string, want, got *machine.Machine) {
	t.Helper()
	if want.Hash() != got.Hash() {
		t.Errorf("%s: hash %x, want %x (M1)", what, got.Hash(), want.Hash())
	}
	if want.Status() != got.Status() {
		t.Errorf("%s: status %s, want %s", what, got.Status(), want.Status())
	}
	if diff := cmp.Diff(showAll(want.Outstanding()), showAll(got.Outstanding())); diff != "" {
		t.Errorf("%s: outstanding commands differ (-want +got):\n%s", what, diff)
	}
}

func showAll(list []machine.Command) []string {
	var out []string
	for _, c := range list {
		out = append(out, showCommand(c))
	}
	return out
}

func showTransition(x *machine.Transition) string {
	var b strings.Builder
	if x.Change == machine.RunChanges {
		fmt.Fprintf(&b, "run %s", x.Status)
	} else {
		name := map[machine.Change]string{
			machine.Entered: "entered", machine.Dispatched: "dispatched", machine.Retried: "retried", machine.Waits: "waits",
			machine.Resumes: "resumes", machine.Skipped: "skipped", machine.TaskEnds: x.Status.String(), machine.Correlates: "correlation " + x.Status.String(),
		}[x.Change]
		fmt.Fprintf(&b, "%s %s %s", x.Activation, x.Name, name)
		if x.Change == machine.Entered && x.Status != event.Running {
			fmt.Fprintf(&b, " %s", x.Status)
		}
		if x.Attempt > 1 {
			fmt.Fprintf(&b, " attempt=%d", x.Attempt)
		}
		if x.Total > 0 {
			fmt.Fprintf(&b, " total=%d", x.Total)
		}
		if x.Delay > 0 {
			fmt.Fprintf(&b, " delay=%s", time.Duration(x.Delay)*time.Microsecond)
		}
		if x.Unknown {
			b.WriteString(" unknown")
		}
	}
	if x.Error != nil {
		fmt.Fprintf(&b, " %s", showProblem(x.Error))
	}
	if !x.Output.IsZero() {
		fmt.Fprintf(&b, " %s", x.Output.JSON())
	}
	return b.String()
}

func showProblem(p *event.Problem) string {
	detail, _, long := strings.Cut(p.Detail, " its schema: ") // what follows is the words of package schema
	if long {
		detail += " its schema"
	}
	if p.Title == "Expression failed" { // and here those of package expr
		detail, _, _ = strings.Cut(detail, ": ")
	}
	return fmt.Sprintf("[%d %s %q %q at %s]", p.Status, strings.TrimPrefix(p.Type, event.TypePrefix), p.Title, detail, p.Instance)
}

func showCommand(c machine.Command) string {
	rel := func(t time.Time) string { return t.Sub(epoch).String() }
	switch c := c.(type) {
	case *machine.Dispatch:
		s := fmt.Sprintf("! dispatch %s#%d %s %s", c.Activation, c.Attempt, c.Kind, value.JSON(c.Arguments))
		if !c.MayRepeat {
			s += " once"
		}
		if c.WantsAuthorization {
			s += " wants-authorization"
		}
		if len(c.Iteration) > 0 {
			s += fmt.Sprintf(" iteration=%v", c.Iteration)
		}
		if !c.Deadline.IsZero() {
			s += " until " + rel(c.Deadline)
		}
		return s
	case *machine.CancelAttempt:
		return fmt.Sprintf("! cancel %s#%d %s", c.Activation, c.Attempt, c.Reason)
	case *machine.StartTimer:
		return fmt.Sprintf("! timer %s %s", c.ID, rel(c.At))
	case *machine.StopTimer:
		return fmt.Sprintf("! stop timer %s", c.ID)
	case *machine.Listen:
		return fmt.Sprintf("! listen %s %v", c.Activation, c.Types)
	case *machine.Unlisten:
		return fmt.Sprintf("! unlisten %s", c.Activation)
	case *machine.StartChild:
		return fmt.Sprintf("! child %s#%d %s %s await=%v %s", c.Activation, c.Attempt, c.Name, c.Input.JSON(), c.Await, c.Child)
	case *machine.CancelChild:
		return fmt.Sprintf("! %s child %s", c.Act, c.Activation)
	case *machine.Emit:
		return fmt.Sprintf("! emit %s", c.Event.JSON())
	case *machine.ResolveSecrets:
		return fmt.Sprintf("! secrets %v", c.Names)
	case *machine.End:
		s := "! end " + c.Status.String()
		if c.Error != nil {
			s += " " + showProblem(c.Error)
		}
		if !c.Output.IsZero() {
			s += " " + string(c.Output.JSON())
		}
		return s
	}
	return fmt.Sprintf("! %T", c)
}

func problemOf(t *testing.T, src string) event.Problem {
	t.Helper()
	var p event.Problem
	if err := json.Unmarshal([]byte(src), &p); err != nil {
		t.Fatal(err)
	}
	return p
}
