package editor

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

//go:embed templates/*.yaml
var templates embed.FS

// TemplateInfo is the name of a template and what it is for.
type TemplateInfo struct {
	Name, Summary string
}

// File is a file that a template makes.
type File struct {
	Name string
	Text []byte
}

// The words of the templates that are replaced.
const (
	templateName   = "my-workflow"
	templateSchema = "# yaml-language-server: $schema=" + SchemaFile
	companion      = "-item"
)

// Templates lists the templates, sorted by name.
func Templates() []TemplateInfo {
	entries, _ := templates.ReadDir("templates") // embedded: it is there
	var out []TemplateInfo
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".yaml")
		if strings.HasSuffix(name, companion) {
			continue
		}
		text, _ := templates.ReadFile("templates/" + e.Name())
		lines := strings.SplitN(string(text), "\n", 3)
		out = append(out, TemplateInfo{name, strings.TrimPrefix(lines[1], "# ")})
	}
	return out
}

// UnknownTemplateError is the error of a name that no template has.
type UnknownTemplateError struct {
	Name       string
	Suggestion string // the nearest name; "" when none is near
}

// Error implements error.
func (e *UnknownTemplateError) Error() string {
	return fmt.Sprintf("there is no template %s", source.Quote(e.Name))
}

// Template makes the files of a template for a workflow called name: the
// workflow first, then those that it starts. schema is where the files say that
// the schema is, relative to them; "" is [SchemaFile] beside them.
func Template(template, name, schema string) ([]File, error) {
	var known []string
	for _, t := range Templates() {
		known = append(known, t.Name)
	}
	var out []File
	for _, suffix := range []string{"", companion} {
		text, err := templates.ReadFile(path.Join("templates", template+suffix+".yaml"))
		if err != nil {
			continue
		}
		s := strings.ReplaceAll(string(text), templateName, name)
		if schema != "" {
			s = strings.Replace(s, templateSchema, strings.TrimSuffix(templateSchema, SchemaFile)+schema, 1)
		}
		out = append(out, File{name + suffix + ".yaml", []byte(s)})
	}
	if len(out) == 0 || strings.HasSuffix(template, companion) || strings.ContainsAny(template, "/\\") {
		return nil, &UnknownTemplateError{template, source.Nearest(template, known)}
	}
	return out, nil
}

// Label makes the name of a workflow of any text, such as the name of a file:
// letters, digits and hyphens, short enough for names made from it.
func Label(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 63-len(companion) {
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return templateName
}
