package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// runFlags are the flags of run.
type runFlags struct {
	nodeFlags

	input     string
	given     bool
	sets      []string
	events    []string
	wait      string
	labels    map[string]string
	record    string
	lifecycle string
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE|-",
		Short: "Run a workflow to its end",
		Long: `Run a workflow to its end, in this process. The output goes to stdout as JSON;
progress goes to stderr.

The first Ctrl-C cancels the run, the second leaves it: nothing is lost, and
'downbeat runs resume' goes on with it, as after a crash.

Exit codes: 0 completed, 1 faulted, 2 wrong usage or a definition that is invalid
or not supported yet, 3 cancelled, 4 --wait passed, 130 interrupted. After 4 and
130 the run can be resumed.`,
		Example: `  downbeat run examples/hello.yaml
  downbeat run deploy.yaml --input @input.json --set target.site=berlin --set replicas=3
  echo '{"name": "Ada"}' | downbeat run examples/hello.yaml --input -
  downbeat run order.yaml --workflows ./definitions --secrets secrets.yaml -o json
  downbeat run approval.yaml --wait 30s || [ $? = 4 ] && echo "still waiting"`,
		Args: args(1, 1, "the FILE of the workflow"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed("input")
			return a.run(cmd.Context(), args[0], &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.input, "input", "i", "", "input of the run: `JSON`, @FILE (JSON or YAML), or - for stdin")
	fl.StringArrayVar(&f.sets, "set", nil, "one field of the input, `name=value`; a.b=c nests; the value is JSON when it parses")
	f.add(fl)
	f.addWorkflows(fl)
	f.addOffline(fl)
	fl.StringVar(&f.wait, "wait", "", "leave the run after this `DURATION`, interrupted and resumable (exit code 4)")
	fl.StringArrayVar(&f.events, "events", nil, "`FILE` of cloud events to feed: JSON, JSON lines or an array")
	fl.StringVar(&f.record, "record", "", "make a test of the run: `FILE`.test.yaml")
	fl.StringVar(&f.lifecycle, "lifecycle", "", "tell what happens to the run in the standard's cloud events: a `FILE` (JSON lines are appended) or an http(s) URL (POST)")
	fl.StringToStringVar(&f.labels, "label", nil, "label of the run, `key=value`")
	fl.Lookup("label").DefValue = ""
	return cmd
}

func (a *app) run(ctx context.Context, file string, f *runFlags) error {
	if stdins := count(append([]string{file, f.input}, f.events...), "-"); stdins > 1 {
		return usage("give files for the others", "- stands for stdin, and stdin can be read once only")
	}
	if err := recordable(f.record, file); err != nil {
		return err
	}
	def, by, err := a.accept(ctx, file, f.nodeFlags)
	if err != nil {
		return err
	}
	in, err := forms.Input(a.in, f.input, f.given, f.sets)
	if err != nil {
		return err
	}
	events, err := a.readEvents(f.events)
	if err != nil {
		return err
	}
	wait, err := a.waitTimer(f.wait)
	if err != nil {
		return err
	}
	node, err := a.open(ctx, f.nodeFlags)
	if err != nil {
		return err
	}
	defer func() { _ = a.stop(node) }()
	dir, err := workingDirectory()
	if err != nil {
		return err
	}
	var sink *server.Sink
	if f.lifecycle != "" {
		if sink, err = node.Lifecycle(ctx, f.lifecycle, def, a.notes.Warn); err != nil {
			return usage("", "--lifecycle: %w", err)
		}
		defer a.closeSink(ctx, sink)
	}
	feed := engine.NewFeed(0)
	begun := a.clock.Now()
	id, err := node.Control.Start(ctx, engine.StartRequest{
		Definition: def, Input: value.FromAny(in), Labels: f.labels, Directory: dir, Feed: feed,
	})
	if err != nil {
		err = fmt.Errorf("start %s: %w", def.Document.ID(), err)
		if _, invalid := errors.AsType[*engine.InvalidError](err); invalid {
			return &exit{code: exitUsage, err: err}
		}
		return err
	}
	if sink != nil {
		sink.Begin(id)
	}
	if len(events) > 0 {
		if _, err := node.Control.SendEvents(ctx, events); err != nil {
			return fmt.Errorf("feed the events: %w", err)
		}
	}
	fw := follower{a: a, node: node, id: id, feed: feed, sink: sink, wait: wait, begun: begun, title: def.Document.ID() + "  " + id.String()}
	return a.record(ctx, node, id, def, file, f.record, a.finish(ctx, &fw, by))
}

// closeSink gives the receiver of lifecycle events a moment to take the last ones.
func (a *app) closeSink(ctx context.Context, s *server.Sink) {
	patience := 10 * time.Second
	if a.abandoned {
		patience = hurry
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	s.Close(ctx)
}

func count(list []string, s string) int {
	n := 0
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// accept reads and checks a definition. What cannot run is refused with all
// its findings; warnings are shown in short.
func (a *app) accept(ctx context.Context, file string, nf nodeFlags) (*workflow.Definition, report.Author, error) {
	src, err := a.readFile(file)
	if err != nil {
		return nil, report.Author{}, err
	}
	def, list := a.check(ctx, file, src, nf)
	if a.stopped {
		return nil, report.Author{}, &exit{code: exitInterrupted}
	}
	f := report.Findings{File: file, Source: src, List: list}
	invalid, unsupported := f.Count(workflow.SeverityError), f.Count(workflow.SeverityUnsupported)
	if def == nil || invalid+unsupported > 0 {
		f.Show(a.err, a.term.Style, workflow.SeverityError, workflow.SeverityUnsupported)
		if f.Unlinked() {
			return nil, report.Author{}, usage("", "what %s names elsewhere cannot be had (%s); nothing was started", file, progress.Plural(invalid, "error"))
		}
		if invalid > 0 || def == nil {
			return nil, report.Author{}, usage("", "%s is no valid workflow (%s); nothing was started", file, progress.Plural(invalid, "error"))
		}
		return nil, report.Author{}, usage("", "%s is valid, but uses what this version does not support yet; nothing was started", file)
	}
	if n := f.Count(workflow.SeverityWarning); n > 0 && !a.flags.quiet {
		shown := 0
		for _, x := range list {
			if x.Severity == workflow.SeverityWarning && shown < 3 {
				_, _ = fmt.Fprintln(a.err, f.Line(a.term.Style, x))
				shown++
			}
		}
		if n > shown {
			_, _ = fmt.Fprintf(a.err, "%s\n", a.term.Style.Dim(fmt.Sprintf("… %d more; see 'downbeat validate %s'", n-shown, progress.ShellWord(file))))
		}
	}
	return def, report.Author{File: file, Source: src, Definition: def}, nil
}

// finish follows one run, shows how it ended, and gives the exit code for it.
func (a *app) finish(ctx context.Context, fw *follower, by report.Author) error {
	why, err := fw.follow(ctx)
	if err != nil {
		return err
	}
	if why != runEnded {
		if a.conf.Output != "text" {
			if r, err := fw.node.Control.Get(ctx, fw.id); err == nil {
				r.Interrupted = true
				if err := a.print(r); err != nil {
					return err
				}
			}
		}
		return a.leave(fw.node, why, fw.id)
	}
	r, err := fw.node.Control.Get(ctx, fw.id)
	if err != nil {
		return fmt.Errorf("show run %s: %w", fw.id, err)
	}
	a.ending(ctx, fw.node, r, by)
	if err := a.result(r, fw.result); err != nil {
		return err
	}
	if code := codeOf(r.Status); code != exitCompleted {
		return &exit{code: code}
	}
	return nil
}

// result prints an ended run: its output alone, or with -o json or yaml everything.
// The output alone is the run's own: what is marked as sensitive is masked only
// where the run is shown.
func (a *app) result(r *view.Run, own engine.Result) error {
	if a.conf.Output != "text" {
		return a.print(r)
	}
	if r.Status == event.Completed {
		return a.print(own.Output)
	}
	return nil
}

func codeOf(s event.Status) int {
	switch s {
	case event.Completed:
		return exitCompleted
	case event.Cancelled:
		return exitCancelled
	case event.Faulted, event.Pending, event.Running, event.Waiting, event.Suspended:
	}
	return exitFaulted
}
