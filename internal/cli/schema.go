package cli

import (
	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/server"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of definitions, for editors",
		Long: `Print the JSON Schema (2020-12) of definitions: the language, the functions of
this version and metadata.downbeat. An editor with a YAML language server
completes and checks by it; a definition names it in its first line:

  # yaml-language-server: $schema=downbeat.schema.json`,
		Example: `  downbeat schema > downbeat.schema.json`,
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			b, err := editor.JSON(editor.Schema(server.CheckOptions().Functions))
			if err == nil && a.conf.Output == "yaml" {
				b, err = forms.YAML(b)
			}
			if err == nil {
				_, err = a.out.Write(b)
			}
			return err
		},
	}
}
