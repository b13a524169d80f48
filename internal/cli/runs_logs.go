package cli

import (
	"context"
	"fmt"
	"os"
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
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs ID",
		Short: "Print what the tasks of a run printed",
		Long: `Print what the tasks of a run printed, task by task, each attempt under its
name. Secrets are masked.

With --follow, lines come as they are printed, whichever process carries the run
out, each with the name of its task before it, until the run ends or Ctrl-C.`,
		Example: `  downbeat runs logs 01890a5d-ac96-774b-bcce-b302099a8057
  downbeat runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --task deploy
  downbeat runs logs 01890a5d-ac96-774b-bcce-b302099a8057 --follow`,
		Args: args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				if follow {
					return a.followLogs(ctx, n, args[0], task)
				}
				return a.logs(ctx, n, args[0], task)
			})
		},
	}
	cmd.Flags().StringVar(&task, "task", "", "only of the task with this `NAME` or reference")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is printed from now on, until the run ends")
	return cmd
}

// followLogs prints lines as tasks print them; those of several tasks mix.
func (a *app) followLogs(ctx context.Context, n *server.Node, text, task string) error {
	if a.conf.Output != "text" {
		return usage("leave out -o, or leave out --follow", "--follow prints lines, and no %s", a.conf.Output)
	}
	id, err := a.runID(ctx, n, text)
	if err != nil {
		return err
	}
	read := map[string]int64{} // how much of each log was printed
	look := a.clock.NewTicker(watchEvery)
	defer look.Stop()
	for {
		// Asked first: what was printed before the end is there when the end is.
		r, err := n.Control.Get(ctx, id)
		if err == nil {
			err = a.newLines(ctx, n, id, task, read)
		}
		switch {
		case err != nil:
			return about(id, err)
		case r.Status.Ended():
			return nil
		case r.Interrupted:
			return fmt.Errorf("run %s is interrupted and prints nothing until it is resumed", id)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// newLines prints what was added to the logs of a run since the last look.
func (a *app) newLines(ctx context.Context, n *server.Node, id event.RunID, task string, read map[string]int64) error {
	files, err := n.Control.Logs(ctx, id)
	if err != nil {
		return err
	}
	p := a.outPalette()
	for _, f := range files {
		if task != "" && task != f.Name && task != f.Reference {
			continue
		}
		if info, err := os.Stat(f.Path); err == nil && info.Size() == read[f.Path] {
			continue
		}
		name := logName(f)
		read[f.Path], err = f.RowsFrom(read[f.Path], func(r control.LogRow) error {
			text := progress.OneLine(r.Text)
			if r.Stream == "stderr" {
				text = p.Warn(text)
			}
			_, err := fmt.Fprintf(a.out, "%s %s %s\n", p.Dim(r.At.Local().Format("15:04:05.000")), p.Of(name)(name+" |"), text)
			return err
		})
		if err != nil {
			return fmt.Errorf("print the log of %s: %w", f.Name, err)
		}
	}
	return nil
}

func (a *app) logs(ctx context.Context, n *server.Node, text, task string) error {
	id, err := a.runID(ctx, n, text)
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
	title := logName(f) + "  " + progress.OneLine(f.Reference)
	if f.Attempt > 1 {
		title += "  attempt " + strconv.Itoa(f.Attempt)
	}
	return title
}

func logName(f control.LogFile) string {
	var b strings.Builder
	b.WriteString(progress.OneLine(f.Name))
	for _, i := range f.Iteration {
		b.WriteString("[" + strconv.Itoa(i) + "]")
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
