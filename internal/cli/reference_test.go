package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var updateReference = flag.Bool("update-reference", false, "rewrite docs/reference/commands.md")

// TestReferenceIsWhatTheCommandsSay keeps docs/reference/commands.md equal to
// what --help says.
func TestReferenceIsWhatTheCommandsSay(t *testing.T) {
	a := &app{}
	var page bytes.Buffer
	page.WriteString("# Commands\n\nMade from the program by `go test ./internal/cli -update-reference`.\n\n" +
		"Exit codes: 0 completed, 1 faulted, 2 wrong usage or an invalid or not yet supported definition, 3 cancelled, 4 `--wait` passed, 130 interrupted.\n\n" +
		"Settings come from flags, then the environment (`DOWNBEAT_*`), then the configuration file.\n")
	root := a.root()
	page.WriteString("\n## Flags of every command\n\n" + flagTable(root.PersistentFlags()))
	writeCommand(&page, root)
	file := filepath.Join("..", "..", "docs", "reference", "commands.md")
	if *updateReference {
		if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(have)); diff != "" {
		t.Errorf("docs/reference/commands.md is not what the commands say; run go test ./internal/cli -update-reference\n%s", diff)
	}
}

func writeCommand(w *bytes.Buffer, c *cobra.Command) {
	if c.HasParent() && c.Name() != "help" {
		fmt.Fprintf(w, "\n## %s\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(w, "%s\n\n```\n%s\n```\n", strings.TrimSpace(text), c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(w, "\nExamples:\n\n```\n%s\n```\n", c.Example)
		}
		if table := flagTable(c.LocalNonPersistentFlags()); table != "" {
			w.WriteString("\n" + table)
		}
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			writeCommand(w, sub)
		}
	}
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if b.Len() == 0 {
			b.WriteString("| flag | meaning |\n| --- | --- |\n")
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
	return b.String()
}
