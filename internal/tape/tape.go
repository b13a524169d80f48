// Package tape makes a test file of the journal of a real run: the form that
// package rehearse plays. The command line calls [Record]. The package is pure.
package tape

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

// Record makes a test file of the journal of a real run: its input, what the
// outside answered to each attempt and after what time, the cloud events that it
// got, and how it ended. d.File is written as the workflow's file. The values of
// secrets are not written: each stands as its name in braces, where it appears
// in an answer too.
func Record(name string, d rehearse.Definition, o program.Options, events []event.Event) ([]byte, error) {
	p, err := program.Compile(d.Workflow, o)
	if err != nil {
		return nil, fmt.Errorf("record a test: %w", err)
	}
	if len(events) == 0 {
		return nil, errors.New("record a test: the run has no events")
	}
	t := &tape{file: d.File, tasks: d.Tasks(), m: machine.New(p), open: map[string]*take{}, own: map[string]bool{}, secrets: map[string]string{}}
	for i, e := range events {
		if err := t.event(e); err != nil {
			return nil, fmt.Errorf("record a test: event %d of %d: %w", i+1, len(events), err)
		}
	}
	return t.write(name), nil
}

// tape is what a recording hears.
type tape struct {
	file    string
	tasks   rehearse.Tasks
	m       *machine.Machine
	start   time.Time
	id      event.RunID
	input   any
	open    map[string]*take
	takes   []*take
	own     map[string]bool // ids of events that the run emitted itself
	events  []any
	emitted []any
	path    []string
	secrets map[string]string // what is written for a secret's text
	names   map[string]any    // what is written under secrets
	acts    map[string]any
}

// take is one attempt at a task.
type take struct {
	reference string
	iteration string
	began     time.Time
	answer    map[string]any // nil: it had none
}

func (t *tape) event(e event.Event) error {
	switch b := e.Body.(type) {
	case *event.RunForked, *event.RunReopened:
		return errors.New("a run that was retried or forked cannot be recorded; record one that ran through")
	case *event.RunStarted:
		t.start, t.id = e.At, b.Run
		t.input = map[string]any{}
		if !b.Input.IsZero() {
			t.input, _ = b.Input.Any()
		}
	case *event.TaskCompleted:
		out, err := b.Output.Any()
		if err != nil {
			return fmt.Errorf("the output of %s: %w", b.Activation, err)
		}
		answer := map[string]any{"output": out}
		if b.Authorization != nil {
			answer["authorization"] = map[string]any{"scheme": b.Authorization.Scheme, "parameter": "{parameter}"}
		}
		t.answer(answerKey(b.Activation, b.Attempt), e.At, answer)
	case *event.TaskFailed:
		t.answer(answerKey(b.Activation, b.Attempt), e.At, map[string]any{"error": errorOf(&b.Error)})
	case *event.ChildEnded:
		out, _ := b.Output.Any()
		answer := map[string]any{"output": out}
		if b.Status != event.Completed {
			answer = map[string]any{"error": errorOf(b.Error)}
		}
		t.answer(childKey(b.Activation), e.At, answer)
	case *event.CloudEventReceived:
		t.received(e.At, b)
	case *event.SecretsResolved:
		t.hide(b)
	case *event.CancelRequested:
		t.act("cancelAt", e.At)
	case *event.SuspendRequested:
		t.act("suspendAt", e.At)
	case *event.ResumeRequested:
		t.act("resumeAt", e.At)
	}
	step, err := t.m.Apply(e)
	for {
		if err != nil {
			return err
		}
		t.hear(e.At, step)
		if _, sliced := e.Body.(*event.Sliced); !step.More || sliced {
			return nil
		}
		step, err = t.m.Continue()
	}
}

func errorOf(p *event.Problem) any {
	if p == nil {
		return map[string]any{"type": event.Runtime}
	}
	m := view.ProblemValue(p)
	delete(m, "instance") // that of the task, anyway
	m["type"] = rehearse.ShortType(p.Type)
	return m
}

// hear notes what a step began.
func (t *tape) hear(at time.Time, s *machine.Step) {
	for i := range s.Transitions {
		if x := &s.Transitions[i]; x.Change == machine.Entered {
			t.path = append(t.path, x.Reference)
		}
	}
	begin := func(key, reference string, iteration []int) *take {
		k := &take{reference: reference, iteration: iterationText(iteration), began: at}
		t.open[key] = k
		t.takes = append(t.takes, k)
		return k
	}
	for _, c := range s.Commands {
		switch c := c.(type) {
		case *machine.Dispatch:
			if c.Kind != program.PassThrough {
				begin(answerKey(c.Activation, c.Attempt), c.Reference, c.Iteration)
			}
		case *machine.StartChild:
			k := begin(childKey(c.Activation), c.Reference, nil)
			if !c.Await {
				k.answer = map[string]any{"output": nil}
			}
		case *machine.Emit:
			t.own[c.Source+" "+c.ID] = true
			v, err := c.Event.Any()
			if m, ok := v.(map[string]any); ok && err == nil {
				t.emitted = append(t.emitted, map[string]any{"type": m["type"]})
			}
		case *machine.CancelAttempt, *machine.StartTimer, *machine.StopTimer, *machine.Listen, *machine.Unlisten,
			*machine.CancelChild, *machine.ResolveSecrets, *machine.End:
		}
	}
}

func iterationText(iteration []int) string {
	if len(iteration) == 0 {
		return ""
	}
	list := make([]any, len(iteration))
	for i, x := range iteration {
		list[i] = x
	}
	return string(value.JSON(list))
}

func (t *tape) answer(key string, at time.Time, answer map[string]any) {
	k := t.open[key]
	if k == nil || k.answer != nil {
		return
	}
	if d := at.Sub(k.began).Round(time.Millisecond); d > 0 {
		answer["delay"] = isoDuration(d)
	}
	k.answer = answer
}

func isoDuration(d time.Duration) string { return value.Duration{Nanos: int64(d)}.String() }

func (t *tape) act(name string, at time.Time) {
	if t.acts == nil {
		t.acts = map[string]any{}
	}
	if t.acts[name] == nil {
		t.acts[name] = isoDuration(at.Sub(t.start).Round(time.Millisecond))
	}
}

// received notes a cloud event that came from elsewhere.
func (t *tape) received(at time.Time, b *event.CloudEventReceived) {
	v, err := b.Event.Any()
	m, ok := v.(map[string]any)
	if err != nil || !ok {
		return
	}
	key := fmt.Sprintf("%v %v", m["source"], m["id"])
	if t.own[key] {
		return
	}
	t.own[key] = true // offered to another listener, it comes again
	if b.Listener != "" {
		// It was accepted before anything listened for it; when, its sender knows best.
		text, _ := m["time"].(string)
		if sent, err := time.Parse(time.RFC3339, text); err == nil && !sent.Before(t.start) && sent.Before(at) {
			at = sent
		}
	}
	t.events = append(t.events, map[string]any{"at": isoDuration(at.Sub(t.start).Round(time.Millisecond)), "event": m})
}

// hide prepares to write names for the values of secrets.
func (t *tape) hide(b *event.SecretsResolved) {
	t.names = map[string]any{}
	var cover func(name string, v any) any
	cover = func(name string, v any) any {
		switch v := v.(type) {
		case string:
			const least = 3 // shorter texts stand everywhere
			if len(v) >= least {
				t.secrets[v] = "{" + name + "}"
			}
			return "{" + name + "}"
		case map[string]any:
			out := map[string]any{}
			for k, x := range v {
				out[k] = cover(name+"."+k, x)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, x := range v {
				out[i] = cover(fmt.Sprintf("%s.%d", name, i), x)
			}
			return out
		}
		return v
	}
	for _, s := range b.Secrets {
		v, _ := s.Value.Any()
		t.names[s.Name] = cover(s.Name, v)
	}
}

// covered is v without the texts of secrets.
func (t *tape) covered(v any) any {
	if len(t.secrets) == 0 {
		return v
	}
	switch v := v.(type) {
	case string:
		list := slices.Collect(maps.Keys(t.secrets))
		slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
		for _, s := range list {
			v = strings.ReplaceAll(v, s, t.secrets[s])
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = t.covered(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = t.covered(x)
		}
		return out
	}
	return v
}

// mocks groups the answers by task, and by iteration where they differ.
func (t *tape) mocks() []any {
	var refs []string
	by := map[string]map[string][]any{}
	order := map[string][]string{}
	for _, k := range t.takes {
		if k.answer == nil { // cancelled, or the run was left before: longer than it waited
			k.answer = map[string]any{"output": nil, "delay": "P3650D"}
		}
		if by[k.reference] == nil {
			by[k.reference] = map[string][]any{}
			refs = append(refs, k.reference)
		}
		if _, ok := by[k.reference][k.iteration]; !ok {
			order[k.reference] = append(order[k.reference], k.iteration)
		}
		by[k.reference][k.iteration] = append(by[k.reference][k.iteration], t.covered(literal(k.answer)))
	}
	var out []any
	for _, ref := range refs {
		iterations := order[ref]
		same := true
		for _, i := range iterations[1:] {
			same = same && value.Equal(by[ref][i], by[ref][iterations[0]])
		}
		if same {
			iterations = iterations[:1]
		}
		for _, i := range iterations {
			m := map[string]any{"task": t.short(ref)}
			if !same {
				m["when"] = "$iteration == " + i
			}
			if answers := by[ref][i]; len(answers) > 1 {
				m["attempts"] = answers
			} else if a, ok := answers[0].(map[string]any); ok {
				maps.Copy(m, a)
			}
			out = append(out, m)
		}
	}
	return out
}

// literal keeps text of an answer that looks like an expression as it is.
func literal(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "${") {
			return "${ " + string(value.JSON(v)) + " }"
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = literal(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = literal(x)
		}
		return out
	}
	return v
}

func (t *tape) short(ref string) string { return t.tasks.Short(ref) }

// write makes the test file.
func (t *tape) write(name string) []byte {
	c := map[string]any{"name": name, "id": t.id.String(), "input": t.covered(t.input), "start": t.start.UTC().Format(time.RFC3339Nano)}
	if len(t.names) > 0 {
		c["secrets"] = t.names
	}
	if m := t.mocks(); len(m) > 0 {
		c["mocks"] = m
	}
	if len(t.events) > 0 {
		c["events"] = t.covered(t.events)
	}
	maps.Copy(c, t.acts)
	status, out, problem := t.m.Result()
	if !status.Ended() && status != event.Suspended {
		status = event.Waiting
	}
	e := map[string]any{"status": status.String()}
	if status == event.Completed {
		v, _ := out.Any()
		e["output"] = t.covered(v)
	}
	if problem != nil {
		m, _ := errorOf(problem).(map[string]any)
		e["error"] = map[string]any{"type": m["type"], "status": m["status"], "instance": problem.Instance}
	}
	const longPath = 60
	if len(t.path) <= longPath {
		list := make([]any, len(t.path))
		for i, ref := range t.path {
			list[i] = t.short(ref)
		}
		e["path"] = list
	}
	if len(t.emitted) > 0 {
		e["emitted"] = t.emitted
	}
	c["expect"] = e
	var b strings.Builder
	b.WriteString("workflow: " + yamledit.Text(t.file) + "\ncases:\n  -" + yamledit.Member(c, 4) + "\n")
	return []byte(b.String())
}

func answerKey(a event.Activation, attempt int) string { return fmt.Sprintf("%s %d", a, attempt) }
func childKey(a event.Activation) string               { return string(a) + " child" }
