package machine

import (
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// binding is a variable in scope: a list that inner scopes put theirs in front of.
type binding struct {
	name  string // with its "$"
	value any
	next  *binding
}

func bind(name string, v any, next *binding) *binding {
	return &binding{name: name, value: v, next: next}
}

// cell holds $context: one for the run, and a copy for each branch (D6).
type cell struct{ value any }

// role tells what a list is to the task around it.
type role uint8

const (
	body role = iota + 1
	handler
	before
	after
)

// sequence is one running through of a list of tasks.
type sequence struct {
	list     *program.List
	owner    *frame // nil at the top level
	slot     int    // which branch, item or iteration of the owner
	role     role
	prefix   string // of the activations in it
	vars     *binding
	ctx      *cell
	iter     []int
	epoch    int    // attempts in here have the number epoch+1
	extended *frame // the task that $task shows to tasks of an extension
	depth    int    // sequences around
	calls    int    // functions around
	inside   bool   // in an extension: not extended again
	fixed    bool   // in a function: export changes nothing (D24)
	dead     bool   // cancelled: what is still to be done in it is dropped
	visits   []int  // how often each task was entered; only with jumps
	current  *frame
}

// phase tells what a frame is doing.
type phase uint8

const (
	running phase = iota
	beforePhase
	afterPhase
	dispatched
	sleeping  // wait
	listening // listen
	awaiting  // a child run
	delayed   // a try between two attempts
)

// stopKind tells what happens to a frame when everything beneath it is gone.
type stopKind uint8

const (
	notStopping stopKind = iota
	stopCancelled
	stopFaulted  // with problem
	stopComplete // with out: a race is won
	stopEnded    // `end` was reached beneath
	stopCaught   // a try whose attempt was cut: problem goes to its catch
)

// frame is one activation of a task.
type frame struct {
	node    *program.Node
	seq     *sequence
	id      event.Activation
	raw     any // input as it came
	input   any // after input.from
	out     any // raw output
	vars    *binding
	started time.Time
	attempt int
	phase   phase
	shown   bool // Entered was reported
	hasOut  bool
	ended   bool
	waits   bool // counted among the waiting
	extAt   int  // the extension whose before or after runs
	applied []bool
	flow    *program.Flow // overrides the task's own then
	auth    *event.Authorization

	seqs   []*sequence // live ones by slot
	one    [1]*sequence
	live   int
	timers []*timer

	order       uint64 // of what is outstanding
	args        any    // of the dispatched attempt
	outstanding bool   // an attempt or child without its answer
	answered    bool   // its answer is deferred while the run is suspended
	told        bool   // that it is cancelled
	stop        stopKind
	problem     *event.Problem // of stopFaulted and stopCaught
	reason      string         // why it is cancelled
	unknown     bool           // whether the cancelled attempt took effect

	loop   *loopState
	fan    *fanState
	try    *tryState
	listen *listenState
}

// action is one piece of work: entering the task at index of seq with value as
// its input, or ending seq with value as its output when index is negative.
type action struct {
	seq   *sequence
	index int
	value any
}

const (
	listEnds  = -1
	listExits = -2 // by `exit`
)

func (m *Machine) push(s *sequence, index int, v any) {
	m.work = append(m.work, action{s, index, v})
}

// child makes a sequence beneath f.
func (m *Machine) child(f *frame, l *program.List, r role, slot int, qualifier string) *sequence {
	s := &sequence{
		list: l, owner: f, slot: slot, role: r, vars: f.vars, ctx: f.seq.ctx, iter: f.seq.iter, epoch: f.seq.epoch,
		extended: f.seq.extended, depth: f.seq.depth + 1, calls: f.seq.calls, inside: f.seq.inside, fixed: f.seq.fixed,
	}
	s.prefix = string(f.id) + "." + qualifier
	if l.Jumps {
		s.visits = make([]int, len(l.Nodes))
	}
	if f.seqs == nil {
		f.seqs = f.one[:]
	}
	f.seqs[slot] = s
	f.live++
	return s
}

// drop takes an ended sequence from its owner.
func (m *Machine) drop(s *sequence) {
	s.dead = true
	if o := s.owner; o != nil && o.seqs[s.slot] == s {
		o.seqs[s.slot] = nil
		o.live--
	}
}

// enter begins the task at index of s.
func (m *Machine) enter(s *sequence, index int, raw any) {
	n := s.list.Nodes[index]
	f := &frame{node: n, seq: s, raw: raw, input: raw, vars: s.vars, started: m.now, attempt: s.epoch + 1}
	var room [48]byte
	id := append(room[:0], s.prefix...)
	id = strconv.AppendInt(id, int64(index), 10)
	if s.visits != nil {
		if s.visits[index]++; s.visits[index] > 1 {
			id = append(id, '~')
			id = strconv.AppendInt(id, int64(s.visits[index]), 10)
		}
	}
	f.id = event.Activation(id)
	s.current = f
	m.sliceTasks++
	m.tasks++
	if m.tasks > maxTasks {
		m.abort(m.problem(event.Runtime, 500, "Too many tasks", n.Reference,
			"the run entered more than 1,000,000 tasks; a loop that does not end is the usual cause: give it a condition, or split the work into child runs"))
		return
	}
	if s.depth > maxDepth {
		m.fault(f, m.problem(event.Runtime, 500, "Nested too deep", n.Reference, "tasks are nested more than 1,000 deep; a function that calls itself without an end is the usual cause"), "")
		return
	}
	if n.If != nil {
		ok, p := m.condition(f, n.If, raw)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		if !ok { // D9, DSL 22, 23
			m.transition(f, Transition{Change: Skipped, Status: event.Completed, Output: rawOf(raw)})
			f.ended = true
			s.current = nil
			m.next(s, index, program.Flow{}, raw)
			return
		}
	}
	m.begin(f)
}

// begin takes a task that is not skipped up to its body: timeout, input, extensions.
func (m *Machine) begin(f *frame) {
	n := f.node
	if n.Timeout != nil {
		d, p := m.duration(f, n.Timeout, f.raw)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.startTimer(f, timeoutTimer, f.attempt, d.AddTo(m.now))
	}
	if n.Input != nil {
		if p := m.validate(n.Input.Schema, f.raw, n.Reference, "input"); p != nil {
			m.fault(f, p, "")
			return
		}
		if n.Input.From != nil {
			v, p := m.eval(f, n.Input.From, f.raw)
			if p != nil {
				m.fault(f, p, "")
				return
			}
			f.input = v
		}
	}
	if len(n.Extensions) > 0 && !f.seq.inside {
		m.extend(f)
		return
	}
	m.perform(f)
}

// perform carries out the body of a task.
func (m *Machine) perform(f *frame) {
	f.phase = running
	switch f.node.Op {
	case program.NoOp:
		m.fault(f, m.problem(event.Configuration, 400, "Unknown task", f.node.Reference, "the task has no kind that this release knows"), "")
	case program.Do:
		m.performDo(f)
	case program.Set:
		m.performSet(f)
	case program.Switch:
		m.performSwitch(f)
	case program.Raise:
		m.performRaise(f)
	case program.Wait:
		m.performWait(f)
	case program.For:
		m.performFor(f)
	case program.Fork:
		m.performFork(f)
	case program.Try:
		m.performTry(f)
	case program.Emit:
		m.performEmit(f)
	case program.Listen:
		m.performListen(f)
	case program.Dispatch:
		m.performCall(f)
	case program.Function:
		m.performFunction(f)
	case program.Map:
		m.performMap(f)
	case program.Child:
		m.performChild(f)
	}
}

// complete ends the body of a task with its raw output.
func (m *Machine) complete(f *frame, out any) {
	f.out, f.hasOut = out, true
	if f.applied != nil {
		f.extAt = len(f.applied)
		m.afterwards(f)
		return
	}
	m.finish(f)
}

// finish transforms the output of a task, exports, and goes on (DSL 27-30).
func (m *Machine) finish(f *frame) {
	n, v := f.node, f.out
	if n.Output != nil {
		var p *event.Problem
		if v, p = m.transform(f, n.Output, v, "output"); p != nil {
			m.fault(f, p, "")
			return
		}
	}
	if n.Export != nil {
		if p := m.export(f, n.Export, f.vars, v, f.seq); p != nil {
			m.fault(f, p, "")
			return
		}
	}
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Completed, Output: rawOf(v)})
	flow := n.Then
	if f.flow != nil {
		flow = *f.flow
	}
	f.seq.current = nil
	m.next(f.seq, n.Index, flow, v)
}

// next goes on in s after the task at index.
func (m *Machine) next(s *sequence, index int, flow program.Flow, v any) {
	switch flow.Kind {
	case program.Next:
		if index+1 < len(s.list.Nodes) {
			m.push(s, index+1, v)
		} else {
			m.push(s, listEnds, v)
		}
	case program.Exit:
		m.push(s, listExits, v)
	case program.Jump:
		m.push(s, flow.Target, v)
	case program.End:
		m.endRun(s, v)
	}
}

// start sets a sequence going.
func (m *Machine) start(s *sequence, v any) {
	if len(s.list.Nodes) == 0 {
		m.push(s, listEnds, v)
		return
	}
	m.push(s, 0, v)
}

// listEnded tells the task around a list that it is through.
func (m *Machine) listEnded(s *sequence, v any, exit bool) {
	m.drop(s)
	f := s.owner
	if f == nil {
		m.finishRun(v)
		return
	}
	switch s.role {
	case before:
		m.beforeEnded(f, v, exit)
		return
	case after:
		m.afterwards(f)
		return
	case handler:
		f.flow = f.node.Try.Then
		m.complete(f, v)
		return
	case body:
	}
	switch {
	case f.loop != nil:
		m.iterate(f, v) // its output is the next one's input (DSL 100)
	case f.fan != nil:
		m.branchEnded(f, s.slot, v)
	case f.listen != nil:
		m.eventHandled(f, s, v)
	default:
		m.complete(f, v)
	}
}

// retire ends a frame: its timers stop and it no longer counts.
func (m *Machine) retire(f *frame) {
	f.ended = true
	m.stopTimers(f)
	m.setWaiting(f, false)
	m.release(f)
}

func (m *Machine) setWaiting(f *frame, waits bool) {
	if f.waits == waits {
		return
	}
	f.waits = waits
	if waits {
		m.waitingTasks++
	} else {
		m.waitingTasks--
	}
}
