package rewind

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// seen is what a replay shows, and what it holds back. It is the machine's hook.
type seen struct {
	m       *machine.Machine
	holds   map[event.Activation]int // which entering of it is put aside
	counts  map[event.Activation]int // enterings
	parked  []parked
	places  map[event.Activation]int // of maps: how many items may be live when one that is held back gives its place up; nil: none does
	given   map[*state.Sequence]bool // items that have
	limit   map[event.Activation]int // enterings of the run as it was; nil: this is it
	entered []Item                   // in order, each activation once
	known   map[event.Activation]bool
	stands  map[event.Activation]bool // entered, and no try around has begun anew since
	faults  map[*event.Problem]Item   // the task that each error began at
	tasks   *view.Builder
	freezes event.Activation // everything after this one is put aside too
	frozen  bool
}

// parked is an entering that was put aside.
type parked struct {
	state.Action
	id event.Activation
	at time.Time
}

// node is the task that is entered; nil for the end of a list.
func (p *parked) node() *program.Node {
	if p.Index < 0 {
		return nil
	}
	return p.Seq.List.Nodes[p.Index]
}

var _ machine.Hook = (*seen)(nil)

func newSeen(m *machine.Machine, holds map[event.Activation]int) *seen {
	return &seen{
		m: m, holds: holds, counts: map[event.Activation]int{}, known: map[event.Activation]bool{}, stands: map[event.Activation]bool{},
		faults: map[*event.Problem]Item{}, tasks: view.New(),
	}
}

// Hold implements machine.Hook.
func (s *seen) Hold(a state.Action) bool {
	id := activationOf(a)
	switch {
	case a.Seq.Dead || id == "" && !s.frozen:
		return false
	case id != "":
		s.counts[id]++
	}
	// What the run never did is not done here, where nobody would carry it out.
	fresh := s.limit != nil && s.counts[id] > s.limit[id]
	if !s.frozen && !fresh && (id == "" || s.holds[id] != s.counts[id]) {
		return false
	}
	st := s.m.State()
	if id == s.freezes && id != "" {
		s.frozen, st.Deferred = true, nil // of answers that a suspended run has kept, the rest comes later
	}
	if len(s.parked) == 0 {
		// Evaluations are numbered, and those to come have other numbers now.
		st.Stopped = slices.DeleteFunc(st.Stopped, func(n uint64) bool { return n > st.Ordinal })
	}
	s.parked = append(s.parked, parked{a, id, st.Now})
	if !s.frozen && !fresh && s.places != nil {
		s.giveUp(a.Seq)
	}
	return true
}

// giveUp lets the next item of a map begin in the place of one that is held
// back, if the run did begin it: it does not depend on that one.
func (s *seen) giveUp(q *state.Sequence) {
	for ; q.Owner != nil; q = q.Owner.Seq {
		f := q.Owner
		if f.Node.Op != program.Map || f.Fan == nil || f.Fan.Next >= len(f.Fan.Items) || s.given[q] {
			continue
		}
		next := event.Activation(string(f.ID) + ".m" + strconv.Itoa(f.Fan.Next) + ".0")
		if s.limit[next] == 0 {
			continue
		}
		s.given[q] = true
		if s.places[f.ID] == 0 {
			s.places[f.ID] = f.Live
		}
		s.m.BeginItem(f)
	}
}

// activationOf is the activation that an entering begins; "" for the end of a list.
func activationOf(a state.Action) event.Activation {
	if a.Index < 0 {
		if a.Seq.Owner == nil {
			return rootEnd
		}
		return ""
	}
	id := a.Seq.Prefix + strconv.Itoa(a.Index)
	if v := a.Seq.Visits; v != nil && v[a.Index] > 0 {
		id += "~" + strconv.Itoa(v[a.Index]+1)
	}
	return event.Activation(id)
}

// Saw implements machine.Hook.
func (s *seen) Saw(f *state.Frame, t *machine.Transition) {
	switch t.Change {
	case machine.Entered, machine.Skipped:
		s.stands[f.ID] = true
		if !s.known[f.ID] {
			s.known[f.ID] = true
			s.entered = append(s.entered, itemOf(f))
		}
	case machine.TaskEnds:
		if t.Status == event.Faulted && !outOfTime(f, t.Error) {
			if _, ok := s.faults[t.Error]; !ok {
				s.faults[t.Error] = itemOf(f)
			}
		}
	case machine.Retried:
		maps.DeleteFunc(s.stands, func(a event.Activation, _ bool) bool { return strings.HasPrefix(string(a), string(f.ID)+".") })
	case machine.Dispatched, machine.Waits, machine.Resumes, machine.RunChanges, machine.Correlates:
	}
}

// outOfTime reports that a task that holds others took too long. Its repetition
// goes on inside it, with all that was done in time.
func outOfTime(f *state.Frame, p *event.Problem) bool {
	switch f.Node.Op {
	case program.Do, program.For, program.Fork, program.Try, program.Map, program.Function, program.Listen:
	case program.Dispatch:
		if f.Listen == nil { // its foreach has not begun
			return false
		}
	case program.NoOp, program.Set, program.Switch, program.Raise, program.Wait, program.Emit, program.Child:
		return false
	}
	return p.Type == event.TypePrefix+event.Timeout && p.Instance == f.Node.Reference
}

func itemOf(f *state.Frame) Item {
	return Item{Activation: f.ID, Reference: f.Node.Reference, Name: f.Node.Name, Kind: f.Node.Label, Iteration: f.Seq.Iter}
}

// apply applies an event of a journal, with as many slices after it as there were.
func (s *seen) apply(events []event.Event, i int) error {
	e := events[i]
	var tasks []byte
	switch b := e.Body.(type) {
	case *event.RunReopened:
		tasks = b.Tasks
	case *event.RunForked:
		tasks = b.Tasks
	}
	if len(tasks) > 0 {
		before, err := view.Decode(tasks)
		if err != nil {
			return err
		}
		s.tasks = before
		for _, t := range before.Tasks() {
			s.stands[t.Activation] = true
		}
	}
	step, err := s.m.Apply(e)
	if err != nil {
		return err
	}
	_, sliced := e.Body.(*event.Sliced)
	if i+1 < len(events) && !sliced {
		_, sliced = events[i+1].Body.(*event.Sliced)
	}
	for {
		for k := range step.Transitions {
			s.tasks.Add(e.At, &step.Transitions[k])
		}
		if sliced || !step.More {
			return nil
		}
		if step, err = s.m.Continue(); err != nil {
			return err
		}
	}
}
