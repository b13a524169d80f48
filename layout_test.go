package downbeat_test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/downbeat-dev/downbeat/"

// layers names, for each package, the packages of this module it may import.
// "x/*" stands for any child of x; "*" for anything. Leave the list short: a
// longer line here is an architecture change and wants a reviewer.
var layers = map[string]string{
	// The language: pure. Time, randomness and I/O arrive as data.
	"internal/value":      "",
	"internal/source":     "internal/value",
	"internal/workflow":   "internal/source internal/value",
	"internal/event":      "internal/value",
	"internal/bundle":     "internal/source internal/workflow",
	"internal/jq":         "internal/value",
	"internal/expr":       "internal/jq internal/value",
	"internal/schema":     "internal/value",
	"internal/shellwords": "",
	"internal/check":      "internal/cron internal/source internal/workflow internal/expr internal/schema internal/shellwords internal/value",
	"internal/cron":       "",
	"internal/editor":     "internal/check internal/source internal/workflow",
	"internal/program":    "internal/workflow internal/event internal/expr internal/schema internal/value",
	"internal/state":      "internal/event internal/program internal/value",
	"internal/machine":    "internal/state internal/workflow internal/event internal/expr internal/schema internal/value internal/program",
	"internal/graph":      "internal/workflow internal/event internal/value",
	"internal/view":       "internal/workflow internal/event internal/machine internal/value",
	"internal/rewind":     "internal/machine internal/state internal/program internal/event internal/expr internal/view internal/workflow",
	"internal/yamledit":   "internal/source internal/value",
	"internal/rehearse":   "internal/source internal/workflow internal/event internal/program internal/machine internal/view internal/value internal/expr internal/yamledit",
	"internal/tape":       "internal/workflow internal/event internal/program internal/machine internal/view internal/value internal/rehearse internal/yamledit",

	// The ports: what we need from outside, said in our words.
	"internal/journal":  "internal/event",
	"internal/executor": "internal/event internal/value",
	"internal/outbound": "internal/secret internal/event internal/value internal/lifecycle",
	"internal/secret":   "internal/event internal/value",

	// The adapters: one outside dependency each; never each other.
	"internal/journal/journaltest":   "internal/journal internal/event",
	"internal/store/storetest":       "internal/journal/journaltest internal/journal internal/event",
	"internal/store/*":               "internal/journal internal/event",
	"internal/executor/executortest": "internal/executor internal/event internal/value",
	"internal/executor/*":            "internal/executor internal/event internal/outbound internal/value",
	"internal/executor/process":      "internal/executor internal/event internal/outbound internal/shellwords internal/value",
	"internal/executor/container":    "internal/executor internal/executor/process internal/event internal/value",                   // a command line is one wherever it runs
	"internal/executor/mcp":          "internal/executor internal/executor/process internal/event internal/outbound internal/value", // a server is a process of the attempt

	// The engine room: owns goroutines and the clock; sees ports only.
	"internal/lifecycle":   "",
	"internal/link":        "internal/bundle internal/event internal/expr internal/lifecycle internal/outbound internal/source internal/value internal/workflow",
	"internal/feed":        "internal/event internal/machine",
	"internal/definitions": "internal/bundle internal/event internal/journal internal/machine internal/program internal/value internal/workflow",
	"internal/history":     "internal/definitions internal/event internal/journal internal/machine internal/program internal/value internal/view",
	"internal/trigger":     "internal/cron internal/workflow internal/event internal/program internal/machine internal/journal internal/lifecycle internal/value internal/engine",
	"internal/control":     "internal/machine internal/rewind internal/history internal/definitions internal/feed internal/workflow internal/event internal/check internal/program internal/journal internal/lifecycle internal/value internal/view internal/engine",
	"internal/engine":      "internal/history internal/definitions internal/feed internal/workflow internal/event internal/program internal/machine internal/view internal/journal internal/lifecycle internal/worker internal/executor internal/secret internal/value",
	"internal/worker":      "internal/event internal/executor internal/secret internal/lifecycle internal/value",

	// The edges.
	"internal/config":    "",
	"internal/reference": "internal/executor internal/value",
	"internal/progress":  "internal/event internal/machine internal/view",
	"internal/report":    "internal/check internal/editor internal/event internal/forms internal/progress internal/secret internal/value internal/view internal/workflow",
	"internal/forms":     "internal/event internal/source internal/value internal/workflow",
	"internal/scaffold":  "internal/editor internal/forms",
	"internal/bench":     "*",
	"internal/cli":       "*",
	"internal/server":    "*",
	"internal/sim":       "*", // test harness; see testOnly
	"cmd/downbeat":       "internal/cli",
}

const impure = "bufio crypto/rand database/sql log log/slog math/rand math/rand/v2 net net/http os os/exec runtime sync sync/atomic"

// banned lists what a package may not import from outside the module.
var banned = map[string]string{
	"internal/workflow":   impure + " context",
	"internal/event":      impure + " context",
	"internal/check":      impure + " context",
	"internal/cron":       impure + " context",
	"internal/shellwords": impure + " context",
	"internal/value":      impure + " context",
	"internal/source":     impure + " context",
	"internal/schema":     impure + " context",
	"internal/program":    impure + " context",
	"internal/state":      impure + " context",
	"internal/machine":    impure + " context",
	"internal/editor":     impure + " context",
	"internal/bundle":     impure + " context",
	"internal/graph":      impure + " context",
	"internal/view":       impure + " context",
	"internal/rewind":     impure + " context",
	"internal/yamledit":   impure + " context",
	"internal/rehearse":   impure + " context",
	"internal/tape":       impure + " context",
	"internal/expr":       impure,
	"internal/jq":         impure, // a context is gojq's only brake; ours counts steps
}

// owned says where a costly outside module may be imported: nowhere else.
var owned = map[string]string{
	"github.com/itchyny/gojq":               "internal/expr internal/jq",
	"modernc.org/sqlite":                    "internal/store/sqlite",
	"zombiezen.com/go/sqlite":               "internal/store/sqlite",
	"github.com/santhosh-tekuri/jsonschema": "internal/schema",
	"modernc.org/quickjs":                   "internal/executor/javascript",
	"modernc.org/libquickjs":                "internal/executor/javascript",
	"go.yaml.in/yaml":                       "internal/executor/asyncapi internal/executor/openapi internal/source internal/workflow internal/config internal/cli internal/secret internal/control internal/forms",
	"github.com/spf13/cobra":                "internal/cli",
	"charm.land/lipgloss":                   "internal/cli internal/progress",
}

// testOnly packages may be imported by _test.go files alone.
var testOnly = []string{"internal/sim", "internal/journal/journaltest", "internal/store/storetest", "internal/executor/executortest"}

const maxFile, maxPackage, maxRing = 600, 3000, 28000 // lines, tests and generated files aside

// wide packages are many small files that do not call each other (ADR 9).
var wide = map[string]int{"internal/cli": 4500}

// TestLayers reads the files itself instead of running 'go list': the test
// cache sees files that a test opens, not those that its children open.
func TestLayers(t *testing.T) {
	lines, doc := map[string]int{}, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if d.IsDir() && (slices.Contains([]string{"testdata", "node_modules", "examples", "conformance"}, d.Name()) || path != "." && strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		pkg := strings.TrimSuffix(path[:strings.LastIndexByte(path, '/')+1], "/")
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || pkg == "" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		doc[pkg] = doc[pkg] || f.Doc != nil
		if !bytes.HasPrefix(src, []byte("// Code generated")) {
			n := bytes.Count(src, []byte("\n"))
			if lines[pkg] += n; n > maxFile {
				t.Errorf("%s: %d lines; split it at %d", path, n, maxFile)
			}
		}
		may, ok := layers[pkg]
		if !ok {
			may, ok = layers[pkg[:max(0, strings.LastIndexByte(pkg, '/'))]+"/*"]
		}
		if !ok {
			t.Errorf("%s: package %s is new: give it a line in layers", path, pkg)
			return nil
		}
		for _, i := range f.Imports {
			imp, _ := strconv.Unquote(i.Path.Value)
			dep, ours := strings.CutPrefix(imp, module)
			switch {
			case ours && slices.Contains(testOnly, dep) && !slices.Contains(testOnly, pkg):
				t.Errorf("%s: imports %s, which is for tests", path, dep)
			case ours && may != "*" && !slices.Contains(strings.Fields(may), dep):
				t.Errorf("%s: imports %s; %s may import only [%s]", path, dep, pkg, may)
			case !ours && slices.Contains(strings.Fields(banned[pkg]), imp):
				t.Errorf("%s: imports %s; %s takes time, randomness and I/O as data", path, imp, pkg)
			}
			for lib, owner := range owned {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(strings.Fields(owner), pkg) {
					t.Errorf("%s: imports %s, which belongs to %s", path, imp, owner)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ring := 0
	for pkg, n := range lines {
		if most := max(maxPackage, wide[pkg]); n > most {
			t.Errorf("%s: %d lines; a package has at most %d", pkg, n, most)
		}
		if banned[pkg] != "" && !slices.Contains([]string{"internal/rehearse", "internal/tape", "internal/yamledit"}, pkg) { // tools over the language
			ring += n
		}
		if !doc[pkg] {
			t.Errorf("%s: no package comment", pkg)
		}
	}
	if ring > maxRing {
		t.Errorf("the language has %d lines; at most %d (ADR 9, 11)", ring, maxRing)
	}
}
