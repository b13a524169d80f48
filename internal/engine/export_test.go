package engine

import (
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// Peek shows a live run's machine on its shard's goroutine; false: it is not in memory.
func (e *Engine) Peek(id event.RunID, look func(m *machine.Machine)) bool {
	found := false
	_ = e.shard(id).ask(func(s *shard) {
		if r := s.runs[id]; r != nil && r.state == live {
			found = true
			look(r.m)
		}
	})
	return found
}
