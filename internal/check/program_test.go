package check_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// What passes the check compiles, and what the program refuses the check has
// refused: over the examples of the specification with each string replaced.
func TestPassingDefinitionsCompile(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(specDir(t), "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no examples")
	}
	o := milestone(t)
	passed, refused, bad := 0, 0, 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		def, _ := workflow.Decode(src)
		if def == nil {
			t.Fatalf("%s does not decode", f)
		}
		for _, m := range append([]any{def.Literal}, replacements(def.Literal)...) {
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			def, findings := check.Source(text, o)
			if def == nil {
				refused++
				continue
			}
			if slices.ContainsFunc(findings, func(f workflow.Finding) bool { return f.Severity == workflow.SeverityUnsupported }) {
				continue
			}
			passed++
			if _, err := program.Compile(def, program.Options{Functions: []string{"noop", "ssh"}}); err != nil {
				if bad++; bad < 10 {
					t.Errorf("%s: %v\n%s", filepath.Base(f), err, text)
				}
			}
		}
	}
	t.Logf("%d passed, %d refused, %d passed and do not compile", passed, refused, bad)
}

// replacements are copies of a document, each with one string, number or list
// replaced by something else.
func replacements(doc any) []any {
	var out []any
	var visit func(v any, rebuild func(any) any)
	visit = func(v any, rebuild func(any) any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				visit(x, func(n any) any {
					m := maps.Clone(v)
					m[k] = n
					return rebuild(m)
				})
			}
		case []any:
			out = append(out, rebuild([]any{}))
			for i, x := range v {
				visit(x, func(n any) any {
					l := slices.Clone(v)
					l[i] = n
					return rebuild(l)
				})
			}
		default:
			for s := range strings.SplitSeq("${ .x }|${ $item }|${ $output }|a ${ .b } c|a ${ .b | }|.x|.x ==|$context.y|P1D|PT0S|noop|${ $secrets.a }|continue|1|''|${|${ |${}|${ }", "|") {
				out = append(out, rebuild(s))
			}
			out = append(out, rebuild(1), rebuild(true))
		}
	}
	visit(doc, func(v any) any { return v })
	return out
}
