package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/view"
)

func (a *app) logsCommand() *cobra.Command {
	var task string
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what the tasks of a run printed",
		Long: `Print what the tasks of a run printed, task by task, each attempt under its
name. Secrets are masked.`,
		Example: `  downbeat runs logs 01890a5d-ac96-774b-bcce-b302099a8057
  downbeat runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --task deploy`,
		Args: args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				return a.logs(ctx, n, args[0], task)
			})
		},
	}
	cmd.Flags().StringVar(&task, "task", "", "only of the task with this `NAME` or reference")
	return cmd
}

func (a *app) logs(ctx context.Context, n *server.Node, text, task string) error {
	id, err := runID(text)
	if err != nil {
		return err
	}
	files, err := n.Control.Logs(ctx, id)
	if err != nil {
		return about(id, err)
	}
	p := a.outPalette()
	var list []any
	shown := 0
	for _, f := range files {
		if task != "" && task != f.Name && task != f.Reference {
			continue
		}
		shown++
		if a.conf.Output != "text" {
			lines := []any{}
			err = f.Rows(func(r control.LogRow) error {
				lines = append(lines, map[string]any{"at": r.At.UTC().Format(time.RFC3339Nano), "stream": r.Stream, "text": r.Text})
				return nil
			})
			list = append(list, map[string]any{"reference": f.Reference, "name": f.Name, "attempt": f.Attempt, "lines": lines})
		} else {
			_, _ = fmt.Fprintln(a.out, p.Bold(logTitle(f)))
			err = f.Rows(func(r control.LogRow) error {
				text := progress.OneLine(r.Text)
				if r.Stream == "stderr" {
					text = p.Warn(text)
				}
				_, err := fmt.Fprintf(a.out, "%s %s\n", p.Dim(r.At.Local().Format("15:04:05.000")), text)
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("print the log of %s: %w", f.Name, err)
		}
	}
	if a.conf.Output != "text" {
		return a.print(map[string]any{"logs": append([]any{}, list...)})
	}
	if shown == 0 {
		_, _ = fmt.Fprintln(a.err, "nothing was printed")
	}
	return nil
}

func logTitle(f control.LogFile) string {
	var b strings.Builder
	b.WriteString(progress.OneLine(f.Name))
	for _, i := range f.Iteration {
		b.WriteString("[" + strconv.Itoa(i) + "]")
	}
	b.WriteString("  " + progress.OneLine(f.Reference))
	if f.Attempt > 1 {
		b.WriteString("  attempt " + strconv.Itoa(f.Attempt))
	}
	return b.String()
}

// logsOf returns what gives the last lines of a task of the run.
func (a *app) logsOf(ctx context.Context, n *server.Node, id event.RunID) func(view.Task) []string {
	return func(t view.Task) []string { return a.lastLines(ctx, n, id, t) }
}

// lastLines are the last lines that a task printed, for the summary of a fault.
func (a *app) lastLines(ctx context.Context, n *server.Node, id event.RunID, t view.Task) []string {
	files, err := n.Control.Logs(ctx, id)
	if err != nil {
		return nil // the summary is complete enough without
	}
	var lines []string
	for _, f := range files {
		if f.Activation != t.Activation {
			continue
		}
		lines = lines[:0]
		_ = f.Rows(func(r control.LogRow) error {
			if strings.TrimSpace(r.Text) != "" {
				lines = append(lines, r.Text)
			}
			if len(lines) > 64 {
				lines = append(lines[:0], lines[len(lines)-16:]...)
			}
			return nil
		})
	}
	return lines
}
