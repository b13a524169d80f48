package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by the release build: -ldflags "-X …/internal/cli.Version=1.2.3".
var Version = "0.1.0-dev"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  downbeat version
  downbeat version -o json`,
		Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := map[string]any{"version": Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "dsl": "1.0"}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v["commit"] = s.Value
					}
				}
			}
			if a.conf.Output != "text" {
				return a.print(v)
			}
			_, err := fmt.Fprintf(a.out, "downbeat %s (DSL %s, %s, %s)\n", v["version"], v["dsl"], v["platform"], v["go"])
			return err
		},
	}
}
