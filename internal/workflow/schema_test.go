package workflow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// stricter are the rules by which Decode refuses what the schema lets pass, or
// cannot say; each with its reason.
var stricter = map[string]string{
	"flow/unknown-target":             "DSL 56, D8: the schema takes any text",
	"use/unknown-name":                "DSL 21: the schema does not resolve names",
	"switch/two-defaults":             "DSL 88, D7",
	"catch/unknown-property":          "DSL 109: an unknown filter would catch everything; the schema leaves filters open",
	"catch/type":                      "names of variables, status of at most three digits, empty expressions",
	"emit/missing-property":           "DSL 95: the schema forgets to require emit.event.with",
	"call/type":                       "DSL 77: an amount of messages is positive; endpoints of protocols the schema leaves open",
	"for/type":                        "names of variables; an expression is not empty",
	"raise/type":                      "a status has three digits",
	"use/type":                        "a status has three digits; a secret has a name",
	"run/name":                        "DSL 141: the name of a workflow is a label, as in its document",
	"run/version":                     "DSL 141: a version or latest",
	"run/type":                        "environment values are scalars",
	"foreach/type":                    "names of variables",
	"authentication/unknown-property": "DSL 154: the schema leaves policies of use open",
}

// looser are the problems that the schema has with what Decode lets pass, as
// patterns over the mutation, each with its reason.
var looser = map[string]string{
	`/(if|when|while|exceptWhen|from|until) = true$`:                           "DSL 38: a boolean is accepted as an expression, with a hint",
	`/(headers|query|environment)(/[^/]+)? = (1|true|{"x":1})$`:                "DSL 60, DSL 61: numbers and booleans are accepted where text is sent, with a hint",
	`/(parameters|port|host|amount|grant|authority|environment) = "\${ .x }"$`: "the runtime computes these from expressions, with a hint",
	`/(with|with/arguments|run/[a-z]+/arguments) = "\${ .x }"$`:                "arguments as one expression, with a hint",
	`/run/[a-z]+/arguments(/[0-9])? = (1|true|{}|{"x":1})$`:                    "DSL 140, D28: map arguments with a warning, numbers with a hint",
	`/run/workflow/input = "\${ .x }"$`:                                        "DSL 141: input as one expression, with a hint",
	`/run/workflow/version removed$`:                                           "DSL 141: the version defaults to latest",
	`/error(s/[^/]+)?/status = "\${ .x }"$`:                                    "DSL 91: an expression for the status, with a hint",
	`/(hours|minutes|seconds) = "\${ .x }"$`:                                   "DSL 202: expressions inside a duration, with a hint",
	`/greet/with/(arguments = \[\]|proto removed)$`:                            "DSL 68, DSL 70: a server with reflection needs no document, and a client may stream; with a finding of validate --portable",
	`/message/payload = `:                                                      "DSL 75: the text lets a payload be anything",
	`/for/in/[0-9] = `:                                                         "DSL 98: lists of other things than maps, with a hint",
}

type engine struct{ *regexp2.Regexp }

func (r engine) MatchString(s string) bool {
	ok, err := r.Regexp.MatchString(s)
	return err == nil && ok
}

func (r engine) String() string { return r.Regexp.String() }

func specSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(specDir(t), "schema", "workflow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(src, &doc); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		re, err := regexp2.Compile(s, regexp2.ECMAScript)
		return engine{re}, err
	})
	if err := c.AddResource("https://spec/dsl.yaml", normal(doc)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://spec/dsl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func normal(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		return v
	}
	return out
}

// The schema and Decode agree on the documents of the specification, and on
// thousands of mutations of them: a key removed, renamed, doubled in another
// place, or a value of another type. Where they differ, the reason is above.
func TestAgreesWithSchema(t *testing.T) {
	t.Parallel()
	s := specSchema(t)
	docs := specDocuments(t)
	names := make([]string, 0, len(docs))
	for n := range docs {
		names = append(names, n)
	}
	sort.Strings(names)
	seen, reasons, bad := map[string]bool{}, map[string]int{}, 0
	for _, name := range names {
		def, _ := workflow.Decode([]byte(docs[name]))
		if def == nil {
			t.Errorf("%s does not decode", name)
			continue
		}
		if testing.Short() && len(seen) > 2000 {
			break
		}
		for _, m := range append([]mutation{{doc: def.Literal}}, mutations(def.Literal)...) {
			src, err := json.Marshal(m.doc)
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(src)] {
				continue
			}
			seen[string(src)] = true
			if diff := disagreement(s, src, m.what, reasons); diff != "" {
				if bad++; bad < 12 {
					t.Errorf("%s: %s: %s", name, m.what, diff)
				}
			}
		}
	}
	t.Logf("%d documents, %d disagreements without a reason; reasons used: %v", len(seen), bad, reasons)
}

func disagreement(s *jsonschema.Schema, src []byte, what string, reasons map[string]int) string {
	_, findings := workflow.Decode(src)
	var rules []string
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			rules = append(rules, f.Rule)
		}
	}
	var doc any
	if err := json.Unmarshal(src, &doc); err != nil {
		return err.Error()
	}
	err := s.Validate(normal(doc))
	switch {
	case (err == nil) == (len(rules) == 0):
		return ""
	case err == nil:
		for _, r := range rules {
			if stricter[r] == "" {
				return "only Decode refuses: " + findings[slices.IndexFunc(findings, func(f workflow.Finding) bool { return f.Rule == r })].Format("")
			}
			reasons[r]++
		}
		return ""
	}
	for pattern := range looser {
		if regexp.MustCompile(pattern).MatchString(what) {
			reasons[pattern]++
			return ""
		}
	}
	return "only the schema refuses"
}

// mutation is a copy of a document with one thing changed: "/do/0/a/set = 1".
type mutation struct {
	doc  any
	what string
}

func mutations(doc any) []mutation {
	var out []mutation
	var visit func(v any, path string, rebuild func(any) any)
	visit = func(v any, path string, rebuild func(any) any) {
		for _, other := range []any{nil, 1, "x", true, []any{}, map[string]any{}, map[string]any{"x": 1}, "${ .x }"} {
			b, _ := json.Marshal(other)
			out = append(out, mutation{rebuild(other), path + " = " + string(b)})
		}
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				with := func(name string, val any, drop bool) any {
					m := maps.Clone(v)
					if drop {
						delete(m, k)
					}
					if name != "" {
						m[name] = val
					}
					return rebuild(m)
				}
				at := path + "/" + k
				out = append(out, mutation{with("", nil, true), at + " removed"}, mutation{with(k+"x", x, true), at + " renamed"}, mutation{with(k+"x", x, false), at + " doubled"})
				visit(x, at, func(n any) any { return with(k, n, true) })
			}
		case []any:
			for i, x := range v {
				visit(x, fmt.Sprintf("%s/%d", path, i), func(n any) any {
					l := slices.Clone(v)
					l[i] = n
					return rebuild(l)
				})
			}
		}
	}
	visit(doc, "", func(v any) any { return v })
	return out
}
