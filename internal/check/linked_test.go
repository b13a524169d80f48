package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// linked checks a definition with documents that are attached by their URI.
func linked(src string, documents map[string]string, portable bool) string {
	o := check.Options{
		Functions: []check.Function{{Name: "noop", Version: "1.0.0"}}, Portable: portable,
		Place: func(uri string) string { return strings.TrimPrefix(uri, "file:") },
		Link: func(def *workflow.Definition) (findings []workflow.Finding) {
			l := bundle.Begin(def)
			for w, ok := l.Next(); ok; w, ok = l.Next() {
				text := documents[w.URI]
				findings = append(findings, l.Attach(w, workflow.Attachment{Kind: w.Kind, Name: w.Name, URI: w.URI, Digest: bundle.Digest([]byte(text)), Content: []byte(text)})...)
			}
			if err := l.Seal(); err != nil {
				panic(err)
			}
			return append(findings, l.Findings()...)
		},
	}
	_, findings := check.Source([]byte("document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\n"+src), o)
	var out []string
	for _, f := range findings {
		out = append(out, f.Format("w.yaml"))
	}
	return strings.Join(out, "\n")
}

// DSL 84, 206, D23, D24: the body of an attached function is checked in its own
// document, its arguments at the call; what of use it names is checked where
// that stands, once.
func TestAttachedDocuments(t *testing.T) {
	t.Parallel()
	src := `use:
  secrets: [token]
  authentications: {mine: {bearer: {token: '${ .a + }'}}}
  functions:
    own: {set: {x: 1}, input: {schema: {document: {type: object, required: [n], properties: {n: {type: integer}}}}}}
do:
  - a: {call: 'https://h/f.yaml', with: {n: one}}
  - b: {call: 'file:g.yaml'}
  - c: {call: own, with: {n: '${ .n }'}}
  - d: {call: own}
  - e: {call: own, with: {n: 1.5}}
  - f: {set: {x: 1}, input: {schema: {resource: {endpoint: 'https://h/s.json'}}}}
`
	documents := map[string]string{
		"https://h/f.yaml": `input: {schema: {document: {type: object, properties: {n: {type: integer}}}}}
do:
  - x: {set: {y: '${ $secrets.token }'}, export: {as: .}}
  - y: {call: http, with: {method: get, endpoint: {uri: 'https://x', authentication: {use: mine}}}}
  - z: {set: {y: '${ .a | }'}}
`,
		"file:g.yaml":      "set: {x: '${ $secrets.token }'}\ninput: {from: .a.b(}\n",
		"https://h/s.json": `{"type": "nonsense"}`,
	}
	got := linked(src, documents, false)
	want := []string{
		"w.yaml:4:", "mistake in use.authentications, where it stands",
		"w.yaml:8:", "the arguments of https://h/f.yaml: /n",
		"w.yaml:11:", `the arguments of own lack "n"`,
		"w.yaml:12:", "the arguments of own: /n",
		"w.yaml:13:", "the schema does not compile",
		"g.yaml:2:", "the expression does not compile",
		"https://h/f.yaml:3:", "this function from elsewhere reads secrets of the workflow",
		"https://h/f.yaml:3:", "export inside a function has no effect",
		"https://h/f.yaml:4:", "this function from elsewhere uses an authentication of the workflow",
		"https://h/f.yaml:5:", "the expression does not compile",
	}
	for i := 0; i < len(want); i += 2 {
		found := false
		for line := range strings.SplitSeq(got, "\n") {
			found = found || strings.HasPrefix(line, want[i]) && (i == 0 || strings.Contains(line, want[i+1]))
		}
		if !found {
			t.Errorf("no finding %s … %s in\n%s", want[i], want[i+1], got)
		}
	}
	if strings.Contains(got, "w.yaml:10:") || strings.Count(got, "w.yaml:4:") != 1 || strings.Contains(got, "f.yaml:4:52: error") || strings.Contains(got, "g.yaml:1:14: warning: this function from elsewhere") {
		t.Errorf("more than is wrong:\n%s", got)
	}
}

// What is portable of an attached document is its author's matter.
func TestAttachedDocumentsAndPortability(t *testing.T) {
	t.Parallel()
	got := linked("do:\n  - a: {call: 'https://h/f.yaml', with: {}}\n", map[string]string{
		"https://h/f.yaml": "call: noop\nmetadata: {downbeat: {interrupted: fault}}\n",
	}, true)
	want := "w.yaml:3:15: hint: a function sees its arguments as input and $context read-only; runtimes differ (portable/function-scope)"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// DSL 84: a function that lets any argument pass does not name one that is
// written wrong; the finding on the one that is missing does.
func TestMissingArgumentIsRecognized(t *testing.T) {
	t.Parallel()
	src := `use:
  functions:
    price: {set: {x: 1}, input: {schema: {document: {type: object, required: [net], properties: {net: {type: number}, rate: {type: number}}}}}}
do:
  - a: {call: price, with: {nett: 1}}
  - b: {call: price, with: {rate: 1}}
`
	got := linked(src, nil, false)
	for _, want := range []string{`lack "net", but have "nett" (`, `lack "net" (`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("no finding with %s in\n%s", want, got)
		}
	}
}
