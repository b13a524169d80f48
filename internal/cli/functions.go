package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/reference"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// functionFlags are the flags of functions list and show.
type functionFlags struct {
	nodeFlags

	file, catalog string
}

func (f *functionFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.file, "file", "", "`FILE` of a workflow: its catalogues, and their authentication, are meant")
	fl.StringVar(&f.catalog, "catalog", "", "`NAME` of a catalogue of --file, or the endpoint of one: a directory, an address, a repository")
	f.nodeFlags.add(fl)
	f.addOffline(fl)
}

func (a *app) functionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "functions",
		Short: "Show what call and run can carry out",
		Example: `  downbeat functions list
  downbeat functions show http`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var inList, inShow functionFlags
	list := &cobra.Command{
		Use: "list", Short: "List functions and processes",
		Long: `List functions and processes: those of the default catalogue; with --file those of
the workflow and of its catalogues; with --catalog those of one catalogue.
A catalogue over http has no index and cannot be listed.`,
		Example: `  downbeat functions list -o json
  downbeat functions list --file examples/function-catalogue/workflow.yaml
  downbeat functions list --catalog examples/function-catalogue/catalogue`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inList.file == "" && inList.catalog == "" {
				return a.listFunctions()
			}
			return a.interruptible(cmd.Context(), func(ctx context.Context) error { return a.listCatalogues(ctx, &inList) })
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: "Show the arguments of one",
		Long: `Show the arguments of one function: of the default catalogue, or, with --file or
--catalog, of a catalogue as NAME:VERSION@CATALOG, or by its URI. What is shown is
what the function says of its input and output.`,
		Example: `  downbeat functions show http
  downbeat functions show greet:1.0.0@own --file examples/function-catalogue/workflow.yaml
  downbeat functions show greet:1.0.0 --catalog examples/function-catalogue/catalogue`,
		Args: args(1, 1, "the NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if inShow.file == "" && inShow.catalog == "" && !strings.Contains(args[0], "@") && !workflow.IsURI(args[0]) {
				return a.showFunction(args[0])
			}
			return a.interruptible(cmd.Context(), func(ctx context.Context) error { return a.showLinked(ctx, args[0], &inShow) })
		},
	}
	inList.add(list)
	inShow.add(show)
	cmd.AddCommand(list, show)
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
