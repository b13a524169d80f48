package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/view"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get ID",
		Short: "Show a run: its tasks, input, output and error",
		Example: `  downbeat runs get 01890a5d-ac96-774b-bcce-b302099a8057
  downbeat runs get 01890a5d-ac96-774b-bcce-b302099a8057 -o json`,
		Args: args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.runID(cmd.Context(), nil, args[0])
			if err != nil {
				return err
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				r, err := n.Control.Get(ctx, id)
				if err != nil {
					return about(id, err)
				}
				if a.conf.Output != "text" {
					return a.print(r)
				}
				return a.showRun(r, recorded(ctx, n, r))
			})
		},
	}
}

// showRun prints a run for people.
func (a *app) showRun(r *view.Run, by report.Author) error {
	p := a.outPalette()
	field := func(name, text string) {
		if text != "" {
			_, _ = fmt.Fprintf(a.out, "%s %s\n", p.Dim(fmt.Sprintf("%-9s", name)), text)
		}
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Local().Format("2006-01-02 15:04:05.000 -07:00")
	}
	field("run", r.ID)
	field("workflow", r.Workflow)
	field("status", statusOf(p, r.Status, r.Interrupted)+p.Dim("  "+progress.Short(r.Duration(a.clock.Now()))))
	field("parent", r.Parent)
	field("started", stamp(r.StartedAt))
	field("ended", stamp(r.EndedAt))
	if e := r.Error; e != nil {
		field("error", p.Bad(progress.OneLine(e.Error()))+p.Dim(fmt.Sprintf(" (%d)", e.Status)))
		field("type", e.Type)
		field("at", e.Instance)
		if place, text := by.Place(e.Instance); place != "" {
			field("source", place+p.Dim("  | ")+strings.TrimSpace(text))
		}
	}
	field("input", clip(string(r.Input.JSON())))
	if !r.Output.IsZero() {
		field("output", clip(string(r.Output.JSON())))
	}
	if len(r.Tasks) > 0 {
		_, _ = fmt.Fprintln(a.out)
		for _, line := range progress.Draw(r, p, a.clock.Now(), 200) {
			_, _ = fmt.Fprintln(a.out, line)
		}
	}
	if r.TasksTruncated {
		_, _ = fmt.Fprintf(a.out, "%s\n", p.Dim("more tasks were entered than are listed"))
	}
	if r.Interrupted && !r.Status.Ended() {
		_, _ = fmt.Fprintf(a.err, "go on with: downbeat runs resume %s%s\n", r.ID, a.dataFlag())
	}
	return nil
}

// clip shortens JSON for a line; -o json shows all of it.
func clip(s string) string {
	const most = 400
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "… (-o json shows all)"
}
