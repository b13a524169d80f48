package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for bash, zsh, fish or powershell",
		Example: `  source <(downbeat completion bash)
  downbeat completion zsh > "${fpath[1]}/_downbeat"
  downbeat completion fish > ~/.config/fish/completions/downbeat.fish`,
		Args:      args(1, 1, "the shell (bash, zsh, fish or powershell)"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.out)
			}
			return usage("there are: bash, zsh, fish, powershell", "unknown shell %q", args[0])
		},
	}
}
