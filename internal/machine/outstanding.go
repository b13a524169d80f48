package machine

import (
	"cmp"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// inOrder are the frames that wait for an answer, in the order in which they began to.
func (m *Machine) inOrder() []*state.Frame {
	list := make([]*state.Frame, 0, len(m.r.Waiting))
	for _, f := range m.r.Waiting {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *state.Frame) int { return cmp.Compare(a.Order, b.Order) })
	return list
}

// Outstanding lists all commands without an answer, in the order in which they
// were given: what a host must do again after a replay. A repeated command is
// the same in every field.
func (m *Machine) Outstanding() []Command {
	if m.r.Status.Ended() || m.r.Begun == nil {
		return nil
	}
	type entry struct {
		order uint64
		c     []Command
	}
	var list []entry
	if m.r.WantsSecrets && !m.r.SecretsAnswered {
		list = append(list, entry{0, []Command{&ResolveSecrets{Names: m.p.Secrets}}})
	}
	for _, f := range m.r.Waiting {
		if f.Answered {
			continue
		}
		var c []Command
		if f.Phase == state.Awaiting {
			switch {
			case f.Told:
				c = append(c, &CancelChild{Activation: f.ID, Child: m.childID(f), Act: "cancel"})
			case m.r.Suspended:
				c = append(c, m.startOf(f), &CancelChild{Activation: f.ID, Child: m.childID(f), Act: "suspend"})
			default:
				c = append(c, m.startOf(f))
			}
		} else if f.Told { // it must end, not be done again
			c = append(c, &CancelAttempt{Activation: f.ID, Attempt: f.Attempt, Reason: f.Reason})
		} else {
			c = append(c, m.dispatchOf(f))
		}
		list = append(list, entry{f.Order, c})
	}
	for _, b := range m.r.Background {
		c := []Command{m.newDispatch(b.Node, b.Activation, b.Attempt, b.Arguments, b.Iteration)}
		if m.r.Ending != nil && m.r.Ending.Status == event.Cancelled {
			c[0] = &CancelAttempt{Activation: b.Activation, Attempt: b.Attempt, Reason: reasonCancelled}
		}
		list = append(list, entry{b.Order, c})
	}
	for _, t := range m.r.Timers.All() {
		list = append(list, entry{t.Order, []Command{&StartTimer{ID: t.ID, At: t.At}}})
	}
	for _, f := range m.r.Listeners {
		list = append(list, entry{f.Listen.Order, []Command{&Listen{Activation: f.ID, Types: f.Node.Listen.Types}}})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.order, b.order) })
	var out []Command
	for _, e := range list {
		out = append(out, e.c...)
	}
	return out
}
