package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
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

// readEvents reads cloud events from files: an object, an array, or JSON lines.
func (a *app) readEvents(files []string) ([]map[string]any, error) {
	var out []map[string]any
	for _, file := range files {
		var src []byte
		var err error
		if file == "-" {
			src, err = io.ReadAll(a.in)
		} else {
			src, err = os.ReadFile(file) //nolint:gosec // the user names the file
		}
		if err != nil {
			return nil, usage("", "read the events: %w", err)
		}
		list, err := splitEvents(src)
		if err != nil {
			return nil, usage("", "the events in %s cannot be read: %w", file, err)
		}
		for i, v := range list {
			e, err := a.cloudEvent(v)
			if err != nil {
				return nil, usage("an event is an object such as {\"type\": \"com.example.paid.v1\", \"source\": \"/shop\", \"data\": {}}", "event %d in %s: %w", i+1, file, err)
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// splitEvents reads one event, an array of them, or one on each line.
func splitEvents(src []byte) ([]any, error) {
	v, err := decodeData(src)
	if err == nil {
		if list, ok := v.([]any); ok {
			return list, nil
		}
		return []any{v}, nil
	}
	var list []any
	for line := range bytes.Lines(src) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, lineErr := value.Decode(line)
		if lineErr != nil {
			return nil, err // it is no JSON lines either: the first mistake tells more
		}
		list = append(list, v)
	}
	return list, nil
}

// cloudEvent checks the shape of an event and fills in what may be missing.
func (a *app) cloudEvent(v any) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("want an object, found %s", value.TypeName(v))
	}
	full := map[string]any{
		"specversion": "1.0", "id": newID(), "source": "https://downbeat.dev/cli", "time": a.clock.Now().Format(time.RFC3339Nano),
	}
	maps.Copy(full, m)
	for _, k := range []string{"type", "source", "id", "specversion"} {
		if s, ok := full[k].(string); !ok || s == "" {
			return nil, fmt.Errorf("its %q must be a string that is not empty", k)
		}
	}
	return full, nil
}

// newID is a random UUID, version 4.
func newID() string {
	var id event.RunID
	_, _ = rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}
