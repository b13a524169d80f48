package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/report"
)

func (a *app) validateCommand() *cobra.Command {
	var v report.Validation
	f := nodeFlags{lenient: true}
	sarif := false
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR|GLOB|-...",
		Short: "Check definitions and print every finding",
		Long: `Check definitions and print every finding, with file, line and column.

An error means that the definition is invalid; unsupported, that it is valid but
this version cannot carry it out yet, a warning here: 'downbeat run' refuses both.
Functions, schemas and scripts that stand elsewhere are read and checked too; one
that cannot be reached is a warning here, and refused by 'downbeat run'.
Of a directory all workflows in it are checked. The exit code is 0 when all are
valid, else 2; with --strict warnings fail too. -o sarif writes a log of SARIF
2.1.0 for build servers.`,
		Example: `  downbeat validate workflow.yaml
  downbeat validate --portable examples
  downbeat validate -o json workflow.yaml
  downbeat validate -o sarif workflow.yaml > findings.sarif`,
		Args: args(1, -1, "the FILE"),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if sarif = a.flags.output == "sarif"; sarif { // a form of this command alone
				a.flags.output = "json"
			}
			return a.configure(cmd.Flags())
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.validate(cmd.Context(), args, &v, f, sarif) },
	}
	cmd.Flags().BoolVar(&v.Portable, "portable", false, "also show where another runtime may differ, each with the number of its decision")
	cmd.Flags().BoolVar(&v.Strict, "strict", false, "warnings, and what is not supported yet, fail too")
	f.add(cmd.Flags())
	f.addOffline(cmd.Flags())
	return cmd
}

func (a *app) validate(ctx context.Context, args []string, v *report.Validation, f nodeFlags, sarif bool) error {
	var text io.Writer
	if a.conf.Output == "text" {
		text = a.out
	}
	err := v.Read(a.in, args, func(file string) check.Options { return a.checkOptions(ctx, file, f) }, text, a.term.Style)
	if err != nil {
		return err
	}
	if a.stopped {
		return &exit{code: exitInterrupted}
	}
	switch {
	case sarif:
		var b []byte
		if b, err = v.SARIF(Version); err == nil {
			_, err = a.out.Write(b)
		}
	case text == nil:
		err = a.print(v.Value())
	}
	if err == nil && v.Failed() {
		return &exit{code: exitUsage}
	}
	return err
}
