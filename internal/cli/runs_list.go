package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/source"
)

// listFlags are the flags of runs list.
type listFlags struct {
	statuses                       []string
	workflow, since, label, cursor string
	limit                          int
}

func (a *app) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, newest first",
		Example: `  downbeat runs list
  downbeat runs list --status faulted,interrupted --since 24h
  downbeat runs list --workflow examples/hello -o json`,
		Aliases: []string{"ls"},
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, only, err := f.query(a.clock.Now())
			if err != nil {
				return err
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				rows, next, err := n.Control.List(ctx, q)
				if err != nil {
					return fmt.Errorf("list runs: %w", err)
				}
				if only {
					kept := rows[:0]
					for _, r := range rows {
						if interrupted(&r) {
							kept = append(kept, r)
						}
					}
					rows = kept
				}
				return a.printList(rows, next)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.statuses, "status", nil, "only these: pending, running, waiting, suspended, cancelled, faulted, completed, interrupted")
	fl.StringVar(&f.workflow, "workflow", "", "only those of `NAMESPACE/NAME[:VERSION]`")
	fl.StringVar(&f.since, "since", "", "only those started since: a `DURATION` ago (24h) or a time (2026-08-01T10:00:00Z)")
	fl.StringVar(&f.label, "label", "", "only those with this label, `key=value`")
	fl.StringVar(&f.cursor, "cursor", "", "go on after an earlier page")
	fl.IntVar(&f.limit, "limit", 50, "at most this many, up to 1000")
	return cmd
}

// query makes the store's question; only tells that just interrupted runs are meant.
func (f *listFlags) query(now time.Time) (q journal.Query, only bool, err error) {
	q = journal.Query{Workflow: f.workflow, Label: f.label, Cursor: f.cursor, Limit: f.limit}
	if f.limit < 1 || f.limit > 1000 {
		return q, false, usage("", "--limit %d: want 1 to 1000", f.limit)
	}
	for _, name := range f.statuses {
		if name == "interrupted" {
			only = len(f.statuses) == 1
			q.Statuses = append(q.Statuses, event.Pending, event.Running, event.Waiting, event.Suspended)
			continue
		}
		s, ok := event.ParseStatus(name)
		if !ok {
			hint := "there are pending, running, waiting, suspended, cancelled, faulted, completed and interrupted"
			if near := source.Nearest(name, statusNames()); near != "" {
				hint = "did you mean " + near + "?"
			}
			return q, false, usage(hint, "unknown status %q", name)
		}
		q.Statuses = append(q.Statuses, s)
	}
	if f.since == "" {
		return q, only, nil
	}
	if d, err := time.ParseDuration(f.since); err == nil {
		q.Since = now.Add(-d)
	} else if t, err := time.Parse(time.RFC3339, f.since); err == nil {
		q.Since = t
	} else {
		return q, only, usage("", "--since %s: want a duration such as 24h, or a time such as 2026-08-01T10:00:00Z", f.since)
	}
	return q, only, nil
}

func statusNames() []string {
	out := []string{"interrupted"}
	for s := event.Pending; s <= event.Completed; s++ {
		out = append(out, s.String())
	}
	return out
}

func (a *app) printList(rows []journal.RunRow, next string) error {
	if a.conf.Output != "text" {
		out := listJSON{Runs: make([]rowJSON, len(rows)), Next: next}
		for i := range rows {
			out.Runs[i] = rowOf(&rows[i])
		}
		return a.print(out)
	}
	if len(rows) == 0 {
		_, _ = fmt.Fprintln(a.err, "no runs")
		return nil
	}
	p := a.outPalette()
	table := [][]string{{p.Dim("ID"), p.Dim("WORKFLOW"), p.Dim("STATUS"), p.Dim("STARTED"), p.Dim("TOOK"), ""}}
	now := a.clock.Now()
	for i := range rows {
		r := &rows[i]
		end := r.EndedAt
		if end.IsZero() {
			end = now
		}
		table = append(table, []string{
			r.ID.String(), r.Workflow, statusOf(p, r.Status, interrupted(r)), r.StartedAt.Local().Format("2006-01-02 15:04:05"),
			progress.Short(end.Sub(r.StartedAt)), p.Dim(progress.OneLine(r.Error)),
		})
	}
	columns(a.out, table)
	if next != "" {
		_, _ = fmt.Fprintf(a.err, "%s\n", a.term.Style.Dim("more: downbeat runs list --cursor "+next+a.dataFlag()))
	}
	return nil
}

// rowJSON is a run of runs list -o json.
type rowJSON struct {
	ID          string            `json:"id"`
	Workflow    string            `json:"workflow"`
	Status      string            `json:"status"`
	Interrupted bool              `json:"interrupted"`
	StartedAt   time.Time         `json:"startedAt,omitzero"`
	EndedAt     time.Time         `json:"endedAt,omitzero"`
	Trigger     string            `json:"trigger"`
	Error       string            `json:"error,omitempty"`
	Parent      string            `json:"parent,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// listJSON is runs list -o json.
type listJSON struct {
	Runs []rowJSON `json:"runs"`
	Next string    `json:"next,omitempty"`
}

func rowOf(r *journal.RunRow) rowJSON {
	out := rowJSON{
		ID: r.ID.String(), Workflow: r.Workflow, Status: r.Status.String(), Interrupted: interrupted(r),
		StartedAt: r.StartedAt.UTC(), EndedAt: r.EndedAt.UTC(), Trigger: r.Trigger, Error: r.Error, Labels: r.Labels,
	}
	if !r.Parent.IsZero() {
		out.Parent = r.Parent.String()
	}
	return out
}

// statusOf is the word for the status of a run, coloured.
func statusOf(p progress.Palette, s event.Status, interrupted bool) string {
	if interrupted && !s.Ended() {
		return p.Warn("interrupted")
	}
	return p.Status(s)
}

// outPalette colours what goes to stdout.
func (a *app) outPalette() progress.Palette {
	return progress.Palette{On: a.term.Pretty && !a.term.NoColor && a.conf.Color != "never" || a.conf.Color == "always"}
}

// columns writes a table whose columns are as wide as their widest cell.
func columns(w io.Writer, table [][]string) {
	var widths []int
	for _, r := range table {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(c))
		}
	}
	for _, r := range table {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(c)+2))
			}
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
