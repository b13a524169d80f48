package bundle_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// DSL 201: relative names of documents that tasks read start where the
// definition stands, and the stored form says where that is.
func TestPlace(t *testing.T) {
	t.Parallel()
	for task, want := range map[string]string{
		"call: openapi\n      with: {document: {endpoint: api.yaml}, operationId: x}":                   "file:api.yaml",
		"call: openapi\n      with: {document: {endpoint: {uri: 'file:./d/api.yaml'}}, operationId: x}": "file:d/api.yaml",
		"call: openapi\n      with: {document: {endpoint: '${ .where }'}, operationId: x}":              "",
		"call: grpc\n      with: {proto: {endpoint: a.proto}, service: {name: s, host: h}, method: m}":  "file:a.proto",
		"call: openapi\n      with: {document: {endpoint: 'https://e.x/api.yaml'}, operationId: x}":     "none",
		"call: openapi\n      with: {document: {endpoint: 'file:///api.yaml'}, operationId: x}":         "none",
		"call: http\n      with: {method: get, endpoint: 'https://e.x'}":                                "none",
		"call: grpc\n      with: {service: {name: s, host: h}, method: m}":                              "none",
		"run: {script: {language: js, source: {endpoint: 'file:${ .script }'}}}":                        "",
		"run: {script: {language: js, source: {endpoint: '${ .script }'}}}":                             "",
	} {
		def, findings := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\ndo:\n  - a:\n      " + task + "\n"))
		if def == nil {
			t.Fatalf("%s: %v", task, findings)
		}
		got := "none"
		if list := bundle.Locals(def); len(list) > 0 {
			got = list[0].Path
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", task, d)
		}
		linking := bundle.Begin(def)
		linking.Stand("/home/ada")
		if err := linking.Seal(); err != nil {
			t.Fatal(err)
		}
		stored, findings := bundle.Decode(def.Source)
		if stored == nil {
			t.Fatal(findings)
		}
		base := "/home/ada"
		if want == "none" {
			base = ""
		}
		if d := cmp.Diff(base, bundle.Base(stored)); d != "" {
			t.Errorf("%s: %s\n%s", task, d, stored.Source)
		}
		if (base == "") != !strings.Contains(string(def.Source), "kind: place") {
			t.Errorf("%s: stored as\n%s", task, def.Source)
		}
	}
}
