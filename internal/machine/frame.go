package machine

import (
	"strconv"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// enter begins the task at index of s.
func (m *Machine) enter(s *state.Sequence, index int, raw any) {
	n := s.List.Nodes[index]
	f := &state.Frame{Node: n, Seq: s, Raw: raw, Input: raw, Vars: s.Vars, Started: m.r.Now, Attempt: s.Epoch + 1}
	var room [48]byte
	id := append(room[:0], s.Prefix...)
	id = strconv.AppendInt(id, int64(index), 10)
	if s.Visits != nil {
		if s.Visits[index]++; s.Visits[index] > 1 {
			id = append(id, '~')
			id = strconv.AppendInt(id, int64(s.Visits[index]), 10)
		}
	}
	f.ID = event.Activation(id)
	s.Current = f
	m.sliceTasks++
	m.r.Tasks++
	if m.r.Tasks > maxTasks {
		m.abort(program.NewProblem(event.Runtime, 500, "Too many tasks", n.Reference,
			"the run entered more than 1,000,000 tasks; a loop that does not end is the usual cause: give it a condition, or split the work into child runs"))
		return
	}
	if s.Depth > maxDepth {
		m.fault(f, program.NewProblem(event.Runtime, 500, "Nested too deep", n.Reference, "tasks are nested more than 1,000 deep; a function that calls itself without an end is the usual cause"), "")
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
			s.Current = nil
			m.next(s, index, program.Flow{}, raw)
			return
		}
	}
	m.begin(f)
}

// begin takes a task that is not skipped up to its body: timeout, input, extensions.
func (m *Machine) begin(f *state.Frame) {
	n := f.Node
	if n.Timeout != nil {
		d, p := m.duration(f, n.Timeout, f.Raw)
		if p != nil {
			m.fault(f, p, "")
			return
		}
		m.startTimer(f, state.Timeout, f.Attempt, d.AddTo(m.r.Now))
	}
	if n.Input != nil {
		if p := program.Validate(n.Input.Schema, f.Raw, n.Reference, "input"); p != nil {
			m.fault(f, p, "")
			return
		}
		if n.Input.From != nil {
			v, p := m.eval(f, n.Input.From, f.Raw)
			if p != nil {
				m.fault(f, p, "")
				return
			}
			f.Input = v
		}
	}
	if len(n.Extensions) > 0 && !f.Seq.Inside {
		m.extend(f)
		return
	}
	m.perform(f)
}

// perform carries out the body of a task.
func (m *Machine) perform(f *state.Frame) {
	f.Phase = state.Running
	switch f.Node.Op {
	case program.NoOp:
		m.fault(f, program.NewProblem(event.Configuration, 400, "Unknown task", f.Node.Reference, "the task has no kind that this release knows"), "")
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
func (m *Machine) complete(f *state.Frame, out any) {
	f.Out, f.HasOut = out, true
	if f.Applied != nil {
		f.ExtAt = len(f.Applied)
		m.afterwards(f)
		return
	}
	m.finish(f)
}

// finish transforms the output of a task, exports, and goes on (DSL 27-30).
func (m *Machine) finish(f *state.Frame) {
	n, v := f.Node, f.Out
	if n.Output != nil {
		var p *event.Problem
		if v, p = m.transform(f, n.Output, v, "output"); p != nil {
			m.fault(f, p, "")
			return
		}
	}
	if n.Export != nil {
		if p := m.export(f, n.Export, f.Vars, v, f.Seq); p != nil {
			m.fault(f, p, "")
			return
		}
	}
	m.retire(f)
	m.transition(f, Transition{Change: TaskEnds, Status: event.Completed, Output: rawOf(v)})
	flow := n.Then
	if f.Flow != nil {
		flow = *f.Flow
	}
	f.Seq.Current = nil
	m.next(f.Seq, n.Index, flow, v)
}

// next goes on in s after the task at index.
func (m *Machine) next(s *state.Sequence, index int, flow program.Flow, v any) {
	switch flow.Kind {
	case program.Next:
		if index+1 < len(s.List.Nodes) {
			m.r.Push(s, index+1, v)
		} else {
			m.r.Push(s, state.ListEnds, v)
		}
	case program.Exit:
		m.r.Push(s, state.ListExits, v)
	case program.Jump:
		m.r.Push(s, flow.Target, v)
	case program.End:
		m.endRun(s, v)
	}
}

// start sets a sequence going.
func (m *Machine) start(s *state.Sequence, v any) {
	if len(s.List.Nodes) == 0 {
		m.r.Push(s, state.ListEnds, v)
		return
	}
	m.r.Push(s, 0, v)
}

// listEnded tells the task around a list that it is through.
func (m *Machine) listEnded(s *state.Sequence, v any, exit bool) {
	s.Drop()
	f := s.Owner
	if f == nil {
		m.finishRun(v)
		return
	}
	switch s.Role {
	case state.Before:
		m.beforeEnded(f, v, exit)
		return
	case state.After:
		m.afterwards(f)
		return
	case state.Handler:
		f.Flow = f.Node.Try.Then
		m.complete(f, v)
		return
	case state.Body:
	}
	switch {
	case f.Loop != nil:
		m.iterate(f, v) // its output is the next one's input (DSL 100)
	case f.Fan != nil:
		m.branchEnded(f, s.Slot, v)
	case f.Listen != nil:
		m.eventHandled(f, s, v)
	default:
		m.complete(f, v)
	}
}

// retire ends a frame: its timers stop and it no longer counts.
func (m *Machine) retire(f *state.Frame) {
	m.stopTimers(f)
	m.r.SetWaits(f, false)
	m.release(f)
}
