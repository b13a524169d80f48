// Package state is the state of one run, as data: the tasks that are under way,
// what they hold, what they wait for, and what is still to be done. It gives no
// meaning to any of it, which is the work of package machine; it writes the
// state to bytes and reads it back, so that nothing of a run is lost between.
package state

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
)

// Run is the whole state of a run.
type Run struct {
	ID        event.RunID
	Begun     *event.RunStarted // nil before it
	Now       time.Time
	StartedAt time.Time
	RawInput  any
	Input     any // of the workflow, transformed
	Status    event.Status
	Suspended bool
	Outcome   Ending  // of an ended run
	Ending    *Ending // set while the run stops
	Root      *Sequence
	Context   *Cell

	Work []Action // from Head on
	Head int
	More bool // there is work, but the slice is used up
	// Continued counts slices since the last event; Interrupted: the host said
	// that an event comes before the rest.
	Continued   int
	Interrupted bool
	Idle        int // pieces of work since the last event
	Tasks       int
	Epoch       int // highest ever used

	Waiting      map[event.Activation]*Frame // with an outstanding attempt or child
	Attempts     int                         // how many of them are attempts
	Children     int
	WaitingTasks int
	Listeners    []*Frame
	Consumed     []int64 // sequences of consumed cloud events, sorted
	Background   []Background
	Timers       Timers
	RunTimer     *Timer
	Order        uint64 // of commands, to list them in order
	Deferred     []event.Event
	Live         int // bytes held in collections

	Secrets         map[string]any
	WantsSecrets    bool // ResolveSecrets is outstanding
	SecretsAnswered bool // its answer is deferred

	Ordinal uint64   // of evaluations
	Stopped []uint64 // evaluations that a host's guard ended when they were first made
	Hash    uint64
}

// Ending is how a run ends, or is about to.
type Ending struct {
	Status  event.Status
	Output  any
	Problem *event.Problem
}

// Background is an attempt that the run does not wait for.
type Background struct {
	Activation event.Activation
	Attempt    int
	Node       *program.Node
	Arguments  any
	Iteration  []int
	Order      uint64
}

// Binding is a variable in scope: a list that inner scopes put theirs in front of.
type Binding struct {
	Name  string // with its "$"
	Value any
	Next  *Binding
}

// Bind puts a variable in front of a scope.
func Bind(name string, v any, next *Binding) *Binding {
	return &Binding{Name: name, Value: v, Next: next}
}

// Cell holds $context: one for the run, and a copy for each branch (D6).
type Cell struct{ Value any }

// Role tells what a list is to the task around it.
type Role uint8

// The roles.
const (
	Body Role = iota + 1
	Handler
	Before
	After
)

// Sequence is one running through of a list of tasks.
type Sequence struct {
	List     *program.List
	Owner    *Frame // nil at the top level
	Slot     int    // which branch, item or iteration of the owner
	Role     Role
	Prefix   string // of the activations in it
	Vars     *Binding
	Ctx      *Cell
	Iter     []int
	Epoch    int    // attempts in here have the number epoch+1
	Extended *Frame // the task that $task shows to tasks of an extension
	Depth    int    // sequences around
	Calls    int    // functions around
	Inside   bool   // in an extension: not extended again
	Fixed    bool   // in a function: export changes nothing (D24)
	Dead     bool   // cancelled: what is still to be done in it is dropped
	Visits   []int  // how often each task was entered; only with jumps
	Current  *Frame
}

// Phase tells what a frame is doing.
type Phase uint8

// The phases.
const (
	Running Phase = iota
	BeforeTask
	AfterTask
	Dispatched
	Sleeping  // wait
	Listening // listen
	Awaiting  // a child run
	Delayed   // a try between two attempts
)

// Stop tells what happens to a frame when everything beneath it is gone.
type Stop uint8

// The ways to stop.
const (
	NotStopping Stop = iota
	StopCancelled
	StopFaulted  // with Problem
	StopComplete // with Out: a race is won
	StopEnded    // `end` was reached beneath
	StopCaught   // a try whose attempt was cut: Problem goes to its catch
)

// Frame is one activation of a task.
type Frame struct {
	Node    *program.Node
	Seq     *Sequence
	ID      event.Activation
	Raw     any // input as it came
	Input   any // after input.from
	Out     any // raw output
	Args    any // of the dispatched attempt, or the input of the child
	Vars    *Binding
	Started time.Time
	Attempt int
	Phase   Phase
	Shown   bool // its entering was reported
	HasOut  bool
	Waits   bool // counted among the waiting
	ExtAt   int  // the extension whose before or after runs
	Applied []bool
	Flow    *program.Flow // overrides the task's own then
	Auth    *event.Authorization

	Seqs   []*Sequence // live ones by slot
	one    [1]*Sequence
	Live   int
	Timers []*Timer

	Order       uint64 // of what is outstanding
	Outstanding bool   // an attempt or child without its answer
	Answered    bool   // its answer is deferred while the run is suspended
	Told        bool   // that it is cancelled
	Stop        Stop
	Problem     *event.Problem // of StopFaulted and StopCaught
	Reason      string         // why it is cancelled
	Unknown     bool           // whether the cancelled attempt took effect

	Loop   *Loop
	Fan    *Fan
	Try    *Try
	Listen *Listen
}

// Loop is where a for task is.
type Loop struct {
	Items []any
	Next  int // index of the iteration that runs next
}

// Fan is where a fork or map is.
type Fan struct {
	Items   []any // of a map
	Results []any // by branch or item
	Next    int   // the item that begins next
	Ended   int
	First   *event.Problem // of a race: the first fault
	Bytes   int            // of the results
}

// Try is where a try task is.
type Try struct {
	Epoch     int // of the attempt that runs
	High      int // highest epoch of it and of the tries inside
	Retries   int
	Deadline  time.Time // of limit.duration; zero: none
	Exhausted bool      // the deadline has passed
}

// Listen is where a listen task is.
type Listen struct {
	Met      []bool         // of `all`: filters that an event was consumed for
	UntilMet []bool         // the same of the strategy that ends it
	Keys     map[string]any // correlation keys that are fixed
	Read     []any          // events of the output so far, in read form
	Results  []any          // of foreach
	Queue    []any          // events that foreach has yet to handle
	Index    int            // of the event that foreach handles
	Handling bool
	Closed   bool // wants no more events
	Listed   bool // among the run's listeners
	Order    uint64
	Bytes    int
}

// Action is one piece of work: entering the task at Index of Seq with Value as
// its input, or ending Seq with Value as its output when Index is negative.
type Action struct {
	Seq   *Sequence
	Index int
	Value any
}

// The indexes of actions that end a list.
const (
	ListEnds  = -1
	ListExits = -2 // by `exit`
)

// Push adds a piece of work.
func (r *Run) Push(s *Sequence, index int, v any) {
	r.Work = append(r.Work, Action{s, index, v})
}

// Pop takes the next piece of work; there must be one.
func (r *Run) Pop() Action {
	a := r.Work[r.Head]
	r.Work[r.Head] = Action{}
	if r.Head++; r.Head > 1024 && r.Head*2 > len(r.Work) {
		r.Work = append(r.Work[:0], r.Work[r.Head:]...)
		r.Head = 0
	}
	return a
}

// Rest reports whether nothing is left to do.
func (r *Run) Rest() bool {
	if r.Head < len(r.Work) {
		return false
	}
	r.Work, r.Head = r.Work[:0], 0
	return true
}

// Child makes a sequence beneath f.
func (f *Frame) Child(l *program.List, role Role, slot int, qualifier string) *Sequence {
	s := &Sequence{
		List: l, Owner: f, Slot: slot, Role: role, Vars: f.Vars, Ctx: f.Seq.Ctx, Iter: f.Seq.Iter, Epoch: f.Seq.Epoch,
		Extended: f.Seq.Extended, Depth: f.Seq.Depth + 1, Calls: f.Seq.Calls, Inside: f.Seq.Inside, Fixed: f.Seq.Fixed,
	}
	s.Prefix = string(f.ID) + "." + qualifier
	s.count()
	if f.Seqs == nil {
		f.Seqs = f.one[:]
	}
	f.Seqs[slot] = s
	f.Live++
	return s
}

// NewRoot makes the sequence at the top level.
func (r *Run) NewRoot(l *program.List) *Sequence {
	r.Root = &Sequence{List: l, Ctx: r.Context, Role: Body}
	r.Root.count()
	return r.Root
}

func (s *Sequence) count() {
	if s.List.Jumps {
		s.Visits = make([]int, len(s.List.Nodes))
	}
}

// Drop takes an ended sequence from its owner.
func (s *Sequence) Drop() {
	s.Dead = true
	if o := s.Owner; o != nil && o.Seqs[s.Slot] == s {
		o.Seqs[s.Slot] = nil
		o.Live--
	}
}

// Expect notes that f waits for the answer of an attempt or child.
func (r *Run) Expect(f *Frame) {
	if r.Waiting == nil {
		r.Waiting = map[event.Activation]*Frame{}
	}
	r.Order++
	f.Order = r.Order
	f.Outstanding = true
	r.Waiting[f.ID] = f
	r.tally(f, 1)
}

// tally keeps apart attempts, which need a process, and children, which do not.
func (r *Run) tally(f *Frame, by int) {
	if f.Phase == Awaiting {
		r.Children += by
	} else {
		r.Attempts += by
	}
}

// Forget ends what Expect began.
func (r *Run) Forget(f *Frame) {
	if r.Waiting[f.ID] == f {
		delete(r.Waiting, f.ID)
		r.tally(f, -1)
	}
}

// SetWaits counts f among the waiting tasks, or no longer.
func (r *Run) SetWaits(f *Frame, waits bool) {
	switch {
	case f.Waits == waits:
	case waits:
		r.WaitingTasks++
	default:
		r.WaitingTasks--
	}
	f.Waits = waits
}

// Raise tells f and every try around it that an epoch is used.
func (r *Run) Raise(f *Frame, epoch int) {
	r.Epoch = max(r.Epoch, epoch)
	for ; f != nil; f = f.Seq.Owner {
		if f.Try != nil {
			f.Try.High = max(f.Try.High, epoch)
		}
	}
}

// RaiseAll lets all attempts of the run go on above an epoch that was used.
func (r *Run) RaiseAll(used int) {
	if r.Root == nil {
		r.Epoch = max(r.Epoch, used+1)
		return
	}
	by := used + 1 - r.Root.Epoch // no list has a lower epoch than the one at the top
	r.Root.raise(by)
	r.Epoch = max(r.Epoch, used) + by
}

func (s *Sequence) raise(by int) {
	s.Epoch += by
	f := s.Current
	if f == nil {
		return
	}
	f.Attempt += by
	if f.Try != nil {
		f.Try.Epoch += by
		f.Try.High += by
	}
	for _, c := range f.Seqs {
		if c != nil {
			c.raise(by)
		}
	}
}
