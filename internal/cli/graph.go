package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/graph"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// drawings are the forms of graph's output.
var drawings = map[string]func(*graph.Graph, io.Writer, *graph.Overlay) error{
	"mermaid": (*graph.Graph).Mermaid, "dot": (*graph.Graph).DOT, "svg": (*graph.Graph).SVG, "json": (*graph.Graph).JSON,
}

func (a *app) graphCommand() *cobra.Command {
	var format, run string
	cmd := &cobra.Command{
		Use:   "graph FILE|RUN|-",
		Short: "Draw a workflow, alone or with a run laid over it",
		Long: `Draw a workflow: its tasks, and the ways between them. Of a run, or with --run,
the path that it took is strong, the rest faint, and each task shows its status
and duration; a run is drawn by the definition that it was started with.
The drawing goes to stdout.`,
		Example: `  downbeat graph examples/hello.yaml
  downbeat graph workflow.yaml -o svg > workflow.svg
  downbeat graph 01890a5d-ac96-774b-bcce-b302099a8057 -o svg > run.svg
  downbeat graph workflow.yaml -o svg --run 01890a5d-ac96-774b-bcce-b302099a8057 > run.svg`,
		Args: args(1, 1, "the FILE or the ID of a run"),
		// -o means the form of the drawing here, so that of other commands is not looked at.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd.InheritedFlags()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.graph(cmd.Context(), args[0], format, run)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "mermaid", "the form: mermaid, dot, svg or json")
	cmd.Flags().StringVar(&run, "run", "", "lay the run with this `ID` over the drawing")
	return cmd
}

func (a *app) graph(ctx context.Context, file, format, run string) error {
	draw := drawings[format]
	if draw == nil {
		return usage("", "-o %s: graph draws as mermaid, dot, svg or json", format)
	}
	if id, err := a.runID(ctx, nil, file); err == nil {
		return a.graphRun(ctx, id, draw)
	}
	src, err := a.readFile(file)
	if err != nil {
		return err
	}
	def, list := a.check(ctx, file, src, nodeFlags{lenient: true})
	def, err = a.drawable(file, src, def, list)
	if err != nil {
		return err
	}
	g := graph.Build(def)
	if run == "" {
		return draw(g, a.out, nil)
	}
	id, err := a.runID(ctx, nil, run)
	if err != nil {
		return err
	}
	return a.withNode(ctx, func(ctx context.Context, n *server.Node) error {
		r, err := n.Control.Get(ctx, id)
		if err != nil {
			return about(id, err)
		}
		if r.Workflow != def.Document.ID() {
			return usage("", "run %s is of the workflow %s, but %s is %s", id, r.Workflow, file, def.Document.ID())
		}
		return draw(g, a.out, a.overlay(g, r))
	})
}

// graphRun draws a run by the definition that it goes by.
func (a *app) graphRun(ctx context.Context, id event.RunID, draw func(*graph.Graph, io.Writer, *graph.Overlay) error) error {
	return a.withNode(ctx, func(ctx context.Context, n *server.Node) error {
		r, err := n.Control.Get(ctx, id)
		if err != nil {
			return about(id, err)
		}
		src, err := n.Control.Definition(ctx, id)
		if err != nil {
			return err
		}
		def, list := bundle.Decode(src)
		def, err = a.drawable("the definition of run "+id.String(), src, def, list)
		if err != nil {
			return err
		}
		g := graph.Build(def)
		return draw(g, a.out, a.overlay(g, r))
	})
}

// drawable reads a definition; what is invalid cannot be drawn.
func (a *app) drawable(name string, src []byte, def *workflow.Definition, list []workflow.Finding) (*workflow.Definition, error) {
	f := report.Findings{File: name, Source: src, List: list}
	if n := f.Count(workflow.SeverityError); def == nil || n > 0 {
		f.Show(a.err, a.term.Style, workflow.SeverityError)
		return nil, usage("", "%s is no valid workflow, so it cannot be drawn", name)
	}
	return def, nil
}

// overlay is the run as the drawing takes it.
func (a *app) overlay(g *graph.Graph, r *view.Run) *graph.Overlay {
	if r.TasksTruncated {
		_, _ = fmt.Fprintln(a.err, "more tasks were entered than are listed; the drawing shows the first of them")
	}
	now := a.clock.Now()
	tasks := make([]graph.Activation, len(r.Tasks))
	for i := range r.Tasks {
		t := &r.Tasks[i]
		tasks[i] = graph.Activation{
			Reference: t.Reference, Parent: t.Parent, Iteration: t.Iteration, Status: t.Status, Skipped: t.Skipped,
			Attempts: t.Attempts, Duration: t.Duration(now), Total: t.Total,
		}
	}
	return g.Trace(r.ID, r.Status, tasks)
}
