package scaffold_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/scaffold"
)

func create(t *testing.T, r scaffold.Request) []string {
	t.Helper()
	r.Schema = []byte("{}\n")
	m, err := scaffold.Create(r)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range m.Files {
		p, _ := f.(string)
		out = append(out, filepath.Base(p))
	}
	return out
}

func head(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimPrefix(first, "# yaml-language-server: $schema=")
}

// The schema is written once for a project: a file in a directory beneath
// refers to it; what is above the project is not looked at.
func TestOneSchemaForAProject(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	project := filepath.Join(outside, "project")
	inner := filepath.Join(project, "flows", "night")
	for _, d := range []string{inner, filepath.Join(project, ".git")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "downbeat.schema.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.yaml", "downbeat.schema.json"}, create(t, scaffold.Request{Template: "etl", File: filepath.Join(project, "a")})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"child.yaml", "child-item.yaml"}, create(t, scaffold.Request{Template: "child", File: inner})); diff != "" {
		t.Error(diff)
	}
	for file, want := range map[string]string{"a.yaml": "downbeat.schema.json", "flows/night/child.yaml": "../../downbeat.schema.json", "flows/night/child-item.yaml": "../../downbeat.schema.json"} {
		if got := head(t, filepath.Join(project, file)); got != want {
			t.Errorf("%s: the schema is at %s, want %s", file, got, want)
		}
	}
}

// What exists is not overwritten, also when only the second file exists.
func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "b-item.yaml")
	if err := os.WriteFile(mine, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := scaffold.Request{Template: "child", File: filepath.Join(dir, "b.yaml")}
	_, err := scaffold.Create(r)
	wantMistake(t, err, "b-item.yaml exists already; nothing was written", "--force")
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || head(t, mine) != "mine" {
		t.Errorf("%d files, mine is %q", len(entries), head(t, mine))
	}
	r.Force = true
	create(t, r)
	if head(t, mine) == "mine" {
		t.Error("--force did not overwrite")
	}
}

func wantMistake(t *testing.T, err error, text, hint string) {
	t.Helper()
	var m *forms.InputError
	if !errors.As(err, &m) || !strings.Contains(m.Error(), text) || !strings.Contains(m.Hint, hint) {
		t.Errorf("error %v, want %q with the hint %q", err, text, hint)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct{ template, file, text, hint string }{
		{"htp-call", "x.yaml", `no template "htp-call"`, "did you mean http-call?"},
		{"zzz", "-", `no template "zzz"`, "there are approval, child, etl"},
		{"etl", filepath.Join(dir, "x.json"), "templates are written in YAML", "x.yaml"},
		{"etl", filepath.Join(dir, "no", "x.yaml"), "there is no directory", "mkdir -p"},
	} {
		_, err := scaffold.Create(scaffold.Request{Template: c.template, File: c.file})
		wantMistake(t, err, c.text, c.hint)
	}
}
