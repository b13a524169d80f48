package progress

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// CatchUp shows what changed between two looks at a run, for runs whose
// transitions this process does not see: those of another process, and what
// happened before a run was resumed.
func CatchUp(show Display, old, now *view.Run) {
	var before []view.Task
	var status event.Status
	if old != nil {
		before, status = old.Tasks, old.Status
	}
	for i := range now.Tasks {
		t := &now.Tasks[i]
		tr := machine.Transition{
			Activation: t.Activation, Reference: t.Reference, Name: t.Name, Kind: t.Kind, Status: event.Running,
			Attempt: t.Attempts, Iteration: t.Iteration, Total: t.Total, Error: t.Error, Unknown: t.Unknown,
		}
		if t.Parent >= 0 && t.Parent < len(now.Tasks) {
			tr.Parent = now.Tasks[t.Parent].Activation
		}
		last := event.Running
		switch {
		case i < len(before) && before[i].Attempts == t.Attempts:
			last = before[i].Status
		case t.Skipped:
			tr.Change, tr.Status = machine.Skipped, event.Completed
			show.Add(t.StartedAt, &tr)
			continue
		default:
			tr.Change = machine.Entered
			show.Add(t.StartedAt, &tr)
		}
		if t.Status == last {
			continue
		}
		tr.Status = t.Status
		switch {
		case t.Status.Ended():
			tr.Change = machine.TaskEnds
			show.Add(t.EndedAt, &tr)
		case t.Status == event.Waiting:
			tr.Change = machine.Waits
			show.Add(t.StartedAt, &tr)
		default:
			tr.Change = machine.Resumes
			show.Add(t.StartedAt, &tr)
		}
	}
	if now.Status != status {
		at := now.StartedAt
		if now.Status.Ended() {
			at = now.EndedAt
		}
		show.Add(at, &machine.Transition{Change: machine.RunChanges, Status: now.Status})
	}
}

// Draw returns the tree of a run as it is now, for a terminal of this width.
func Draw(r *view.Run, p Palette, now time.Time, width int) []string {
	s := Screen{tree: newTree()}
	CatchUp(&s, nil, r)
	return s.tree.draw(p, now, 0, width, 0)
}
