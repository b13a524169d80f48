// Package rewind finds the state in which an ended run begins again: for its
// repair (RunReopened) or for another run that takes its past over (RunForked).
//
// The journal is replayed with one task held back: its last entering is put
// aside and all else goes on, so what does not depend on the task keeps the
// results that it had at the END of the run, also those that came after it. What
// depends on it never happens in that replay. An event that would end the task
// held back, such as the fault that ended the run, is left out. Attempts that
// are without an answer then are entered anew. ADR 5 has the reasons.
//
// The package is pure. Package control calls it.
package rewind

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// Segment is the part of a run's journal under one definition. It begins with
// RunStarted, RunForked or RunReopened.
type Segment struct {
	Program *program.Program
	Events  []event.Event
}

// Errors that callers compare.
var (
	// ErrNeverEntered: the run never came to that task.
	ErrNeverEntered = errors.New("the run never entered the task")
	// ErrMovedOn: the run went on after the child's end, so its answer cannot be taken back.
	ErrMovedOn = errors.New("the run has moved on since")
	// ErrNothing: the run ended before its first task, so there is nothing to repeat.
	ErrNothing = errors.New("the run ended before its first task")
)

// Choice says where a run begins again.
type Choice struct {
	// At is the activation whose last entering is repeated; "": where the run
	// failed, or was cancelled.
	At event.Activation
	// Awaits takes back the answer of a child that the run waited for: the run
	// waits for it again.
	Awaits *event.Parent
	// Input, if set, changes the input of At.
	Input func(any) (any, error)
}

// Fate is what becomes of a task.
type Fate uint8

// The fates.
const (
	Kept  Fate = iota + 1 // it has ended and stays so
	Open                  // it is under way, with what it has
	Again                 // it is entered anew at once
	Later                 // it depends on those, and is entered when they lead to it
)

// Item is one activation of the run and what becomes of it.
type Item struct {
	Activation event.Activation
	Reference  string
	Name       string
	Kind       string
	Iteration  []int
	Fate       Fate
}

// Plan is a run as it begins again.
type Plan struct {
	State []byte // under the definition of its past; Carry takes it to another
	Tasks []byte // of what is kept and open, in the form of package view
	Items []Item
	// Again are the references of the tasks that are entered anew, in the order of their first entering.
	Again []string
}

// rootEnd stands for the end of the run's own list: its output failed.
const rootEnd event.Activation = "end"

// Rewind finds the state. The segments are those of the whole journal, in order.
func Rewind(segments []Segment, c Choice) (*Plan, error) {
	if len(segments) == 0 {
		return nil, errors.New("rewind: there is no journal")
	}
	last, err := look(segments[len(segments)-1])
	if err != nil {
		return nil, err
	}
	used := last.m.State().Epoch
	was := last
	for i := len(segments) - 2; c.At != "" && was.seen.counts[c.At] == 0; i-- {
		if i < 0 {
			return nil, fmt.Errorf("rewind to %s: %w", c.At, ErrNeverEntered)
		}
		if was, err = look(segments[i]); err != nil {
			return nil, err
		}
	}
	s := &session{past: was, choice: c, target: c.At, events: was.plain, late: was.plainLate, skip: map[int]bool{}, holds: map[event.Activation]int{}}
	if c.At != "" {
		s.holds[c.At] = was.seen.counts[c.At]
	}
	f := was.failure()
	if f != nil && !strings.HasPrefix(string(c.At), string(f.Activation)+".") && (c.Awaits == nil || f.Activation != c.Awaits.Activation) {
		s.holds[f.Activation] = was.seen.counts[f.Activation]
		if c.At == "" {
			s.target = f.Activation
		}
	} else if f == nil && was.failedAtEnd() {
		s.holds[rootEnd] = was.seen.counts[rootEnd]
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	return s.plan(used)
}

// Failure is the task whose fault ended a run.
type Failure struct {
	Item
	Problem *event.Problem
	// Child is the awaited run whose fault it was; zero: it failed itself.
	Child   event.RunID
	Attempt int
}

// FailureOf finds why a run faulted; nil: not by a task, or it has not faulted.
func FailureOf(segments []Segment) (*Failure, error) {
	if len(segments) == 0 {
		return nil, nil
	}
	p, err := look(segments[len(segments)-1])
	if err != nil {
		return nil, err
	}
	return p.failure(), nil
}

// past is a segment replayed as it was.
type past struct {
	Segment
	m    *machine.Machine
	seen *seen
	late []bool // the event answers what was being cancelled
	// The same without suspensions.
	plain     []event.Event
	plainLate []bool
}

func look(s Segment) (*past, error) {
	m := machine.New(s.Program)
	p := &past{Segment: s, m: m, seen: newSeen(m, nil), late: make([]bool, len(s.Events))}
	m.SetHook(p.seen)
	for i, e := range s.Events {
		a, attempt, _ := answerOf(e.Body)
		if f := m.State().Waiting[a]; f != nil && f.Attempt == attempt {
			p.late[i] = f.Stop != state.NotStopping
		}
		if err := p.seen.apply(s.Events, i); err != nil {
			return nil, fmt.Errorf("replay event %d of %d: %w", i+1, len(s.Events), err)
		}
	}
	p.unsuspend()
	return p, nil
}

// unsuspend moves what came while the run was suspended to where it took effect,
// so that nothing of it depends on the acts of people.
func (p *past) unsuspend() {
	var events, kept []event.Event
	var late, keptLate []bool
	suspended := false
	release := func(at time.Time) {
		for i := range kept {
			kept[i].At = at
		}
		events, late = append(events, kept...), append(late, keptLate...)
		kept, keptLate, suspended = nil, nil, false
	}
	for i, e := range p.Events {
		_, timer := e.Body.(*event.TimerFired)
		_, offered := e.Body.(*event.CloudEventReceived)
		a, _, _ := answerOf(e.Body)
		switch e.Body.(type) {
		case *event.SuspendRequested:
			suspended = true
			continue
		case *event.ResumeRequested, *event.CancelRequested:
			release(e.At)
			continue
		}
		if suspended && (timer || offered || a != "") {
			kept, keptLate = append(kept, e), append(keptLate, p.late[i])
			continue
		}
		events, late = append(events, e), append(late, p.late[i])
	}
	if len(kept) > 0 {
		release(kept[len(kept)-1].At)
	}
	p.plain, p.plainLate = events, late
}

// answerOf tells which attempt or child an event answers, and whether with a result.
func answerOf(b event.Body) (a event.Activation, attempt int, result bool) {
	switch b := b.(type) {
	case *event.TaskCompleted:
		return b.Activation, b.Attempt, true
	case *event.TaskFailed:
		return b.Activation, b.Attempt, false
	case *event.TaskCancelled:
		return b.Activation, b.Attempt, false
	case *event.ChildEnded:
		return b.Activation, b.Attempt, b.Status == event.Completed
	}
	return "", 0, false
}

// failure is the innermost task that the error of the run comes from.
func (p *past) failure() *Failure {
	st := p.m.State()
	if st.Status != event.Faulted || st.Outcome.Problem == nil {
		return nil
	}
	item, ok := p.seen.faults[st.Outcome.Problem]
	if !ok {
		return nil
	}
	f := &Failure{Item: item, Problem: st.Outcome.Problem}
	for _, e := range p.Events {
		if b, ok := e.Body.(*event.ChildEnded); ok && b.Activation == item.Activation && b.Status != event.Completed {
			f.Child, f.Attempt = b.Child, b.Attempt
		}
	}
	return f
}

// failedAtEnd reports that all tasks were done and the run's output failed.
func (p *past) failedAtEnd() bool {
	o := p.m.State().Outcome
	return o.Status == event.Faulted && o.Problem != nil && o.Problem.Instance == "/output" && p.seen.counts[rootEnd] > 0
}
