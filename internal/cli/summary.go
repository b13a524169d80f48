package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// author is what is known of the definition of a run, to point into it.
type author struct {
	file   string
	source []byte
	def    *workflow.Definition
}

// ending tells in words how a run ended, on stderr.
func (a *app) ending(r *view.Run, by author, logs func(view.Task) []string) {
	p := a.term.Style
	took := progress.Short(r.EndedAt.Sub(r.StartedAt))
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(a.err, format+"\n", args...) }
	switch r.Status {
	case event.Completed:
		if !a.flags.quiet && a.term.Live {
			say("%s", p.Good("completed")+p.Dim(" in "+took+tasksIn(r)))
		}
	case event.Cancelled:
		if !a.term.Live || a.flags.quiet {
			return // the line of the run's end has told it
		}
		say("%s", p.Warn("cancelled")+p.Dim(" after "+took+tasksIn(r)))
	case event.Faulted:
		a.fault(r, by, logs)
	case event.Pending, event.Running, event.Waiting, event.Suspended:
	}
}

func tasksIn(r *view.Run) string {
	if len(r.Tasks) == 0 {
		return ""
	}
	more := ""
	if r.TasksTruncated {
		more = "more than "
	}
	return ", " + more + progress.Plural(len(r.Tasks), "task")
}

// fault shows what went wrong, where, what the task printed last, and how to find out more.
func (a *app) fault(r *view.Run, by author, logs func(view.Task) []string) {
	p := a.term.Style
	e := r.Error
	if e == nil {
		e = &event.Problem{Title: "unknown error"}
	}
	title := progress.OneLine(e.Title)
	if title == "" {
		title = e.Type[strings.LastIndexByte(e.Type, '/')+1:]
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(a.err, format+"\n", args...) }
	field := func(name, text string) {
		if text != "" {
			say("  %s %s", p.Dim(fmt.Sprintf("%-8s", name)), text)
		}
	}
	say("%s %s%s", p.Bad("faulted:"), title, p.Dim(fmt.Sprintf(" (%d) after %s", e.Status, progress.Short(r.EndedAt.Sub(r.StartedAt)))))
	field("task", e.Instance)
	if line, text := by.place(e.Instance); line != "" {
		field("source", line+p.Dim("  | ")+strings.TrimSpace(text))
	}
	field("type", e.Type)
	for i, l := range strings.Split(strings.TrimSpace(e.Detail), "\n") {
		if i == 0 {
			field("detail", progress.OneLine(l))
		} else {
			field("", progress.OneLine(l))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(e.More)) {
		if k == "stderr" && logs != nil {
			continue // the last lines follow
		}
		field(k, progress.OneLine(string(value.Append(nil, e.More[k]))))
	}
	if t := failedTask(r, e.Instance); t != nil && logs != nil {
		lines := logs(*t)
		for i, l := range lines[max(0, len(lines)-8):] {
			name := ""
			if i == 0 {
				name = "output"
			}
			field(name, p.Dim("| ")+progress.OneLine(l))
		}
	}
	field("run", r.ID)
	field("more", fmt.Sprintf("downbeat runs get %s%s", r.ID, a.dataFlag()))
}

// failedTask is the last faulted task at the place that the error names.
func failedTask(r *view.Run, instance string) *view.Task {
	for i := len(r.Tasks) - 1; i >= 0; i-- {
		if t := &r.Tasks[i]; t.Reference == instance && t.Status == event.Faulted {
			return t
		}
	}
	return nil
}

// place finds a task in the source: "file:line:col" and the line's text.
func (by author) place(reference string) (where, text string) {
	if by.def == nil || reference == "" {
		return "", ""
	}
	var pos workflow.Pos
	for t := range by.def.Tasks() {
		if t.Reference == reference {
			pos = t.Pos
		}
	}
	lines := strings.Split(string(by.source), "\n")
	if !pos.IsValid() || pos.Line > len(lines) {
		return "", ""
	}
	return fmt.Sprintf("%s:%d:%d", by.file, pos.Line, pos.Col), lines[pos.Line-1]
}

// dataFlag is " --data DIR" when this process was told one, so that commands
// that are printed can be copied.
func (a *app) dataFlag() string {
	if a.flags.data == "" {
		return ""
	}
	return " --data " + progress.ShellWord(a.flags.data)
}
