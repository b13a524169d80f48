package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Revision is the semantic revision of this machine: what RunStarted records (M6).
const Revision = 1

// Limits of one run (each answered with a clear error).
const (
	maxTasks      = 1_000_000
	maxDepth      = 1_000
	maxCalls      = 100
	maxChildDepth = 32
	maxValue      = 16 << 20
	maxLive       = 256 << 20
	maxIdle       = 10_000_000 // pieces of work without an outside effect between
	sliceTasks    = 10_000
	sliceSteps    = 20_000_000
)

// Machine is one run. It is not safe for concurrent use.
type Machine struct {
	p         *program.Program
	run       event.RunID
	begun     *event.RunStarted
	now       time.Time
	startedAt time.Time
	rawInput  any
	input     any // of the workflow, transformed
	status    event.Status
	suspended bool
	result    ending
	ending    *ending // set while the run stops
	root      *sequence
	ctx       *cell

	work []action
	head int
	more bool
	// slices counts continuations since the last event; sliced: the host said so.
	slices     int
	sliced     bool
	sliceTasks int
	sliceLimit int // sliceTasks, but for tests
	idle       int
	tasks      int
	epoch      int // highest ever used

	waiting      map[event.Activation]*frame // with an outstanding attempt or child, by activation
	busy         int                         // attempts under way
	children     int                         // awaited child runs
	waitingTasks int
	listeners    []*frame
	consumed     []int64 // sequences of consumed cloud events, sorted
	background   []background
	timers       timerHeap
	runTimer     *timer
	order        uint64 // of commands, to list Outstanding in order
	deferred     []event.Event
	live         int // bytes held in collections

	secrets        map[string]any
	missing        []string
	wantsSecrets   bool // ResolveSecrets is outstanding
	secretsWaiting bool // its answer is deferred

	eval0 evaluator
	step  *Step
	hash  uint64
	watch *watch // of a Rewind
}

// background is an attempt that the run does not wait for.
type background struct {
	activation event.Activation
	attempt    int
	dispatch   *Dispatch
	order      uint64
}

// New makes the machine of a run of p that has not begun.
func New(p *program.Program) *Machine {
	m := &Machine{p: p, status: event.Pending, hash: 0x9e3779b97f4a7c15, sliceLimit: sliceTasks}
	m.eval0.init(m)
	return m
}

// ShareStep makes the machine report its steps in s, which machines that are
// applied one after another by one goroutine can share: the slices of a step
// then grow once for all runs of a host.
func (m *Machine) ShareStep(s *Step) { m.step = s }

// Errors of Apply: the host did what it must not.
var (
	errStarted    = errors.New("machine: the run has started already")
	errNotStarted = errors.New("machine: the run has not started")
)

// Apply takes one fact. An error means that the host is wrong, never the
// workflow: a fact that comes late or twice changes nothing.
func (m *Machine) Apply(e event.Event) (*Step, error) {
	m.reset()
	switch b := e.Body.(type) {
	case *event.Sliced:
		for m.slices < b.Slices && m.more {
			m.slices++
			m.slice()
		}
		m.sliced = true
		return m.done(), nil
	case *event.EvaluationStopped:
		m.eval0.stop(b.Ordinal)
		return m.done(), nil
	case *event.AttemptStarted, *event.RunEnded:
		return m.done(), nil
	}
	if !m.sliced {
		for m.more && (m.watch == nil || !m.watch.stopped) {
			m.slice()
		}
	}
	m.sliced, m.slices, m.idle = false, 0, 0
	if e.At.After(m.now) {
		m.now = e.At.UTC()
	}
	if err := m.take(e); err != nil {
		return nil, err
	}
	m.slice()
	return m.done(), nil
}

// Continue goes on after a step with More.
func (m *Machine) Continue() (*Step, error) {
	m.reset()
	if m.more {
		m.slices++
		m.slice()
	}
	return m.done(), nil
}

// Slices is how often the machine was continued since the last event. A host
// that applies an event while there is more to do journals, and applies,
// event.Sliced with this number before it.
func (m *Machine) Slices() int { return m.slices }

// take gives an event to its handler, or keeps it while the run is suspended (D40).
func (m *Machine) take(e event.Event) error {
	switch b := e.Body.(type) {
	case *event.RunStarted:
		if m.begun != nil {
			return errStarted
		}
		m.begin0(b)
		return nil
	case *event.RunForked:
		if m.begun != nil {
			return errStarted
		}
		return m.fork(b)
	case *event.RunReopened:
		return m.reopen(b)
	}
	if m.begun == nil {
		return fmt.Errorf("%w: %T came first", errNotStarted, e.Body)
	}
	if m.status.Ended() {
		return nil // M5
	}
	switch e.Body.(type) {
	case *event.CancelRequested:
		m.cancelRun()
	case *event.SuspendRequested:
		m.suspend()
	case *event.ResumeRequested:
		m.resume()
	default:
		if m.suspended {
			m.postpone(e)
			return nil
		}
		return m.answer(e)
	}
	return nil
}

// answer handles the facts that wait while the run is suspended.
func (m *Machine) answer(e event.Event) error {
	switch b := e.Body.(type) {
	case *event.TaskCompleted:
		m.taskCompleted(b)
	case *event.TaskFailed:
		m.taskFailed(b)
	case *event.TaskCancelled:
		m.taskCancelled(b)
	case *event.TimerFired:
		m.timerFired(b.Timer)
	case *event.CloudEventReceived:
		m.cloudEvent(b)
	case *event.ChildEnded:
		m.childEnded(b)
	case *event.SecretsResolved:
		m.secretsResolved(b)
	default:
		return fmt.Errorf("machine: an event of type %T is not known", e.Body)
	}
	return nil
}

// begin0 is the start of the run: validate the input, ask for secrets, enter the first task.
func (m *Machine) begin0(b *event.RunStarted) {
	m.begun, m.run, m.startedAt = b, b.Run, m.now
	m.hash = mixBytes(m.hash, b.Run[:])
	m.ctx = &cell{value: map[string]any{}} // D2
	in := b.Input
	m.rawInput = map[string]any{} // D1
	if !in.IsZero() {
		v, err := in.Any()
		if err != nil {
			m.setStatus(event.Running, nil)
			m.endWith(ending{status: event.Faulted, problem: m.problem(event.Validation, 400, "Invalid input", "/input", "the input is not JSON: "+err.Error())})
			return
		}
		m.rawInput = v
	}
	m.input = m.rawInput
	m.setStatus(event.Running, nil)
	if m.p.Input != nil {
		if p := m.validate(m.p.Input.Schema, m.rawInput, "/input", "input"); p != nil { // DSL 36
			m.endWith(ending{status: event.Faulted, problem: p})
			return
		}
	}
	if len(m.p.Secrets) > 0 {
		m.wantsSecrets = true
		m.command(&ResolveSecrets{Names: m.p.Secrets})
		return
	}
	m.enterRoot()
}

func (m *Machine) secretsResolved(b *event.SecretsResolved) {
	if !m.wantsSecrets {
		return
	}
	m.wantsSecrets, m.secretsWaiting = false, false
	m.secrets = map[string]any{}
	for _, s := range b.Secrets {
		v, err := s.Value.Any()
		if err == nil {
			m.secrets[s.Name] = v
		}
	}
	m.missing = b.Missing
	m.enterRoot()
}

func (m *Machine) enterRoot() {
	fail := func(p *event.Problem, at string) {
		p.Instance = at
		m.endWith(ending{status: event.Faulted, problem: p})
	}
	if m.p.Timeout != nil {
		d, err := m.evalDuration(nil, m.p.Timeout, m.rawInput)
		if err != nil {
			fail(err, "/timeout")
			return
		}
		m.runTimer = m.addTimer(nil, runTimeout, "timeout", d.AddTo(m.startedAt))
	}
	if m.p.Input != nil && m.p.Input.From != nil {
		v, p := m.eval(nil, m.p.Input.From, m.rawInput)
		if p != nil {
			fail(p, "/input")
			return
		}
		m.input = v
	}
	m.root = &sequence{list: m.p.Root, ctx: m.ctx, role: body}
	if m.p.Root.Jumps {
		m.root.visits = make([]int, len(m.p.Root.Nodes))
	}
	m.start(m.root, m.input)
}

// slice works until nothing is left to do or the slice is used up.
func (m *Machine) slice() {
	m.sliceTasks = 0
	m.eval0.newSlice()
	m.more = false
	for !m.suspended && !m.status.Ended() {
		if m.head == len(m.work) {
			m.work, m.head = m.work[:0], 0
			if len(m.deferred) == 0 {
				break
			}
			e := m.deferred[0]
			m.deferred = m.deferred[1:]
			_ = m.answer(e) // of a known type: it was looked at when it was kept
			continue
		}
		if m.sliceTasks >= m.sliceLimit || m.eval0.used() >= sliceSteps {
			m.more = true
			break
		}
		a := m.work[m.head]
		if m.watch != nil && m.watch.stops(a) {
			return
		}
		m.work[m.head] = action{}
		if m.head++; m.head > 1024 && m.head*2 > len(m.work) {
			m.work = append(m.work[:0], m.work[m.head:]...)
			m.head = 0
		}
		if m.idle++; m.idle > maxIdle {
			m.abort(m.problem(event.Runtime, 500, "No progress", "/do", "the run did 10,000,000 pieces of work without an outside effect; a loop that does not end is the usual cause"))
			break
		}
		m.act(a)
	}
	m.settleStatus()
}

func (m *Machine) act(a action) {
	s := a.seq
	if s.dead {
		return
	}
	switch a.index {
	case listEnds:
		m.listEnded(s, a.value, false)
	case listExits:
		m.listEnded(s, a.value, true)
	default:
		m.enter(s, a.index, a.value)
	}
}

// settleStatus reports whether the run as a whole waits (DSL 94, 129).
func (m *Machine) settleStatus() {
	if m.begun == nil || m.status.Ended() || m.suspended || m.more {
		return
	}
	s := event.Running
	if m.waitingTasks > 0 && m.busy == 0 && m.children == 0 {
		s = event.Waiting
	}
	m.setStatus(s, nil)
}

func (m *Machine) setStatus(s event.Status, p *event.Problem) {
	if m.status == s {
		return
	}
	m.status = s
	m.runTransition(Transition{Change: RunChanges, Status: s, Error: p})
}

// cancelRun cancels everything; no catch sees it.
func (m *Machine) cancelRun() {
	if m.ending != nil {
		return
	}
	// Answers that were journaled before the cancellation count (D40).
	for _, e := range m.deferred {
		m.settleBackground(e)
	}
	m.deferred = nil
	m.suspended = false
	m.wantsSecrets = false
	m.stopAll(ending{status: event.Cancelled}, reasonCancelled)
}

func (m *Machine) suspend() {
	if m.suspended || m.ending != nil {
		return
	}
	m.suspended = true
	m.tellChildren("suspend")
	m.setStatus(event.Suspended, nil)
}

func (m *Machine) resume() {
	if !m.suspended {
		return
	}
	m.suspended = false
	m.tellChildren("resume")
	m.status = event.Suspended
	m.setStatus(event.Running, nil)
}

// postpone keeps an answer until the run is resumed.
func (m *Machine) postpone(e event.Event) {
	if b, ok := e.Body.(*event.TimerFired); ok {
		t := m.timers.byID[b.Timer]
		if t == nil || t.fired {
			return
		}
		m.timers.unlist(t)
		t.fired = true
	}
	m.deferred = append(m.deferred, e)
	m.markAnswered(e)
}

// markAnswered notes that an outstanding command has its answer in the journal.
func (m *Machine) markAnswered(e event.Event) {
	mark := func(a event.Activation, attempt int) {
		if f := m.waiting[a]; f != nil && f.attempt == attempt {
			f.answered = true
		}
	}
	switch b := e.Body.(type) {
	case *event.TaskCompleted:
		mark(b.Activation, b.Attempt)
	case *event.TaskFailed:
		mark(b.Activation, b.Attempt)
	case *event.TaskCancelled:
		mark(b.Activation, b.Attempt)
	case *event.ChildEnded:
		mark(b.Activation, b.Attempt)
	case *event.SecretsResolved:
		m.secretsWaiting = true
	}
}

// SetGuard sets what an evaluation asks now and then whether the host wants it stopped.
func (m *Machine) SetGuard(guard func() bool) { m.eval0.budget.Interrupted = guard }

// Status is the phase of the run.
func (m *Machine) Status() event.Status { return m.status }

// Hash covers everything that the machine has done so far.
func (m *Machine) Hash() uint64 { return m.hash }

// Listening reports whether a task listens for cloud events.
func (m *Machine) Listening() bool { return len(m.listeners) > 0 }

// Busy reports whether an attempt is under way: awaited children do not count.
func (m *Machine) Busy() bool { return m.busy > 0 || len(m.background) > 0 }

// Result is how the run ended; the zero values before that.
func (m *Machine) Result() (event.Status, value.Raw, *event.Problem) {
	if !m.status.Ended() {
		return m.status, value.Raw{}, nil
	}
	var out value.Raw
	if m.status == event.Completed {
		out = rawOf(m.result.output)
	}
	return m.status, out, m.result.problem
}

func (m *Machine) reset() {
	if m.step == nil {
		m.step = &Step{}
	}
	m.step.Commands = m.step.Commands[:0]
	m.step.Transitions = m.step.Transitions[:0]
	m.step.Stopped = m.step.Stopped[:0]
	m.step.Ended = false
}

func (m *Machine) done() *Step {
	m.step.More, m.step.Hash = m.more, m.hash
	return m.step
}

// Replay makes the machine that has taken all of these events.
func Replay(p *program.Program, events []event.Event) (*Machine, error) {
	m := New(p)
	for i, e := range events {
		if _, err := m.Apply(e); err != nil {
			return nil, fmt.Errorf("replay event %d of %d: %w", i+1, len(events), err)
		}
	}
	for m.more && !m.sliced {
		m.slice()
	}
	return m, nil
}

// rawOf is a value as it leaves the machine.
func rawOf(v any) value.Raw { return value.FromAny(v) }
