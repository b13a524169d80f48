package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func (a *app) validateCommand() *cobra.Command {
	var portable, strict bool
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR|GLOB|-...",
		Short: "Check definitions and print every finding",
		Long: `Check definitions and print every finding, with file, line and column.

An error means that the definition is invalid; unsupported, that it is valid but
this version cannot carry it out yet, a warning here: 'downbeat run' refuses both.
Of a directory all workflows in it are checked. The exit code is 0 when all are
valid, else 2; with --strict warnings fail too.`,
		Example: `  downbeat validate workflow.yaml
  downbeat validate --portable examples
  downbeat validate -o json workflow.yaml`,
		Args: args(1, -1, "the FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args, portable, strict) },
	}
	cmd.Flags().BoolVar(&portable, "portable", false, "also show where another runtime may differ")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings, and what is not supported yet, fail too")
	return cmd
}

func (a *app) validate(args []string, portable, strict bool) error {
	files, err := forms.Expand(args)
	if err != nil {
		return err
	}
	severities := []workflow.Severity{workflow.SeverityError, workflow.SeverityUnsupported, workflow.SeverityWarning}
	if portable {
		severities = append(severities, workflow.SeverityHint)
	}
	var all []any
	failed := 0
	for _, file := range files {
		src, err := a.readFile(file)
		if err != nil {
			return err
		}
		_, list := a.check(src)
		f := report.Findings{File: file, Source: src, List: list}
		if f.Count(workflow.SeverityError) > 0 || strict && f.Count(workflow.SeverityUnsupported)+f.Count(workflow.SeverityWarning) > 0 {
			failed++
		}
		if a.conf.Output != "text" {
			all = append(all, f.Value())
			continue
		}
		f.Show(a.out, a.term.Style, severities...)
		_, _ = fmt.Fprintf(a.out, "%s: %s\n", file, f.Verdict(a.term.Style))
	}
	if a.conf.Output != "text" {
		if err := a.print(map[string]any{"files": all}); err != nil {
			return err
		}
	}
	if failed > 0 {
		return &exit{code: exitUsage}
	}
	return nil
}
