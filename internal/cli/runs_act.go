package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel ID...",
		Short: "Cancel runs",
		Long: `Cancel runs. Tasks that are under way are ended, after a grace if they do not
end by themselves; what they have done is not undone. The request is durable
when the command returns. Of an interrupted run, the cancellation is carried out here.`,
		Example: `  downbeat runs cancel 01890a5d-ac96-774b-bcce-b302099a8057 --reason "wrong site"`,
		Args:    args(1, -1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, "cancelling", func(ctx context.Context, n *server.Node, id event.RunID) error {
				if err := n.Control.Cancel(ctx, id, "user", reason); err != nil {
					return err
				}
				return a.carryOut(ctx, n, id)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (a *app) suspendCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "suspend ID...",
		Short: "Suspend runs: no new task begins until 'runs resume'",
		Long: `Suspend runs: no new task begins. Tasks that are under way finish, timers go on,
and their results take effect when the run is resumed.`,
		Example: `  downbeat runs suspend 01890a5d-ac96-774b-bcce-b302099a8057
  downbeat runs resume 01890a5d-ac96-774b-bcce-b302099a8057`,
		Args: args(1, -1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), args, "suspending", func(ctx context.Context, n *server.Node, id event.RunID) error {
				return n.Control.Suspend(ctx, id, "user", reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

// each does something with every run that is named.
func (a *app) each(ctx context.Context, ids []string, verb string, do func(context.Context, *server.Node, event.RunID) error) error {
	parsed := make([]event.RunID, len(ids))
	for i, text := range ids {
		id, err := a.runID(ctx, nil, text)
		if err != nil {
			return err
		}
		parsed[i] = id
	}
	return a.withNode(ctx, func(ctx context.Context, n *server.Node) error {
		for _, id := range parsed {
			if err := do(ctx, n, id); err != nil {
				return about(id, err)
			}
			if !a.flags.quiet {
				_, _ = fmt.Fprintf(a.err, "%s %s\n", verb, id)
			}
		}
		return nil
	})
}

// carryOut lets an interrupted run take what was asked of it: nobody else would.
func (a *app) carryOut(ctx context.Context, n *server.Node, id event.RunID) error {
	left, err := n.Control.Interrupted(ctx)
	if err != nil {
		return err
	}
	for i := range left {
		if left[i].ID != id {
			continue
		}
		if err := n.Control.Continue(ctx, id, nil); err != nil {
			return err
		}
		_, err := n.Control.Wait(ctx, id)
		return err
	}
	return nil
}

func (a *app) resumeCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "resume [ID...]",
		Short: "Go on with interrupted and suspended runs",
		Long: `Go on with runs that were interrupted: their process was killed, or left them.
Without an ID, with all of them. They go on where they were, in the directory
and with the definitions that they were started with; what was under way is
repeated with the same idempotency key. A suspended run of a live process goes
on there.`,
		Example: `  downbeat runs resume
  downbeat runs resume 01890a5d-ac96-774b-bcce-b302099a8057 -o json`,
		Args: args(0, -1, ""),
		RunE: func(cmd *cobra.Command, args []string) error { return a.resume(cmd.Context(), args, &f) },
	}
	fl := cmd.Flags()
	f.add(fl)
	fl.StringVar(&f.wait, "wait", "", "leave the runs after this `DURATION`, interrupted and resumable (exit code 4)")
	return cmd
}

func (a *app) resume(ctx context.Context, texts []string, f *runFlags) error {
	wait, err := a.waitTimer(f.wait)
	if err != nil {
		return err
	}
	ids := make([]event.RunID, len(texts))
	for i, text := range texts {
		if ids[i], err = a.runID(ctx, nil, text); err != nil {
			return err
		}
	}
	n, err := a.open(ctx, f.nodeFlags)
	if err != nil {
		return err
	}
	defer func() { _ = a.stop(n) }()
	followers, err := a.continueRuns(ctx, n, ids)
	if err != nil {
		return err
	}
	worst, shown := exitCompleted, []value.Raw{}
	for i, fw := range followers {
		fw.wait = wait
		why, err := fw.follow(ctx)
		if err != nil {
			return err
		}
		if why != runEnded {
			var left []event.RunID
			for _, rest := range followers[i:] {
				left = append(left, rest.id)
			}
			return a.leave(n, why, left...)
		}
		r, err := n.Control.Get(ctx, fw.id)
		if err != nil {
			return about(fw.id, err)
		}
		a.ending(ctx, n, r, report.Author{})
		if a.conf.Output != "text" {
			v, err := forms.Value(r)
			if err != nil {
				return err
			}
			shown = append(shown, v)
		} else if err := a.result(r, fw.result); err != nil {
			return err
		}
		if code := codeOf(r.Status); worst == exitCompleted || code == exitFaulted {
			worst = code
		}
	}
	if a.conf.Output != "text" {
		if err := a.print(struct {
			Runs []value.Raw `json:"runs"`
		}{shown}); err != nil {
			return err
		}
	}
	if worst != exitCompleted {
		return &exit{code: worst}
	}
	return nil
}

// continueRuns takes up the interrupted runs among ids (all when there are
// none), and tells suspended ones to go on where they are.
func (a *app) continueRuns(ctx context.Context, n *server.Node, ids []event.RunID) ([]*follower, error) {
	rows, err := n.Control.Interrupted(ctx)
	if err != nil {
		return nil, err
	}
	left := map[event.RunID]bool{}
	all := len(ids) == 0
	for i := len(rows) - 1; i >= 0; i-- { // the oldest first
		r := &rows[i]
		left[r.ID] = true
		if all && r.Parent.IsZero() { // a child goes on with its parent
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		_, _ = fmt.Fprintln(a.err, "there are no interrupted runs")
		return nil, nil
	}
	var out []*follower
	for _, id := range ids {
		r, err := n.Control.Get(ctx, id)
		if err != nil {
			return nil, about(id, err)
		}
		switch {
		case r.Status.Ended():
			return nil, usage("", "run %s is %s; only a run that has not ended can be resumed", id, r.Status)
		case !left[id] && r.Status != event.Suspended:
			return nil, usage("it goes on by itself; 'downbeat runs watch "+id.String()+"' follows it", "another process carries out run %s", id)
		}
		if r.Status == event.Suspended {
			if err := n.Control.Resume(ctx, id, "user"); err != nil {
				return nil, about(id, err)
			}
			if !left[id] {
				_, _ = fmt.Fprintf(a.err, "resuming %s\n", id)
				continue
			}
		}
		fw := &follower{a: a, node: n, id: id, feed: engine.NewFeed(0), past: r}
		fw.title = r.Workflow + "  " + r.ID
		if err := n.Control.Continue(ctx, id, fw.feed); err != nil {
			if _, invalid := errors.AsType[*control.InvalidError](err); invalid {
				return nil, &exit{code: exitUsage, err: err}
			}
			return nil, about(id, err)
		}
		out = append(out, fw)
	}
	return out, nil
}
