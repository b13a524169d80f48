package report

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Validation is what `downbeat validate` finds in its files.
type Validation struct {
	Portable bool // hints are shown too
	Strict   bool // warnings, and what is not supported yet, fail
	files    []Findings
}

// Read checks files and directories; "-" is stdin. What it finds goes to text,
// file by file, unless text is nil.
func (v *Validation) Read(stdin io.Reader, args []string, options func(file string) check.Options, text io.Writer, p progress.Palette) error {
	names, err := forms.Expand(args)
	if err != nil {
		return err
	}
	for _, name := range names {
		src, err := forms.Definition(stdin, name)
		if err != nil {
			return err
		}
		o := options(name)
		o.Portable = v.Portable
		_, list := check.Source(src, o)
		f := Findings{File: name, Source: src, List: list}
		v.files = append(v.files, f)
		if text != nil {
			f.Show(text, p, v.severities()...)
			_, _ = fmt.Fprintf(text, "%s: %s\n", name, f.Verdict(p))
		}
	}
	return nil
}

// severities are those of the findings that people asked for.
func (v *Validation) severities() []workflow.Severity {
	s := []workflow.Severity{workflow.SeverityError, workflow.SeverityUnsupported, workflow.SeverityWarning}
	if v.Portable {
		s = append(s, workflow.SeverityHint)
	}
	return s
}

// Failed reports whether one of the files is not as it should be.
func (v *Validation) Failed() bool {
	for _, f := range v.files {
		if f.Count(workflow.SeverityError) > 0 || v.Strict && f.Count(workflow.SeverityUnsupported)+f.Count(workflow.SeverityWarning) > 0 {
			return true
		}
	}
	return false
}

// Value is the form of validate -o json.
func (v *Validation) Value() map[string]any {
	files := make([]any, len(v.files))
	for i, f := range v.files {
		files[i] = f.Value()
	}
	return map[string]any{"files": files}
}

// SARIF is the form of validate -o sarif; version is that of Downbeat.
func (v *Validation) SARIF(version string) ([]byte, error) {
	checked := make([]editor.Checked, len(v.files))
	for i, f := range v.files {
		name := filepath.ToSlash(f.File)
		if name == "-" {
			name = "stdin"
		}
		checked[i] = editor.Checked{File: name, Source: f.Source, Findings: editor.Shown(f.List, v.severities()...)}
	}
	return editor.JSON(editor.SARIF(version, checked))
}
