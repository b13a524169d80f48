package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/reference"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/source"
)

func (a *app) functionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "functions",
		Short: "Show what call and run can carry out",
		Example: `  downbeat functions list
  downbeat functions show http`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List functions and processes", Example: "  downbeat functions list -o json",
			Args: args(0, 0, ""),
			RunE: func(*cobra.Command, []string) error { return a.listFunctions() },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Show the arguments of one", Example: "  downbeat functions show http",
			Args: args(1, 1, "the NAME"),
			RunE: func(_ *cobra.Command, args []string) error { return a.showFunction(args[0]) },
		},
	)
	return cmd
}

func functionValue(k executor.Kind) map[string]any {
	return map[string]any{"name": k.Name, "version": k.Version, "summary": k.Summary, "arguments": k.Schema}
}

func (a *app) listFunctions() error {
	kinds := server.Kinds()
	if a.conf.Output != "text" {
		var all []any
		for _, k := range kinds {
			all = append(all, functionValue(k))
		}
		return a.print(map[string]any{"functions": all})
	}
	for _, k := range kinds {
		if _, err := fmt.Fprintf(a.out, "%-10s  %s\n", k.Name, k.Summary); err != nil {
			return fmt.Errorf("print the functions: %w", err)
		}
	}
	return nil
}

func (a *app) showFunction(name string) error {
	plain, _, _ := strings.Cut(name, ":")
	var names []string
	for _, k := range server.Kinds() {
		if k.Name == plain {
			if a.conf.Output != "text" {
				return a.print(functionValue(k))
			}
			return reference.Show(a.out, k)
		}
		names = append(names, k.Name)
	}
	hint := "there are: " + strings.Join(names, ", ")
	if near := source.Nearest(plain, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return usage(hint, "there is no function %q", name)
}
