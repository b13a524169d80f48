package rehearse

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// crash loses the machines and makes them again. With `every` that is the one
// that has just taken an event: the others are as they were made the last time.
func (h *host) crash(last *run) {
	if h.c.Crash.Every {
		h.rebuild(last)
		return
	}
	for _, r := range h.runs {
		h.rebuild(r)
	}
}

// rebuild makes the machine of a run again, twice: of a snapshot, and of the
// journal as it would be stored.
func (h *host) rebuild(r *run) {
	if r.ended || len(r.journal) == 0 || h.res.Stopped {
		return
	}
	was, hash := strings.Join(outstanding(r.m), "\n"), r.m.Hash()
	broken := func(how string, m *machine.Machine, err error) bool {
		switch {
		case err != nil:
		case m.Hash() != hash:
			err = fmt.Errorf("its hash is %x instead of %x", m.Hash(), hash)
		case strings.Join(outstanding(m), "\n") != was:
			err = fmt.Errorf("it waits for other things:\n%s\ninstead of\n%s", strings.Join(outstanding(m), "\n"), was)
		default:
			return false
		}
		h.stop(h.c.Crash.Pos, fmt.Sprintf("after a crash behind event %d the run is not as it was: %s: %v", h.applied, how, err), "this is a mistake of Downbeat: please report it")
		return true
	}
	m, err := machine.Restore(r.d.prog, r.m.Snapshot())
	if broken("from a snapshot", m, err) {
		return
	}
	if n := len(r.journal); !h.c.Crash.Every || n <= 64 || bits.OnesCount(uint(n)) == 1 {
		var events []event.Event
		events, err = event.Decode(event.Append(nil, r.journal, nil), nil)
		if err == nil {
			m, err = machine.Replay(r.d.prog, events)
		}
		if broken("from the journal", m, err) {
			return
		}
	}
	r.m = m
	if d := diffLines(h.world(r), needs(m)); len(d) > 0 {
		h.stop(h.c.Crash.Pos, fmt.Sprintf("after a crash behind event %d work would be lost or done twice:\n%s", h.applied, strings.Join(d, "\n")), "this is a mistake of Downbeat: please report it")
		return
	}
	h.interrupt(r)
}

// interrupt fails the attempts that the crash hit and that must not be repeated.
func (h *host) interrupt(r *run) {
	for _, c := range r.m.Outstanding() {
		d, ok := c.(*machine.Dispatch)
		if !ok || d.MayRepeat {
			continue
		}
		h.interrupted = true
		h.answer(r, d.Activation, d.Attempt, h.now, &event.TaskFailed{Activation: d.Activation, Attempt: d.Attempt, Error: event.Problem{
			Type: event.TypePrefix + event.Runtime, Status: 500, Title: "Interrupted", Instance: d.Reference,
			Detail: "the process that carried out this task ended before it knew the outcome, and the task says interrupted: fault",
		}})
	}
}

// outstanding are the commands that a host would repeat, as text.
func outstanding(m *machine.Machine) []string {
	var out []string
	for _, c := range m.Outstanding() {
		switch c := c.(type) {
		case *machine.Dispatch:
			out = append(out, fmt.Sprintf("dispatch %s %d %s %x", c.Activation, c.Attempt, c.IdempotencyKey, value.Hash(0, c.Arguments)))
		case *machine.StartChild:
			in, _ := c.Input.Any()
			out = append(out, fmt.Sprintf("child %s %d %s %x", c.Activation, c.Attempt, c.Child, value.Hash(0, in)))
		default:
			out = append(out, fmt.Sprintf("%T %+v", c, c))
		}
	}
	return out
}

// needs is what the machine waits for, in the words of world.
func needs(m *machine.Machine) []string {
	var out []string
	for _, c := range m.Outstanding() {
		switch c := c.(type) {
		case *machine.Dispatch:
			out = append(out, answerKey(c.Activation, c.Attempt))
		case *machine.CancelAttempt:
			out = append(out, answerKey(c.Activation, c.Attempt))
		case *machine.StartTimer:
			out = append(out, fmt.Sprintf("timer %s %d", c.ID, c.At.UnixMicro()))
		case *machine.ResolveSecrets:
			out = append(out, "secrets")
		case *machine.StartChild, *machine.CancelChild, *machine.Listen, *machine.StopTimer, *machine.Unlisten, *machine.Emit, *machine.End:
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// world is what the outside still works at for a run.
func (h *host) world(r *run) []string {
	var out []string
	for k := range r.pending {
		if !strings.HasPrefix(k, "child ") {
			out = append(out, k)
		}
	}
	for id, t := range r.timers {
		out = append(out, fmt.Sprintf("timer %s %d", id, t.due.UnixMicro()))
	}
	slices.Sort(out)
	return out
}

func diffLines(world, machine []string) (out []string) {
	for _, x := range world {
		if !slices.Contains(machine, x) {
			out = append(out, "the machine does not wait for "+x)
		}
	}
	for _, x := range machine {
		if !slices.Contains(world, x) {
			out = append(out, "nobody works at "+x)
		}
	}
	return out
}
