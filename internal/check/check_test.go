package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// milestone is a runtime with little: what such a one must say is in testdata.
func milestone(t testing.TB) check.Options {
	t.Helper()
	return check.Options{
		Functions: []check.Function{
			{Name: "noop", Version: "1.0.0"},
			{Name: "ssh", Version: "1.0.0", Input: map[string]any{
				"type": "object", "required": []any{"host"}, "additionalProperties": false,
				"properties": map[string]any{"host": map[string]any{"type": "string"}, "command": map[string]any{"type": "string"}},
			}},
		},
		Zone: func(name string) bool { return name == "Europe/Berlin" },
		Supported: func(f string) bool {
			if !slices.Contains(check.Features, f) {
				t.Errorf("%s is not listed in Features", f)
			}
			return false
		},
	}
}

// Each script in testdata is a definition, or the part of one below `do`, and
// the findings about it.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			src, lines := d.Input+"\n", 0
			if d.Cmd == "do" {
				src = "document: {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0}\ndo:\n" + src
				lines = 2
			}
			o := milestone(t)
			if d.HasArg("all") {
				o.Supported = nil
			}
			o.Portable = d.HasArg("portable")
			_, findings := check.Source([]byte(src), o)
			var b strings.Builder
			for _, f := range findings {
				f.Pos.Line -= lines
				switch f.Rule { // whose words are of other packages
				case "expression/syntax", "schema/invalid":
					f.Message, _, _ = strings.Cut(f.Message, ":")
				case "expression/variable":
					f.Message, _, _ = strings.Cut(f.Message, ";")
				case "call/arguments":
					f.Message, _, _ = strings.Cut(f.Message, ": ")
				}
				fmt.Fprintf(&b, "%s", strings.TrimPrefix(f.Format(""), ":"))
				if f.DSL != "" {
					fmt.Fprintf(&b, " [%s]", f.DSL)
				}
				if f.Reference != "" {
					fmt.Fprintf(&b, " %s", f.Reference)
				}
				b.WriteByte('\n')
			}
			if b.Len() == 0 {
				return "ok\n"
			}
			return b.String()
		})
	})
}

func specDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("DOWNBEAT_SPEC"); dir != "" {
		return dir
	}
	spec := filepath.Join("..", "..", "..", "shared", "spec")
	if _, err := os.Stat(spec); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the specification is not at %s; set DOWNBEAT_SPEC", spec)
		}
		t.Skipf("SKIPPED: the specification is not at %s; set DOWNBEAT_SPEC", spec)
	}
	return spec
}

// DSL 1, DSL 37: every example of the specification and every definition of its
// conformance kit passes, with everything supported.
func TestSpecificationPasses(t *testing.T) {
	t.Parallel()
	dir := specDir(t)
	files, _ := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	features, _ := filepath.Glob(filepath.Join(dir, "ctk", "features", "*.feature"))
	if len(files) == 0 || len(features) == 0 {
		t.Fatalf("%d examples, %d features", len(files), len(features))
	}
	docs := map[string]string{}
	for _, f := range append(files, features...) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".yaml") {
			docs[filepath.Base(f)] = string(text)
			continue
		}
		for i, block := range strings.Split(string(text), `"""yaml`)[1:] {
			body, _, _ := strings.Cut(block, `"""`)
			if strings.Contains(body, "document:") {
				docs[fmt.Sprintf("%s#%d", filepath.Base(f), i)] = strings.ReplaceAll(body, "\n    ", "\n")
			}
		}
	}
	for name, src := range docs {
		_, findings := check.Source([]byte(src), check.Options{})
		for _, f := range findings {
			if f.Severity == workflow.SeverityError || f.Severity == workflow.SeverityUnsupported {
				t.Error(f.Format(name))
			} else {
				t.Log(f.Format(name))
			}
		}
	}
}

func FuzzSource(f *testing.F) {
	f.Add("document: {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0}\ndo:\n- a: {set: {a: '${ .b | $input }'}, then: a}\n- b: {if: .x, raise: {error: {type: a, status: 400}}}\n")
	f.Add("document: {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0}\ndo:\n- a: {for: {in: .x}, do: [{b: {call: map, with: {in: '.a', do: []}}}]}\n")
	f.Fuzz(func(t *testing.T, src string) {
		def, findings := check.Source([]byte(src), milestone(t))
		if (def == nil) != source.HasErrors(findings) && def != nil {
			t.Errorf("a definition with errors")
		}
	})
}
