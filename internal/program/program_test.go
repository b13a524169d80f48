package program_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const head = "document: {dsl: 1.0.3, namespace: test, name: x, version: 1.0.0}\n"

func compile(t *testing.T, src string) (*program.Program, error) {
	t.Helper()
	def, findings := workflow.Decode([]byte(head + src))
	if def == nil {
		t.Fatalf("decode: %v", findings)
	}
	return program.Compile(def, program.Options{Functions: []string{"noop"}})
}

func mustCompile(t *testing.T, src string) *program.Program {
	t.Helper()
	p, err := compile(t, src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every example of the specification compiles, or says what is missing: the
// catalogue functions and remote schemas that this release does not fetch.
func TestExamplesOfTheSpecification(t *testing.T) {
	t.Parallel()
	dir := specification(t)
	files, err := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples in %s: %v", dir, err)
	}
	allowed := map[string]string{
		"call-custom-function-cataloged.yaml": "a definition is linked before it is compiled",
		"star-wars-homeworld.yaml":            "a schema from a resource",
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		def, findings := workflow.Decode(src)
		if def == nil {
			t.Errorf("%s: %v", filepath.Base(file), findings)
			continue
		}
		_, err = program.Compile(def, program.Options{Functions: []string{"noop"}})
		if want := allowed[filepath.Base(file)]; err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

// specification finds the specification beside the module, or skips.
func specification(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DOWNBEAT_SPEC")
	for up := "."; dir == "" && len(up) < 40; up += "/.." {
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			dir = filepath.Join(up, "..", "shared", "spec")
		}
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the specification is not at %s: set DOWNBEAT_SPEC", dir)
		}
		t.Skipf("SKIPPED: the specification is not at %s: set DOWNBEAT_SPEC", dir)
	}
	return dir
}

// DSL 21: what a name stands for is found when the definition is compiled.
func TestNamesResolve(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
use:
  timeouts: {soon: {after: PT1S}}
  retries: {some: {delay: PT2S, limit: {attempt: {count: 3}}}}
  errors: {bad: {type: t, status: 400}}
  functions: {f: {call: noop}}
do:
  - t: {try: [{r: {raise: {error: bad}, timeout: soon}}], catch: {retry: some}}
  - f: {call: f}
  - g: {call: f}
`)
	try, f, g := p.Node("/do/0/t"), p.Node("/do/1/f"), p.Node("/do/2/g")
	if try.Try.Retry == nil || *try.Try.Retry.Count != 3 {
		t.Error("the retry policy is not resolved")
	}
	if r := try.Body.Nodes[0]; r.Timeout == nil || r.Error.Type == nil {
		t.Error("timeout or error is not resolved")
	}
	if f.Op != program.Function || f.Body == nil || f.Body != g.Body {
		t.Error("a function is compiled once and shared by its callers")
	}
	if p.Node("/no") != nil {
		t.Error("a node that is not there")
	}
}

// DSL 84, 85, D37: what `call` names.
func TestCallsByName(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
use: {functions: {noop: {set: {x: 1}}}}
do: [{a: {call: noop}}, {b: {call: 'noop:1.0.0@default'}}]
`)
	if a, b := p.Node("/do/0/a"), p.Node("/do/1/b"); a.Op != program.Function || b.Op != program.Dispatch || b.Call.Kind != "noop" {
		t.Error("a function of the document comes before one of the catalogue, but not when that is named in full")
	}
	if _, err := compile(t, "do: [{a: {call: nothing}}]"); err == nil || !strings.Contains(err.Error(), "/do/0/a") {
		t.Errorf("error %v; want one that names the task", err)
	}
}

// D14, D14b, D14c: what is an expression and what is text.
func TestExpressionsAndText(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
do:
  - a: {input: {from: .x}, set: {bare: .x, wrapped: '${ .x }', inside: 'a ${ .x } b'}, output: {as: {bare: .x}}}
  - b: {run: {script: {language: js, code: 'let a = 1; console.log(1 + "${ x }")'}}}
  - c: {call: http, with: {method: get, endpoint: 'http://x/{id}'}}
`)
	a := p.Node("/do/0/a")
	if _, constant := a.Input.From.Constant(); constant {
		t.Error("from: .x is an expression")
	}
	if v, constant := a.Output.As.Constant(); !constant || v.(map[string]any)["bare"] != ".x" {
		t.Error("a bare string inside an object is text (D14b)")
	}
	if _, constant := a.Value.Constant(); constant {
		t.Error("set holds expressions")
	}
	if _, constant := p.Node("/do/1/b").Call.Code.Constant(); !constant {
		t.Error("nothing is evaluated within code (D14c)")
	}
	if e := p.Node("/do/2/c").Call.Endpoint; e.Template != "http://x/{id}" || e.URI != nil {
		t.Error("a URI template is not an expression (DSL 59, 205)")
	}
}

// D17, DSL 19: the secrets that a run resolves are those that expressions read.
func TestSecretsOfTheProgram(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"do: [{a: {set: {x: '${ $secrets.b }'}}}]":                            "b",
		"do: [{a: {set: {x: '${ $secrets }'}}}]":                              "a b c",
		"do: [{a: {set: {x: 1}}}]":                                            "",
		"do: [{a: {set: {x: '${ $secrets[\"c\"] }', y: '${ $secrets.a }'}}}]": "a c",
	} {
		p := mustCompile(t, "use: {secrets: [c, a, b]}\n"+src)
		if got := strings.Join(p.Secrets, " "); got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}

// DSL 126, D22: the types that a listener can want.
func TestTypesOfListeners(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"{one: {with: {type: com.example.a}}}":                           "com.example.a",
		"{any: [{with: {type: b}}, {with: {type: a}}]}":                  "a b",
		"{any: [{with: {type: b}}], until: {one: {with: {type: stop}}}}": "b stop",
		"{any: []}":                        "",
		"{one: {with: {type: 'a.*'}}}":     "",
		"{one: {with: {type: '${ .x }'}}}": "",
		"{any: [{with: {type: b}}], until: {one: {with: {source: x}}}}": "",
	} {
		p := mustCompile(t, "do: [{l: {listen: {to: "+src+"}}}]")
		if got := strings.Join(p.Node("/do/0/l").Listen.Types, " "); got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}

// D38, DSL 133: what metadata.downbeat says of a container goes to its executor.
func TestSettingsOfContainers(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `
do:
- a: {run: {container: {image: alpine}}, metadata: {downbeat: {registry: harbor, resources: {cpu: 0.5, slots: 2}}}}
- b: {run: {container: {image: alpine}}}
`)
	want := []map[string]any{
		{"return": "stdout", "registry": "harbor", "resources": map[string]any{"cpu": 0.5}},
		{"return": "stdout"},
	}
	for i, n := range p.Root.Nodes {
		if d := cmp.Diff(want[i], n.Call.Extra); d != "" {
			t.Errorf("task %d: %s", i, d)
		}
	}
}

// DSL 76, 77: conditions about messages are evaluated with the variables of the
// task, and have the budget of an expression.
func TestConditionsOfSubscription(t *testing.T) {
	def, findings := workflow.Decode([]byte(`
document: {dsl: 1.0.3, namespace: test, name: t, version: 1.0.0}
use: {secrets: [key]}
do:
  - in:
      call: asyncapi
      with:
        document: {endpoint: 'file:///x'}
        operation: o
        subscription:
          filter: '${ .n > $input.min and now > 1 and $secrets.key == "k" }'
          consume: {until: '${ [range(1e9)] | length > 1 }', for: PT1S}
`))
	if def == nil {
		t.Fatal(findings)
	}
	p, err := program.Compile(def, program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"key"}, p.Secrets); d != "" {
		t.Error(d)
	}
	s := p.Root.Nodes[0].Call.Subscription
	vars := map[string]any{"$input": map[string]any{"min": 3}, "$secrets": map[string]any{"key": "k"}}
	scope := s.Scope("/do/0/in", func(name string) any { return vars[name] })
	filter := `${ .n > $input.min and now > 1 and $secrets.key == "k" }`
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n, want := range map[int]bool{3: false, 4: true} {
		if got, err := scope.Evaluate(now, filter, map[string]any{"n": n}); got != want || err != nil {
			t.Errorf("%d: %v %v", n, got, err)
		}
	}
	_, err = scope.Evaluate(now, `${ [range(1e9)] | length > 1 }`, nil)
	var problem *event.Problem
	if !errors.As(err, &problem) || problem.Title != "Expression failed" || problem.Instance != "/do/0/in" {
		t.Errorf("no bound: %v", err)
	}
	if _, err := scope.Evaluate(now, "${ $secrets }", nil); err == nil {
		t.Error("evaluates what the task has not")
	}
	if _, err := (*program.Scope)(nil).Evaluate(now, filter, nil); err == nil {
		t.Error("a task without conditions has one")
	}
	vars["$secrets"] = map[string]any{}
	_, err = s.Scope("/do/0/in", func(name string) any { return vars[name] }).Evaluate(now, filter, map[string]any{"n": 4})
	if !errors.As(err, &problem) || problem.Status != 403 { // D17
		t.Errorf("without the secret: %v", err)
	}
}

// D23: what stands elsewhere is attached before a definition is compiled; one
// that was not linked is refused with that reason.
func TestUnlinkedDefinitions(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"do: [{a: {call: 'https://h/f.yaml'}}]\n":                                                 `the function "https://h/f.yaml" is not attached: a definition is linked before it is compiled`,
		"use: {catalogs: {c: {endpoint: 'https://h'}}}\ndo: [{a: {call: 'f:1.0.0@c'}}]\n":         `the function "f:1.0.0@c" is not attached`,
		"do: [{a: {set: {x: 1}, input: {schema: {resource: {endpoint: 'https://h/s.json'}}}}}]\n": "the schema is not attached: a definition is linked before it is compiled",
		"input: {schema: {resource: {endpoint: s.json}}}\ndo: [{a: {set: {x: 1}}}]\n":             "/input: the schema is not attached",
	} {
		if _, err := compile(t, src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", src, err)
		}
	}
}
