package history

import (
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// beginAtReopening drops what came before the run was last opened again: it is
// never replayed, for it may be of another definition.
func (r *Record) beginAtReopening() {
	for i, events := range slices.Backward(r.Events) {
		if reopens(events) {
			r.Rows, r.Events, r.Snapshot = r.Rows[i:], r.Events[i:], nil
			return
		}
	}
}

// reopens reports whether a journal row opens its run again. Such a row begins with that.
func reopens(events []event.Event) bool {
	if len(events) == 0 {
		return false
	}
	_, ok := events[0].Body.(*event.RunReopened)
	return ok
}

// Tasks is the list of tasks that a run takes over when it is opened again or
// forked, in the form of package view; nil for other events.
func Tasks(b event.Body) []byte {
	switch b := b.(type) {
	case *event.RunReopened:
		return b.Tasks
	case *event.RunForked:
		return b.Tasks
	}
	return nil
}

// noteInput takes the input of the run from its first event.
func noteInput(b event.Body, out *view.Run) {
	switch b := b.(type) {
	case *event.RunStarted:
		out.Input = b.Input
	case *event.RunForked:
		out.Input = b.Start.Input
	}
}

// CutAfter reports whether the machine was not continued to its rest after the
// i-th event of a row: Sliced stands there or follows, and says how far.
func CutAfter(events []event.Event, i int) bool {
	if _, ok := events[i].Body.(*event.Sliced); ok || i+1 == len(events) {
		return ok
	}
	_, ok := events[i+1].Body.(*event.Sliced)
	return ok
}
