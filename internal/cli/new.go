package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/scaffold"
	"github.com/downbeat-dev/downbeat/internal/server"
)

func (a *app) newCommand() *cobra.Command {
	var list, force bool
	cmd := &cobra.Command{
		Use:   "new [TEMPLATE] [FILE|DIR|-]",
		Short: "Begin a workflow from a template",
		Long: `Begin a workflow from a template. The workflow is called as the file; beside it
the schema is put by which editors complete, unless a directory above has it.
Nothing is overwritten without --force; - prints the workflow.`,
		Example: `  downbeat new --list
  downbeat new http-call order-status.yaml
  downbeat new etl - > nightly.yaml`,
		Args: args(0, 2, ""),
		RunE: func(_ *cobra.Command, args []string) error {
			if list || len(args) == 0 {
				return a.templates()
			}
			return a.create(append(args, "")[0], append(args, "")[1], force)
		},
	}
	for _, t := range editor.Templates() {
		cmd.ValidArgs = append(cmd.ValidArgs, t.Name)
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the templates")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite files that exist")
	return cmd
}

// templates lists the templates.
func (a *app) templates() error {
	text, all := scaffold.List()
	if a.conf.Output != "text" {
		return a.print(all)
	}
	_, err := io.WriteString(a.out, text)
	return err
}

func (a *app) create(template, file string, force bool) error {
	schema, err := editor.JSON(editor.Schema(server.CheckOptions().Functions))
	if err != nil {
		return err
	}
	made, err := scaffold.Create(scaffold.Request{Template: template, File: file, Force: force, Schema: schema})
	if err != nil {
		return err
	}
	if file != "-" && a.conf.Output != "text" {
		return a.print(map[string]any{"files": made.Files})
	}
	_, err = io.WriteString(a.out, made.Text)
	return err
}
