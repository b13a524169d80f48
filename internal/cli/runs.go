package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/server"
)

func (a *app) runsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List, show, follow, steer and repair runs",
		Long: `List, show, follow, steer and repair runs. The commands work on the data directory, so
they reach the runs of another live process too. Where the ID of a run stands,
last is the one that was started last.`,
		Example: `  downbeat runs list
  downbeat runs get last
  downbeat runs get 01890a5d-ac96-774b-bcce-b302099a8057
  downbeat runs resume
  downbeat runs retry 01890a5d-ac96-774b-bcce-b302099a8057 --dry-run`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.listCommand(), a.getCommand(), a.logsCommand(), a.watchCommand(), a.cancelCommand(), a.suspendCommand(), a.resumeCommand(),
		a.retryCommand(), a.forkCommand(), a.diffCommand(), a.evalCommand())
	return cmd
}

// withNode opens a node for one command and ends it.
func (a *app) withNode(ctx context.Context, do func(context.Context, *server.Node) error) error {
	node, err := a.open(ctx, nodeFlags{})
	if err != nil {
		return err
	}
	return a.interruptible(ctx, func(ctx context.Context) error {
		err := do(ctx, node)
		if stopErr := a.stop(node); err == nil {
			err = stopErr
		}
		return err
	})
}

// interruptible does something whose context a signal ends.
func (a *app) interruptible(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.signals:
			cancel(errSignal)
		case <-done:
		}
	}()
	err := do(ctx)
	if errors.Is(err, errSignal) || err != nil && errors.Is(context.Cause(ctx), errSignal) {
		return &exit{code: exitInterrupted}
	}
	return err
}

// errSignal is why a command's context ends early.
var errSignal = errors.New("interrupted")

// last stands for the id of the run that was started last; those that other
// runs started do not count.
const last = "last"

// runID reads a run id that a person typed. n is the node that is open; nil: none is.
func (a *app) runID(ctx context.Context, n *server.Node, text string) (id event.RunID, err error) {
	if text != last {
		if id, err = event.ParseRunID(text); err != nil {
			return id, usage("'downbeat runs list' shows the ids; last is the newest", "%w", err)
		}
		return id, nil
	}
	if n == nil {
		err = a.withNode(ctx, func(ctx context.Context, n *server.Node) (err error) {
			id, err = a.runID(ctx, n, text)
			return err
		})
		return id, err
	}
	for q := (journal.Query{}); ; {
		rows, next, err := n.Control.List(ctx, q)
		if err != nil {
			return id, err
		}
		for _, r := range rows {
			if r.Parent == (event.RunID{}) {
				return r.ID, nil
			}
		}
		if q.Cursor = next; next == "" {
			return id, usage("", "there is no run in this data directory")
		}
	}
}

// about turns errors about a run into words.
func about(id event.RunID, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrNotFound):
		return usage("'downbeat runs list' shows those that there are", "there is no run %s in this data directory", id)
	case errors.Is(err, engine.ErrEnded):
		return &exit{code: exitUsage, err: err}
	case errors.Is(err, journal.ErrNotOwner):
		return usage("it goes on by itself; 'downbeat runs watch "+id.String()+"' follows it", "another process carries out run %s", id)
	}
	return err
}

// interrupted reports that a run waits for `runs resume`: the `downbeat run`
// that carried it out has ended.
func interrupted(r *journal.RunRow) bool {
	return r.Interrupted || r.Embedded && !r.OwnerAlive && !r.Status.Ended()
}

// workingDirectory is where this process was started.
func workingDirectory() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	return dir, nil
}
