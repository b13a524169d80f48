package machine

import (
	"cmp"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// inOrder are the frames that wait for an answer, in the order in which they began to.
func (m *Machine) inOrder() []*frame {
	list := make([]*frame, 0, len(m.waiting))
	for _, f := range m.waiting {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *frame) int { return cmp.Compare(a.order, b.order) })
	return list
}

// Outstanding lists all commands without an answer, in the order in which they
// were given: what a host must do again after a replay. A repeated command is
// the same in every field.
func (m *Machine) Outstanding() []Command {
	if m.status.Ended() || m.begun == nil {
		return nil
	}
	type entry struct {
		order uint64
		c     []Command
	}
	var list []entry
	if m.wantsSecrets && !m.secretsWaiting {
		list = append(list, entry{0, []Command{&ResolveSecrets{Names: m.p.Secrets}}})
	}
	for _, f := range m.waiting {
		if f.answered {
			continue
		}
		var c []Command
		if f.phase == awaiting {
			switch {
			case f.told:
				c = append(c, &CancelChild{Activation: f.id, Child: m.childID(f), Act: "cancel"})
			case m.suspended:
				c = append(c, m.startOf(f), &CancelChild{Activation: f.id, Child: m.childID(f), Act: "suspend"})
			default:
				c = append(c, m.startOf(f))
			}
		} else if f.told { // it must end, not be done again
			c = append(c, &CancelAttempt{Activation: f.id, Attempt: f.attempt, Reason: f.reason})
		} else {
			c = append(c, m.dispatchOf(f))
		}
		list = append(list, entry{f.order, c})
	}
	for _, b := range m.background {
		c := []Command{b.dispatch}
		if m.ending != nil && m.ending.status == event.Cancelled {
			c[0] = &CancelAttempt{Activation: b.activation, Attempt: b.attempt, Reason: reasonCancelled}
		}
		list = append(list, entry{b.order, c})
	}
	for _, t := range m.timers.list {
		list = append(list, entry{t.order, []Command{&StartTimer{ID: t.id, At: t.at}}})
	}
	for _, f := range m.listeners {
		list = append(list, entry{f.listen.order, []Command{&Listen{Activation: f.id, Types: f.node.Listen.Types}}})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.order, b.order) })
	var out []Command
	for _, e := range list {
		out = append(out, e.c...)
	}
	return out
}
