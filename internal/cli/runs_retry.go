package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// repairFlags are the flags of retry and fork.
type repairFlags struct {
	nodeFlags

	place, iteration, definition string
	dry                          bool
	wait                         string
	input                        string
	given                        bool
	sets                         []string
	by                           report.Author
	corrected                    *workflow.Definition
}

func (f *repairFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.iteration, "iteration", "", "which iteration of the loops around, outermost first: `I[,J…]`")
	fl.StringVar(&f.definition, "definition", "", "`FILE` of a corrected definition to go on with")
	fl.BoolVar(&f.dry, "dry-run", false, "show what would be kept and done again, and begin nothing")
	f.nodeFlags.add(fl)
	f.addWorkflows(fl)
	f.addOffline(fl)
	fl.StringVar(&f.wait, "wait", "", "leave the run after this `DURATION`, interrupted and resumable (exit code 4)")
}

func (a *app) retryCommand() *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use:   "retry ID",
		Short: "Go on with a run that failed, where it failed",
		Long: `Go on with an ended run: from the task that failed, or from any other that it
entered. Only that task and what depends on it are done again; other branches and
iterations keep their results. Attempts count on, with the same idempotency keys,
so a receiver can tell a repetition.

With --definition the run goes on with a corrected definition, which must keep
place, name and kind of every task that the run is inside. If the fault was that
of a child run, the child goes on too, with all that it has done.`,
		Example: `  downbeat runs retry 01890a5d-ac96-774b-bcce-b302099a8057 --dry-run
  downbeat runs retry 01890a5d-ac96-774b-bcce-b302099a8057 --definition corrected.yaml
  downbeat runs retry 01890a5d-ac96-774b-bcce-b302099a8057 --from /do/1/customers --iteration 3`,
		Args: args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.repair(cmd.Context(), args[0], &f, func(ctx context.Context, n *server.Node, id event.RunID) (*control.Repair, error) {
				q := control.RetryRequest{Run: id, Definition: f.corrected, By: "user"}
				if f.place != "" {
					at, err := f.at()
					if err != nil {
						return nil, err
					}
					q.From = &at
				} else if f.iteration != "" {
					return nil, usage("give the task too: --from REF --iteration "+f.iteration, "--iteration needs --from")
				}
				return n.Control.PrepareRetry(ctx, q)
			})
		},
	}
	cmd.Flags().StringVar(&f.place, "from", "", "the task to begin with, by its `REF`erence such as /do/2/apply, or its name (default: the one that failed)")
	f.add(cmd)
	return cmd
}

func (a *app) forkCommand() *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use:   "fork ID",
		Short: "Begin a new run in the past of another",
		Long: `Begin a new run that takes over the past of another, up to a task. The other run
stays as it is. --input and --set change the input of that task. The new run has
idempotency keys of its own, so what it does is not a repetition.`,
		Example: `  downbeat runs fork 01890a5d-ac96-774b-bcce-b302099a8057 --at /do/2/apply --set region=eu-west
  downbeat runs fork 01890a5d-ac96-774b-bcce-b302099a8057 --at apply --dry-run`,
		Args: args(1, 1, "the ID of the run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed("input")
			if f.place == "" {
				return usage("'downbeat runs get "+args[0]+"' shows its tasks", "--at REF is missing: the task at which the new run begins")
			}
			return a.repair(cmd.Context(), args[0], &f, func(ctx context.Context, n *server.Node, id event.RunID) (*control.Repair, error) {
				at, err := f.at()
				if err != nil {
					return nil, err
				}
				q := control.ForkRequest{Run: id, At: at, Definition: f.corrected}
				if f.given || len(f.sets) > 0 {
					q.Input = func(was any) (any, error) { return forms.Changed(a.in, was, f.input, f.given, f.sets) }
				}
				return n.Control.PrepareFork(ctx, q)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.place, "at", "", "the task to begin with, by its `REF`erence such as /do/2/apply, or its name")
	fl.StringVarP(&f.input, "input", "i", "", "input of that task instead of the recorded one: `JSON`, @FILE (JSON or YAML), or - for stdin")
	fl.StringArrayVar(&f.sets, "set", nil, "one field of the task's input, `name=value`; a.b=c nests; the value is JSON when it parses")
	f.add(cmd)
	return cmd
}

// at is the place that the flags name.
func (f *repairFlags) at() (control.Place, error) { return placeOf(f.place, f.iteration) }

func placeOf(task, iteration string) (control.Place, error) {
	p := control.Place{Task: task}
	if iteration == "" {
		return p, nil
	}
	for part := range strings.SplitSeq(iteration, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 {
			return p, usage("iterations count from 0; of nested loops write the outer one first: --iteration 2,0", "--iteration %s is no list of indexes", iteration)
		}
		p.Iteration = append(p.Iteration, n)
	}
	return p, nil
}

// repair prepares a retry or fork, shows what it keeps and does again, and
// follows it to its end.
func (a *app) repair(ctx context.Context, text string, f *repairFlags, prepare func(context.Context, *server.Node, event.RunID) (*control.Repair, error)) error {
	id, err := a.runID(ctx, nil, text)
	if err != nil {
		return err
	}
	wait, err := a.waitTimer(f.wait)
	if err != nil {
		return err
	}
	if f.definition != "" {
		if f.corrected, f.by, err = a.accept(ctx, f.definition, f.nodeFlags); err != nil {
			return err
		}
	}
	node, err := a.open(ctx, f.nodeFlags)
	if err != nil {
		return err
	}
	defer func() { _ = a.stop(node) }()
	r, err := prepare(ctx, node, id)
	if err != nil {
		return a.refusal(id, err)
	}
	if f.dry && a.conf.Output != "text" {
		return a.print(planJSON(r))
	}
	if f.dry || !a.flags.quiet {
		a.showPlan(r, f.dry)
	}
	if f.dry {
		return nil
	}
	root := &r.Runs[0]
	fw := &follower{a: a, node: node, id: root.ID, feed: engine.NewFeed(0), wait: wait, begun: a.clock.Now(), title: root.Workflow + "  " + root.ID.String()}
	fw.past = &view.Run{ID: root.ID.String(), Workflow: root.Workflow, Status: event.Running, StartedAt: fw.begun, Tasks: root.Tasks}
	if err := node.Control.BeginRepair(ctx, r, fw.feed); err != nil {
		return a.refusal(id, err)
	}
	return a.finish(ctx, fw, f.by)
}

// refusal turns an error of a repair into words.
func (a *app) refusal(id event.RunID, err error) error {
	if e, ok := errors.AsType[*control.RefusedError](err); ok {
		return usage(e.Hint, "%w", err)
	}
	if e, ok := errors.AsType[*control.PlaceError](err); ok {
		return usage(e.Hint, "%w", err)
	}
	if _, ok := errors.AsType[*control.InvalidError](err); ok {
		return &exit{code: exitUsage, err: err}
	}
	return about(id, err)
}

// fates are the words for what becomes of a task, in the order in which they are shown.
var fates = []struct {
	fate rewind.Fate
	word string
	most int // listed by name
}{
	{rewind.Again, "again", 30}, {rewind.Later, "then", 30}, {rewind.Open, "goes on", 10}, {rewind.Kept, "kept", 10},
}

// showPlan says what is done again and what is kept: on stdout when that is the result.
func (a *app) showPlan(r *control.Repair, result bool) {
	w, p := a.err, a.term.Style
	if result {
		w, p = a.out, a.outPalette()
	}
	for i := range r.Runs {
		run := &r.Runs[i]
		_, _ = fmt.Fprintf(w, "%s  %s\n", run.Workflow, run.ID)
		for _, f := range fates {
			var list []rewind.Item
			for _, x := range run.Items {
				if x.Fate == f.fate {
					list = append(list, x)
				}
			}
			for k, x := range list {
				if k == f.most {
					_, _ = fmt.Fprintf(w, "  %s %s\n", p.Dim(fmt.Sprintf("%-8s", f.word)), p.Dim(fmt.Sprintf("… %d more", len(list)-k)))
					break
				}
				_, _ = fmt.Fprintf(w, "  %s %s%s\n", p.Dim(fmt.Sprintf("%-8s", f.word)), x.Reference, p.Dim(iterationOf(x.Iteration)))
			}
		}
		if !run.Child.IsZero() {
			_, _ = fmt.Fprintf(w, "  %s %s\n", p.Dim("with    "), "the child run "+run.Child.String())
		}
	}
	total := map[rewind.Fate]int{}
	for i := range r.Runs {
		for _, x := range r.Runs[i].Items {
			total[x.Fate]++
		}
	}
	_, _ = fmt.Fprintf(w, "%s\n", p.Dim(fmt.Sprintf("%s kept, %d done again, %d after them", progress.Plural(total[rewind.Kept], "task"), total[rewind.Again], total[rewind.Later])))
}

func iterationOf(list []int) string {
	if len(list) == 0 {
		return ""
	}
	return " [" + strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]") + "]"
}

// planJSON is a plan as -o json shows it.
func planJSON(r *control.Repair) any {
	type task struct {
		Reference string `json:"reference"`
		Iteration []int  `json:"iteration,omitempty"`
		Fate      string `json:"fate"`
	}
	type run struct {
		ID       string `json:"id"`
		Workflow string `json:"workflow"`
		Child    string `json:"child,omitempty"`
		Tasks    []task `json:"tasks"`
	}
	words := map[rewind.Fate]string{rewind.Again: "again", rewind.Later: "then", rewind.Open: "open", rewind.Kept: "kept"}
	var runs []run
	for i := range r.Runs {
		x := run{ID: r.Runs[i].ID.String(), Workflow: r.Runs[i].Workflow, Tasks: []task{}}
		if c := r.Runs[i].Child; !c.IsZero() {
			x.Child = c.String()
		}
		for _, it := range r.Runs[i].Items {
			x.Tasks = append(x.Tasks, task{it.Reference, it.Iteration, words[it.Fate]})
		}
		runs = append(runs, x)
	}
	return struct {
		Runs []run `json:"runs"`
	}{runs}
}
