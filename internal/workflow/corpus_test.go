package workflow_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// specDir finds the specification's texts, which stand beside the repository.
func specDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("DOWNBEAT_SPEC"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	spec := filepath.Join(dir, "..", "shared", "spec")
	if _, err := os.Stat(spec); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the specification is not at %s; set DOWNBEAT_SPEC", spec)
		}
		t.Skipf("SKIPPED: the specification is not at %s; set DOWNBEAT_SPEC", spec)
	}
	return spec
}

// specDocuments are the examples of the specification and the definitions of
// its conformance kit.
func specDocuments(t testing.TB) map[string]string {
	t.Helper()
	dir := specDir(t)
	docs := map[string]string{}
	examples, err := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, f := range examples {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs["examples/"+filepath.Base(f)] = string(src)
	}
	features, err := filepath.Glob(filepath.Join(dir, "ctk", "features", "*.feature"))
	if err != nil || len(features) == 0 {
		t.Fatalf("no features: %v", err)
	}
	for _, f := range features {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(src), `"""yaml`)[1:] {
			body, _, _ := strings.Cut(block, `"""`)
			if !strings.Contains(body, "document:") {
				continue
			}
			docs["ctk/"+filepath.Base(f)+"#"+string(rune('a'+i))] = dedent(body)
		}
	}
	return docs
}

func dedent(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
	for i, l := range lines {
		lines[i] = l[min(indent, len(l)-len(strings.TrimLeft(l, " "))):]
	}
	return strings.Join(lines, "\n") + "\n"
}

// DSL 1: every document of the specification decodes without an error.
func TestSpecificationDecodes(t *testing.T) {
	t.Parallel()
	for name, src := range specDocuments(t) {
		def, findings := workflow.Decode([]byte(src))
		for _, f := range findings {
			if f.Severity == workflow.SeverityError {
				t.Error(f.Format(name))
			} else {
				t.Log(f.Format(name))
			}
		}
		if def == nil {
			t.Errorf("%s: no definition", name)
		}
	}
}
