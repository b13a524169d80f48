package progress

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Lines shows progress where nothing can be redrawn: one line when a task ends
// (time, name, status, duration), and one for what keeps a run waiting.
type Lines struct {
	w     io.Writer
	p     Palette
	open  map[event.Activation]opened
	start time.Time
}

type opened struct {
	at     time.Time
	name   string // as it is printed
	kind   string
	within string // goes before the names of what is under it
}

// NewLines returns a display for a run that began at begun; title names the run.
func NewLines(w io.Writer, p Palette, title string, begun time.Time) *Lines {
	l := &Lines{w: w, p: p, open: map[event.Activation]opened{}, start: begun}
	l.line(begun, "run", title)
	return l
}

// Add takes the next transition.
func (l *Lines) Add(at time.Time, t *machine.Transition) {
	switch t.Change {
	case machine.Entered:
		if o, again := l.open[t.Activation]; again {
			at = o.at
		}
		l.enter(at, t)
	case machine.Skipped:
		l.line(at, l.name(t), l.p.Dim("skipped"))
	case machine.Retried:
		what := "retries"
		if t.Delay > 0 {
			what += " in " + Short(time.Duration(t.Delay)*time.Microsecond)
		}
		if t.Error != nil {
			what += ": " + OneLine(t.Error.Error())
		}
		l.line(at, l.name(t), l.p.Warn(what))
	case machine.Waits:
		l.line(at, l.name(t), l.p.Busy("waiting"))
	case machine.TaskEnds:
		o, known := l.open[t.Activation]
		if !known {
			o.at, o.name = at, l.name(t)
		}
		delete(l.open, t.Activation)
		what := l.p.Status(t.Status) + " " + Short(at.Sub(o.at))
		if t.Status == event.Faulted && t.Error != nil {
			what += " " + OneLine(t.Error.Error())
		}
		if t.Attempt > 1 {
			what += " (attempt " + strconv.Itoa(t.Attempt) + ")"
		}
		if t.Unknown {
			what += " (whether it took effect is not known)"
		}
		l.line(at, o.name, what)
	case machine.RunChanges:
		switch {
		case t.Status.Ended():
			l.line(at, "run", l.p.Status(t.Status)+" "+Short(at.Sub(l.start)))
		case t.Status == event.Suspended:
			l.line(at, "run", l.p.Status(t.Status))
		}
	case machine.Dispatched, machine.Resumes, machine.Correlates:
	}
}

// enter keeps the name of a task. What is in a branch of a fork carries the
// name of the branch: tasks of several branches often have the same names.
func (l *Lines) enter(at time.Time, t *machine.Transition) {
	o := opened{at: at, kind: t.Kind, name: l.name(t)}
	up := l.open[t.Parent]
	o.within = up.within
	if up.kind == "fork" {
		o.within = o.name + "/"
	}
	l.open[t.Activation] = o
}

// name is how a task is called in all of its lines.
func (l *Lines) name(t *machine.Transition) string {
	if o, ok := l.open[t.Activation]; ok {
		return o.name
	}
	return l.open[t.Parent].within + plainName(t)
}

// Log shows a line that a task printed.
func (l *Lines) Log(at time.Time, a event.Activation, text string) {
	name := string(a)
	if o, ok := l.open[a]; ok {
		name = o.name
	}
	if text = OneLine(strings.TrimRight(text, "\r\n")); text != "" {
		l.line(at, l.p.Of(name)(name+" |"), text)
	}
}

// Know makes the tasks that are under way known without a line for each.
func (l *Lines) Know(r *view.Run) {
	for i := range r.Tasks {
		t := &r.Tasks[i]
		if t.Status.Ended() {
			continue
		}
		tr := machine.Transition{Activation: t.Activation, Name: t.Name, Kind: t.Kind, Iteration: t.Iteration}
		if t.Parent >= 0 && t.Parent < i {
			tr.Parent = r.Tasks[t.Parent].Activation
		}
		l.enter(t.StartedAt, &tr)
	}
}

func (l *Lines) line(at time.Time, name, what string) {
	_, _ = fmt.Fprintf(l.w, "%s %s %s\n", l.p.Dim(at.Local().Format("15:04:05.000")), name, what)
}

// Status is the word for a status, coloured.
func (p Palette) Status(s event.Status) string {
	switch s {
	case event.Completed:
		return p.Good(s.String())
	case event.Faulted:
		return p.Bad(s.String())
	case event.Cancelled, event.Suspended:
		return p.Warn(s.String())
	case event.Pending, event.Running, event.Waiting:
	}
	return p.Busy(s.String())
}

// plainName is the task's name with the iterations around it: "check[3]".
func plainName(t *machine.Transition) string {
	var b strings.Builder
	b.WriteString(OneLine(t.Name))
	for _, i := range t.Iteration {
		b.WriteString("[" + strconv.Itoa(i) + "]")
	}
	return b.String()
}

// Note prints a message.
func (l *Lines) Note(text string) { _, _ = io.WriteString(l.w, l.p.Warn(text)+"\n") }

// Tick does nothing: lines are printed as they come.
func (l *Lines) Tick(time.Time) {}

// Close does nothing.
func (l *Lines) Close(time.Time) {}
