package history

import (
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Attempts is what the attempts of a run without an answer have started
// outside, by the run's journal.
type Attempts []event.AttemptStarted

// Note takes an event of the run: it adds a handle, or forgets those of an
// attempt that has its answer.
func (a *Attempts) Note(body event.Body) {
	switch b := body.(type) {
	case *event.AttemptStarted:
		*a = append(*a, *b)
	case *event.TaskCompleted:
		a.forget(b.Activation, b.Attempt)
	case *event.TaskFailed:
		a.forget(b.Activation, b.Attempt)
	case *event.TaskCancelled:
		a.forget(b.Activation, b.Attempt)
	}
}

func (a *Attempts) forget(activation event.Activation, attempt int) {
	if len(*a) > 0 {
		*a = slices.DeleteFunc(*a, func(s event.AttemptStarted) bool { return s.Activation == activation && s.Attempt == attempt })
	}
}

// Find returns the last handle of an attempt and the kind that it is of; ok is
// false when the attempt has started nothing. A handle with a true "continues"
// only adds to the one before: then all of them are returned, in order, as a list.
func (a Attempts) Find(activation event.Activation, attempt int) (kind string, handle any, ok bool) {
	var parts []any
	for _, s := range slices.Backward(a) {
		if s.Activation != activation || s.Attempt != attempt {
			continue
		}
		v, err := s.Handle.Any()
		if err != nil {
			return "", nil, false
		}
		m, _ := v.(map[string]any)
		kind, _ = m["kind"].(string)
		parts = append(parts, m["handle"])
		if h, _ := m["handle"].(map[string]any); h["continues"] != true {
			break
		}
	}
	slices.Reverse(parts)
	switch len(parts) {
	case 0:
		return "", nil, false
	case 1:
		return kind, parts[0], true
	}
	return kind, parts, true
}

// Handle puts the kind beside what an executor has started, so that whoever
// finds it in the journal knows whose it is.
func Handle(kind string, started value.Raw) value.Raw {
	v, err := started.Any()
	if err != nil {
		v = nil
	}
	return value.FromAny(map[string]any{"kind": kind, "handle": v})
}
