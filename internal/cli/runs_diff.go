package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Show where two runs parted, in path and data",
		Long: `Show where two runs parted: how their inputs differ, the first task that one of
them did not enter, or that had other input, another output or another status in
it, and how their outputs differ. Exit code 1 when they differ.`,
		Example: `  downbeat runs diff 01890a5d-ac96-774b-bcce-b302099a8057 01890a5e-0000-7000-8000-000000000000`,
		Args:    args(2, 2, "the pair of run IDs, A and B,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			idA, err := a.runID(cmd.Context(), nil, args[0])
			if err != nil {
				return err
			}
			idB, err := a.runID(cmd.Context(), nil, args[1])
			if err != nil {
				return err
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				d, err := n.Control.Diff(ctx, idA, idB)
				if err != nil {
					if _, missing := n.Control.Get(ctx, idA); missing != nil {
						return about(idA, missing)
					}
					return about(idB, err)
				}
				if a.conf.Output != "text" {
					err = a.print(d)
				} else {
					a.showDiff(d)
				}
				if err == nil && !d.Same {
					err = &exit{code: exitFaulted}
				}
				return err
			})
		},
	}
}

// showDiff prints a difference for people.
func (a *app) showDiff(d *control.Difference) {
	p := a.outPalette()
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(a.out, "%s %s\n", p.Dim(fmt.Sprintf("%-9s", name)), fmt.Sprintf(format, args...))
	}
	if len(d.Workflows) > 0 {
		line("workflow", "%s | %s", d.Workflows[0], d.Workflows[1])
	} else if d.Definitions {
		line("workflow", "the same version, of another definition")
	}
	a.showChanges("input", d.Input)
	if t := d.Parted; t == nil {
		line("path", "the same: %s", progress.Plural(d.Alike, "task"))
	} else {
		where := t.Reference
		if len(t.Iteration) > 0 {
			where += iterationOf(t.Iteration)
		}
		line("parted", "at %s, after %s alike", where, progress.Plural(d.Alike, "task"))
		switch t.OnlyIn {
		case "a":
			line("", "the first entered it, the second did not")
		case "b":
			line("", "the second entered it, the first did not")
		}
		if t.StatusA != "" {
			line("  status", "%s | %s", withError(t.StatusA, t.ErrorA), withError(t.StatusB, t.ErrorB))
		}
		a.showChanges("  input", t.Input)
		a.showChanges("  output", t.Output)
		if d.Others > 0 {
			line("", "%s more differ", progress.Plural(d.Others, "task"))
		}
	}
	if d.StatusA != d.StatusB || d.ErrorA != d.ErrorB {
		line("ended", "%s | %s", withError(d.StatusA, d.ErrorA), withError(d.StatusB, d.ErrorB))
	}
	a.showChanges("output", d.Output)
	if d.Same {
		_, _ = fmt.Fprintln(a.out, "the runs are the same")
	}
}

func withError(status, text string) string {
	if text == "" {
		return status
	}
	return status + " (" + progress.OneLine(text) + ")"
}

// showChanges prints the places where two values differ, one a line.
func (a *app) showChanges(name string, list []control.Change) {
	const most = 20
	p := a.outPalette()
	for i, c := range list {
		label := name
		if i > 0 {
			label = ""
		}
		if i == most {
			_, _ = fmt.Fprintf(a.out, "%9s %s\n", "", p.Dim(fmt.Sprintf("… %d more; -o json shows them", len(list)-i)))
			return
		}
		at := c.Pointer
		if at == "" {
			at = "."
		}
		text := short(c.A) + " | " + short(c.B)
		switch c.OnlyIn {
		case "a":
			text = short(c.A) + " | " + p.Dim("nothing")
		case "b":
			text = p.Dim("nothing") + " | " + short(c.B)
		}
		_, _ = fmt.Fprintf(a.out, "%s %s  %s\n", p.Dim(fmt.Sprintf("%-9s", label)), at, text)
	}
}

// short is a value on one line.
func short(v any) string {
	const most = 120
	s := []rune(strings.ReplaceAll(string(value.JSON(v)), "\n", " "))
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}
