package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// restorer reads a snapshot.
type restorer struct {
	reader
	m         *Run
	root      *program.List
	nodes     map[string]*program.Node
	sequences []*Sequence
	frames    []*Frame
	bindings  []*Binding
	cells     []*Cell
	nested    int
}

// Restore makes the state that a snapshot was taken of. p must be the same
// definition, or one in which every task that the run is inside has the same
// reference and kind: the first that has not is named in the error.
func Restore(p *program.Program, revision uint64, b []byte) (*Run, error) {
	m := &Run{}
	r := &restorer{reader: reader{b: b}, m: m, root: p.Root, nodes: make(map[string]*program.Node, len(p.Nodes))}
	for _, n := range p.Nodes {
		r.nodes[n.Reference] = n
	}
	if form := r.uint(); form != snapshotForm {
		return nil, fmt.Errorf("a snapshot of form %d; this release reads form %d", form, snapshotForm)
	}
	if rev := r.uint(); rev != revision {
		return nil, fmt.Errorf("a snapshot of revision %d; this release is revision %d", rev, revision)
	}
	m.Hash = r.uint()
	if r.bool() {
		r.run()
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return nil, fmt.Errorf("restore: %w", r.err)
	}
	return m, nil
}

func (r *restorer) events(n int) []event.Event {
	if n == 0 || r.err != nil {
		return nil
	}
	list, err := event.Decode([]byte(r.string()), nil)
	if err != nil || len(list) != n {
		r.fail()
		return nil
	}
	return list
}

func (r *restorer) run() {
	m := r.m
	first := r.events(1)
	if len(first) == 0 {
		return
	}
	begun, ok := first[0].Body.(*event.RunStarted)
	if !ok {
		r.fail()
		return
	}
	m.Begun = begun
	r.scalars()
	m.Context = r.cell()
	if r.bool() {
		m.Root = r.sequence(nil)
	}
	r.outside()
	if r.err != nil {
		return
	}
	for _, f := range r.frames {
		if f.Outstanding {
			if m.Waiting == nil {
				m.Waiting = map[event.Activation]*Frame{}
			}
			m.Waiting[f.ID] = f
			m.tally(f, 1)
		}
		if f.Waits {
			m.WaitingTasks++
		}
		if f.Listen != nil && f.Listen.Listed {
			m.Listeners = append(m.Listeners, f)
		}
	}
	slices.SortFunc(m.Listeners, func(a, b *Frame) int { return cmp.Compare(a.Listen.Order, b.Listen.Order) })
}

func (r *restorer) scalars() {
	m := r.m
	copy(m.ID[:], r.bytes(16))
	m.Now, m.StartedAt = r.time(), r.time()
	m.RawInput, m.Input = r.value(), r.value()
	m.Status = event.Status(r.uint())
	var secrets bool
	for _, v := range []*bool{&m.Suspended, &m.More, &m.Interrupted, &m.WantsSecrets, &m.SecretsAnswered, &secrets} {
		*v = r.bool()
	}
	for _, n := range []*int{&m.Continued, &m.Idle, &m.Tasks, &m.Epoch, &m.Live} {
		*n = r.int()
	}
	m.Order = r.uint()
	m.Outcome = r.ending()
	if r.bool() {
		e := r.ending()
		m.Ending = &e
	}
	if secrets {
		m.Secrets = r.object()
	}
	m.Ordinal = r.uint()
	for range r.count() {
		m.Stopped = append(m.Stopped, r.uint())
	}
	for range r.count() {
		m.Consumed = append(m.Consumed, int64(r.int()))
	}
}

func (r *restorer) ending() Ending {
	return Ending{Status: event.Status(r.uint()), Output: r.value(), Problem: r.problem()}
}

func (r *restorer) problem() *event.Problem {
	if !r.bool() {
		return nil
	}
	x := &event.Problem{Type: r.string(), Status: r.int(), Title: r.string(), Detail: r.string(), Instance: r.string()}
	if r.bool() {
		x.More = r.object()
	}
	return x
}

func (r *restorer) cell() *Cell {
	n := r.uint()
	if n == 0 {
		c := &Cell{}
		r.cells = append(r.cells, c)
		c.Value = r.value()
		return c
	}
	if n > uint64(len(r.cells)) {
		r.fail()
		return &Cell{}
	}
	return r.cells[n-1]
}

func (r *restorer) binding() *Binding {
	fresh, base := r.count(), r.uint()
	var b *Binding
	if base > 0 {
		if base > uint64(len(r.bindings)) {
			r.fail()
			return nil
		}
		b = r.bindings[base-1]
	}
	for range fresh {
		name := r.string()
		b = Bind(name, r.value(), b)
		r.bindings = append(r.bindings, b)
	}
	return b
}

func (r *restorer) sequence(owner *Frame) *Sequence {
	s := &Sequence{Owner: owner}
	if r.nested++; r.nested > maxNesting {
		r.fail()
		return s
	}
	defer func() { r.nested-- }()
	r.sequences = append(r.sequences, s)
	s.Role, s.Slot, s.Prefix = Role(r.uint()), r.int(), r.string()
	s.Vars, s.Ctx, s.Iter = r.binding(), r.cell(), r.ints()
	s.Epoch, s.Depth, s.Calls = r.int(), r.int(), r.int()
	s.Inside, s.Fixed, s.Dead = r.bool(), r.bool(), r.bool()
	s.Visits = r.ints()
	if n := r.uint(); n > uint64(len(r.frames)) {
		r.fail()
	} else if n > 0 {
		s.Extended = r.frames[n-1]
	}
	if s.List = r.listOf(s); s.List == nil {
		r.fail()
		return s
	}
	if s.Visits != nil && len(s.Visits) != len(s.List.Nodes) || s.List.Jumps && s.Visits == nil {
		s.Visits = append(s.Visits, make([]int, len(s.List.Nodes))...)[:len(s.List.Nodes)]
	}
	if r.bool() {
		s.Current = r.frame(s)
	}
	return s
}

// listOf finds the list of a sequence by what it is to the task around it.
func (r *restorer) listOf(s *Sequence) *program.List {
	o := s.Owner
	if o == nil {
		return r.root
	}
	n := o.Node
	switch s.Role {
	case Body:
		if n.Op == program.Fork {
			if s.Slot < 0 || s.Slot >= len(n.Branches) {
				return nil
			}
			return n.Branches[s.Slot]
		}
		return n.Body
	case Handler:
		if n.Try != nil {
			return n.Try.Do
		}
	case Before, After:
		if o.ExtAt >= 0 && o.ExtAt < len(n.Extensions) {
			if s.Role == Before {
				return n.Extensions[o.ExtAt].Before
			}
			return n.Extensions[o.ExtAt].After
		}
	}
	return nil
}

func (r *restorer) frame(s *Sequence) *Frame {
	f := &Frame{Seq: s}
	r.frames = append(r.frames, f)
	reference, op := r.string(), program.Op(r.uint())
	if r.err != nil {
		return f
	}
	f.Node = r.nodes[reference]
	if f.Node == nil || f.Node.Op != op || f.Node.Index >= len(s.List.Nodes) || s.List.Nodes[f.Node.Index] != f.Node {
		if r.err = fmt.Errorf("the definition has no task %s of the same kind any more, and the run is inside it", reference); f.Node == nil {
			f.Node = &program.Node{}
		}
		r.b = nil
		return f
	}
	f.ID = event.Activation(r.string())
	f.Raw, f.Input, f.Out, f.Args = r.value(), r.value(), r.value(), r.value()
	f.Vars, f.Started, f.Attempt = r.binding(), r.time(), r.int()
	f.Phase = Phase(r.uint())
	var flow, auth bool
	for _, v := range []*bool{&f.Shown, &f.HasOut, &f.Waits, &f.Outstanding, &f.Answered, &f.Told, &f.Unknown, &flow, &auth} {
		*v = r.bool()
	}
	f.Order, f.ExtAt, f.Applied = r.uint(), r.int(), r.bools()
	if flow {
		f.Flow = &program.Flow{Kind: program.FlowKind(r.uint()), Target: r.int()}
	}
	if auth {
		f.Auth = &event.Authorization{Scheme: r.string(), Parameter: r.string()}
	}
	f.Stop, f.Problem, f.Reason = Stop(r.uint()), r.problem(), r.string()
	r.states(f)
	n, live := r.uint(), r.count()
	if f.Fan != nil && n != 1 && n != uint64(len(f.Fan.Results)) || f.Fan == nil && n > 1 {
		r.fail()
		return f
	}
	if n == 1 {
		f.Seqs = f.one[:]
	} else if n > 0 {
		f.Seqs = make([]*Sequence, n)
	}
	for range live {
		child := r.sequence(f)
		if r.err != nil || child.Slot < 0 || child.Slot >= len(f.Seqs) {
			r.fail()
			return f
		}
		f.Seqs[child.Slot] = child
		f.Live++
	}
	return f
}

func (r *restorer) states(f *Frame) {
	if r.bool() {
		items, _ := r.value().([]any)
		f.Loop = &Loop{Items: items, Next: r.int()}
	}
	if r.bool() {
		items, _ := r.value().([]any)
		f.Fan = &Fan{Items: items, Results: r.values(), Next: r.int(), Ended: r.int(), First: r.problem(), Bytes: r.int()}
	}
	if r.bool() {
		f.Try = &Try{Epoch: r.int(), High: r.int(), Retries: r.int(), Deadline: r.time(), Exhausted: r.bool()}
	}
	if r.bool() {
		st := &Listen{Met: r.bools(), UntilMet: r.bools()}
		if r.bool() {
			st.Keys = r.object()
		}
		st.Read, st.Results, st.Queue = r.values(), r.values(), r.values()
		st.Index, st.Handling, st.Closed, st.Listed = r.int(), r.bool(), r.bool(), r.bool()
		st.Order, st.Bytes = r.uint(), r.int()
		f.Listen = st
	}
}

func (r *restorer) outside() {
	m := r.m
	for range r.count() {
		t := &Timer{ID: r.string(), What: Purpose(r.uint()), At: r.time(), Order: r.uint(), Fired: r.bool()}
		if n := r.uint(); n > uint64(len(r.frames)) {
			r.fail()
			return
		} else if n > 0 {
			t.Frame = r.frames[n-1]
			t.Frame.Timers = append(t.Frame.Timers, t)
		} else {
			m.RunTimer = t
		}
		m.Timers.Add(t)
	}
	for range r.count() {
		n := r.uint()
		if n >= uint64(len(r.sequences)) {
			r.fail()
			return
		}
		a := Action{r.sequences[n], r.int(), r.value()}
		if a.Index < ListExits || a.Index >= len(a.Seq.List.Nodes) {
			r.fail()
			return
		}
		m.Work = append(m.Work, a)
	}
	for range r.count() {
		b := Background{Activation: event.Activation(r.string()), Attempt: r.int(), Order: r.uint()}
		n := r.nodes[r.string()]
		b.Node, b.Arguments, b.Iteration = n, r.value(), r.ints()
		if n == nil || n.Call == nil {
			r.fail()
			return
		}
		m.Background = append(m.Background, b)
	}
	m.Deferred = r.events(int(r.uint()))
}

// maxNesting is how deep sequences can stand in each other: no run that the
// machine lets happen comes near.
const maxNesting = 10_000
