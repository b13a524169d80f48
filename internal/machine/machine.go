package machine

import (
	"errors"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
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
	p *program.Program
	r state.Run

	sliceTasks int
	sliceLimit int // sliceTasks, but for tests
	ev         evaluator
	step       Step
	hook       Hook // looks on at a replay
}

// New makes the machine of a run of p that has not begun.
func New(p *program.Program) *Machine {
	m := &Machine{p: p, r: state.Run{Status: event.Pending, Hash: 0x9e3779b97f4a7c15}, sliceLimit: sliceTasks}
	m.ev.init(m)
	return m
}

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
		for m.r.Continued < b.Slices && m.r.More {
			m.r.Continued++
			m.slice()
		}
		m.r.Interrupted = true
		return m.done(), nil
	case *event.EvaluationStopped:
		m.r.Stopped = append(m.r.Stopped, b.Ordinal)
		return m.done(), nil
	case *event.AttemptStarted, *event.RunEnded:
		return m.done(), nil
	}
	if !m.r.Interrupted {
		for m.r.More {
			m.slice()
		}
	}
	m.r.Interrupted, m.r.Continued, m.r.Idle = false, 0, 0
	if e.At.After(m.r.Now) {
		m.r.Now = e.At.UTC()
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
	if m.r.More {
		m.r.Continued++
		m.slice()
	}
	return m.done(), nil
}

// Slices is how often the machine was continued since the last event. A host
// that applies an event while there is more to do journals, and applies,
// event.Sliced with this number before it.
func (m *Machine) Slices() int { return m.r.Continued }

// take gives an event to its handler, or keeps it while the run is suspended (D40).
func (m *Machine) take(e event.Event) error {
	switch b := e.Body.(type) {
	case *event.RunStarted:
		if m.r.Begun != nil {
			return errStarted
		}
		m.begin0(b)
		return nil
	case *event.RunForked:
		if m.r.Begun != nil {
			return errStarted
		}
		return m.fork(b)
	case *event.RunReopened:
		return m.reopen(b)
	}
	if m.r.Begun == nil {
		return fmt.Errorf("%w: %T came first", errNotStarted, e.Body)
	}
	if m.r.Status.Ended() {
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
		if m.r.Suspended {
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
	m.r.Begun, m.r.ID, m.r.StartedAt = b, b.Run, m.r.Now
	m.r.Hash = state.MixString(m.r.Hash, string(b.Run[:]))
	m.r.Context = &state.Cell{Value: map[string]any{}} // D2
	in := b.Input
	m.r.RawInput = map[string]any{} // D1
	if !in.IsZero() {
		v, err := in.Any()
		if err != nil {
			m.setStatus(event.Running, nil)
			m.endWith(state.Ending{Status: event.Faulted, Problem: program.NewProblem(event.Validation, 400, "Invalid input", "/input", "the input is not JSON: "+err.Error())})
			return
		}
		m.r.RawInput = v
	}
	m.r.Input = m.r.RawInput
	m.setStatus(event.Running, nil)
	if m.p.Input != nil {
		if p := program.Validate(m.p.Input.Schema, m.r.RawInput, "/input", "input"); p != nil { // DSL 36
			m.endWith(state.Ending{Status: event.Faulted, Problem: p})
			return
		}
	}
	if len(m.p.Secrets) > 0 {
		m.r.WantsSecrets = true
		m.command(&ResolveSecrets{Names: m.p.Secrets})
		return
	}
	m.enterRoot()
}

func (m *Machine) secretsResolved(b *event.SecretsResolved) {
	if !m.r.WantsSecrets {
		return
	}
	m.r.WantsSecrets, m.r.SecretsAnswered = false, false
	m.r.Secrets = map[string]any{}
	for _, s := range b.Secrets {
		v, err := s.Value.Any()
		if err == nil {
			m.r.Secrets[s.Name] = v
		}
	}
	if m.r.Root == nil {
		m.enterRoot()
	} // else the run was opened again and goes on
}

func (m *Machine) enterRoot() {
	fail := func(p *event.Problem, at string) {
		p.Instance = at
		m.endWith(state.Ending{Status: event.Faulted, Problem: p})
	}
	if m.p.Timeout != nil {
		d, err := m.duration(nil, m.p.Timeout, m.r.RawInput)
		if err != nil {
			fail(err, "/timeout")
			return
		}
		m.r.RunTimer = m.addTimer(nil, state.RunTimeout, "timeout", d.AddTo(m.r.StartedAt))
	}
	if m.p.Input != nil && m.p.Input.From != nil {
		v, p := m.eval(nil, m.p.Input.From, m.r.RawInput)
		if p != nil {
			fail(p, "/input")
			return
		}
		m.r.Input = v
	}
	m.r.NewRoot(m.p.Root)
	m.start(m.r.Root, m.r.Input)
}

// slice works until nothing is left to do or the slice is used up.
func (m *Machine) slice() {
	m.sliceTasks = 0
	m.ev.NewSlice()
	m.r.More = false
	for !m.r.Suspended && !m.r.Status.Ended() {
		if m.r.Rest() || m.withheld() {
			if len(m.r.Deferred) == 0 {
				break
			}
			e := m.r.Deferred[0]
			m.r.Deferred = m.r.Deferred[1:]
			_ = m.answer(e) // of a known type: it was looked at when it was kept
			continue
		}
		if m.sliceTasks >= m.sliceLimit || m.ev.Used() >= sliceSteps {
			m.r.More = true
			break
		}
		a := m.r.Pop()
		if m.hook != nil && m.hook.Hold(a) {
			continue
		}
		if m.r.Idle++; m.r.Idle > maxIdle {
			m.abort(program.NewProblem(event.Runtime, 500, "No progress", "/do", "the run did 10,000,000 pieces of work without an outside effect; a loop that does not end is the usual cause"))
			break
		}
		m.act(a)
	}
	m.settleStatus()
}

func (m *Machine) act(a state.Action) {
	s := a.Seq
	if s.Dead {
		return
	}
	switch a.Index {
	case state.ListEnds:
		m.listEnded(s, a.Value, false)
	case state.ListExits:
		m.listEnded(s, a.Value, true)
	default:
		m.enter(s, a.Index, a.Value)
	}
}

// settleStatus reports whether the run as a whole waits (DSL 94, 129).
func (m *Machine) settleStatus() {
	if m.r.Begun == nil || m.r.Status.Ended() || m.r.Suspended || m.r.More {
		return
	}
	s := event.Running
	if m.r.WaitingTasks > 0 && m.r.Attempts == 0 && m.r.Children == 0 {
		s = event.Waiting
	}
	m.setStatus(s, nil)
}

func (m *Machine) setStatus(s event.Status, p *event.Problem) {
	if m.r.Status == s {
		return
	}
	m.r.Status = s
	m.runTransition(Transition{Change: RunChanges, Status: s, Error: p})
}

// cancelRun cancels everything; no catch sees it.
func (m *Machine) cancelRun() {
	if m.r.Ending != nil {
		return
	}
	// Answers that were journaled before the cancellation count (D40).
	for _, e := range m.r.Deferred {
		m.settleBackground(e)
	}
	m.r.Deferred = nil
	m.r.Suspended = false
	m.r.WantsSecrets = false
	m.stopAll(state.Ending{Status: event.Cancelled}, reasonCancelled)
}

func (m *Machine) suspend() {
	if m.r.Suspended || m.r.Ending != nil {
		return
	}
	m.r.Suspended = true
	m.tellChildren("suspend")
	m.setStatus(event.Suspended, nil)
}

func (m *Machine) resume() {
	if !m.r.Suspended {
		return
	}
	m.r.Suspended = false
	m.tellChildren("resume")
	m.r.Status = event.Suspended
	m.setStatus(event.Running, nil)
}

// postpone keeps an answer until the run is resumed.
func (m *Machine) postpone(e event.Event) {
	if b, ok := e.Body.(*event.TimerFired); ok {
		t := m.r.Timers.Find(b.Timer)
		if t == nil || t.Fired {
			return
		}
		m.r.Timers.Fire(t)
	}
	m.r.Deferred = append(m.r.Deferred, e)
	m.markAnswered(e)
}

// markAnswered notes that an outstanding command has its answer in the journal.
func (m *Machine) markAnswered(e event.Event) {
	mark := func(a event.Activation, attempt int) {
		if f := m.r.Waiting[a]; f != nil && f.Attempt == attempt {
			f.Answered = true
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
		m.r.SecretsAnswered = true
	}
}

// SetGuard sets what an evaluation asks now and then whether the host wants it stopped.
func (m *Machine) SetGuard(guard func() bool) { m.ev.Budget.Interrupted = guard }

// Status is the phase of the run.
func (m *Machine) Status() event.Status { return m.r.Status }

// Context is $context of the run as it is now, outside branches; nil before the start.
func (m *Machine) Context() any {
	if m.r.Context == nil {
		return nil
	}
	return m.r.Context.Value
}

// Hash covers everything that the machine has done so far.
func (m *Machine) Hash() uint64 { return m.r.Hash }

// Listening reports whether a task listens for cloud events.
func (m *Machine) Listening() bool { return len(m.r.Listeners) > 0 }

// Busy reports whether an attempt is under way: awaited children do not count.
func (m *Machine) Busy() bool { return m.r.Attempts > 0 || len(m.r.Background) > 0 }

// Result is how the run ended; the zero values before that.
func (m *Machine) Result() (event.Status, value.Raw, *event.Problem) {
	if !m.r.Status.Ended() {
		return m.r.Status, value.Raw{}, nil
	}
	var out value.Raw
	if m.r.Status == event.Completed {
		out = rawOf(m.r.Outcome.Output)
	}
	return m.r.Status, out, m.r.Outcome.Problem
}

func (m *Machine) reset() {
	m.step.Commands = m.step.Commands[:0]
	m.step.Transitions = m.step.Transitions[:0]
	m.step.Stopped = m.step.Stopped[:0]
	m.step.Ended = false
}

func (m *Machine) done() *Step {
	m.step.More, m.step.Hash = m.r.More, m.r.Hash
	m.step.Stopped = append(m.step.Stopped, m.ev.Now...)
	m.ev.Now = m.ev.Now[:0]
	return &m.step
}

// Replay makes the machine that has taken all of these events.
func Replay(p *program.Program, events []event.Event) (*Machine, error) {
	m := New(p)
	for i, e := range events {
		if _, err := m.Apply(e); err != nil {
			return nil, fmt.Errorf("replay event %d of %d: %w", i+1, len(events), err)
		}
	}
	for m.r.More && !m.r.Interrupted {
		m.slice()
	}
	return m, nil
}

// rawOf is a value as it leaves the machine.
func rawOf(v any) value.Raw { return value.FromAny(v) }
