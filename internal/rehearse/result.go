package rehearse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Result is how a case went.
type Result struct {
	Case     *Case
	Status   event.Status
	Output   value.Raw
	Error    *event.Problem
	Context  any
	Path     []string // references of the tasks of the root, as they were entered
	Calls    []Call
	Emitted  []map[string]any
	Started  time.Time
	Ended    time.Time
	Duration time.Duration // of the case's own time
	Events   int
	Journal  []event.Event // of the root
	Stopped  bool          // the case could not be played to its end
	Failures []Failure
}

// Failure is one expectation that was not met.
type Failure struct {
	Pos     source.Pos
	Message string
	Diff    []string // what differs, one line each
	Hint    string   // what to do; may have several lines
}

// maxFailures of one case are reported.
const maxFailures = 50

func (r *Result) fail(pos source.Pos, message string, diff []string) {
	if len(r.Failures) < maxFailures {
		r.Failures = append(r.Failures, Failure{Pos: pos, Message: message, Diff: diff})
	}
}

// Passed reports that the case met all its expectations.
func (r *Result) Passed() bool { return len(r.Failures) == 0 }

// Play plays one case and compares it with what it expects. A case with crashes
// is played without them too: they must change nothing.
func (r *Rehearsal) Play(c *Case) *Result {
	hit := func(p point) { r.hits[p]++ }
	plain := newHost(r, c, false, hit)
	plain.play()
	res := plain.res
	if c.Crash.asked() && !res.Stopped {
		crashed := newHost(r, c, true, hit)
		crashed.play()
		switch {
		case crashed.res.Stopped || crashed.interrupted:
			res = crashed.res
		default:
			if d := Diff(plain.res.facts(r), crashed.res.facts(r)); len(d) > 0 {
				crashed.fail(c.Crash.Pos, "a crash changed the result; that is a mistake of Downbeat: please report it", d)
			}
			res = crashed.res
		}
	}
	if !res.Stopped {
		r.judge(res)
	}
	slices.SortStableFunc(res.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	return res
}

// facts are what crashes must not change.
func (r *Result) facts(*Rehearsal) map[string]any {
	out, _ := r.Output.Any()
	m := map[string]any{
		"status": r.Status.String(), "output": out, "error": problemValue(r.Error), "context": r.Context,
		"path": texts(r.Path), "emitted": r.emitted(), "duration": r.duration(),
	}
	calls := make([]any, len(r.Calls))
	for i, c := range r.Calls {
		calls[i] = map[string]any{"task": c.Reference, "attempt": c.Attempt, "arguments": c.Arguments}
	}
	m["calls"] = calls
	return m
}

func (r *Result) duration() string { return value.Duration{Nanos: int64(r.Duration)}.String() }

func (r *Result) emitted() []any {
	out := make([]any, len(r.Emitted))
	for i, e := range r.Emitted {
		out[i] = e
	}
	return out
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func problemValue(p *event.Problem) any {
	if p == nil {
		return nil
	}
	return view.ProblemValue(p)
}

// judge compares a result with what its case expects.
func (r *Rehearsal) judge(res *Result) {
	e := &res.Case.Expect
	status := res.Status.String()
	if e.Status != nil && e.Status.want != status {
		res.fail(e.Status.pos, fmt.Sprintf("status: want %v, got %s%s", e.Status.want, status, why(res)), nil)
		return // everything else follows from it
	}
	if e.Status == nil && (e.Output != nil || e.OutputContains != nil) && res.Status != event.Completed {
		res.fail(e.Pos, fmt.Sprintf("the run has no output: it is %s%s", status, why(res)), nil)
		return
	}
	if e.Status == nil && e.Error == nil && res.Status == event.Faulted {
		res.fail(res.Case.Pos, "the run faulted"+why(res), nil)
	}
	out, _ := res.Output.Any()
	compare := func(x *expectation, what string, diff []string) {
		if x != nil && len(diff) > 0 {
			res.fail(x.pos, what+" differs", diff)
		}
	}
	if e.Output != nil {
		compare(e.Output, "output", Diff(e.Output.want, out))
	}
	if e.OutputContains != nil {
		compare(e.OutputContains, "output", missing(e.OutputContains.want, out))
	}
	if e.Context != nil {
		compare(e.Context, "context", Diff(e.Context.want, res.Context))
	}
	if e.Error != nil {
		if res.Error == nil {
			res.fail(e.Error.pos, "the run has no error: it is "+status, nil)
		} else {
			compare(e.Error, "error", missing(expandType(e.Error.want), problemValue(res.Error)))
		}
	}
	if e.Emitted != nil {
		compare(e.Emitted, "emitted", missing(e.Emitted.want, any(res.emitted())))
	}
	r.judgePath(res, e)
	r.judgeCalls(res, e)
	if e.Duration != nil && !e.Duration.After.AddTo(res.Started).Equal(res.Ended) {
		res.fail(e.Duration.Pos, fmt.Sprintf("duration: want %s, got %s", e.Duration.After, res.duration()), nil)
	}
}

// why says in short what the run came to.
func why(res *Result) string {
	switch {
	case res.Error != nil:
		s := ": " + cmp.Or(res.Error.Error(), fmt.Sprintf("error %d", res.Error.Status))
		if res.Error.Instance != "" {
			s += " at " + res.Error.Instance
		}
		return s
	case res.Status == event.Waiting:
		return ": it waits for an event that never comes"
	}
	return ""
}

func expandType(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, x := range m {
		if s, ok := x.(string); ok && k == "type" {
			x = typeOf(s)
		}
		out[k] = x
	}
	return out
}

func (r *Rehearsal) judgePath(res *Result, e *Expect) {
	if p := e.Path; p != nil {
		if d := pathDiff(p.tasks, res.Path); len(d) > 0 {
			res.fail(p.pos, "path differs", d)
		}
	}
	if p := e.PathContains; p != nil {
		at := 0
		for _, t := range p.tasks {
			for at < len(res.Path) && res.Path[at] != t.Text {
				at++
			}
			if at == len(res.Path) {
				res.fail(t.Pos, fmt.Sprintf("the run did not enter %s, or not in this order; it went: %s", t.Text, strings.Join(res.Path, ", ")), nil)
				return
			}
			at++
		}
	}
}

// pathDiff shows where two paths part.
func pathDiff(want []Text, got []string) []string {
	at := 0
	for at < len(want) && at < len(got) && want[at].Text == got[at] {
		at++
	}
	if at == len(want) && at == len(got) {
		return nil
	}
	show := func(sign string, list []string) (out []string) {
		const most = 8
		for i, s := range list {
			if i == most {
				return append(out, fmt.Sprintf("%s … %d more", sign, len(list)-most))
			}
			out = append(out, sign+" "+s)
		}
		return out
	}
	rest := make([]string, 0, len(want)-at)
	for _, t := range want[at:] {
		rest = append(rest, t.Text)
	}
	var out []string
	if at > 0 {
		out = append(out, "after "+got[at-1])
	}
	return append(append(out, show("-", rest)...), show("+", got[at:])...)
}

func (r *Rehearsal) judgeCalls(res *Result, e *Expect) {
	for i := range e.Calls {
		k := &e.Calls[i]
		n, total := 0, 0
		var nearest []string
		for j := range res.Calls {
			c := &res.Calls[j]
			if c.Reference != k.at.reference || c.Workflow != k.at.definition.id() {
				continue
			}
			total++
			if k.arguments == nil {
				n++
				continue
			}
			d := missing(k.arguments.want, c.Arguments)
			if len(d) == 0 {
				n++
			} else if nearest == nil || len(d) < len(nearest) {
				nearest = d
			}
		}
		switch {
		case k.times == nil && n == 0:
			res.fail(k.pos, calls(k, "want a call", n, total), nearest)
		case k.times != nil && k.times.want != n:
			res.fail(k.times.pos, calls(k, fmt.Sprintf("want %v calls", k.times.want), n, total), nearest)
		}
	}
}

func calls(k *call, want string, n, total int) string {
	if k.arguments == nil {
		return fmt.Sprintf("%s: %s, got %d", k.task.Text, want, n)
	}
	return fmt.Sprintf("%s: %s with these arguments, got %d (of %d in all)", k.task.Text, want, n, total)
}
