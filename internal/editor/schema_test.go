package editor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/editor"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// beyond are the rules by which validate refuses what the schema accepts, each
// with the reason why a schema cannot say it.
var beyond = map[string]string{
	"flow/unknown-target":   "where a jump leads (DSL 56)",
	"flow/across-branches":  "where a jump leads (DSL 107)",
	"flow/endless":          "whether a circle of jumps can be left (DSL 57)",
	"use/unknown-name":      "names of use (DSL 21)",
	"call/unknown-function": "names of functions: those of the document count (DSL 84)",
	"call/arguments":        "arguments of a function that is written in the DSL: its own schema counts (DSL 84)",
	"call/function-version": "versions of functions: those of the document count (DSL 84)",
	"task/duplicate-name":   "the same name twice in one list (DSL 11)",
	"switch/two-defaults":   "counting cases without `when`: editors do not know maxContains (DSL 88)",
	"expression/syntax":     "what is inside an expression (DSL 37)",
	"expression/variable":   "what is inside an expression (DSL 39-48)",
	"secret/not-listed":     "what is inside an expression, and names (DSL 207)",
	"schema/invalid":        "whether a schema in place compiles (DSL 206)",
	"schedule/every":        "that a duration is not nothing (DSL 168)",
	"schedule/cron":         "what is inside a cron expression (DSL 169)",
	"schedule/never":        "that until: false has no end (DSL 171)",
	"downbeat/duration":     "that a duration is not nothing",
	"retry/jitter":          "that one duration is longer than another (DSL 116)",
	"duration/invalid":      "how long a duration may be (DSL 202)",
	"source/more-findings":  "nothing: it counts others",
	"schedule/duration":     "fractions of months, and more than 292 years (DSL 203)",
	"wait/duration":         "as schedule/duration",
	"timeout/duration":      "as schedule/duration",
	"retry/duration":        "as schedule/duration",
}

// within are documents that the schema refuses and validate accepts, as
// patterns over them, each with its reason.
var within = map[string]string{
	`"functions":\{[^}]*"(map|noop|ssh)"`: "D37: a function of the document hides one of the catalogue, whose arguments the schema still expects",
	`"catalogs":\{[^}]*"default"`:         "DSL 200: a catalogue of the document called default hides Downbeat's",
}

// functions are a catalogue: a real function, and one with arguments of every sort.
func functions() []check.Function {
	k := noop.Kind()
	str := map[string]any{"type": "string"}
	return []check.Function{
		{Name: "ssh", Version: "1.0.0", Summary: "Runs a command elsewhere.", Input: map[string]any{
			"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": []any{"host"}, "additionalProperties": false,
			"properties": map[string]any{
				"host": map[string]any{"oneOf": []any{str, map[string]any{"$ref": "#/$defs/host"}}}, "port": map[string]any{"type": "integer"}, "sudo": map[string]any{"type": "boolean"},
				"mode": map[string]any{"type": "string", "enum": []any{"fast", "safe"}}, "arguments": map[string]any{"type": "array", "items": str},
				"environment": map[string]any{"type": "object", "additionalProperties": str},
			},
			"$defs": map[string]any{"host": map[string]any{"type": "object", "required": []any{"name"}, "additionalProperties": false, "properties": map[string]any{"name": str}}},
		}},
		{Name: k.Name, Version: k.Version, Summary: k.Summary, Input: k.Schema},
	}
}

func compiled(t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.Compile(any(editor.Schema(functions())))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const head = "document: {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0}\n"

// corpus is every definition of the repository and of the specification, valid and invalid.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, dir := range []string{"../workflow/testdata", "../check/testdata", "../graph/testdata", "../machine/testdata"} {
		scripts(t, dir, docs)
	}
	walk(t, "../../examples", ".yaml", func(path, text string) { docs[path] = text })
	walk(t, "../../conformance/scripts", ".txtar", func(path, text string) {
		for _, f := range txtar.Parse([]byte(text)).Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				docs[path+"/"+f.Name] = string(f.Data)
			}
		}
	})
	for _, name := range editor.Templates() {
		files, err := editor.Template(name.Name, "my-workflow", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			docs["templates/"+f.Name] = string(f.Text)
		}
	}
	for path, text := range extra {
		docs["extra/"+path] = text
	}
	spec := os.Getenv("DOWNBEAT_SPEC")
	if spec == "" {
		spec = filepath.Join("..", "..", "..", "shared", "spec")
	}
	if _, err := os.Stat(spec); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the specification is not at %s; set DOWNBEAT_SPEC", spec)
		}
		t.Logf("WITHOUT the specification, which is not at %s; set DOWNBEAT_SPEC", spec)
		return docs
	}
	walk(t, filepath.Join(spec, "examples"), ".yaml", func(path, text string) { docs[path] = text })
	walk(t, filepath.Join(spec, "ctk"), ".feature", func(path, text string) {
		for i, block := range strings.Split(text, `"""yaml`)[1:] {
			body, _, _ := strings.Cut(block, `"""`)
			if strings.Contains(body, "document:") {
				docs[fmt.Sprintf("%s#%d", path, i)] = strings.ReplaceAll(body, "\n    ", "\n")
			}
		}
	})
	return docs
}

func walk(t testing.TB, dir, ext string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ext {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			f(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// scripts takes the inputs of data-driven tests as definitions.
func scripts(t testing.TB, dir string, docs map[string]string) {
	t.Helper()
	inner, ok := t.(*testing.T)
	if !ok {
		return
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != "" {
			return err
		}
		datadriven.RunTest(inner, path, func(_ *testing.T, d *datadriven.TestData) string {
			src := d.Input + "\n"
			switch {
			case strings.Contains(src, "document:"):
			case d.Cmd == "use":
				src = head + "do: []\nuse:\n " + strings.ReplaceAll(d.Input, "\n", "\n ") + "\n"
			default:
				src = head + "do:\n" + src
			}
			docs[d.Pos] = src
			return d.Expected
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// extra are definitions with what the others leave out.
var extra = map[string]string{
	"functions": head + `do:
- a: {call: ssh, with: {host: a, port: 22, sudo: true, mode: fast, arguments: [a, "${ .b }"], environment: {A: b}}}
- b: {call: ssh:1.0.0@default, with: {host: {name: x}, port: "${ .p }", mode: "a${ .m }", arguments: "${ .all }"}}
- c: {call: noop, with: {x: 1}}
- d: {call: noop, with: "${ . }"}
- e: {call: map, with: {in: .list, each: x, at: i, limit: "${ .n }", onError: continue, do: [{f: {set: {a: 1}}}]}}
`,
	"settings": `document:
  dsl: 1.0.3
  namespace: test
  name: test
  version: 1.0.0
  metadata:
    downbeat: {concurrency: {limit: 3, key: .a, on: reject}, priority: 5, locks: [a], calendar: c, schedule: {timezone: Europe/Berlin, jitter: PT5S, missed: all, paused: true},
      endpoint: {method: GET, path: /x, mode: sync, durability: express, rate: 10}, webhook: {provider: github, secret: s, filter: .a}, manual: {hours: 1},
      retention: {keep: 10, for: P30D}, sensitive: [/a, ""], shell: cmd}
use: {secrets: [s]}
schedule: {every: PT1H, cron: '0 3 * * *', after: {minutes: 5}, on: {any: [{with: {type: a}, correlate: {k: {from: .a, expect: b}}}], until: {one: {with: {type: b}}}}, read: data}
do:
- a: {set: {a: 1}, metadata: {downbeat: {on: {os: linux}, resources: {cpu: 0.5, memory: 1Gi, slots: 2}, interrupted: fault, cache: {key: a, for: PT1H}, workspace: run, registry: harbor}}}
`,
}

// verdict compares the schema and validate on one definition: "" when they
// agree or their difference has a reason, which is counted.
func verdict(s *schema.Schema, src []byte, reasons map[string]int) string {
	root, bad := source.Read(src, workflow.MaxSource)
	if root == nil || source.HasErrors(bad) {
		return "" // no value that a schema could speak of
	}
	_, findings := check.Source(src, check.Options{Functions: functions()})
	errs := slices.DeleteFunc(slices.Clone(findings), func(f workflow.Finding) bool { return f.Severity != workflow.SeverityError })
	err := s.Validate(root.Any())
	switch {
	case (err == nil) == (len(errs) == 0):
		return ""
	case err == nil:
		for _, f := range errs {
			if beyond[f.Rule] == "" {
				return "only validate refuses: " + f.Format("")
			}
			reasons[f.Rule]++
		}
		return ""
	}
	text, _ := json.Marshal(root.Any())
	for pattern := range within {
		if regexp.MustCompile(pattern).Match(text) {
			reasons[pattern]++
			return ""
		}
	}
	return "only the schema refuses: " + err.Error()
}

// The schema accepts and refuses what validate does, over the whole corpus.
// DSL 1-209 as far as they are shapes.
func TestSchemaAgreesWithValidate(t *testing.T) {
	t.Parallel()
	s, docs, reasons := compiled(t), corpus(t), map[string]int{}
	valid := 0
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		if def, _ := check.Source([]byte(docs[name]), check.Options{Functions: functions()}); def != nil {
			valid++
		}
		if diff := verdict(s, []byte(docs[name]), reasons); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if valid < 50 || len(docs)-valid < 50 {
		t.Errorf("a small corpus: %d definitions, %d of them valid", len(docs), valid)
	}
	t.Logf("%d definitions, %d valid; reasons used: %v", len(docs), valid, reasons)
}

// The same over mutations: a key removed, renamed or doubled, a value of another
// sort in its place. Each run takes a part of them; -all takes all.
func TestSchemaAgreesOnMutations(t *testing.T) {
	t.Parallel()
	s, docs, reasons := compiled(t), corpus(t), map[string]int{}
	share := uint32(40)
	if os.Getenv("DOWNBEAT_TEST_ALL") != "" {
		share = 1
	}
	seen, bad := 0, 0
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		root, findings := source.Read([]byte(docs[name]), workflow.MaxSource)
		if root == nil || source.HasErrors(findings) || len(docs[name]) > 20_000 {
			continue
		}
		mutate(root.Any(), "", func(v any) any { return v }, func(what string, make func() any) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(name + what))
			if h.Sum32()%share != 0 || bad > 12 {
				return
			}
			src, err := json.Marshal(make())
			if err != nil {
				return // a number that JSON does not have
			}
			seen++
			if diff := verdict(s, src, reasons); diff != "" {
				bad++
				t.Errorf("%s: %s: %s", name, what, diff)
			}
		})
	}
	t.Logf("%d mutations; reasons used: %v", seen, reasons)
}

// And over several mutations of one definition at once.
func TestSchemaAgreesOnRandomMutations(t *testing.T) {
	t.Parallel()
	s, docs := compiled(t), corpus(t)
	names := slices.Sorted(maps.Keys(docs))
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "name")
		root, findings := source.Read([]byte(docs[name]), workflow.MaxSource)
		if root == nil || source.HasErrors(findings) || len(docs[name]) > 20_000 {
			return
		}
		v, done := root.Any(), []string{name}
		for range rapid.IntRange(1, 3).Draw(t, "mutations") {
			var all []string
			var makes []func() any
			mutate(v, "", func(v any) any { return v }, func(what string, make func() any) {
				all, makes = append(all, what), append(makes, make)
			})
			i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
			v, done = makes[i](), append(done, all[i])
		}
		src, err := json.Marshal(v)
		if err != nil {
			return
		}
		if diff := verdict(s, src, map[string]int{}); diff != "" {
			t.Fatalf("%s: %s\n%s", strings.Join(done, ", "), diff, src)
		}
	})
}

// others are what takes the place of a value.
var others = []any{
	nil, 0, 1, -1, 700, 1.5, "", " ", "x", "a b", "__x", "PT5S", "P1W", "PT", "5s", "/x", "1.0.0", "${ .x }", "a ${ .x } b", "${x}", "exit", true, false,
	[]any{},
	[]any{"x"},
	[]any{1},
	[]any{nil},
	map[string]any{},
	map[string]any{"x": 1},
	map[string]any{"use": "x"},
	map[string]any{"seconds": 1},
	map[string]any{"uri": "https://a.b"},
}

// keys are what a map gets besides.
var keys = []string{"then", "if", "do", "with", "until", "read", "use", "set", "after", "schema", "name", "foreach"}

func mutate(v any, path string, rebuild func(any) any, yield func(what string, make func() any)) {
	for _, other := range others {
		b, _ := json.Marshal(other)
		yield(path+" = "+string(b), func() any { return rebuild(other) })
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			x, at := v[k], path+"/"+k
			change := func(f func(m map[string]any)) func() any {
				return func() any {
					m := maps.Clone(v)
					f(m)
					return rebuild(m)
				}
			}
			yield(at+" removed", change(func(m map[string]any) { delete(m, k) }))
			yield(at+" renamed", change(func(m map[string]any) { delete(m, k); m[k+"x"] = x }))
			yield(at+" doubled", change(func(m map[string]any) { m[k+"x"] = x }))
			mutate(x, at, func(n any) any {
				m := maps.Clone(v)
				m[k] = n
				return rebuild(m)
			}, yield)
		}
		for _, k := range keys {
			if _, has := v[k]; !has {
				yield(path+" with "+k, func() any {
					m := maps.Clone(v)
					m[k] = "x"
					return rebuild(m)
				})
			}
		}
	case []any:
		for i, x := range v {
			mutate(x, fmt.Sprintf("%s/%d", path, i), func(n any) any {
				l := slices.Clone(v)
				l[i] = n
				return rebuild(l)
			}, yield)
		}
	}
}

// A schema that another tool cannot compile helps nobody: every reference leads
// somewhere, and no keyword is used that editors for draft 7 do not know.
func TestSchemaIsPlain(t *testing.T) {
	t.Parallel()
	s := editor.Schema(functions())
	text, err := editor.JSON(s)
	if err != nil {
		t.Fatal(err)
	}
	defs, _ := s["$defs"].(map[string]any)
	for _, m := range regexp.MustCompile(`"\$ref": "#/\$defs/([^"/]+)`).FindAllStringSubmatch(string(text), -1) {
		if defs[m[1]] == nil {
			t.Errorf("a reference to %s, which is not there", m[1])
		}
	}
	for name := range defs {
		if !strings.Contains(string(text), `"#/$defs/`+name+`"`) {
			t.Errorf("nothing refers to %s", name)
		}
	}
	for _, word := range []string{"unevaluatedProperties", "dependentRequired", "dependentSchemas", "prefixItems", "maxContains", "minContains", "$dynamicRef"} {
		if strings.Contains(string(text), `"`+word+`"`) {
			t.Errorf("the schema uses %s", word)
		}
	}
	var invalid *schema.Invalid
	if err := compiled(t).Validate(map[string]any{"do": []any{}}); !errors.As(err, &invalid) {
		t.Errorf("a definition without document: %v", err)
	}
}
