package process

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// Config is what an Executor needs to know of its host.
type Config struct {
	// Environment of Downbeat itself, as os.Environ gives it. Programs get
	// only the harmless part: see inherited.
	Environment []string
	// Inherit names further variables that programs get.
	Inherit []string
	// MaxOutput is how many bytes of output are kept for one attempt; 0 is 64 MiB.
	MaxOutput int64
	// Grace is for requests that bring none; 0 is 10 s.
	Grace time.Duration
	// JavaScript says what runs scripts: "node", "embedded", or "auto": node
	// where there is one. "" is what DOWNBEAT_JAVASCRIPT says, else auto.
	JavaScript string
	// Embedded is how the command line begins by which this binary becomes the
	// embedded engine (javascript.Command); nil: there is none.
	Embedded []string
	// System is the operating system of the machine; "" is this one's. A test
	// says another to see what would be run there.
	System string
}

// Executor carries out the kinds "shell" and "script".
type Executor struct {
	environment map[string]string
	maxOutput   int64
	grace       time.Duration
	javascript  string
	embedded    []string
	system      string
}

var (
	_ executor.Executor   = (*Executor)(nil)
	_ executor.Reattacher = (*Executor)(nil)
	_ executor.Checker    = (*Executor)(nil)
)

const (
	defaultMaxOutput = 64 << 20
	defaultGrace     = 10 * time.Second
)

// New makes an Executor.
func New(c Config) *Executor {
	e := &Executor{
		environment: inherited(c.Environment, c.Inherit), maxOutput: c.MaxOutput, grace: c.Grace,
		javascript: c.JavaScript, embedded: c.Embedded, system: cmp.Or(c.System, runtime.GOOS),
	}
	if e.javascript == "" {
		e.javascript, _ = lookup(c.Environment, "DOWNBEAT_JAVASCRIPT")
	}
	if e.maxOutput <= 0 {
		e.maxOutput = defaultMaxOutput
	}
	if e.grace <= 0 {
		e.grace = defaultGrace
	}
	return e
}

// Shell describes the kind "shell" in the catalogue.
func Shell() executor.Kind {
	return executor.Kind{
		Name:    "shell",
		Version: "1.0.0",
		Summary: "Runs a command by the shell of the machine (run: shell).",
		Schema:  executor.SchemaOf(shellArguments{}),
	}
}

// Script describes the kind "script" in the catalogue.
func Script() executor.Kind {
	return executor.Kind{
		Name:    "script",
		Version: "1.0.0",
		Summary: "Runs a script in JavaScript or Python (run: script).",
		Schema:  executor.SchemaOf(scriptArguments{}),
	}
}

// Execute runs the program to its end.
func (e *Executor) Execute(ctx context.Context, r *executor.Request) (executor.Result, error) {
	if ctx.Err() != nil {
		return executor.Result{}, context.Cause(ctx)
	}
	var p *program
	var err error
	switch r.Kind {
	case "shell":
		p, err = e.shell(r)
	case "script":
		p, err = e.script(r)
	default:
		err = executor.NewProblem(event.Configuration, 400, "Unknown kind", "no process is of kind %q; known are shell and script", r.Kind)
	}
	if err != nil {
		return executor.Result{}, err
	}
	defer p.remove()
	return e.run(ctx, r, p)
}

// Check finds mistakes in the arguments of either kind; they are told apart by
// the property that only a shell has.
func (e *Executor) Check(arguments any) []string {
	m, _ := arguments.(map[string]any)
	if _, ok := m["command"]; ok {
		return executor.CheckArguments(arguments, new(shellArguments))
	}
	return executor.CheckArguments(arguments, new(scriptArguments))
}

// program is what is to be run.
type program struct {
	path        string   // resolved
	argv        []string // with the program's own name first
	line        string   // Windows: the command line instead of argv, for a program with rules of its own
	environment []string
	directory   string
	stdin       *string // nil: nothing to read
	result      string  // stdout, stderr, code, all, none
	title       string  // of the error when it fails
	script      string  // the file of a script: its failure ends with a stack trace, where the reason is not the last line
	remove      func()  // its temporary files
}

// run starts the program, waits for it and makes the result.
func (e *Executor) run(ctx context.Context, r *executor.Request, p *program) (executor.Result, error) {
	c, err := start(p)
	if err != nil {
		return executor.Result{}, failedToStart(p, err)
	}
	defer c.close()
	handle, err := c.handle(r.IdempotencyKey)
	if err == nil {
		err = r.Bind(ctx, handle)
	}
	if err != nil {
		c.discard()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return executor.Result{}, err
	}

	grace := r.Grace
	if grace <= 0 {
		grace = e.grace
	}
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := newOutput(r.Log, p.result, e.maxOutput, func() { stop(errTooMuch) })
	out.read(c)
	if err := c.open(); err != nil {
		c.discard()
		out.finish()
		return executor.Result{}, failedToStart(p, err)
	}
	if p.stdin != nil {
		c.feed(*p.stdin)
	}
	ended := c.await(limited, grace)
	out.finish()
	c.finishFeeding()
	switch {
	case !ended && c.stuck():
		return executor.Result{}, fmt.Errorf("process %d cannot be ended and runs on: %w", c.pid, context.Cause(limited))
	case !ended && ctx.Err() != nil:
		return executor.Result{}, context.Cause(ctx)
	case !ended || out.exceeded():
		return executor.Result{}, executor.NewProblem(event.Runtime, 500, "Output exceeded",
			"the program printed more than %d bytes to be returned and was ended; write to a file, or ask for return: none or code", e.maxOutput)
	}
	return p.outcome(c.exit(), out)
}

// outcome makes the task's raw output, D27.
func (p *program) outcome(exit exit, out *output) (executor.Result, error) {
	if exit.code != 0 && p.result != "code" && p.result != "all" {
		return executor.Result{}, failedWith(p, exit, out.tail())
	}
	var v any
	switch p.result {
	case "stdout":
		v = out.text(stdout)
	case "stderr":
		v = out.text(stderr)
	case "code":
		v = exit.code
	case "all":
		v = map[string]any{"code": exit.code, "stdout": out.text(stdout), "stderr": out.text(stderr)}
	}
	return executor.Result{Output: v}, nil
}

// variables is the environment of a program: what is inherited, what the
// author set, and what tells it which attempt it is.
func (e *Executor) variables(r *executor.Request, authored map[string]any) ([]string, error) {
	return variables(r, maps.Clone(e.environment), authored)
}

func variables(r *executor.Request, m map[string]string, authored map[string]any) ([]string, error) {
	for _, name := range slices.Sorted(maps.Keys(authored)) {
		text := executor.Text(authored[name])
		if !isVariable(name) || hasZero(text) {
			return nil, executor.NewProblem(event.Configuration, 400, "Invalid arguments",
				"environment: the variable %q cannot be set: a name has no '=' and neither name nor value a zero byte", name)
		}
		m[name] = text
	}
	return executor.Variables(r, m), nil
}
