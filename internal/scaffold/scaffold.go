// Package scaffold puts the files of a new workflow on disk, behind `downbeat new`:
// a template under the name that was asked for, and the schema by which editors
// complete it, unless a directory above has one already. Nothing that exists is
// overwritten unless the caller says so.
package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/forms"
)

// Request says what is to be made.
type Request struct {
	Template string
	File     string // "" is the template's name, "x" means x.yaml, a directory a file in it
	Force    bool   // overwrite what is there
	Schema   []byte // what SchemaFile holds when there is none yet
}

// Made is what was made.
type Made struct {
	Files []any  // the paths, the workflow first
	Text  string // for people: what was written; of "-" the workflow itself
}

// List lists the templates, for people and as a value.
func List() (text string, v map[string]any) {
	var b strings.Builder
	var all []any
	for _, t := range editor.Templates() {
		fmt.Fprintf(&b, "%-14s %s\n", t.Name, t.Summary)
		all = append(all, map[string]any{"name": t.Name, "summary": t.Summary})
	}
	return b.String(), map[string]any{"templates": all}
}

// Create writes the files. Of "-" nothing is written: the text is for stdout.
func Create(r Request) (Made, error) {
	if r.File == "-" {
		files, err := editor.Template(r.Template, editor.Label(r.Template), "")
		if err != nil {
			return Made{}, refuse(err)
		}
		return Made{Text: string(files[0].Text)}, nil
	}
	file, err := place(r)
	if err != nil {
		return Made{}, err
	}
	dir := filepath.Dir(file)
	schema := findSchema(dir)
	files, err := editor.Template(r.Template, editor.Label(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))), schema)
	if err != nil {
		return Made{}, refuse(err)
	}
	files[0].Name = filepath.Base(file)
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(dir, f.Name)); err == nil && !r.Force {
			return Made{}, usage("name another file, or overwrite it with --force", "%s exists already; nothing was written", filepath.Join(dir, f.Name))
		}
	}
	if schema == "" {
		files = append(files, editor.File{Name: editor.SchemaFile, Text: r.Schema})
	}
	var m Made
	for _, f := range files {
		p := filepath.Join(dir, f.Name)
		if err := write(p, f.Text); err != nil {
			return m, err
		}
		m.Files = append(m.Files, p)
		m.Text += "wrote " + p + "\n"
	}
	return m, nil
}

// place finds out the path of the workflow.
func place(r Request) (string, error) {
	file := r.File
	if file == "" {
		file = r.Template
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, r.Template)
	}
	switch ext := filepath.Ext(file); ext {
	case ".yaml", ".yml":
	case "":
		file += ".yaml"
	default:
		return "", usage("name it "+strings.TrimSuffix(file, ext)+".yaml", "templates are written in YAML, and %s ends in %s", file, ext)
	}
	return file, nil
}

// findSchema is the way from dir to the schema of the project, which stands in
// dir or above; "" when there is none.
func findSchema(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for at := abs; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, editor.SchemaFile)); err == nil && info.Mode().IsRegular() {
			rel, err := filepath.Rel(abs, filepath.Join(at, editor.SchemaFile))
			if err != nil {
				return ""
			}
			return filepath.ToSlash(rel)
		}
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil || at == filepath.Dir(at) {
			return "" // what is above the project is not of it
		}
	}
}

func write(file string, text []byte) error {
	err := os.WriteFile(file, text, 0o644) //nolint:gosec // a source file, as readable as any
	if errors.Is(err, fs.ErrNotExist) {
		return usage("make the directory first: mkdir -p "+filepath.Dir(file), "write %s: there is no directory %s", file, filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("write the workflow: %w", err)
	}
	return nil
}

// refuse tells which templates there are.
func refuse(err error) error {
	var unknown *editor.UnknownTemplateError
	if !errors.As(err, &unknown) {
		return err
	}
	if unknown.Suggestion != "" {
		return &forms.InputError{Err: err, Hint: fmt.Sprintf("did you mean %s?", unknown.Suggestion)}
	}
	var names []string
	for _, t := range editor.Templates() {
		names = append(names, t.Name)
	}
	return &forms.InputError{Err: err, Hint: "there are " + strings.Join(names, ", ")}
}

func usage(hint, format string, args ...any) error {
	return &forms.InputError{Err: fmt.Errorf(format, args...), Hint: hint}
}
