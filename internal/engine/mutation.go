package engine

import "github.com/downbeat-dev/downbeat/internal/machine"

// mutations are deliberate mistakes that tests make, to see that the tests of
// the invariants can fail. Outside of tests all of them are off.
type mutations struct {
	early      bool // invariant 1: commands are carried out before their event is durable
	ignoreHash bool // invariant 2: replay is not compared
	forget     bool // invariant 3: interrupted attempts are not repeated
	steal      bool // invariant 4: runs are taken from owners that live
	unbounded  bool // invariant 5: evaluations are not stopped
}

var mutate mutations

func (m *mutations) beforeCommit(r *run) {
	if !m.early {
		return
	}
	for _, c := range r.flight.commands {
		r.carry(c)
	}
	r.flight.commands = r.flight.commands[:0]
}

func (m *mutations) carried(*run, machine.Command) {}
