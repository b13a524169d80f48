package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func (a *app) validateCommand() *cobra.Command {
	var portable, strict bool
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR|-...",
		Short: "Check definitions and print every finding",
		Long: `Check definitions and print every finding, with file, line and column.

An error means that the definition is invalid; unsupported, that it is valid but
this version cannot carry it out yet: 'downbeat run' refuses both. Of a directory
all workflows in it are checked. The exit code is 0 when all can run, else 2.`,
		Example: `  downbeat validate workflow.yaml
  downbeat validate --portable examples
  downbeat validate -o json workflow.yaml`,
		Args: args(1, -1, "the FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args, portable, strict) },
	}
	cmd.Flags().BoolVar(&portable, "portable", false, "also show where another runtime may differ")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings fail too")
	return cmd
}

func (a *app) validate(args []string, portable, strict bool) error {
	files, err := expand(args)
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
		f := findings{file: file, source: src, list: list}
		if f.count(workflow.SeverityError)+f.count(workflow.SeverityUnsupported) > 0 || strict && f.count(workflow.SeverityWarning) > 0 {
			failed++
		}
		if a.conf.Output != "text" {
			all = append(all, f.json())
			continue
		}
		f.show(a.out, a.term.Style, severities...)
		_, _ = fmt.Fprintf(a.out, "%s: %s\n", file, f.verdict(a.term.Style))
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

// verdict sums the findings up in a few words.
func (f findings) verdict(p progress.Palette) string {
	var parts []string
	for _, s := range []workflow.Severity{workflow.SeverityError, workflow.SeverityUnsupported, workflow.SeverityWarning} {
		switch n := f.count(s); {
		case n == 0:
		case s == workflow.SeverityUnsupported:
			parts = append(parts, fmt.Sprintf("%d unsupported", n))
		default:
			parts = append(parts, progress.Plural(n, s.String()))
		}
	}
	word := p.Good("valid")
	if f.count(workflow.SeverityError) > 0 {
		word = p.Bad("invalid")
	} else if f.count(workflow.SeverityUnsupported) > 0 {
		word = p.Warn("valid, but not supported by this version")
	}
	if len(parts) == 0 {
		return word
	}
	return word + " (" + strings.Join(parts, ", ") + ")"
}

// readFile reads a definition, or stdin for "-".
func (a *app) readFile(file string) ([]byte, error) {
	if file == "-" {
		b, err := io.ReadAll(io.LimitReader(a.in, workflow.MaxSource+1))
		if err != nil {
			return nil, fmt.Errorf("read the definition from stdin: %w", err)
		}
		return b, nil
	}
	f, err := os.Open(file) //nolint:gosec // the user names the file
	if err != nil {
		return nil, a.noFile(file, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, workflow.MaxSource+1))
	if err != nil {
		return nil, usage("", "read the definition: %w", err)
	}
	return b, nil
}

// noFile says which file of the same directory was probably meant.
func (a *app) noFile(file string, err error) error {
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		var names []string
		entries, _ := os.ReadDir(filepath.Dir(file))
		for _, e := range entries {
			if isDefinition(e.Name()) {
				names = append(names, e.Name())
			}
		}
		if near := source.Nearest(filepath.Base(file), names); near != "" {
			hint = fmt.Sprintf("did you mean %s?", filepath.Join(filepath.Dir(file), near))
		}
	}
	return usage(hint, "read the definition: %w", err)
}

func isDefinition(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

var hasDocument = regexp.MustCompile(`(?m)^["']?document["']?\s*:|^\s*\{\s*"document"`)

// expand replaces directories by the workflows in them.
func expand(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if arg == "-" || err != nil || !info.IsDir() {
			files = append(files, arg)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && path != arg && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			if d.IsDir() || !isDefinition(path) {
				return nil
			}
			b, err := os.ReadFile(path) //nolint:gosec // the user names the directory
			if err == nil && hasDocument.Match(b) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, usage("", "read directory: %w", err)
		}
		if len(files) == before {
			return nil, usage("a workflow is a YAML or JSON file with a `document` section", "directory %s holds no workflow", arg)
		}
	}
	return files, nil
}
