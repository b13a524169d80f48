package editor_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Every template is a workflow without findings, hints included, except that
// portability is not asked for; it is called as it was asked for, and says in
// its first line where the schema is.
func TestTemplatesHaveNoFindings(t *testing.T) {
	t.Parallel()
	var names []string
	for _, info := range editor.Templates() {
		names = append(names, info.Name)
		if info.Summary == "" || !strings.HasSuffix(info.Summary, ".") {
			t.Errorf("%s: summary %q", info.Name, info.Summary)
		}
		files, err := editor.Template(info.Name, "nightly", "../downbeat.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		if files[0].Name != "nightly.yaml" {
			t.Errorf("%s: the first file is %s", info.Name, files[0].Name)
		}
		for i, f := range files {
			def, findings := check.Source(f.Text, check.Options{Functions: functions()})
			for _, x := range findings {
				t.Error(x.Format(info.Name))
			}
			if def == nil {
				continue
			}
			if i == 0 && def.Document.Name != "nightly" {
				t.Errorf("%s: called %s", info.Name, def.Document.Name)
			}
			if first, _, _ := strings.Cut(string(f.Text), "\n"); first != "# yaml-language-server: $schema=../downbeat.schema.json" {
				t.Errorf("%s: begins with %q", info.Name, first)
			}
		}
	}
	want := []string{"approval", "child", "etl", "fan-out", "http-call", "retry", "scheduled", "shell-runbook"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownTemplate(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"htp-call": "http-call", "zzz": "", "child-item": "", "../secret": "", "": ""} {
		_, err := editor.Template(name, "x", "")
		unknown, ok := err.(*editor.UnknownTemplateError) //nolint:errorlint // it is returned as it is
		if !ok || name == "htp-call" && unknown.Suggestion != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// DSL 3: whatever a file is called, the workflow in it has a valid name.
func TestLabel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Nightly Backup": "nightly-backup", "order_status.v2": "order-status-v2", "--a--b--": "a-b", "": "my-workflow", "äöü": "my-workflow",
		strings.Repeat("a", 100): strings.Repeat("a", 58), strings.Repeat("a", 57) + " b": strings.Repeat("a", 57),
	} {
		if got := editor.Label(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func finding() workflow.Finding {
	return workflow.Finding{
		Pos: source.Pos{Line: 2, Col: 7}, EndCol: 11, Rule: "task/kind", DSL: "DSL 22-32", Reference: "/do/0/a",
		Message: `task "a" has "sett", which is no kind of task`, Suggestion: "set", Allowed: "it must have one of call, do, set",
	}
}

func TestSARIF(t *testing.T) {
	t.Parallel()
	src := []byte("  - a:\n      sett: {ä: 1}\n")
	warning := workflow.Finding{Pos: source.Pos{Line: 2, Col: 14}, Severity: workflow.SeverityWarning, Rule: "x/y-z", Message: "odd"}
	nowhere := workflow.Finding{Severity: workflow.SeverityHint, Rule: "x/y-z", Message: "nowhere"}
	log := editor.SARIF("1.2.3", []editor.Checked{
		{File: "dir/a b.yaml", Source: src, Findings: []workflow.Finding{finding(), warning, nowhere}},
		{File: "/abs/c.yaml", Source: src},
	})
	text, err := editor.JSON(log)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Version string
					Rules   []struct{ ID string }
				}
			}
			ColumnKind string
			Artifacts  []any
			Results    []json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	run := got.Runs[0]
	if got.Version != "2.1.0" || run.Tool.Driver.Version != "1.2.3" || len(run.Tool.Driver.Rules) != 2 || len(run.Artifacts) != 2 || run.ColumnKind != "unicodeCodePoints" {
		t.Errorf("%s", text)
	}
	want := []string{
		`{"fixes":[{"artifactChanges":[{"artifactLocation":{"uri":"dir/a%20b.yaml"},"replacements":[{"deletedRegion":{"endColumn":11,"startColumn":7,"startLine":2},"insertedContent":{"text":"set"}}]}],"description":{"text":"write set"}}],` +
			`"level":"error","locations":[{"logicalLocations":[{"fullyQualifiedName":"/do/0/a","kind":"element"}],"physicalLocation":{"artifactLocation":{"uri":"dir/a%20b.yaml"},"region":{"endColumn":11,"startColumn":7,"startLine":2}}}],` +
			`"message":{"text":"task \"a\" has \"sett\", which is no kind of task; did you mean \"set\"?; it must have one of call, do, set"},"properties":{"dsl":"DSL 22-32","severity":"error"},"ruleId":"task/kind","ruleIndex":0}`,
		`{"level":"warning","locations":[{"physicalLocation":{"artifactLocation":{"uri":"dir/a%20b.yaml"},"region":{"endColumn":19,"startColumn":14,"startLine":2}}}],"message":{"text":"odd"},"properties":{"severity":"warning"},"ruleId":"x/y-z","ruleIndex":1}`,
		`{"level":"note","locations":[{"physicalLocation":{"artifactLocation":{"uri":"dir/a%20b.yaml"}}}],"message":{"text":"nowhere"},"properties":{"severity":"hint"},"ruleId":"x/y-z","ruleIndex":1}`,
	}
	for i, r := range run.Results {
		var v any
		if err := json.Unmarshal(r, &v); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(v)
		if diff := cmp.Diff(want[i], string(b)); diff != "" {
			t.Error(diff)
		}
	}
}

// A fix is offered only where exactly the mistyped word stands.
func TestSARIFOffersNoWrongFix(t *testing.T) {
	t.Parallel()
	for src, fixes := range map[string]bool{
		"\n      sett: 1\n": true, "\n      \"sett\": 1\n": false, "\n      se\n": false, "\n      ${ a }\n": false, "": false,
	} {
		log := editor.SARIF("1", []editor.Checked{{File: "a.yaml", Source: []byte(src), Findings: []workflow.Finding{finding()}}})
		text, err := editor.JSON(log)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), `"fixes"`); got != fixes {
			t.Errorf("%q: fixes %t", src, got)
		}
	}
}

// The arguments of functions keep their descriptions, and name themselves.
func TestSchemaShowsFunctions(t *testing.T) {
	t.Parallel()
	s := editor.Schema(functions())
	defs, _ := s["$defs"].(map[string]any)
	var calls []string
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		if call, ok := strings.CutPrefix(name, "call."); ok {
			calls = append(calls, call)
		}
	}
	if diff := cmp.Diff([]string{"a2a", "asyncapi", "grpc", "http", "map", "mcp", "noop", "openapi", "ssh"}, calls); diff != "" {
		t.Error(diff)
	}
	a, _ := editor.JSON(s)
	b, _ := editor.JSON(editor.Schema(functions()))
	if string(a) != string(b) {
		t.Error("the schema is not the same each time")
	}
}
