package forms

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Definition reads a definition, or stdin for "-".
func Definition(stdin io.Reader, file string) ([]byte, error) {
	if file == "-" {
		b, err := io.ReadAll(io.LimitReader(stdin, workflow.MaxSource+1))
		if err != nil {
			return nil, fmt.Errorf("read the definition from stdin: %w", err)
		}
		return b, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, noFile(file, err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, workflow.MaxSource+1))
	if err != nil {
		return nil, usage("", "read the definition: %w", err)
	}
	return b, nil
}

// noFile says which file of the same directory was probably meant.
func noFile(file string, err error) error {
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

// glob resolves the patterns among the arguments that name no file themselves,
// for shells that do not and for patterns in quotes.
func glob(args []string) []string {
	var out []string
	for _, arg := range args {
		if _, err := os.Stat(arg); err != nil && arg != "-" {
			if found, err := filepath.Glob(arg); err == nil && len(found) > 0 {
				out = append(out, found...)
				continue
			}
		}
		out = append(out, arg)
	}
	return out
}

// Expand replaces patterns by the files that they match, and directories by the workflows in them.
func Expand(args []string) ([]string, error) {
	var files []string
	for _, arg := range glob(args) {
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
