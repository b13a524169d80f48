package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/bench"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	input                                string
	sets                                 []string
	runs, concurrency, preload, sleepers int
	duration                             time.Duration
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [FILE]",
		Short: "Measure how fast this machine runs workflows",
		Long: `Measure how fast this machine runs workflows. Without a file, the standard set:
throughput of three durable steps (256 submitters), latency of one run at a time,
a fan-out of 1,000 steps, the memory of an idle process. With a file, that workflow.

The limit of the store alone is measured before and after in the same run, so
that figures of different machines compare. Durability is the default one: every
step is on the disk. The data is made in the data directory, and removed.`,
		Example: `  downbeat bench
  downbeat bench workflow.yaml --runs 1000 --concurrency 16
  downbeat bench --duration 60s --preload 100000 -o json`,
		Args: args(0, 1, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.interruptible(cmd.Context(), func(ctx context.Context) error {
				return a.bench(ctx, args, &f, cmd.Flags().Changed("input"))
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.input, "input", "i", "", "input of every run: `JSON`, @FILE, or -")
	fl.StringArrayVar(&f.sets, "set", nil, "one field of the input, `name=value`")
	fl.IntVar(&f.runs, "runs", 0, "end after this many runs instead of --duration")
	fl.IntVar(&f.concurrency, "concurrency", 256, "how many submitters")
	fl.DurationVar(&f.duration, "duration", 30*time.Second, "how long the throughput is measured")
	fl.IntVar(&f.preload, "preload", 0, "how many finished runs are there before")
	fl.IntVar(&f.sleepers, "sleepers", 0, "also measure what this many waiting runs cost")
	return cmd
}

func (a *app) bench(ctx context.Context, files []string, f *benchFlags, given bool) error {
	if f.runs < 0 || f.concurrency < 1 || f.preload < 0 || f.sleepers < 0 || f.duration <= 0 {
		return usage("", "--runs, --preload and --sleepers cannot be negative; --concurrency and --duration must be more than nothing")
	}
	o := bench.Options{
		DataDir: a.conf.Data, Duration: f.duration, Runs: f.runs, Concurrency: f.concurrency, Preload: f.preload,
		Sleepers: f.sleepers, Clock: a.clock,
	}
	if f.runs > 0 {
		o.Duration = 24 * time.Hour
	}
	if len(files) == 1 {
		def, _, err := a.accept(ctx, files[0], nodeFlags{})
		if err != nil {
			return err
		}
		in, err := forms.Input(a.in, f.input, given, f.sets)
		if err != nil {
			return err
		}
		o.Definition, o.Input = def, value.FromAny(in)
	}
	if !a.flags.quiet {
		o.Progress = func(what string) {
			_, _ = fmt.Fprintf(a.err, "%s %s\n", a.term.Style.Dim(a.clock.Now().Local().Format("15:04:05")), what)
		}
	}
	if exe, err := os.Executable(); err == nil {
		o.Executable = exe
	}
	if err := os.MkdirAll(a.conf.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	r, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	if a.conf.Output == "text" {
		return r.Write(a.out)
	}
	return a.print(r)
}

// idleCommand is the other half of bench's measurement of an idle process.
func (a *app) idleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bench-idle", Hidden: true, Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.interruptible(cmd.Context(), func(ctx context.Context) error { return bench.Idle(ctx, a.conf.Data, a.out) })
			var e *exit
			if errors.As(err, &e) && e.code == exitInterrupted {
				return nil
			}
			return err
		},
	}
}
