package link

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// place says where the definition stands, for the documents that its tasks read
// while they run, and which of those are not there now.
func place(linking *bundle.Linking, def *workflow.Definition, directory string) (findings []workflow.Finding) {
	absolute, err := filepath.Abs(directory)
	if err != nil {
		return []workflow.Finding{{Pos: def.Document.Pos, Rule: "link/place", Message: "the directory of the definition is unknown: " + err.Error()}}
	}
	linking.Stand(filepath.ToSlash(absolute))
	for _, d := range bundle.Locals(def) {
		if d.Path == "" {
			continue
		}
		name := filePath(directory, d.Path)
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			findings = append(findings, workflow.Finding{
				Pos: d.Pos, Reference: d.Reference, Severity: workflow.SeverityWarning, Rule: "link/document", DSL: "DSL 201",
				Message: "there is no file " + name, Allowed: "relative paths start at the directory of the definition; the task reads it when it runs",
			})
		}
	}
	return findings
}
