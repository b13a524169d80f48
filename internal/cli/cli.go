// Package cli is the command line of Downbeat: one file a command. It parses
// what a person typed, asks package server for a node, and shows what happens.
//
// [Main] is called by cmd/downbeat and by nothing else. stdout carries results
// only, so that it can be piped; progress and messages go to stderr.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/downbeat-dev/downbeat/internal/config"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/source"
)

// The exit codes; they are part of the contract.
const (
	exitCompleted   = 0
	exitFaulted     = 1
	exitUsage       = 2 // wrong usage, or an invalid or not yet supported definition
	exitCancelled   = 3
	exitWaited      = 4 // --wait passed; the run can be resumed
	exitInterrupted = 130
)

// app is what all commands share.
type app struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	env     func(string) string
	clock   lifecycle.Clock
	term    progress.Terminal
	signals <-chan os.Signal
	environ []string
	conf    config.Config
	flags   globalFlags
	notes   progress.Notes
	links   *link.Linker // made when a definition first needs one
	// stopped: linking was interrupted.
	stopped bool
	// abandoned: the process ends without waiting for its node.
	abandoned bool
}

// globalFlags are the flags of every command; they stand over the configuration.
type globalFlags struct {
	config, data, output string
	quiet                bool
}

// exit is the error that carries an exit code. Without a text nothing more is printed.
type exit struct {
	code int
	err  error
	hint string // what would be right, on a line of its own
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is the error for what the user got wrong before anything started.
func usage(hint, format string, args ...any) error {
	return &exit{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, environ: os.Environ(), clock: lifecycle.Clock{},
		signals: signals, term: progress.Inspect(os.Stderr, os.Stdout, os.Getenv),
	}
	return a.main(context.Background(), os.Args[1:])
}

// main runs one command line.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return a.explain(root.ExecuteContext(ctx))
}

// explain prints an error for people and returns the exit code.
func (a *app) explain(err error) int {
	if err == nil {
		return exitCompleted
	}
	var e *exit
	if !errors.As(err, &e) {
		e = &exit{code: exitFaulted, err: err}
		if m, ok := errors.AsType[*forms.InputError](err); ok {
			e.code, e.hint = exitUsage, m.Hint
		}
	}
	if e.err != nil {
		_, _ = fmt.Fprintf(a.err, "%s %s\n", a.term.Style.Bad("error:"), strings.TrimSpace(e.err.Error()))
	}
	if e.hint != "" {
		_, _ = fmt.Fprintf(a.err, "%s\n", e.hint)
	}
	return e.code
}

// print writes a result to stdout in the form that -o asks for: JSON (one line
// when it is piped), or YAML. In text form it is JSON too.
func (a *app) print(v any) error {
	b, err := forms.JSON(v)
	if err != nil {
		return err
	}
	if a.conf.Output == "yaml" {
		if b, err = forms.YAML(b); err != nil {
			return err
		}
		_, err = a.out.Write(b)
		return err
	}
	if a.term.Pretty {
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err == nil {
			b = out.Bytes()
		}
	}
	_, err = a.out.Write(append(b, '\n'))
	return err
}

// readFile reads a definition, or stdin for "-".
func (a *app) readFile(file string) ([]byte, error) { return forms.Definition(a.in, file) }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "downbeat",
		Short: "Run workflows durably",
		Long: `Downbeat runs workflows of the CNCF Open Workflow Specification (formerly
Serverless Workflow), DSL 1.0. What it has acknowledged survives a crash:
'downbeat runs resume' goes on where a run was.`,
		Example: `  downbeat run examples/hello.yaml --set name=Ada
  downbeat validate workflow.yaml
  downbeat runs list`,
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          a.unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.configure(cmd.Flags())
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.flags.config, "config", "", "configuration `FILE` (also DOWNBEAT_CONFIG)")
	f.StringVar(&a.flags.data, "data", "", "`DIR` where runs are kept (also DOWNBEAT_DATA)")
	f.StringVarP(&a.flags.output, "output", "o", "", "`FORM` of results: text, json or yaml (also DOWNBEAT_OUTPUT)")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "print no progress")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return a.unknownCommand(root, args)
			}
			return cmd.Help()
		},
	})
	root.AddCommand(a.runCommand(), a.scheduleCommand(), a.newCommand(), a.validateCommand(), a.schemaCommand(), a.testCommand(), a.graphCommand(), a.runsCommand(), a.functionsCommand(), a.eventsCommand(), a.benchCommand(), a.idleCommand(), a.completionCommand(), a.versionCommand())
	return root
}

// configure finds out the configuration and lays the flags over it.
func (a *app) configure(flags *pflag.FlagSet) error {
	c, err := config.Load(config.Source{Env: a.env, GOOS: runtime.GOOS, Home: os.UserHomeDir, File: a.flags.config})
	if err != nil {
		return &exit{code: exitUsage, err: err}
	}
	if flags.Changed("data") {
		c.Data = a.flags.data
	}
	if flags.Changed("output") {
		c.Output = a.flags.output
	}
	switch c.Output {
	case "text", "json", "yaml":
	default:
		return usage("", "-o %s: there are text, json and yaml", c.Output)
	}
	a.term = a.term.With(c.Color)
	a.notes.W, a.notes.P = a.err, a.term.Style
	a.conf = c
	return nil
}

// unknownCommand is the Args of commands that only hold others.
func (a *app) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := fmt.Sprintf("there are: %s", strings.Join(names, ", "))
	if near := source.Nearest(args[0], names); near != "" {
		hint = fmt.Sprintf("did you mean '%s %s'?", cmd.CommandPath(), near)
	} else if strings.HasSuffix(args[0], ".yaml") || strings.HasSuffix(args[0], ".yml") || strings.HasSuffix(args[0], ".json") {
		hint = fmt.Sprintf("did you mean 'downbeat run %s'?", args[0])
	}
	return usage(hint, "unknown command %q for %q", args[0], cmd.CommandPath())
}

// flagError says what is wrong with a flag, and which was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("'%s --help' lists the flags", cmd.CommandPath())
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := source.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return usage(hint, "%s: %w", cmd.CommandPath(), err)
}

// args checks the number of arguments and says in words what is wanted.
func args(least, most int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(fmt.Sprintf("usage: %s", cmd.UseLine()), "%s: %s is missing", cmd.CommandPath(), want)
		case most >= 0 && len(args) > most:
			return usage(fmt.Sprintf("usage: %s", cmd.UseLine()), "%s: unexpected argument %q", cmd.CommandPath(), args[most])
		}
		return nil
	}
}
