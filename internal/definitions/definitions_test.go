package definitions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

func define(t *testing.T, name, body string) *workflow.Definition {
	t.Helper()
	def, findings := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: n, name: " + name + ", version: '1.0.0'" + body))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			t.Fatal(f.Format(name))
		}
	}
	return def
}

const noop = "}\ndo:\n  - a: {call: noop}\n"

func runs(names ...string) string {
	b := strings.Builder{}
	b.WriteString("}\ndo:\n")
	for i, n := range names {
		b.WriteString("  - " + string(rune('a'+i)) + ": {run: {workflow: {namespace: n, name: " + n + "}}}\n")
	}
	return b.String()
}

func cache(store *journal.Memory, lib map[string]*workflow.Definition) *definitions.Cache {
	return definitions.New(definitions.Options{
		Program: program.Options{Functions: []string{"noop"}}, Has: func(kind string) bool { return kind == "noop" },
		Library: func(_ context.Context, id string) (*workflow.Definition, error) {
			name, _, _ := strings.Cut(id, ":")
			return lib[name], nil
		},
		Store: store, Reader: store, Seals: func() error { return errors.New("no key") },
	})
}

// DSL 141, D25: what a run can name, directly or through its children, is
// recorded when it starts; a circle is no trap.
func TestClosureResolvesEveryName(t *testing.T) {
	t.Parallel()
	store := journal.NewMemory()
	deployed := define(t, "deployed", noop)
	b := journal.Batch{Definitions: []journal.Definition{{Digest: deployed.Digest, ID: "n/deployed:1.0.0", Source: deployed.Source}}}
	if err := store.Commit(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	c := cache(store, map[string]*workflow.Definition{"n/one": define(t, "one", runs("two", "root")), "n/two": define(t, "two", runs("one", "deployed"))})
	root, err := c.Take(define(t, "root", runs("one")))
	if err != nil {
		t.Fatal(err)
	}
	names, defs, err := c.Closure(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range names {
		got = append(got, n.Name+" = "+n.ID)
	}
	slices.Sort(got)
	want := []string{"n/deployed:latest = n/deployed:1.0.0", "n/one:latest = n/one:1.0.0", "n/root:latest = n/root:1.0.0", "n/two:latest = n/two:1.0.0"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(defs) != 3 {
		t.Errorf("%d definitions beside the root", len(defs))
	}
}

func TestTakeRefusesWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	c := cache(journal.NewMemory(), nil)
	for name, want := range map[string]string{
		"}\ndo:\n  - a: {call: http, with: {method: get, endpoint: 'http://x'}}\n": `/do/0/a is a task of the kind "http"`,
		"}\nuse: {secrets: [s]}\ndo:\n  - a: {call: noop}\n":                       "must be encrypted: no key",
	} {
		if _, err := c.Take(define(t, "w", name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	def := define(t, "w", noop)
	first, err := c.Take(def)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Take(define(t, "w", noop)); err != nil || again != first {
		t.Errorf("the same definition is compiled twice: %v", err)
	}
}

func TestGroupIsTheKeyOfTheInput(t *testing.T) {
	t.Parallel()
	c := cache(journal.NewMemory(), nil)
	for key, want := range map[string]string{
		"":                        "n/w",
		", key: .customer":        `n/w "ada"`,
		", key: '${ .customer }'": `n/w "ada"`,
		", key: .missing":         "n/w null",
	} {
		d, err := c.Take(define(t, "w", ", metadata: {downbeat: {concurrency: {limit: 2"+key+"}}}"+noop))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Group(value.FromJSON([]byte(`{"customer":"ada"}`))); err != nil || got != want {
			t.Errorf("key%q: %q, %v; want %q", key, got, err, want)
		}
	}
	d, err := c.Take(define(t, "w", ", metadata: {downbeat: {concurrency: {limit: 2, key: '.a.b.c'}}}"+noop))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Group(value.FromJSON([]byte(`{"a":"text"}`))); err == nil {
		t.Error("a key that cannot be evaluated has a group")
	}
}

// DSL 154, DSL 166: a policy anywhere in a call makes the runs sealed, for what
// it gives may come back as $authorization.
func TestRunsWithAuthenticationAreSealed(t *testing.T) {
	t.Parallel()
	at := "{uri: 'https://x.y', authentication: {bearer: {token: t}}}"
	for call, sealed := range map[string]bool{
		"{call: http, with: {method: get, endpoint: 'https://x.y'}}":                                                          false,
		"{call: http, with: {method: get, endpoint: " + at + "}}":                                                             true,
		"{call: openapi, with: {operationId: x, document: {endpoint: " + at + "}}}":                                           true,
		"{call: grpc, with: {method: x, service: {name: x, host: x.y}, proto: {endpoint: " + at + "}}}":                       true,
		"{call: grpc, with: {method: x, service: {name: x, host: x.y, authentication: {basic: {username: a, password: b}}}}}": true,
		"{call: a2a, with: {method: tasks/list, agentCard: {endpoint: " + at + "}}}":                                          true,
		"{call: a2a, with: {method: tasks/list, server: " + at + "}}":                                                         true,
		"{call: mcp, with: {method: tools/list, transport: {http: {endpoint: " + at + "}}}}":                                  true,
		"{call: mcp, with: {method: tools/list, transport: {stdio: {command: x}}}}":                                           false,
		"{call: asyncapi, with: {operation: x, message: {payload: 1}, document: {endpoint: " + at + "}}}":                     true,
	} {
		store := journal.NewMemory()
		d := definitions.New(definitions.Options{Has: func(string) bool { return true }, Store: store, Reader: store, Seals: func() error { return nil }})
		c, err := d.Take(define(t, "x", "}\ndo:\n  - a: "+call+"\n"))
		if err != nil || c.Sealed != sealed {
			t.Errorf("%s: %v, %v", call, c, err)
		}
	}
}
