package machine

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
	m         *Machine
	nodes     map[string]*program.Node
	sequences []*sequence
	frames    []*frame
	bindings  []*binding
	cells     []*cell
	nested    int
}

// Restore makes the machine that a snapshot was taken of. p must be the same
// definition, or one in which every task that the run is inside has the same
// reference and kind: the first that has not is named in the error.
func Restore(p *program.Program, state []byte) (*Machine, error) {
	m := New(p)
	r := &restorer{reader: reader{b: state}, m: m, nodes: make(map[string]*program.Node, len(p.Nodes))}
	for _, n := range p.Nodes {
		r.nodes[n.Reference] = n
	}
	if form := r.uint(); form != snapshotForm {
		return nil, fmt.Errorf("machine: a snapshot of form %d; this release reads form %d", form, snapshotForm)
	}
	if rev := r.uint(); rev != Revision {
		return nil, fmt.Errorf("machine: a snapshot of revision %d; this release is revision %d", rev, Revision)
	}
	m.hash = r.uint()
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
	m.begun = begun
	r.scalars()
	m.ctx = r.cell()
	if r.bool() {
		m.root = r.sequence(nil)
	}
	r.outside()
	if r.err != nil {
		return
	}
	for _, f := range r.frames {
		if f.outstanding {
			if m.waiting == nil {
				m.waiting = map[event.Activation]*frame{}
			}
			m.waiting[f.id] = f
			m.count(f, 1)
		}
		if f.waits {
			m.waitingTasks++
		}
		if f.listen != nil && f.listen.listed {
			m.listeners = append(m.listeners, f)
		}
	}
	slices.SortFunc(m.listeners, func(a, b *frame) int { return cmp.Compare(a.listen.order, b.listen.order) })
}

func (r *restorer) scalars() {
	m := r.m
	copy(m.run[:], r.bytes(16))
	m.now, m.startedAt = r.time(), r.time()
	m.rawInput, m.input = r.value(), r.value()
	m.status = event.Status(r.uint())
	var secrets bool
	for _, v := range []*bool{&m.suspended, &m.more, &m.sliced, &m.wantsSecrets, &m.secretsWaiting, &secrets} {
		*v = r.bool()
	}
	for _, n := range []*int{&m.slices, &m.idle, &m.tasks, &m.epoch, &m.live} {
		*n = r.int()
	}
	m.order = r.uint()
	m.result = r.ending()
	if r.bool() {
		e := r.ending()
		m.ending = &e
	}
	if secrets {
		m.secrets = r.object()
	}
	for range r.count() {
		m.missing = append(m.missing, r.string())
	}
	m.eval0.ordinal = r.uint()
	for range r.count() {
		m.eval0.stopped = append(m.eval0.stopped, r.uint())
	}
	for range r.count() {
		m.consumed = append(m.consumed, int64(r.int()))
	}
}

func (r *restorer) ending() ending {
	return ending{status: event.Status(r.uint()), output: r.value(), problem: r.problem()}
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

func (r *restorer) cell() *cell {
	n := r.uint()
	if n == 0 {
		c := &cell{}
		r.cells = append(r.cells, c)
		c.value = r.value()
		return c
	}
	if n > uint64(len(r.cells)) {
		r.fail()
		return &cell{}
	}
	return r.cells[n-1]
}

func (r *restorer) binding() *binding {
	fresh, base := r.count(), r.uint()
	var b *binding
	if base > 0 {
		if base > uint64(len(r.bindings)) {
			r.fail()
			return nil
		}
		b = r.bindings[base-1]
	}
	for range fresh {
		name := r.string()
		b = bind(name, r.value(), b)
		r.bindings = append(r.bindings, b)
	}
	return b
}

func (r *restorer) sequence(owner *frame) *sequence {
	s := &sequence{owner: owner}
	if r.nested++; r.nested > 2*maxDepth+10 {
		r.fail()
		return s
	}
	defer func() { r.nested-- }()
	r.sequences = append(r.sequences, s)
	s.role, s.slot, s.prefix = role(r.uint()), r.int(), r.string()
	s.vars, s.ctx, s.iter = r.binding(), r.cell(), r.ints()
	s.epoch, s.depth, s.calls = r.int(), r.int(), r.int()
	s.inside, s.fixed, s.dead = r.bool(), r.bool(), r.bool()
	s.visits = r.ints()
	if n := r.uint(); n > uint64(len(r.frames)) {
		r.fail()
	} else if n > 0 {
		s.extended = r.frames[n-1]
	}
	if s.list = r.listOf(s); s.list == nil {
		r.fail()
		return s
	}
	if s.visits != nil && len(s.visits) != len(s.list.Nodes) || s.list.Jumps && s.visits == nil {
		s.visits = append(s.visits, make([]int, len(s.list.Nodes))...)[:len(s.list.Nodes)]
	}
	if r.bool() {
		s.current = r.frame(s)
	}
	return s
}

// listOf finds the list of a sequence by what it is to the task around it.
func (r *restorer) listOf(s *sequence) *program.List {
	o := s.owner
	if o == nil {
		return r.m.p.Root
	}
	n := o.node
	switch s.role {
	case body:
		if n.Op == program.Fork {
			if s.slot < 0 || s.slot >= len(n.Branches) {
				return nil
			}
			return n.Branches[s.slot]
		}
		return n.Body
	case handler:
		if n.Try != nil {
			return n.Try.Do
		}
	case before, after:
		if o.extAt >= 0 && o.extAt < len(n.Extensions) {
			if s.role == before {
				return n.Extensions[o.extAt].Before
			}
			return n.Extensions[o.extAt].After
		}
	}
	return nil
}

func (r *restorer) frame(s *sequence) *frame {
	f := &frame{seq: s}
	r.frames = append(r.frames, f)
	reference, op := r.string(), program.Op(r.uint())
	if r.err != nil {
		return f
	}
	f.node = r.nodes[reference]
	if f.node == nil || f.node.Op != op || f.node.Index >= len(s.list.Nodes) || s.list.Nodes[f.node.Index] != f.node {
		if r.err = fmt.Errorf("the definition has no task %s of the same kind any more, and the run is inside it", reference); f.node == nil {
			f.node = &program.Node{}
		}
		r.b = nil
		return f
	}
	f.id = event.Activation(r.string())
	f.raw, f.input, f.out, f.args = r.value(), r.value(), r.value(), r.value()
	f.vars, f.started, f.attempt = r.binding(), r.time(), r.int()
	f.phase = phase(r.uint())
	var flow, auth bool
	for _, v := range []*bool{&f.shown, &f.hasOut, &f.waits, &f.outstanding, &f.answered, &f.told, &f.unknown, &flow, &auth} {
		*v = r.bool()
	}
	f.order, f.extAt, f.applied = r.uint(), r.int(), r.bools()
	if flow {
		f.flow = &program.Flow{Kind: program.FlowKind(r.uint()), Target: r.int()}
	}
	if auth {
		f.auth = &event.Authorization{Scheme: r.string(), Parameter: r.string()}
	}
	f.stop, f.problem, f.reason = stopKind(r.uint()), r.problem(), r.string()
	r.states(f)
	n, live := r.uint(), r.count()
	if f.fan != nil && n != 1 && n != uint64(len(f.fan.results)) || f.fan == nil && n > 1 {
		r.fail()
		return f
	}
	if n == 1 {
		f.seqs = f.one[:]
	} else if n > 0 {
		f.seqs = make([]*sequence, n)
	}
	for range live {
		child := r.sequence(f)
		if r.err != nil || child.slot < 0 || child.slot >= len(f.seqs) {
			r.fail()
			return f
		}
		f.seqs[child.slot] = child
		f.live++
	}
	return f
}

func (r *restorer) states(f *frame) {
	if r.bool() {
		items, _ := r.value().([]any)
		f.loop = &loopState{items: items, next: r.int()}
	}
	if r.bool() {
		items, _ := r.value().([]any)
		f.fan = &fanState{items: items, results: r.values(), next: r.int(), ended: r.int(), first: r.problem(), bytes: r.int()}
	}
	if r.bool() {
		f.try = &tryState{epoch: r.int(), high: r.int(), retries: r.int(), deadline: r.time(), exhausted: r.bool()}
	}
	if r.bool() {
		st := &listenState{met: r.bools(), untilMet: r.bools()}
		if r.bool() {
			st.keys = r.object()
		}
		st.read, st.results, st.queue = r.values(), r.values(), r.values()
		st.index, st.handling, st.closed, st.listed = r.int(), r.bool(), r.bool(), r.bool()
		st.order, st.bytes = r.uint(), r.int()
		f.listen = st
	}
}

func (r *restorer) outside() {
	m := r.m
	for range r.count() {
		t := &timer{id: r.string(), what: purpose(r.uint()), at: r.time(), order: r.uint(), fired: r.bool()}
		if n := r.uint(); n > uint64(len(r.frames)) {
			r.fail()
			return
		} else if n > 0 {
			t.frame = r.frames[n-1]
			t.frame.timers = append(t.frame.timers, t)
		} else {
			m.runTimer = t
		}
		m.timers.add(t)
		if t.fired {
			m.timers.unlist(t)
		}
	}
	for range r.count() {
		n := r.uint()
		if n >= uint64(len(r.sequences)) {
			r.fail()
			return
		}
		a := action{r.sequences[n], r.int(), r.value()}
		if a.index < listExits || a.index >= len(a.seq.list.Nodes) {
			r.fail()
			return
		}
		m.work = append(m.work, a)
	}
	for range r.count() {
		b := background{activation: event.Activation(r.string()), attempt: r.int(), order: r.uint()}
		n := r.nodes[r.string()]
		args, iteration := r.value(), r.ints()
		if n == nil || n.Call == nil {
			r.fail()
			return
		}
		b.dispatch = m.newDispatch(n, b.activation, b.attempt, args, iteration)
		m.background = append(m.background, b)
	}
	m.deferred = r.events(int(r.uint()))
}
