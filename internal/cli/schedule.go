package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/trigger"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// scheduleFlags are the flags of schedule.
type scheduleFlags struct {
	nodeFlags

	next int
}

func (a *app) scheduleCommand() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use:   "schedule FILE|DIR|GLOB...",
		Short: "Carry workflows out by their schedules, until Ctrl-C",
		Long: `Carry workflows out by their schedules (every, cron, after, on), in this process,
until Ctrl-C. Of a directory all workflows that have a schedule are taken, and
'run: workflow' finds its others. Each start and each end is a line on stderr, or
with -o json an object on stdout.

How far each schedule has come is kept in the data directory: after a restart,
runs that were under way go on, and metadata.downbeat.schedule.missed says what
becomes of the due times that passed (skip, latest, all). Two processes on one
data directory start each run once.

The first Ctrl-C starts nothing more and waits for the runs that are under way;
the second, and SIGTERM, leave them: the next 'downbeat schedule' goes on.

With --next nothing is started: the next due times are printed. What is due by
'every' counts from when the schedule began in the data directory, else from now.`,
		Example: `  downbeat schedule nightly.yaml
  downbeat schedule ./workflows --secrets secrets.yaml
  downbeat schedule --next 5 nightly.yaml
  downbeat schedule ./workflows -o json | tee schedule.log`,
		Args: args(1, -1, "the FILE of the workflow"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("next") {
				return a.upcoming(cmd.Context(), args, &f)
			}
			return a.schedule(cmd.Context(), args, &f)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().IntVar(&f.next, "next", 5, "print the next `N` due times, and start nothing")
	return cmd
}

// scheduled reads the definitions that have a schedule. A file that is named
// must have one; of a directory the others are left to 'run: workflow'.
func (a *app) scheduled(ctx context.Context, args []string, f nodeFlags) (defs []*workflow.Definition, dirs []string, err error) {
	from := map[string]string{}
	for _, arg := range args {
		files, err := forms.Expand([]string{arg})
		if err != nil {
			return nil, nil, err
		}
		info, err := os.Stat(arg)
		isDir := err == nil && info.IsDir()
		if isDir {
			dirs = append(dirs, arg)
		}
		before := len(defs)
		for _, file := range files {
			def, _, err := a.accept(ctx, file, f)
			if err != nil {
				return nil, nil, err
			}
			if def.Schedule == nil {
				if isDir {
					continue
				}
				return nil, nil, usage("add one, such as: schedule: {cron: 0 3 * * *}; 'downbeat run' carries it out once", "%s has no schedule", file)
			}
			name := def.Document.Namespace + "/" + def.Document.Name
			if was, twice := from[name]; twice {
				return nil, nil, usage("one version of a workflow can be scheduled: leave one of the files out", "%s and %s define the same workflow, %s", was, file, name)
			}
			from[name] = file
			defs = append(defs, def)
		}
		if len(defs) == before {
			return nil, nil, usage("", "no workflow in %s has a schedule", arg)
		}
	}
	return defs, dirs, nil
}

// upcoming prints the next due times.
func (a *app) upcoming(ctx context.Context, args []string, f *scheduleFlags) error {
	n := f.next
	if n < 1 || n > 10_000 {
		return usage("", "--next %d: it is 1 to 10000", n)
	}
	defs, _, err := a.scheduled(ctx, args, f.nodeFlags)
	if err != nil {
		return err
	}
	known, end, err := server.Remembered(ctx, a.conf.Data)
	if err != nil {
		return err
	}
	defer end()
	var due []trigger.Due
	for _, def := range defs {
		list, err := trigger.Preview(ctx, def, known, a.clock.Now(), n)
		if err != nil {
			return usage("", "%s: %w", def.Document.ID(), err)
		}
		due = append(due, list...)
	}
	slices.SortStableFunc(due, func(a, b trigger.Due) int { return a.At.Compare(b.At) })
	due = due[:min(n, len(due))]
	if a.conf.Output != "text" {
		list := make([]any, len(due))
		for i, d := range due {
			list[i] = map[string]any{"at": d.At.Format(time.RFC3339), "due": d.Due.Format(time.RFC3339), "workflow": d.Workflow, "property": d.Property}
		}
		return a.print(map[string]any{"due": list})
	}
	for _, d := range due {
		_, _ = fmt.Fprintf(a.out, "%s  %s  %s\n", d.At.Format("Mon 2006-01-02 15:04:05 -0700"), d.Workflow, d.Property)
	}
	for _, def := range defs {
		for _, line := range unclocked(def) {
			_, _ = fmt.Fprintf(a.err, "%s  %s\n", def.Document.ID(), line)
		}
	}
	return nil
}

// unclocked says in words what else a workflow waits for.
func unclocked(def *workflow.Definition) (lines []string) {
	if def.Downbeat != nil && def.Downbeat.Schedule != nil && def.Downbeat.Schedule.Paused {
		return []string{"paused: nothing starts it"}
	}
	if def.Schedule.After != nil {
		lines = append(lines, "after: at once, then again when the last run has ended and "+forDuration(def.Schedule.After)+" passed")
	}
	if def.Schedule.On != nil {
		lines = append(lines, "on: when its cloud events come")
	}
	return lines
}

func forDuration(d *workflow.Duration) string {
	if length, ok := d.Literal(); ok {
		return length.String()
	}
	return string(value.JSON(d.Value.Any))
}

// schedule starts runs by schedules until the user has enough.
func (a *app) schedule(ctx context.Context, args []string, f *scheduleFlags) error {
	defs, dirs, err := a.scheduled(ctx, args, f.nodeFlags)
	if err != nil {
		return err
	}
	if f.workflows == "" && a.conf.Workflows == "" && len(dirs) == 1 {
		f.workflows = dirs[0]
	}
	dir, err := workingDirectory()
	if err != nil {
		return err
	}
	f.mode = server.Serving
	node, err := a.open(ctx, f.nodeFlags)
	if err != nil {
		return err
	}
	defer func() { _ = a.stop(node) }()
	log := &scheduleLog{a: a, begun: map[event.RunID]time.Time{}}
	for _, def := range defs {
		for _, line := range unclocked(def) {
			a.say("%s  %s", def.Document.ID(), line)
		}
	}
	t, err := node.Schedules(trigger.Options{Definitions: defs, Notify: log.tell, Directory: dir, Version: Version, Logger: a.notes.Logger()})
	if err != nil {
		return usage("", "%w", err)
	}
	if err := t.Start(ctx); err != nil {
		return fmt.Errorf("start the schedules: %w", err)
	}
	err = a.scheduling(ctx, node, t, log)
	_ = t.Stop(ctx) // it has nothing to say
	log.sum()
	return err
}

// scheduling waits until the schedules are to end.
func (a *app) scheduling(ctx context.Context, node *server.Node, t *trigger.Trigger, log *scheduleLog) error {
	select {
	case err := <-t.Failed():
		return fmt.Errorf("schedules ended: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case s := <-a.signals:
		if t.Cease(); s != os.Interrupt {
			if live := node.Engine.Live(); live > 0 {
				a.say("%s under way; the next 'downbeat schedule' goes on", progress.Plural(live, "run"))
			}
			return nil
		}
	}
	live := node.Engine.Live()
	if live == 0 {
		return nil
	}
	a.say("nothing more is started; waiting for %s under way; press Ctrl-C again to leave what is not over to the next 'downbeat schedule'", progress.Plural(live, "run"))
	look := a.clock.NewTicker(watchEvery)
	defer look.Stop()
	for node.Engine.Live() > 0 {
		select {
		case <-look.C:
		case <-a.signals:
			if err := a.stop(node); err != nil {
				return err
			}
			return &exit{code: exitInterrupted, err: errors.New("left with runs under way; nothing of them is lost"), hint: "the next 'downbeat schedule'" + a.dataFlag() + " goes on with them"}
		}
	}
	// A run that has ended is told in a moment; one that sleeps is not over.
	for range 5 {
		if log.open() == 0 || a.clock.Sleep(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	return nil
}

func (a *app) say(format string, args ...any) {
	if !a.flags.quiet {
		_, _ = fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// scheduleLog prints what schedules do, from several goroutines.
type scheduleLog struct {
	a *app

	mu                        sync.Mutex
	begun                     map[event.RunID]time.Time
	started, failed, rejected int
}

var words = [...]string{trigger.Started: "started", trigger.Ended: "ended", trigger.Rejected: "rejected", trigger.Missed: "missed", trigger.Scheduled: "scheduled", trigger.Replaced: "replaced"}

// tell prints one notice.
func (l *scheduleLog) tell(n trigger.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := ""
	switch n.What {
	case trigger.Started:
		l.started++
		l.begun[n.Run] = n.At
	case trigger.Ended:
		if at, known := l.begun[n.Run]; known {
			took = progress.Short(n.At.Sub(at))
			delete(l.begun, n.Run)
		}
		if n.Status == event.Faulted {
			l.failed++
		}
	case trigger.Rejected:
		l.rejected++
	case trigger.Missed, trigger.Scheduled, trigger.Replaced:
	}
	if l.a.conf.Output != "text" {
		l.object(n)
		return
	}
	l.a.say("%s %s  %s: %s", l.a.term.Style.Dim(n.At.Local().Format("15:04:05.000")), n.Workflow, n.Property, l.line(n, took))
}

func (l *scheduleLog) line(n trigger.Notice, took string) string {
	p := l.a.term.Style
	due := n.Due.Local().Format("2006-01-02 15:04:05 -0700")
	switch n.What {
	case trigger.Started:
		return "started " + n.Run.String() + p.Dim(" (due "+due+")")
	case trigger.Ended:
		text := p.Status(n.Status) + " " + n.Run.String()
		if took != "" {
			text += p.Dim(" in " + took)
		}
		if n.Problem != nil {
			text += ": " + progress.OneLine(n.Problem.Error())
		}
		return text
	case trigger.Rejected:
		return p.Warn("rejected") + ", and not tried again: " + progress.OneLine(n.Err.Error())
	case trigger.Missed:
		return p.Warn("missed") + " what was due from " + due + " on"
	case trigger.Scheduled:
		return "next " + due
	case trigger.Replaced:
		return p.Warn("rests") + ": another process has begun another version of this schedule"
	}
	return ""
}

// object prints one notice as a line of JSON.
func (l *scheduleLog) object(n trigger.Notice) {
	m := map[string]any{"event": words[n.What], "at": n.At.UTC().Format(time.RFC3339Nano), "workflow": n.Workflow, "property": n.Property}
	if !n.Due.IsZero() {
		m["due"] = n.Due.UTC().Format(time.RFC3339Nano)
	}
	if n.Run != (event.RunID{}) {
		m["run"] = n.Run.String()
	}
	if n.What == trigger.Ended {
		m["status"] = n.Status.String()
	}
	if n.Problem != nil {
		m["error"] = n.Problem
	}
	if n.Err != nil {
		m["error"] = map[string]any{"title": n.Err.Error()}
	}
	if b, err := forms.JSON(m); err == nil {
		_, _ = l.a.out.Write(append(b, '\n'))
	}
}

// open is how many runs have been started and have not ended.
func (l *scheduleLog) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.begun)
}

// sum says what was done altogether.
func (l *scheduleLog) sum() {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := progress.Plural(l.started, "run") + " started"
	if l.failed > 0 {
		text += fmt.Sprintf(", %d faulted", l.failed)
	}
	if l.rejected > 0 {
		text += fmt.Sprintf(", %d rejected", l.rejected)
	}
	l.a.say("%s", text)
}
