package graph_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/graph"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t testing.TB, path string) *graph.Graph {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(src))
}

func parse(t testing.TB, src string) *graph.Graph {
	t.Helper()
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		t.Fatal(findings)
	}
	return graph.Build(def)
}

const head = "document: {dsl: '1.0.3', namespace: test, name: drawing, version: '1.0.0'}\ndo:\n"

// orders is a run of testdata/orders.yaml: one round of the loop failed, the
// truck is waited for.
func orders() []graph.Activation {
	const ms = time.Millisecond
	return []graph.Activation{
		{Reference: "/do/0/loadOrder", Parent: -1, Status: event.Completed, Attempts: 1, Duration: 340 * ms},
		{Reference: "/do/1/checkStock", Parent: -1, Status: event.Completed, Attempts: 1, Duration: 72 * time.Second, Total: 2},
		{Reference: "/do/1/checkStock/do/0/reserve", Parent: 1, Iteration: []int{0}, Status: event.Completed, Attempts: 3, Duration: 900 * ms},
		{Reference: "/do/1/checkStock/do/1/enough", Parent: 1, Iteration: []int{0}, Status: event.Completed},
		{Reference: "/do/1/checkStock/do/2/note", Parent: 1, Iteration: []int{0}, Status: event.Completed},
		{Reference: "/do/1/checkStock/do/0/reserve", Parent: 1, Iteration: []int{1}, Status: event.Completed, Attempts: 1, Duration: 800 * ms},
		{Reference: "/do/1/checkStock/do/1/enough", Parent: 1, Iteration: []int{1}, Status: event.Completed},
		{Reference: "/do/2/kindOfOrder", Parent: -1, Status: event.Completed},
		{Reference: "/do/4/processPhysical", Parent: -1, Status: event.Running, Total: 3, Duration: 65 * time.Minute},
		{Reference: "/do/4/processPhysical/fork/branches/0/pack", Parent: 8, Status: event.Faulted, Attempts: 1, Duration: 12 * time.Second},
		{Reference: "/do/4/processPhysical/fork/branches/1/label", Parent: 8, Status: event.Running, Attempts: 2, Duration: 65 * time.Minute},
		{Reference: "/do/4/processPhysical/fork/branches/2/truck", Parent: 8, Status: event.Waiting, Attempts: 1, Duration: 65 * time.Minute},
	}
}

type renderer func(*graph.Graph, io.Writer, *graph.Overlay) error

var renderers = map[string]renderer{
	"svg": (*graph.Graph).SVG, "mmd": (*graph.Graph).Mermaid, "dot": (*graph.Graph).DOT, "json": (*graph.Graph).JSON,
}

func draw(t testing.TB, r renderer, g *graph.Graph, o *graph.Overlay) string {
	t.Helper()
	var b bytes.Buffer
	if err := r(g, &b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// DSL 56, 88, 98, 103, 112, 116: what each kind of task looks like, and the ways
// between tasks. Look at the SVG files before committing a change of them.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"orders", "kinds"} {
		g := load(t, filepath.Join("testdata", name+".yaml"))
		for ext, r := range renderers {
			golden(t, name+"."+ext, draw(t, r, g, nil))
		}
	}
	g := load(t, "testdata/orders.yaml")
	o := g.Trace("01890a5d-ac96-774b-bcce-b302099a8057", event.Running, orders())
	for ext, r := range renderers {
		golden(t, "orders-run."+ext, draw(t, r, g, o))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it anew (-want +got):\n%s", path, diff)
	}
}

func TestSpecificationIsDrawn(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("DOWNBEAT_SPEC")
	if dir == "" {
		dir = "../../../shared/spec"
	}
	files, err := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	if err != nil || len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("the specification is not there; set DOWNBEAT_SPEC")
		}
		t.Skip("the specification is not there; set DOWNBEAT_SPEC")
	}
	for _, f := range files {
		g := load(t, f)
		for ext, r := range renderers {
			out := draw(t, r, g, nil)
			if ext == "svg" {
				wellFormed(t, out)
			}
		}
		sound(t, g, nil)
	}
}

func wellFormed(t testing.TB, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the SVG is not well-formed: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image" || e.Name.Local == "foreignObject") {
			t.Fatalf("the SVG holds an element %s", e.Name.Local)
		}
	}
}

// A name can hold anything; no drawing may be led astray by it.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	evil := []string{
		`</svg><script>alert(1)</script>`, `"]; evil --> n0; x["`, "a\nb\r\n  - c", "`**bold**` _it_ [l](javascript:x)", `\"; } digraph {`,
		"\u202eevil", "\x00\x1b[31m", "]]><![CDATA[", "&lt;&#60;#quot;", "%%{init: {}}%%", "end", strings.Repeat("x", 10_000), strings.Repeat("界", 10_000), "",
	}
	def := &workflow.Definition{Document: workflow.Document{Namespace: evil[0], Name: evil[1], Version: evil[2], Title: evil[3] + evil[0]}}
	for i, name := range evil {
		def.Do = append(def.Do, &workflow.Task{
			Name: name, Reference: fmt.Sprintf("/do/%d/%s", i, name), Kind: workflow.SwitchTask, If: &workflow.Expr{Source: name},
			Switch: []workflow.Case{{Name: name, When: &workflow.Expr{Source: name}, Then: workflow.Directive{Name: "end"}}},
		}, &workflow.Task{
			Name: name + "2", Reference: fmt.Sprintf("/do/%d/%s2", i, name), Kind: workflow.RunTask,
			Run: &workflow.Run{Kind: workflow.RunShell, With: workflow.Value{
				Kind: workflow.MapValue, Keys: []string{"command"}, Fields: []workflow.Value{{Kind: workflow.ScalarValue, Scalar: name}},
			}},
		})
	}
	g := graph.Build(def)
	svg := draw(t, (*graph.Graph).SVG, g, nil)
	wellFormed(t, svg)
	sound(t, g, nil)
	mermaid := draw(t, (*graph.Graph).Mermaid, g, nil)
	dot := draw(t, (*graph.Graph).DOT, g, nil)
	for _, bad := range []string{"<script", "\u202e", "\x1b", strings.Repeat("x", 200), "CDATA["} {
		for _, out := range []string{withoutReferences(svg), mermaid, strings.NewReplacer("<script", "", "CDATA[", "").Replace(dot)} {
			if strings.Contains(out, bad) && (bad != "CDATA[" || strings.Contains(out, "<![CDATA[")) {
				t.Errorf("a drawing holds %.20q", bad)
			}
		}
	}
	for line := range strings.SplitSeq(strings.TrimSpace(dot), "\n") {
		if n := strings.Count(strings.NewReplacer(`\\`, "", `\"`, "").Replace(line), `"`); n%2 != 0 {
			t.Errorf("an odd number of quotes: %.100s", line)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(mermaid), "\n")[1:] {
		if n := strings.Count(line, `"`); n != 0 && n != 2 {
			t.Errorf("%d quotes: %.100s", n, line)
		}
	}
}

// withoutReferences takes the references away, which identify tasks and so are
// not shortened.
func withoutReferences(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, ` data-reference="`) {
		if i > 0 {
			_, part, _ = strings.Cut(part, `"`)
		}
		b.WriteString(part)
	}
	return b.String()
}

// drawing is what the JSON form says of places.
type drawing struct {
	Width, Height int
	Nodes         []struct {
		ID, Parent, Role string
		Box              [4]int
	}
	Edges []struct {
		From, To, Kind string
		Taken          bool
		Route          [][2]int
	}
}

// sound holds the laws of a layout: boxes of one frame do not overlap and lie
// within it, and no edge runs through a box.
func sound(t fataler, g *graph.Graph, o *graph.Overlay) {
	t.Helper()
	var b bytes.Buffer
	if err := g.JSON(&b, o); err != nil {
		t.Fatalf("%v", err)
	}
	var d drawing
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatalf("%v", err)
	}
	box := map[string][4]int{"": {0, 0, d.Width, d.Height}}
	inside := map[string][]int{}
	parent := map[string]string{}
	for i, n := range d.Nodes {
		box[n.ID] = n.Box
		parent[n.ID] = n.Parent
		p := box[n.Parent]
		if n.Box[0] < p[0] || n.Box[1] < p[1] || n.Box[0]+n.Box[2] > p[0]+p[2] || n.Box[1]+n.Box[3] > p[1]+p[3] {
			t.Fatalf("%s %v is not within %q %v", n.ID, n.Box, n.Parent, p)
		}
		for _, j := range inside[n.Parent] {
			if m := d.Nodes[j]; n.Box[0] < m.Box[0]+m.Box[2] && m.Box[0] < n.Box[0]+n.Box[2] && n.Box[1] < m.Box[1]+m.Box[3] && m.Box[1] < n.Box[1]+n.Box[3] {
				t.Fatalf("%s %v overlaps %s %v", n.ID, n.Box, m.ID, m.Box)
			}
		}
		inside[n.Parent] = append(inside[n.Parent], i)
	}
	for _, e := range d.Edges {
		for i := 1; i < len(e.Route); i++ {
			a, z := e.Route[i-1], e.Route[i]
			if a[0] != z[0] && a[1] != z[1] {
				t.Fatalf("%s to %s runs aslant: %v", e.From, e.To, e.Route)
			}
			for _, j := range inside[parent[e.From]] {
				n := d.Nodes[j]
				if max(a[0], z[0]) > n.Box[0] && min(a[0], z[0]) < n.Box[0]+n.Box[2] && max(a[1], z[1]) > n.Box[1] && min(a[1], z[1]) < n.Box[1]+n.Box[3] {
					t.Fatalf("%s to %s %v runs through %s %v", e.From, e.To, e.Route, n.ID, n.Box)
				}
			}
			p := box[parent[e.From]]
			if z[0] < p[0] || z[0] > p[0]+p[2] || z[1] < p[1] || z[1] > p[1]+p[3] {
				t.Fatalf("%s to %s %v leaves its frame %v", e.From, e.To, e.Route, p)
			}
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}
