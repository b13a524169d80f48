package rewind

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/state"
)

// Carry takes the state of a plan over to a definition, which may be a corrected
// one: it must keep reference and kind of every task that the run is inside or
// begins at. The error names the first that differs. change may correct what
// began the run; nil: nothing.
func (pl *Plan) Carry(p *program.Program, change func(*event.RunStarted)) ([]byte, error) {
	for _, reference := range pl.Again {
		if p.Node(reference) == nil {
			return nil, fmt.Errorf("the definition has no task %s any more, and the run would begin there; keep its place and its name", reference)
		}
	}
	r, err := state.Restore(p, machine.Revision, pl.State)
	if err != nil {
		return nil, err
	}
	if r.Root != nil {
		if err := fits(r.Root); err != nil {
			return nil, err
		}
	}
	i := 0
	for _, a := range r.Work[r.Head:] {
		if a.Index < 0 {
			continue
		}
		if got := a.Seq.List.Nodes[a.Index].Reference; i < len(pl.Again) && got != pl.Again[i] {
			return nil, fmt.Errorf("the definition has the task %s where the run would begin at %s; keep its place and its name", got, pl.Again[i])
		}
		i++
	}
	if change != nil {
		begun := *r.Begun
		change(&begun)
		r.Begun = &begun
	}
	if len(p.Secrets) == 0 {
		r.Secrets = nil
	}
	return r.Snapshot(machine.Revision), nil
}

// fits holds that the tasks under way have the parts that their state speaks of.
func fits(s *state.Sequence) error {
	f := s.Current
	if f == nil {
		return nil
	}
	n := f.Node
	differs := func(what string, was, is int) error {
		return fmt.Errorf("the run is inside %s (%s), which had %d %s and has %d in the definition; it must keep them", n.Reference, n.Label, was, what, is)
	}
	switch {
	case n.Op == program.Dispatch && f.Listen != nil && n.Listen == nil:
		return fmt.Errorf("the run is inside the foreach of %s (%s), which has none in the definition; it must keep it", n.Reference, n.Label)
	case f.Applied != nil && len(f.Applied) != len(n.Extensions):
		return differs("extensions", len(f.Applied), len(n.Extensions))
	case n.Op == program.Fork && f.Fan != nil && len(f.Fan.Results) != len(n.Branches):
		return differs("branches", len(f.Fan.Results), len(n.Branches))
	case n.Op == program.Listen && f.Listen != nil && len(f.Listen.Met) != len(n.Listen.To.Filters):
		return differs("filters", len(f.Listen.Met), len(n.Listen.To.Filters))
	case n.Op == program.Listen && f.Listen != nil && len(f.Listen.UntilMet) != untilFilters(n):
		return differs("filters of until", len(f.Listen.UntilMet), untilFilters(n))
	}
	for _, c := range f.Seqs {
		if c != nil {
			if err := fits(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func untilFilters(n *program.Node) int {
	if n.Listen.To.UntilOther == nil {
		return 0
	}
	return len(n.Listen.To.UntilOther.Filters)
}
