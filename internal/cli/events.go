package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
)

func (a *app) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Work with cloud events",
		Example: `  downbeat events send approved.json`,
		Args:    a.unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "send FILE|-...",
		Short: "Send cloud events to the runs that listen for them",
		Long: `Send cloud events (CloudEvents 1.0, structured JSON) to the runs that listen for
them: one event, an array, or JSON lines. A missing id, source, time or
specversion is filled in. An event with the source and id of an earlier one is
that event, and is not sent twice.`,
		Example: `  downbeat events send examples/credit-approval/approved.json
  echo '{"type": "com.example.paid.v1", "data": {"order": 7}}' | downbeat events send -`,
		Args: args(1, -1, "the FILE of the events"),
		RunE: func(cmd *cobra.Command, args []string) error {
			events, err := a.readEvents(args)
			if err != nil {
				return err
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				accepted, err := n.Control.SendEvents(ctx, events)
				if err != nil {
					return fmt.Errorf("send the events: %w", err)
				}
				return a.sent(accepted)
			})
		},
	})
	return cmd
}

// sent tells which events were accepted and which were known already.
func (a *app) sent(events []journal.CloudEvent) error {
	known := 0
	list := make([]any, len(events))
	for i, e := range events {
		list[i] = map[string]any{"id": e.ID, "source": e.Source, "type": e.Type, "known": e.Known}
		if e.Known {
			known++
		}
	}
	if a.conf.Output != "text" {
		return a.print(map[string]any{"events": list})
	}
	switch {
	case known > 0:
		_, _ = fmt.Fprintf(a.err, "accepted %s; %d known already\n", progress.Plural(len(events)-known, "event"), known)
	case !a.flags.quiet:
		_, _ = fmt.Fprintf(a.err, "accepted %s\n", progress.Plural(len(events), "event"))
	}
	return nil
}

// readEvents reads cloud events from files.
func (a *app) readEvents(files []string) ([]map[string]any, error) {
	return forms.Events(a.in, files, a.clock.Now())
}
