// Package bench measures this Downbeat on this machine: the standard set of
// workloads, beside the limit of the store itself in the same run, so that
// figures of different machines can be compared.
package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Options says what to measure and for how long.
type Options struct {
	DataDir     string        // empty directories for the measurement are made in it
	Duration    time.Duration // of the throughput measurement; 0: 30 s
	Limit       time.Duration // of each measurement of the store's limit; 0: 3 s
	Runs        int           // ends the throughput measurement earlier; 0: no
	Concurrency int           // submitters; 0: 256
	Preload     int           // finished runs that are there before
	Sleepers    int           // runs that wait, for the measurement of sleeping runs; 0: it is left out
	Executable  string        // this program, for what needs a process of its own; "": left out
	Definition  *workflow.Definition
	Input       value.Raw
	Progress    func(string) // what is being measured; nil: nobody asks
	Clock       lifecycle.Clock
}

// Quantiles of latencies in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Report is what was measured. Absent parts were left out.
type Report struct {
	Workflow      string    `json:"workflow"`
	Runs          int       `json:"runs"`
	Seconds       float64   `json:"seconds"`
	Concurrency   int       `json:"concurrency"`
	RunsPerSecond float64   `json:"runsPerSecond"`
	Steps         float64   `json:"stepsPerSecond"`
	Latency       Quantiles `json:"latencyMs"`
	CPU           float64   `json:"cpuSecondsPer1000Runs"`
	PeakRSS       float64   `json:"peakRssMiB"`
	Commits       Limits    `json:"commitsPerSecond"`
	// Share is runsPerSecond / (commitsPerSecond / 4), of the mean of both measurements of the limit.
	Share    float64   `json:"shareOfLimit"`
	Single   *Single   `json:"single,omitempty"`
	FanOut   *FanOut   `json:"fanOut,omitempty"`
	Idle     *IdleRun  `json:"idle,omitempty"`
	Sleepers *Sleeping `json:"sleepers,omitempty"`
}

// Limits is what the store alone carries: durable requests per second.
type Limits struct {
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Single is one run at a time (W2).
type Single struct {
	Runs    int       `json:"runs"`
	Latency Quantiles `json:"latencyMs"`
}

// FanOut is 1,000 parallel steps and a join (W3).
type FanOut struct {
	Steps  int     `json:"steps"`
	Median float64 `json:"medianMs"`
	Worst  float64 `json:"worstMs"`
}

// IdleRun is a process whose only run waits (W4).
type IdleRun struct {
	FirstTask float64 `json:"startToFirstTaskMs"`
	RSS       float64 `json:"idleRssMiB"`
}

// Sleeping is what many runs that wait cost.
type Sleeping struct {
	Runs        int     `json:"runs"`
	StartsPerS  float64 `json:"startsPerSecond"`
	ReopenMs    float64 `json:"reopenMs"`
	RSS         float64 `json:"rssMiB"`
	DatabaseMiB float64 `json:"databaseMiB"`
}

// steps is the standard workflow: three sequential durable steps.
const steps = `document: {dsl: '1.0.3', namespace: bench, name: three-steps, version: '1.0.0'}
do:
  - one: {call: noop}
  - two: {call: noop}
  - three: {call: noop}
`

func (o *Options) defaults() {
	if o.Duration <= 0 {
		o.Duration = 30 * time.Second
	}
	if o.Limit <= 0 {
		o.Limit = 3 * time.Second
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 256
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Input.IsZero() {
		o.Input = value.FromJSON([]byte(`{"name":"bench","n":1}`))
	}
}

// Run measures: with a definition, that workflow; without, the standard set.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.defaults()
	standard := o.Definition == nil
	if standard {
		o.Definition = mustDecode(steps)
	}
	dir, err := os.MkdirTemp(o.DataDir, "bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the measurement: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it lies in a directory for that
	r := &Report{Workflow: o.Definition.Document.ID(), Concurrency: o.Concurrency}
	o.Progress("the store's limit")
	if r.Commits.Before, err = limit(ctx, filepath.Join(dir, "limit-before"), o.Limit); err != nil {
		return nil, err
	}
	if err := throughput(ctx, filepath.Join(dir, "throughput"), &o, r, standard); err != nil {
		return nil, err
	}
	o.Progress("the store's limit, again")
	if r.Commits.After, err = limit(ctx, filepath.Join(dir, "limit-after"), o.Limit); err != nil {
		return nil, err
	}
	if mean := (r.Commits.Before + r.Commits.After) / 2; mean > 0 {
		r.Share = r.RunsPerSecond / (mean / 4)
	}
	if standard {
		if err := o.apart(ctx, dir, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// apart measures what wants a process of its own.
func (o *Options) apart(ctx context.Context, dir string, r *Report) error {
	if o.Executable == "" {
		return nil
	}
	o.Progress("an idle process")
	idle, err := o.idle(ctx, filepath.Join(dir, "idle"))
	if err != nil {
		return err
	}
	r.Idle = idle
	if o.Sleepers > 0 {
		if r.Sleepers, err = o.sleepers(ctx, filepath.Join(dir, "sleepers")); err != nil {
			return err
		}
	}
	return nil
}

func limit(ctx context.Context, dir string, d time.Duration) (float64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only to save space
	n, err := sqlite.MeasureLimit(ctx, dir, d.Seconds())
	if err != nil {
		return 0, fmt.Errorf("measure the store's limit: %w", err)
	}
	return n.CommitsPerSecond, nil
}

func open(ctx context.Context, dir string, mode server.Mode) (*server.Node, error) {
	return server.Open(ctx, server.Config{DataDir: dir, Mode: mode, Version: "bench", Logger: slog.New(slog.DiscardHandler)})
}

// throughput measures W1, and on the same node W2 and W3.
func throughput(ctx context.Context, dir string, o *Options, r *Report, standard bool) (err error) {
	node, err := open(ctx, dir, server.Embedded)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close(context.WithoutCancel(ctx))) }()
	if o.Preload > 0 {
		o.Progress(fmt.Sprintf("%d finished runs to begin with", o.Preload))
		if _, _, err := o.load(ctx, node, o.Preload, 0); err != nil {
			return err
		}
	}
	o.Progress(fmt.Sprintf("throughput, %d submitters", o.Concurrency))
	if _, _, err := o.load(ctx, node, 2*o.Concurrency, 0); err != nil { // everything compiled and warm
		return err
	}
	resetPeak()
	cpu, begin := cpuTime(), o.Clock.Monotonic()
	n, latencies, err := o.load(ctx, node, o.Runs, o.Duration)
	if err != nil {
		return err
	}
	seconds := o.Clock.Since(begin).Seconds()
	r.Runs, r.Seconds, r.RunsPerSecond = n, seconds, float64(n)/seconds
	r.Steps = r.RunsPerSecond * float64(countSteps(o.Definition))
	r.CPU = (cpuTime() - cpu).Seconds() / float64(n) * 1000
	r.Latency, r.PeakRSS = quantiles(latencies), peakRSS()
	if !standard {
		return nil
	}
	o.Progress("latency, one run at a time")
	alone := *o
	alone.Concurrency = 1
	n, latencies, err = alone.load(ctx, node, 0, min(o.Duration, 5*time.Second))
	if err != nil {
		return err
	}
	r.Single = &Single{Runs: n, Latency: quantiles(latencies)}
	o.Progress("fan-out")
	r.FanOut, err = fanOut(ctx, node, o)
	return err
}

// load starts runs from many submitters, each waiting for its run, until n have ended or the time is over.
func (o *Options) load(ctx context.Context, node *server.Node, n int, d time.Duration) (int, []time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left, over atomic.Int64
	left.Store(int64(n))
	if d > 0 {
		timer := o.Clock.AfterFunc(d, func() { over.Store(1) })
		defer timer.Stop()
	}
	all := make([][]time.Duration, o.Concurrency)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			for over.Load() == 0 && (n == 0 || left.Add(-1) >= 0) {
				begin := o.Clock.Monotonic()
				res, err := node.Engine.Run(ctx, engine.StartRequest{Definition: o.Definition, Input: o.Input})
				if err == nil && res.Status != event.Completed {
					err = fmt.Errorf("a run ended %s: %w", res.Status, res.Error)
				}
				if err != nil {
					cancel(err)
					return
				}
				all[i] = append(all[i], o.Clock.Since(begin))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, nil, fmt.Errorf("measure %s: %w", o.Definition.Document.ID(), err)
	}
	latencies := slices.Concat(all...)
	return len(latencies), latencies, nil
}

// fanOut measures W3.
func fanOut(ctx context.Context, node *server.Node, o *Options) (*FanOut, error) {
	const branches, times = 1000, 15
	var b strings.Builder
	b.WriteString("document: {dsl: '1.0.3', namespace: bench, name: fan-out, version: '1.0.0'}\ndo:\n  - all:\n      fork:\n        branches:\n")
	for i := range branches {
		fmt.Fprintf(&b, "          - b%d: {call: noop}\n", i)
	}
	wide := *o
	wide.Definition, wide.Concurrency = mustDecode(b.String()), 1
	if _, _, err := wide.load(ctx, node, 2, 0); err != nil {
		return nil, err
	}
	_, latencies, err := wide.load(ctx, node, times, 0)
	if err != nil {
		return nil, err
	}
	slices.Sort(latencies)
	return &FanOut{Steps: branches, Median: ms(latencies[len(latencies)/2]), Worst: ms(latencies[len(latencies)-1])}, nil
}

// idle starts this program with one run that waits and looks at its memory (W4).
func (o *Options) idle(ctx context.Context, dir string) (*IdleRun, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Executable, "bench-idle", "--data", dir) //nolint:gosec // it is this program
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := o.Clock.Monotonic()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Executable, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	first := o.Clock.Since(begin)
	if err == nil && strings.TrimSpace(line) != "ready" {
		err = fmt.Errorf("it printed %q", line)
	}
	if err == nil {
		err = o.Clock.Sleep(ctx, 2*time.Second)
	}
	rss := residentOf(cmd.Process.Pid)
	cancel()
	waited := cmd.Wait()
	if err != nil {
		return nil, fmt.Errorf("measure an idle process: %w", errors.Join(err, waited))
	}
	return &IdleRun{FirstTask: ms(first), RSS: rss}, nil
}

// Idle is the other side of the idle measurement: one run with a first task
// that ends and a second that waits, until ctx ends. It prints "ready" after the first.
func Idle(ctx context.Context, dir string, out io.Writer) error {
	node, err := open(ctx, dir, server.Serving)
	if err != nil {
		return err
	}
	feed := engine.NewFeed(0)
	def := mustDecode("document: {dsl: '1.0.3', namespace: bench, name: idle, version: '1.0.0'}\ndo:\n  - first: {call: noop}\n  - rest: {wait: PT60S}\n")
	_, err = node.Engine.Submit(ctx, engine.StartRequest{Definition: def, Feed: feed})
	for ready := false; err == nil && !ready; {
		var us []engine.Update
		us, _, err = feed.Next(ctx)
		for _, u := range us {
			if t := u.Transition; t != nil && t.Name == "first" && t.Status.Ended() {
				ready = true
			}
		}
	}
	if err == nil {
		_, err = fmt.Fprintln(out, "ready")
		<-ctx.Done()
	}
	return errors.Join(err, node.Close(context.WithoutCancel(ctx)))
}

// sleepers starts many runs that wait, opens the data directory anew, and looks
// at the memory of a process on it.
func (o *Options) sleepers(ctx context.Context, dir string) (*Sleeping, error) {
	o.Progress(fmt.Sprintf("%d runs that sleep", o.Sleepers))
	node, err := open(ctx, dir, server.Serving)
	if err != nil {
		return nil, err
	}
	def := mustDecode("document: {dsl: '1.0.3', namespace: bench, name: sleeper, version: '1.0.0'}\ndo:\n  - w: {wait: P30D}\n")
	var left atomic.Int64
	left.Store(int64(o.Sleepers))
	errs := make([]error, o.Concurrency)
	begin := o.Clock.Monotonic()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				_, errs[i] = node.Engine.Submit(ctx, engine.StartRequest{Definition: def, Input: o.Input})
			}
		})
	}
	wg.Wait()
	s := &Sleeping{Runs: o.Sleepers, StartsPerS: float64(o.Sleepers) / o.Clock.Since(begin).Seconds()}
	if err := errors.Join(append(errs, node.Close(ctx))...); err != nil {
		return nil, fmt.Errorf("start runs that sleep: %w", err)
	}
	begin = o.Clock.Monotonic()
	if node, err = open(ctx, dir, server.Serving); err != nil {
		return nil, err
	}
	s.ReopenMs = ms(o.Clock.Since(begin))
	if err := node.Close(ctx); err != nil {
		return nil, err
	}
	idle, err := o.idle(ctx, dir)
	if err != nil {
		return nil, err
	}
	s.RSS = idle.RSS
	if info, err := os.Stat(filepath.Join(dir, sqlite.File)); err == nil {
		s.DatabaseMiB = float64(info.Size()) / (1 << 20)
	}
	return s, nil
}

func mustDecode(src string) *workflow.Definition {
	def, findings := workflow.Decode([]byte(src))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			panic("bench: the built-in workflow is invalid: " + f.Message)
		}
	}
	return def
}

func countSteps(def *workflow.Definition) int {
	n := 0
	for t := range def.Tasks() {
		if t.Kind == workflow.CallTask || t.Kind == workflow.RunTask {
			n++
		}
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

func quantiles(ds []time.Duration) Quantiles {
	if len(ds) == 0 {
		return Quantiles{}
	}
	slices.Sort(ds)
	at := func(q float64) float64 { return ms(ds[min(len(ds)-1, int(q*float64(len(ds))))]) }
	return Quantiles{P50: at(0.50), P99: at(0.99)}
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	var b bytes.Buffer
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-34s "+format+"\n", append([]any{name}, args...)...)
	}
	row("workflow", "%s", r.Workflow)
	row("runs per second", "%.0f  (%d runs in %.1f s, %d submitters)", r.RunsPerSecond, r.Runs, r.Seconds, r.Concurrency)
	row("steps per second", "%.0f", r.Steps)
	row("latency under load, ms", "p50 %.2f  p99 %.2f", r.Latency.P50, r.Latency.P99)
	row("CPU seconds per 1,000 runs", "%.3f", r.CPU)
	row("peak memory, MiB", "%.0f", r.PeakRSS)
	row("the store's limit, commits/s", "%.0f before, %.0f after", r.Commits.Before, r.Commits.After)
	row("share of the limit", "%.0f %%  (runs per second / (commits per second / 4))", r.Share*100)
	if s := r.Single; s != nil {
		row("one run at a time, ms", "p50 %.3f  p99 %.3f", s.Latency.P50, s.Latency.P99)
	}
	if f := r.FanOut; f != nil {
		row(strconv.Itoa(f.Steps)+" parallel steps, ms", "median %.1f  worst %.1f", f.Median, f.Worst)
	}
	if i := r.Idle; i != nil {
		row("process start to first task, ms", "%.0f", i.FirstTask)
		row("memory of an idle process, MiB", "%.0f", i.RSS)
	}
	if s := r.Sleepers; s != nil {
		row("sleeping runs", "%d, started at %.0f/s, database %.0f MiB", s.Runs, s.StartsPerS, s.DatabaseMiB)
		row("  opening the data directory, ms", "%.0f", s.ReopenMs)
		row("  memory, MiB", "%.0f", s.RSS)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }
