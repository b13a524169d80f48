package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
)

// watchEvery is how often a run of another process is looked at.
const watchEvery = 250 * time.Millisecond

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Follow a run until it ends",
		Long: `Follow a run until it ends, whichever process carries it out. Ctrl-C ends the
watching and leaves the run alone. The exit code is that of the run.`,
		Example: `  downbeat runs watch 01890a5d-ac96-774b-bcce-b302099a8057`,
		Args:    args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error { return a.watch(ctx, n, args[0]) })
		},
	}
}

func (a *app) watch(ctx context.Context, n *server.Node, text string) error {
	id, err := a.runID(ctx, n, text)
	if err != nil {
		return err
	}
	r, err := n.Control.Get(ctx, id)
	if err != nil {
		return about(id, err)
	}
	show := a.display(r.Workflow+"  "+r.ID, r.StartedAt)
	progress.CatchUp(show, nil, r)
	look, frame := a.clock.NewTicker(watchEvery), a.clock.NewTicker(progress.FrameTime)
	defer look.Stop()
	defer frame.Stop()
	for !r.Status.Ended() {
		select {
		case <-look.C:
			now, err := n.Control.Get(ctx, id)
			if err != nil {
				show.Close(a.clock.Now())
				return about(id, err)
			}
			progress.CatchUp(show, r, now)
			r = now
		case <-frame.C:
			show.Tick(a.clock.Now())
		case <-ctx.Done():
			show.Close(a.clock.Now())
			return context.Cause(ctx)
		}
	}
	show.Close(a.clock.Now())
	a.ending(ctx, n, r, report.Author{})
	if err := a.result(r, engine.Result{Output: r.Output}); err != nil {
		return fmt.Errorf("print run %s: %w", id, err)
	}
	if code := codeOf(r.Status); code != exitCompleted {
		return &exit{code: code}
	}
	return nil
}
