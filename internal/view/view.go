// Package view shows runs and tasks as people see them: a run with its list of
// tasks, made from the transitions that the machine tells.
//
// The engine feeds a [Builder] for every live run and stores its compact task
// list with the end of the run, so that a finished run can be shown without a
// replay. Whoever shows a run (the command line, the API) makes a [Run] of it.
// The package is pure.
package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// MaxTasks is how many tasks a Run lists; what was entered later is counted only.
const MaxTasks = 10_000

// Run is one run as the command line and the API show it.
type Run struct {
	ID             string
	Workflow       string // "namespace/name:version"
	Status         event.Status
	StartedAt      time.Time
	EndedAt        time.Time
	Interrupted    bool // it waits for `runs resume`
	Parent         string
	Input          value.Raw
	Output         value.Raw
	Error          *event.Problem
	Tasks          []Task
	TasksTruncated bool
}

// Task is one activation of a task.
type Task struct {
	Activation event.Activation
	Parent     int // place of the enclosing task in the list; -1 at top level
	Reference  string
	Name       string
	Kind       string // "call http", "set", "for", …
	Status     event.Status
	Attempts   int
	Iteration  []int // indexes of the loops around, outermost first
	Total      int   // of a loop, map or fork: how many iterations or branches
	StartedAt  time.Time
	EndedAt    time.Time
	Error      *event.Problem
	Skipped    bool // its `if` was false
	Unknown    bool // cancelled, and whether it took effect is not known
}

// Duration is how long the task took, or has taken until now.
func (t *Task) Duration(now time.Time) time.Duration { return span(t.StartedAt, t.EndedAt, now) }

// Duration is how long the run took, or has taken until now.
func (r *Run) Duration(now time.Time) time.Duration { return span(r.StartedAt, r.EndedAt, now) }

func span(start, end, now time.Time) time.Duration {
	switch {
	case start.IsZero():
		return 0
	case end.IsZero():
		return max(0, now.Sub(start))
	}
	return end.Sub(start)
}

// The JSON forms; the order of the fields is the contract's.
type (
	runJSON struct {
		ID             string       `json:"id"`
		Workflow       string       `json:"workflow"`
		Status         string       `json:"status"`
		Interrupted    bool         `json:"interrupted,omitempty"`
		Parent         string       `json:"parent,omitempty"`
		StartedAt      stamp        `json:"startedAt,omitzero"`
		EndedAt        stamp        `json:"endedAt,omitzero"`
		Input          *value.Raw   `json:"input,omitempty"`
		Output         *value.Raw   `json:"output,omitempty"`
		Error          *problemJSON `json:"error,omitempty"`
		Tasks          []taskJSON   `json:"tasks"`
		TasksTruncated bool         `json:"tasksTruncated,omitempty"`
	}
	taskJSON struct {
		Reference      string       `json:"reference"`
		Name           string       `json:"name"`
		Kind           string       `json:"kind,omitempty"`
		Status         string       `json:"status"`
		Skipped        bool         `json:"skipped,omitempty"`
		OutcomeUnknown bool         `json:"outcomeUnknown,omitempty"`
		Iteration      *int         `json:"iteration,omitempty"`
		Iterations     []int        `json:"iterations,omitempty"`
		Attempts       int          `json:"attempts"`
		StartedAt      stamp        `json:"startedAt,omitzero"`
		EndedAt        stamp        `json:"endedAt,omitzero"`
		Error          *problemJSON `json:"error,omitempty"`
	}
	problemJSON event.Problem
	stamp       struct{ time.Time }
)

// MarshalJSON writes RFC 3339 in UTC, in whole microseconds at most.
func (s stamp) MarshalJSON() ([]byte, error) {
	return s.UTC().Truncate(time.Microsecond).AppendFormat(nil, `"`+time.RFC3339Nano+`"`), nil
}

// MarshalJSON writes problem details: extension members stand beside the others.
func (p *problemJSON) MarshalJSON() ([]byte, error) {
	return value.Append(nil, ProblemValue((*event.Problem)(p))), nil
}

// ProblemValue is the error as a JSON object, RFC 9457.
func ProblemValue(p *event.Problem) map[string]any {
	m := make(map[string]any, 5+len(p.More))
	maps.Copy(m, p.More)
	m["type"], m["status"] = p.Type, p.Status
	for _, f := range []struct{ k, v string }{{"title", p.Title}, {"detail", p.Detail}, {"instance", p.Instance}} {
		if f.v != "" {
			m[f.k] = f.v
		}
	}
	return m
}

// MarshalJSON writes the run in the form of the command line and the API.
func (r *Run) MarshalJSON() ([]byte, error) {
	out := runJSON{
		ID: r.ID, Workflow: r.Workflow, Status: r.Status.String(), Interrupted: r.Interrupted, Parent: r.Parent,
		StartedAt: stamp{r.StartedAt}, EndedAt: stamp{r.EndedAt}, Error: (*problemJSON)(r.Error),
		Tasks: make([]taskJSON, len(r.Tasks)), TasksTruncated: r.TasksTruncated,
	}
	if !r.Input.IsZero() {
		out.Input = &r.Input
	}
	if !r.Output.IsZero() {
		out.Output = &r.Output
	}
	for i := range r.Tasks {
		out.Tasks[i] = r.Tasks[i].json()
	}
	return encode(&out)
}

// MarshalJSON writes the task in the form of Run's task list.
func (t *Task) MarshalJSON() ([]byte, error) { return encode(t.json()) }

func (t *Task) json() taskJSON {
	out := taskJSON{
		Reference: t.Reference, Name: t.Name, Kind: t.Kind, Status: t.Status.String(), Skipped: t.Skipped, OutcomeUnknown: t.Unknown,
		Attempts: t.Attempts, StartedAt: stamp{t.StartedAt}, EndedAt: stamp{t.EndedAt}, Error: (*problemJSON)(t.Error),
	}
	if n := len(t.Iteration); n > 0 {
		out.Iteration = &t.Iteration[n-1]
		if n > 1 {
			out.Iterations = t.Iteration
		}
	}
	return out
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode view: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
