package engine

import (
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/worker"
)

// commandKey names a command within its run, the same after every replay.
func commandKey(a event.Activation, attempt int) string {
	return string(a) + "#" + strconv.Itoa(attempt)
}

// store puts into a batch what a command needs stored with its event.
func (r *run) store(b *journal.Batch, c machine.Command) {
	switch c := c.(type) {
	case *machine.Listen:
		b.Subscriptions = append(b.Subscriptions, journal.Subscription{Run: r.id, Activation: c.Activation, Types: c.Types})
	case *machine.Unlisten:
		b.Unsubscribe = append(b.Unsubscribe, journal.Subscription{Run: r.id, Activation: c.Activation})
	case *machine.Emit:
		b.Events = append(b.Events, journal.CloudEvent{ID: c.ID, Source: c.Source, Type: c.Type, Data: c.Event.JSON(), At: r.at})
	case *machine.StartChild:
		r.storeChild(b, c)
	case *machine.CancelChild:
		r.storeAct(b, c)
	}
}

// carry carries a command out. Its event is durable.
func (r *run) carry(c machine.Command) {
	switch c := c.(type) {
	case *machine.Dispatch:
		r.dispatch(c, false, nil)
	case *machine.CancelAttempt:
		r.cancelAttempt(c)
	case *machine.StartTimer:
		r.timers.Start(&r.s.timers, r, c.ID, c.At)
	case *machine.StopTimer:
		r.timers.Stop(&r.s.timers, c.ID)
	case *machine.Listen:
		r.listenTo(c)
	case *machine.Unlisten:
		r.unlisten(c.Activation)
	case *machine.StartChild:
		r.childStored(c)
	case *machine.ResolveSecrets:
		r.resolveSecrets(c.Names)
	case *machine.CancelChild, *machine.Emit, *machine.End:
		// Stored with the event; nothing more to do.
	}
}

// unsent takes attempts out that were cancelled before they left.
func (r *run) unsent(cs []machine.Command) {
	for i, c := range cs {
		x, ok := c.(*machine.CancelAttempt)
		if !ok {
			continue
		}
		for k, d := range cs[:i] {
			if d, ok := d.(*machine.Dispatch); ok && d.Activation == x.Activation && d.Attempt == x.Attempt {
				cs[k], cs[i] = nil, nil
				r.s.send(message{kind: msgEvent, id: r.id, body: &event.TaskCancelled{Activation: x.Activation, Attempt: x.Attempt}})
				break
			}
		}
	}
}

// carryAgain carries out a command that an earlier process left without an answer.
func (r *run) carryAgain(c machine.Command) {
	switch c := c.(type) {
	case *machine.Dispatch:
		switch {
		case mutantLost:
		case !c.MayRepeat:
			p := program.NewProblem(event.Runtime, 500, "Interrupted", c.Reference,
				"the process that carried out this task ended before it knew the outcome, and the task says interrupted: fault")
			r.dispatch(c, true, &event.TaskFailed{Activation: c.Activation, Attempt: c.Attempt, Error: *p})
		default:
			r.dispatch(c, true, nil)
		}
	case *machine.CancelAttempt:
		d := &machine.Dispatch{Activation: c.Activation, Attempt: c.Attempt}
		r.dispatch(d, true, &event.TaskCancelled{Activation: c.Activation, Attempt: c.Attempt, Unknown: true})
	case *machine.StartChild:
		r.s.e.adopt(c.Child)
	case *machine.CancelChild: // its inbox row is stored
		r.s.e.adopt(c.Child)
	case *machine.StartTimer, *machine.StopTimer, *machine.Listen, *machine.Unlisten, *machine.Emit, *machine.ResolveSecrets, *machine.End:
		r.carry(c)
	}
}

// dispatch starts an attempt. When it is repeated, what an earlier process
// started is ended first; with an answer, that is all, and the answer is the result.
func (r *run) dispatch(d *machine.Dispatch, again bool, answer event.Body) {
	e := r.s.e
	if ex := e.o.Worker.Immediate(d.Kind); ex != nil && answer == nil {
		q := &r.s.request
		r.fill(q, d)
		body := e.o.Worker.Now(e.ctx, ex, q)
		*q = executor.Request{}
		r.offer(body)
		return
	}
	kind, left, found := "", any(nil), false
	if again {
		kind, left, found = r.handles.Find(d.Activation, d.Attempt)
	}
	if answer != nil && !found {
		r.s.send(message{kind: msgEvent, id: r.id, body: answer})
		return
	}
	a := &worker.Attempt{
		Answer: answer, Workspace: d.Workspace, Priority: r.def.Priority, Iteration: d.Iteration, SecretNames: r.def.SecretNames, Evaluate: d.Scope.Evaluate,
	}
	r.fill(&a.Request, d)
	r.spaces = r.spaces || d.Workspace != ""
	if found {
		a.Request.Kind, a.Handle = kind, left
	}
	id, activation, attempt, s := r.id, d.Activation, d.Attempt, r.s
	kind = a.Request.Kind
	a.Done = func(body event.Body) { s.send(message{kind: msgEvent, id: id, body: body}) }
	a.Bind = func(handle value.Raw) (<-chan error, error) {
		ack := make(chan error, 1)
		ok := s.send(message{kind: msgCall, call: func(s *shard) {
			s.bind(id, &event.AttemptStarted{Activation: activation, Attempt: attempt, Handle: history.Handle(kind, handle)}, ack)
		}})
		if !ok {
			return nil, ErrStopped
		}
		return ack, nil
	}
	if len(r.feeds) > 0 {
		a.Line = func(stream, text string) {
			s.log(id, LogLine{Activation: activation, Attempt: attempt, Reference: d.Reference, Stream: stream, Text: text})
		}
	}
	e.o.Worker.Start(a)
}

func (r *run) fill(q *executor.Request, d *machine.Dispatch) {
	*q = executor.Request{
		Run: r.id, Workflow: r.workflow, Namespace: r.def.Workflow.Document.Namespace, WorkflowName: r.def.Workflow.Document.Name,
		Reference: d.Reference, Name: d.Name, Activation: d.Activation, Attempt: d.Attempt, IdempotencyKey: d.IdempotencyKey,
		Kind: d.Kind, Arguments: d.Arguments, RunDirectory: r.directory, BaseDirectory: r.def.Base(r.directory), WantsAuthorization: d.WantsAuthorization, Deadline: d.Deadline,
	}
}

// bind journals what an attempt is about to start outside.
func (s *shard) bind(id event.RunID, body *event.AttemptStarted, ack chan error) {
	r := s.runs[id]
	if r != nil && r.state == loading && !s.stopping {
		ack <- journal.ErrBusy // its journal is read again: the attempt asks once more
		return
	}
	if r == nil || r.state != live || s.stopping || r.end != nil {
		ack <- ErrStopped
		return
	}
	r.apply(body)
	r.acks = append(r.acks, ack)
}

func (r *run) cancelAttempt(c *machine.CancelAttempt) {
	if r.s.e.o.Worker.Cancel(r.id, c.Activation, c.Attempt, c.Reason) {
		return
	}
	// Nobody carries it out any more. Its own result, when there is one, lies in
	// the mailbox before this answer, and then the machine ignores the answer.
	r.s.send(message{kind: msgEvent, id: r.id, body: &event.TaskCancelled{
		Activation: c.Activation, Attempt: c.Attempt, Unknown: true,
	}})
}

// resolveSecrets asks for the values and journals them as an event, so that
// replay does not depend on today's.
func (r *run) resolveSecrets(names []string) {
	id, s := r.id, r.s
	s.e.crew.Do(func() {
		body := &event.SecretsResolved{}
		for _, name := range names {
			found, err := s.e.o.Secrets.Resolve(s.e.ctx, name)
			if err != nil {
				body.Missing = append(body.Missing, name)
				continue
			}
			body.Secrets = append(body.Secrets, found)
		}
		s.send(message{kind: msgEvent, id: id, body: body})
	})
}

// factFor is an inbox row for another run.
func (r *run) factFor(to event.RunID, kind journal.InboxKind, key string, body event.Body) journal.InboxRow {
	data := r.encodeFor(to, []event.Event{{At: r.at, Body: body}})
	return journal.InboxRow{Run: to, Kind: kind, Key: key, Data: data, At: r.at}
}

// tell lets the run hear of an inbox row that this process has stored.
func (e *Engine) tell(row *journal.InboxRow) {
	fact := *row
	e.shard(row.Run).send(message{kind: msgFact, id: row.Run, fact: &fact})
}

// sizeOf is about how many bytes an event takes in the journal.
func sizeOf(body event.Body) int {
	switch b := body.(type) {
	case *event.TaskCompleted:
		return 48 + len(b.Activation) + rawSize(b.Output)
	case *event.RunEnded:
		return 48 + len(b.Tasks) + rawSize(b.Output)
	case *event.RunStarted:
		return 256 + rawSize(b.Input)
	}
	return 96
}

// rawSize is the size of a value whose JSON is already there or small; big
// values do not belong in the arena.
func rawSize(v value.Raw) int { return min(v.Size(), 64<<10) + 16 }
