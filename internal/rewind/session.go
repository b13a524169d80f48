package rewind

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// session replays a past, again and again, until nothing in it ends what is held
// back and no attempt is left without an answer.
type session struct {
	past   *past
	choice Choice
	events []event.Event
	late   []bool
	skip   map[int]bool             // events that would end what is held back
	holds  map[event.Activation]int // enterings that are put aside
	early  []int                    // answers of attempts that were cancelled, and are not yet cancelled here
	// stopping is the attempt whose answer ended too much, though something
	// earlier had begun to cancel it: that is looked for.
	stopping event.Activation
	target   event.Activation // what the run begins at
	frozen   bool             // the replay stops there
	// crowded: items that are held back keep their place in their map, for else
	// more of them would be live than its limit.
	crowded bool
	m       *machine.Machine
	seen    *seen
}

// maxPasses bounds the replays: each holds back or leaves out something more.
const maxPasses = 1000

func (s *session) settle() error {
	for range maxPasses {
		killer, err := s.pass()
		if err != nil {
			return err
		}
		if killer >= 0 && s.stopping != "" {
			// It only ended what an earlier event had begun to stop.
			if killer, err = s.pass(); err != nil {
				return err
			}
		}
		victim := s.stopping
		s.stopping = ""
		if killer >= 0 {
			if n := s.seen.counts[victim]; s.skip[killer] && s.holds[victim] != n {
				s.holds[victim] = n // no event stops it: let it not begin
				continue
			}
			if a := s.cause(); a != "" {
				s.holds[a] = s.seen.counts[a]
				continue
			}
			if !begins(s.events[killer].Body) {
				s.skip[killer] = true
				continue
			}
			if s.freeze() {
				continue
			}
			return ErrNothing
		}
		again := false
		for _, f := range inOrder(s.m.State()) {
			if f.Stop == state.NotStopping && !s.awaits(f) {
				s.holds[f.ID] = s.seen.counts[f.ID]
				again = true
			}
		}
		if again {
			continue
		}
		if !s.crowded && s.overcrowded(s.m.State().Root) {
			s.crowded = true
			continue
		}
		err = s.check()
		if err != nil && s.freeze() {
			continue
		}
		return err
	}
	return errors.New("rewind: the run cannot be brought to rest before that task; choose an earlier one")
}

// overcrowded reports that more items of a map are live than were at once.
func (s *session) overcrowded(q *state.Sequence) bool {
	if q == nil || q.Current == nil {
		return false
	}
	f := q.Current
	if most := s.seen.places[f.ID]; most > 0 && f.Live > most {
		return true
	}
	return slices.ContainsFunc(f.Seqs, s.overcrowded)
}

// freeze lets the replay stop where the target is put aside: nothing that is
// later leaves it alive. It reports false when that was tried already.
func (s *session) freeze() bool {
	n := s.past.seen.counts[s.target]
	if s.frozen || n == 0 {
		return false
	}
	s.events, s.late = s.past.Events, s.past.late
	s.frozen, s.skip, s.holds = true, map[int]bool{}, map[event.Activation]int{s.target: n}
	return true
}

// cause is the task whose fault ended the run or what is held back, when that
// task can be held back too. A timeout of a task around is no such fault.
func (s *session) cause() event.Activation {
	st := s.m.State()
	problems := []*event.Problem{st.Outcome.Problem}
	if st.Ending != nil {
		problems = append(problems, st.Ending.Problem)
	}
	around := map[event.Activation]bool{}
	for _, p := range s.seen.parked {
		for f := p.Seq.Owner; f != nil; f = f.Seq.Owner {
			around[f.ID] = true
			if p.Seq.Dead && f.Stop == state.StopFaulted {
				problems = append(problems, f.Problem)
			}
		}
	}
	for _, p := range problems {
		if x, ok := s.seen.faults[p]; ok && !around[x.Activation] && s.holds[x.Activation] != s.seen.counts[x.Activation] {
			return x.Activation
		}
	}
	return ""
}

// check holds that what was asked for is there.
func (s *session) check() error {
	if c := s.choice.Awaits; c != nil {
		if f := s.m.State().Waiting[c.Activation]; f == nil || !s.awaits(f) {
			return ErrMovedOn
		}
	}
	if at := s.choice.At; at != "" && !slices.ContainsFunc(s.seen.parked, func(p parked) bool { return p.id == at }) {
		return fmt.Errorf("rewind to %s: %w", at, ErrNeverEntered)
	}
	return nil
}

// awaits reports that f is to wait on for its child.
func (s *session) awaits(f *state.Frame) bool {
	c := s.choice.Awaits
	return c != nil && f.ID == c.Activation && f.Attempt == c.Attempt && f.Phase == state.Awaiting
}

func begins(b event.Body) bool {
	switch b.(type) {
	case *event.RunStarted, *event.RunForked, *event.RunReopened:
		return true
	}
	return false
}

func inOrder(r *state.Run) []*state.Frame {
	var list []*state.Frame
	for _, f := range r.Waiting {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *state.Frame) int { return int(a.Order) - int(b.Order) })
	return list
}

// pass replays once. It returns the event that ended the run or something that
// is held back, or -1.
func (s *session) pass() (killer int, err error) {
	s.m = machine.New(s.past.Program)
	s.seen = newSeen(s.m, s.holds)
	s.m.SetHook(s.seen)
	s.early, s.seen.limit = nil, s.past.seen.counts
	if !s.crowded {
		s.seen.places, s.seen.given = map[event.Activation]int{}, map[*state.Sequence]bool{}
	}
	if s.frozen {
		s.seen.freezes = s.target
	}
	for i := range s.events {
		if s.leaves(i) {
			continue
		}
		a, _, _ := answerOf(s.events[i].Body)
		stopped := s.stops(a)
		if err := s.seen.apply(s.events, i); err != nil {
			return -1, fmt.Errorf("replay event %d of %d: %w", i+1, len(s.events), err)
		}
		if s.stops(s.stopping) {
			return i, nil
		}
		if err := s.catchUp(); err != nil {
			return -1, err
		}
		if s.dead() {
			if stopped && s.stopping == "" {
				s.stopping = a
			}
			return i, nil
		}
		if s.seen.frozen {
			return -1, nil
		}
	}
	return s.rest()
}

// dead reports that the run, or something that is held back, has come to its end.
func (s *session) dead() bool {
	return s.m.Status().Ended() || s.m.State().Ending != nil || slices.ContainsFunc(s.seen.parked, func(p parked) bool { return p.Seq.Dead })
}

// rest brings the run to rest after the last event: slices that are left, and
// attempts that are cancelled here alone. Those have ended, with their run.
func (s *session) rest() (killer int, err error) {
	last := len(s.events) - 1
	for {
		for more := true; more; {
			step, err := s.m.Continue()
			if err != nil {
				return -1, err
			}
			for k := range step.Transitions {
				s.seen.tasks.Add(s.m.State().Now, &step.Transitions[k])
			}
			more = step.More
		}
		if s.dead() {
			return last, nil
		}
		i := slices.IndexFunc(inOrder(s.m.State()), func(f *state.Frame) bool { return f.Stop != state.NotStopping })
		if i < 0 {
			return -1, nil
		}
		f := inOrder(s.m.State())[i]
		e := event.Event{At: s.m.State().Now, Body: &event.TaskCancelled{Activation: f.ID, Attempt: f.Attempt, Unknown: true}}
		if err := s.seen.apply([]event.Event{e}, 0); err != nil {
			return -1, err
		}
		if s.dead() {
			s.stopping = f.ID
			return last, nil
		}
	}
}

// stops reports that an attempt of the activation is being cancelled.
func (s *session) stops(a event.Activation) bool {
	f := s.m.State().Waiting[a]
	return f != nil && f.Stop != state.NotStopping
}

// leaves reports whether an event is left out: what a cancelled attempt
// answered that is not cancelled here, and what ends what is held back.
func (s *session) leaves(i int) bool {
	switch b := s.events[i].Body.(type) {
	case *event.EvaluationStopped:
		return len(s.seen.parked) > 0
	case *event.ChildEnded:
		if c := s.choice.Awaits; c != nil && b.Activation == c.Activation && b.Attempt == c.Attempt {
			return true
		}
	}
	if s.skip[i] {
		return true
	}
	a, attempt, result := answerOf(s.events[i].Body)
	f := s.m.State().Waiting[a]
	if f == nil || f.Attempt != attempt || !s.late[i] || result || f.Stop != state.NotStopping {
		return false
	}
	s.early = append(s.early, i)
	return true
}

// catchUp gives attempts that are cancelled now the answer that was left out
// when they were not yet.
func (s *session) catchUp() error {
	for k := 0; k < len(s.early); k++ {
		e := s.events[s.early[k]]
		a, attempt, _ := answerOf(e.Body)
		f := s.m.State().Waiting[a]
		if f == nil || f.Attempt != attempt || f.Stop == state.NotStopping {
			continue
		}
		s.early = slices.Delete(s.early, k, k+1)
		if err := s.seen.apply([]event.Event{e}, 0); err != nil {
			return fmt.Errorf("replay what was left out: %w", err)
		}
		k = -1
	}
	return nil
}

// plan makes the state that the run begins again with.
func (s *session) plan(used int) (*Plan, error) {
	st := s.m.State()
	var awaited *state.Frame
	if c := s.choice.Awaits; c != nil {
		awaited = st.Waiting[c.Activation]
	}
	st.RaiseAll(used)
	if awaited != nil {
		awaited.Attempt = s.choice.Awaits.Attempt // it is the same attempt still
	}
	st.More, st.Interrupted, st.Continued, st.Idle = false, false, 0, 0
	st.Suspended, st.Deferred = false, nil
	st.Background = nil // nobody waits for them, and they were begun
	s.timeouts(st)
	st.Rest()
	out := &Plan{}
	for _, p := range s.seen.parked {
		if p.id == s.choice.At && s.choice.Input != nil {
			v, err := s.choice.Input(p.Value)
			if err != nil {
				return nil, err
			}
			p.Value = v
		}
		st.Push(p.Seq, p.Index, p.Value)
		if n := p.node(); n != nil {
			out.Again = append(out.Again, n.Reference)
		}
	}
	out.State = s.m.Snapshot()
	out.Items = s.items()
	later := map[event.Activation]bool{}
	for _, x := range out.Items {
		later[x.Activation] = x.Fate == Later
	}
	s.seen.tasks.Keep(func(a event.Activation) bool { return !later[a] })
	out.Tasks = s.seen.tasks.AppendTasks(nil)
	return out, nil
}

// timeouts gives the tasks around what is held back the time that they had left
// when it was entered, and a timeout that has passed its whole time.
func (s *session) timeouts(st *state.Run) {
	since := map[*state.Frame]time.Time{}
	for _, p := range s.seen.parked {
		for f := p.Seq.Owner; f != nil; f = f.Seq.Owner {
			if at, ok := since[f]; !ok || p.at.Before(at) {
				since[f] = p.at
			}
		}
	}
	st.Retime(func(t *state.Timer) time.Time {
		at, ok := since[t.Frame]
		if !ok {
			at = st.Now
		}
		left := t.At.Sub(at)
		if left <= 0 {
			left = t.At.Sub(t.Frame.Started)
		}
		return st.Now.Add(left)
	})
}

// items says of every task what becomes of it.
func (s *session) items() []Item {
	held := map[event.Activation]bool{}
	for _, p := range s.seen.parked {
		held[p.id] = true
	}
	var out []Item
	listed := map[event.Activation]bool{}
	tasks := s.seen.tasks.Tasks()
	for i := range tasks {
		t := &tasks[i]
		x := Item{Activation: t.Activation, Reference: t.Reference, Name: t.Name, Kind: t.Kind, Iteration: t.Iteration, Fate: Kept}
		switch {
		case held[t.Activation]:
			x.Fate = Again
		case !s.seen.stands[t.Activation]:
			x.Fate = Later
		case t.EndedAt.IsZero():
			x.Fate = Open
		}
		listed[t.Activation] = true
		out = append(out, x)
	}
	for _, p := range s.seen.parked {
		if n := p.node(); n != nil && !listed[p.id] && s.past.seen.counts[p.id] == 0 {
			listed[p.id] = true
			out = append(out, Item{Activation: p.id, Reference: n.Reference, Name: n.Name, Kind: n.Label, Iteration: p.Seq.Iter, Fate: Again})
		}
	}
	for _, x := range s.past.seen.entered {
		if listed[x.Activation] {
			continue
		}
		if x.Fate = Later; held[x.Activation] {
			x.Fate = Again
		}
		out = append(out, x)
	}
	return out
}
