// Package report writes for people what there is to say at an end: the findings
// about a definition, with their source lines, and how a run ended.
package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Author is what is known of the definition of a run, to point into it.
type Author struct {
	// File is where it was read; "" when only its record is known.
	File       string
	Source     []byte
	Definition *workflow.Definition
}

// Ending is how a run ended.
type Ending struct {
	Run *view.Run
	By  Author
	// Lines gives the last lines that a task printed; nil: they are not known.
	Lines func(view.Task) []string
	// Retry names the command that retries the run.
	Retry bool
	// Flags stand behind commands that are printed to be copied.
	Flags string
}

// Fault writes what went wrong, where, what the task printed last, and how to find out more.
func (e Ending) Fault(w io.Writer, p progress.Palette) {
	r, f := e.Run, e.Run.Error
	if f == nil {
		f = &event.Problem{Title: "unknown error"}
	}
	title := progress.OneLine(f.Title)
	if title == "" {
		title = f.Type[strings.LastIndexByte(f.Type, '/')+1:]
	}
	field := func(name, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(w, "  %s %s\n", p.Dim(fmt.Sprintf("%-8s", name)), text)
		}
	}
	_, _ = fmt.Fprintf(w, "%s %s%s\n", p.Bad("faulted:"), title, p.Dim(fmt.Sprintf(" (%d) after %s", f.Status, progress.Short(r.EndedAt.Sub(r.StartedAt)))))
	failed := failedTask(r, f.Instance)
	field("task", f.Instance+p.Dim(which(failed)))
	if place, text := e.By.Place(f.Instance); place != "" {
		field("source", place+p.Dim("  | ")+strings.TrimSpace(text))
	}
	field("type", f.Type)
	for i, l := range strings.Split(strings.TrimSpace(f.Detail), "\n") {
		field([]string{"detail", ""}[min(i, 1)], progress.OneLine(l))
	}
	for _, k := range slices.Sorted(maps.Keys(f.More)) {
		if k != "stderr" || e.Lines == nil { // else the last lines follow
			field(k, progress.OneLine(string(value.JSON(f.More[k]))))
		}
	}
	if failed != nil && e.Lines != nil {
		lines := e.Lines(*failed)
		for i, l := range lines[max(0, len(lines)-8):] {
			field([]string{"output", ""}[min(i, 1)], p.Dim("| ")+progress.OneLine(l))
		}
	}
	field("hint", hint(f))
	field("run", r.ID)
	field("more", "downbeat runs get "+r.ID+e.Flags)
	if e.Retry && len(r.Tasks) > 0 { // before the first task there is nothing to repeat
		field("retry", "downbeat runs retry "+r.ID+e.Flags)
	}
}

// hint says how to give a secret that was asked for and is not there: the
// language cannot know, it only names it.
func hint(f *event.Problem) string {
	name, ok := strings.CutPrefix(f.Detail, "the secret ")
	if !ok || f.Type != event.TypePrefix+event.Forbidden || strings.HasSuffix(f.Detail, "is not listed in use.secrets") {
		return ""
	}
	name, err := strconv.QuotedPrefix(name)
	if err != nil {
		return ""
	}
	name, _ = strconv.Unquote(name)
	return "give it by " + secret.Variable(name) + " in the environment, or in a file by --secrets FILE"
}

// which tells the iteration and the attempt of a task that has several.
func which(t *view.Task) string {
	var b strings.Builder
	if t != nil && len(t.Iteration) > 0 {
		b.WriteString("  iteration ")
		for _, i := range t.Iteration {
			fmt.Fprintf(&b, "[%d]", i)
		}
	}
	if t != nil && t.Attempts > 1 {
		fmt.Fprintf(&b, "  attempt %d", t.Attempts)
	}
	return b.String()
}

// TasksIn is ", 3 tasks": how many a run entered.
func TasksIn(r *view.Run) string {
	if len(r.Tasks) == 0 {
		return ""
	}
	more := ""
	if r.TasksTruncated {
		more = "more than "
	}
	return ", " + more + progress.Plural(len(r.Tasks), "task")
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

// Place finds a task in the source: where it stands ("file:line:col") and the
// text of the line; "" when it is not there.
func (by Author) Place(reference string) (where, text string) {
	if by.Definition == nil || reference == "" {
		return "", ""
	}
	var pos workflow.Pos
	file, src := by.File, by.Source
	by.Definition.Walk(func(t *workflow.Task, parents []*workflow.Task) bool {
		if t.Reference != reference {
			return true
		}
		pos = t.Pos
		root := t
		if len(parents) > 0 {
			root = parents[0]
		}
		if a := by.Definition.FindLinked(root.Name); a != nil && by.Definition.FindFunction(root.Name) == root {
			file, src = a.URI, a.Content
		}
		return false
	})
	lines := strings.Split(string(src), "\n")
	if !pos.IsValid() || pos.Line > len(lines) {
		return "", ""
	}
	if file == "" {
		return fmt.Sprintf("line %d, column %d of the definition", pos.Line, pos.Col), lines[pos.Line-1]
	}
	return fmt.Sprintf("%s:%d:%d", file, pos.Line, pos.Col), lines[pos.Line-1]
}
