package bundle_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const head = "document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\n"

// link attaches what files hold, by URI, as package link does with a network.
func link(t *testing.T, src string, files map[string]string) (*workflow.Definition, []workflow.Finding) {
	t.Helper()
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		t.Fatalf("findings: %v", findings)
	}
	l := bundle.Begin(def)
	findings = nil
	for w, ok := l.Next(); ok; w, ok = l.Next() {
		text, there := files[w.URI]
		if !there {
			findings = append(findings, w.Finding("missing", "there is no "+w.URI, ""))
			continue
		}
		findings = append(findings, l.Attach(w, workflow.Attachment{Kind: w.Kind, Name: w.Name, URI: w.URI, Digest: bundle.Digest([]byte(text)), Content: []byte(text)})...)
	}
	findings = append(findings, l.Findings()...)
	if err := l.Seal(); err != nil {
		t.Fatal(err)
	}
	return def, findings
}

func said(findings []workflow.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Format("w.yaml"))
	}
	return strings.Join(out, "\n")
}

// The stored form begins with the author's text, byte for byte, and can be read
// by a person (DSL 198, D23).
func TestStoredForm(t *testing.T) {
	src := head + `use: {catalogs: {own: {endpoint: ./catalogue}}}
do:
  - greet: {call: 'greet:1.0.0@own', with: {name: Ada}}`
	def, findings := link(t, src, map[string]string{
		"file:catalogue/functions/greet/1.0.0/function.yaml": "set:\n  hello: ${ .name }\n",
	})
	if len(findings) > 0 {
		t.Fatal(said(findings))
	}
	want := src + `
--- # downbeat: attached to the 173 bytes above
kind: function
name: "greet:1.0.0@own"
uri: "file:catalogue/functions/greet/1.0.0/function.yaml"
digest: "sha256:b3fbb2cb51ac9853456de8a6b98a4df6dc32b7af762220cf536a310e121aaed0"
content: |2+
  set:
    hello: ${ .name }
`
	if diff := cmp.Diff(want, string(def.Source)); diff != "" {
		t.Error(diff)
	}
	again, findings := bundle.Decode(def.Source)
	if again == nil || again.Digest != def.Digest || again.Digest != bundle.Digest(def.Source) || again.FindFunction("greet:1.0.0@own") == nil {
		t.Errorf("read again: %v", said(findings))
	}
	if again.FindLinked("greet:1.0.0@own") == nil || again.FindLinked("other") != nil {
		t.Error("the attachment is not found by the function's name")
	}
	broken := strings.Replace(string(def.Source), "hello: ${", "hallo: ${", 1)
	if d, f := bundle.Decode([]byte(broken)); d != nil || !strings.Contains(said(f), "its content is not what its digest says") {
		t.Errorf("a changed attachment was read: %s", said(f))
	}
}

// A definition that names nothing elsewhere is stored as it always was.
func TestPlainDefinitionStaysAsItIs(t *testing.T) {
	src := head + "do:\n  - a: {set: {x: 1}}\n"
	plain, _ := workflow.Decode([]byte(src))
	def, _ := link(t, src, nil)
	if string(def.Source) != src || def.Digest != plain.Digest || def.Linked != nil {
		t.Errorf("the definition changed: %q", def.Source)
	}
	// A line that looks like ours is the author's when it does not stand where it says.
	odd := "# x\n# --- # downbeat: attached to the 3 bytes above\n" + src
	if main, list, err := bundle.Split([]byte(odd)); string(main) != odd || list != nil || err != nil {
		t.Errorf("split a plain source: %v", err)
	}
}

// An author can write what he likes: a plain source that looks like a linked one is read as it is.
func TestSourceThatLooksLinked(t *testing.T) {
	t.Parallel()
	line, task := "--- # downbeat: attached to the 3 bytes above\n", "do:\n  - a: {set: {x: 1}}\n"
	for _, src := range []string{
		"# x\n" + line + head + task,
		"# x\n" + line + "kind: x\n" + head + task,
		line + head + task,
	} {
		plain, _ := workflow.Decode([]byte(src))
		def, findings := bundle.Decode([]byte(src))
		if (def == nil) != (plain == nil) || plain != nil && (def.Digest != plain.Digest || def.Linked != nil) {
			t.Errorf("%q: %s", src, said(findings))
		}
	}
	if main, list, err := bundle.Split([]byte("# xyz\n" + line + "kind: x\n")); len(main) != len("# xyz\n"+line+"kind: x\n") || list != nil || err != nil {
		t.Errorf("%q, %v, %v", main, list, err)
	}
}

func TestJoinAndSplitAreInverse(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab :-#|>'\"\\{}\n\n\t\u00e9\u2028\u0085\r\ufeff\x07")), 0, 60, -1)
	rapid.Check(t, func(t *rapid.T) {
		main := []byte(head + "do: []" + rapid.SampledFrom([]string{"", "\n", "\n\n", "\n# end", "\n...\n"}).Draw(t, "end"))
		var list []workflow.Attachment
		for range rapid.IntRange(1, 4).Draw(t, "attachments") {
			c := rapid.OneOf(text, rapid.Just("--- # downbeat: attached\nx"), rapid.Just("\n--- # downbeat: attached to the 90 bytes above\n")).Draw(t, "content")
			list = append(list, workflow.Attachment{
				Kind: rapid.SampledFrom([]string{bundle.Function, bundle.Schema, bundle.Script}).Draw(t, "kind"),
				Name: text.Draw(t, "name"), URI: "https://x/" + text.Draw(t, "uri"), Digest: bundle.Digest([]byte(c)), Content: []byte(c),
			})
		}
		stream, err := bundle.Join(main, list)
		if err != nil {
			t.Fatal(err)
		}
		m, l, err := bundle.Split(stream)
		if err != nil {
			t.Fatalf("%v\n%s", err, stream)
		}
		if diff := cmp.Diff(string(main), string(m)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(list, l); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ base, ref, want string }{
		{"", "file:a/b.yaml", "file:a/b.yaml"},
		{"", "./a/../b.yaml", "file:b.yaml"},
		{"", "file:../b.yaml", "file:../b.yaml"},
		{"", "file://./b.yaml", "file:b.yaml"},
		{"", "file:///etc/b.yaml", "file:///etc/b.yaml"},
		{"", "file:/etc/b.yaml", "file:///etc/b.yaml"},
		{"", "FILE:///etc/b.yaml", "file:///etc/b.yaml"},
		{"", "File:b.yaml", "file:b.yaml"},
		{"", "HTTPS://H/b.yaml", "https://H/b.yaml"},
		{"", "Git+HTTPS://h/r.git#f", "git+https://h/r.git#f"},
		{"https://h/c/f.yaml", "FILE:///etc/passwd", "!a file of this machine"},
		{"https://h/c/f.yaml", "GIT+file:///srv/x.git#f", "!a repository of this machine"},
		{"", "file://host/b.yaml", "!names the machine"},
		{"", "ftp://x/y", "!has the scheme \"ftp\""},
		{"file:c/functions/f/1.0.0/function.yaml", "schema.json", "file:c/functions/f/1.0.0/schema.json"},
		{"file:c/functions/f/1.0.0/function.yaml", "file:../../g/1.0.0/function.yaml", "file:c/functions/g/1.0.0/function.yaml"},
		{"file:///c/f.yaml", "file:g.yaml", "file:///c/g.yaml"},
		{"https://h/c/f.yaml", "file:g.yaml", "https://h/c/g.yaml"},
		{"https://h/c/f.yaml?x=1", "../g.yaml", "https://h/g.yaml"},
		{"https://h/c/f.yaml", "file:///etc/passwd", "!a file of this machine"},
		{"https://h/c/f.yaml", "git+file:///srv/x.git#f", "!a repository of this machine"},
		{"https://h/c/f.yaml", "https://o/g.yaml", "https://o/g.yaml"},
		{"git+https://h/r.git@v1#a/b/f.yaml", "../g.yaml", "git+https://h/r.git@v1#a/g.yaml"},
		{"git+https://h/r.git@v1#a/f.yaml", "../../../../etc/passwd", "git+https://h/r.git@v1#etc/passwd"},
	} {
		got, err := bundle.Resolve(c.base, c.ref)
		if why, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("Resolve(%q, %q) = %q, %v; want an error with %q", c.base, c.ref, got, err, why)
			}
		} else if got != c.want || err != nil {
			t.Errorf("Resolve(%q, %q) = %q, %v; want %q", c.base, c.ref, got, err, c.want)
		}
	}
}

// DSL 198: the layout of a catalogue.
func TestFunctionURI(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"https://h/c/":                       "https://h/c/functions/log/1.0.0/function.yaml",
		"https://h/c?token=x":                "https://h/c/functions/log/1.0.0/function.yaml?token=x",
		"https://h":                          "https://h/functions/log/1.0.0/function.yaml",
		"./catalogue":                        "file:catalogue/functions/log/1.0.0/function.yaml",
		"file:///srv/catalogue":              "file:///srv/catalogue/functions/log/1.0.0/function.yaml",
		"git+https://h/r.git@v2":             "git+https://h/r.git@v2#functions/log/1.0.0/function.yaml",
		"https://h/r.git#sub/dir":            "https://h/r.git#sub/dir/functions/log/1.0.0/function.yaml",
		"https://github.com/o/r/tree/main/x": "https://github.com/o/r/tree/main/x/functions/log/1.0.0/function.yaml",
	} {
		if got, err := bundle.FunctionURI(endpoint, "log", "1.0.0"); got != want || err != nil {
			t.Errorf("FunctionURI(%q) = %q, %v; want %q", endpoint, got, err, want)
		}
	}
	for _, name := range []string{"../x", "a/b", "", "a b", "%2e"} {
		if got, err := bundle.FunctionURI("file:c", name, "1.0.0"); err == nil {
			t.Errorf("the name %q gives %q", name, got)
		}
	}
}

func TestRepository(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string][3]string{
		"git+https://h/t/r.git@v1#a/b": {"git", "git+https://h/t/r.git", "v1"},
		"git+ssh://git@h/t/r.git":      {"git", "git+ssh://git@h/t/r.git", ""},
		"git+ssh://git@h/t/r.git@main": {"git", "git+ssh://git@h/t/r.git", "main"},
		"https://h/t/r.git@feature/x":  {"git", "https://h/t/r.git", "feature/x"},
		"https://h/t/r@v1":             {"", "https://h/t/r", "v1"},
		"https://h/t/function.yaml":    {"", "https://h/t/function.yaml", ""},
	} {
		address, ref := bundle.Repository(uri)
		if bundle.Git(uri) != (want[0] != "") || address != want[1] || ref != want[2] {
			t.Errorf("%s: %t, %q, %q; want %v", uri, bundle.Git(uri), address, ref, want)
		}
	}
}

// Functions that name each other in a circle are attached once; a URI means
// what it means in the document that names it (DSL 84, 201, 206, D23, D24).
func TestLinkingFollowsNames(t *testing.T) {
	src := head + `use:
  catalogs:
    default: {endpoint: 'https://h/c'}
  functions:
    own: {call: 'file:f.yaml'}
do:
  - a: {call: 'ping:1.0.0', input: {schema: {resource: {endpoint: file:in.json}}}}
  - b: {call: own}
  - c: {call: 'https://h/c/functions/ping/1.0.0/function.yaml'}
  - d: {call: noop}
  - e: {run: {script: {language: js, source: {endpoint: x.js}}}}
`
	def, findings := link(t, src, map[string]string{
		"https://h/c/functions/ping/1.0.0/function.yaml": "call: file:../../pong/1.0.0/function.yaml\nwith: {}\n",
		"https://h/c/functions/pong/1.0.0/function.yaml": "call: ping:1.0.0@default\noutput: {schema: {resource: {endpoint: out.json}}}\n",
		"https://h/c/functions/pong/1.0.0/out.json":      `{"type": "object"}`,
		"file:f.yaml":  "run: {script: {language: js, source: {endpoint: x.js}}}\n",
		"file:in.json": `{"type": "string"}`,
		"file:x.js":    "console.log(1)",
	})
	if len(findings) > 0 {
		t.Fatal(said(findings))
	}
	var got []string
	for _, a := range def.Linked {
		got = append(got, a.Kind+" "+a.Name)
	}
	want := []string{
		"schema file:in.json", "function ping:1.0.0",
		"function https://h/c/functions/ping/1.0.0/function.yaml", "script file:x.js", "function file:f.yaml",
		"function https://h/c/functions/pong/1.0.0/function.yaml", "schema https://h/c/functions/pong/1.0.0/out.json",
		"function ping:1.0.0@default",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	again, findings := bundle.Decode(def.Source)
	if again == nil {
		t.Fatal(said(findings))
	}
	if diff := cmp.Diff(def.Linked, again.Linked); diff != "" {
		t.Error(diff)
	}
	if s := again.Do[0].Input.Schema; s.Document == nil || s.Document.Any.(map[string]any)["type"] != "string" {
		t.Error("the schema is not in its place")
	}
	if c := again.Do[4].Run.Source.Content; c == nil || *c != "console.log(1)" {
		t.Error("the script is not in its place")
	}
	if f := again.FindFunction("ping:1.0.0"); f == nil || f.Call.Name != "https://h/c/functions/pong/1.0.0/function.yaml" {
		t.Error("a relative name of a function is not resolved in its own document")
	}
}

// A catalogue is the workflow's own, also where a function from elsewhere names it.
func TestCatalogueInAFunctionFromElsewhere(t *testing.T) {
	def, findings := link(t, head+"use: {catalogs: {own: {endpoint: ./house}}}\ndo: [{a: {call: 'https://h/f.yaml'}}]\n", map[string]string{
		"https://h/f.yaml":                           "call: g:1.0.0@own\n",
		"file:house/functions/g/1.0.0/function.yaml": "set: {x: 1}\n",
	})
	if len(findings) > 0 || len(def.Linked) != 2 {
		t.Errorf("%d attached: %s", len(def.Linked), said(findings))
	}
}

// D23: a function of the workflow stands before one of a catalogue or a URI, a
// protocol before both, and name:version without a catalogue is the runtime's.
func TestWhatIsNotWanted(t *testing.T) {
	def, findings := link(t, head+`use:
  catalogs: {c: {endpoint: 'https://h'}}
  functions:
    'f:1.0.0@c': {set: {x: 1}}
    'https://h/f.yaml': {set: {x: 1}}
do:
  - a: {call: 'f:1.0.0@c'}
  - b: {call: 'https://h/f.yaml'}
  - c: {call: 'noop:1.0.0'}
  - d: {call: 'noop:1.0.0@default'}
  - e: {call: http, with: {method: get, endpoint: 'https://h'}}
  - f: {call: openapi, with: {document: {endpoint: 'https://h/api.json'}, operationId: x}}
`, nil)
	if len(findings) > 0 || def.Linked != nil {
		t.Errorf("%d attached: %s", len(def.Linked), said(findings))
	}
}

// What cannot be attached is said where it is named, with the document's own place.
func TestLinkingMistakes(t *testing.T) {
	src := head + `use: {catalogs: {c: {endpoint: '${ "https://" + $workflow.id }'}}}
do:
  - a: {call: 'x:1.0.0@c'}
  - b: {call: 'ftp://h/f.yaml'}
  - c: {call: 'https://h/bad.yaml'}
  - d: {set: {}, input: {schema: {resource: {endpoint: 'https://h/bad.json'}}}}
  - e: {run: {script: {language: js, source: {endpoint: '${ .file }'}}}}
  - f: {run: {script: {language: js, source: {endpoint: 'https://h/${ .file }'}}}}
`
	src = strings.Replace(src, "set: {}", "set: {x: 1}", 1)
	def, findings := link(t, src, map[string]string{
		"https://h/bad.yaml": "set: {x: 1}\nthen: nowhere\ninput: {schema: {resource: {endpoint: 'file:///etc/passwd'}}}\n",
		"https://h/bad.json": "{\"type\": }",
	})
	source.Sort(findings)
	want := `w.yaml:4:15: error: "${ \"https://\" + $workflow.id }" is known only when the workflow runs, so it cannot be attached to the definition; name it by a constant URI (link/expression)
w.yaml:5:15: error: ftp://h/f.yaml has the scheme "ftp"; there are http, https, file, git+https, git+ssh and git+file (link/uri)
w.yaml:9:57: error: "https://h/${ .file }" is known only when the workflow runs, so it cannot be attached to the definition; name it by a constant URI (link/expression)
https://h/bad.json:1:10: error: the JSON cannot be read: a value is expected, found '}' (source/json)
https://h/bad.yaml:2:7: error: ` + "`then`" + ` names the task "nowhere", which does not exist; it must be continue, exit, end or a task of the same list (flow/unknown-target)
https://h/bad.yaml:3:39: error: file:///etc/passwd is a file of this machine, and a document from elsewhere (https://h/bad.yaml) cannot name one (link/uri)`
	if diff := cmp.Diff(want, said(findings)); diff != "" {
		t.Error(diff)
	}
	if d, _ := bundle.Decode(def.Source); d != nil {
		t.Error("a definition with a broken attachment was read")
	}
}

func TestBounds(t *testing.T) {
	files := map[string]string{"https://h/big": strings.Repeat("x", bundle.MaxBytes+1)}
	for i := range 20 {
		files["https://h/"+strings.Repeat("a", i+1)] = "call: https://h/" + strings.Repeat("a", i+2)
	}
	_, findings := link(t, head+"do:\n  - a: {call: 'https://h/a'}\n", files)
	if !strings.Contains(said(findings), "more than 16 deep") {
		t.Error(said(findings))
	}
	_, findings = link(t, head+"do:\n  - a: {run: {script: {language: js, source: {endpoint: 'https://h/big'}}}}\n", files)
	if !strings.Contains(said(findings), "more than 4194304 bytes together") {
		t.Error(said(findings))
	}
	var many strings.Builder
	for i := range 210 {
		u := "https://h/n" + strings.Repeat("b", i)
		files[u] = "set: {x: 1}"
		many.WriteString("  - a" + strings.Repeat("b", i) + ": {call: '" + u + "'}\n")
	}
	_, findings = link(t, head+"do:\n"+many.String(), files)
	if !strings.Contains(said(findings), "more than 200 documents") {
		t.Error(said(findings))
	}
}

// A stored definition that was damaged is an error, never a panic.
func TestDamagedStreams(t *testing.T) {
	def, _ := link(t, head+"do:\n  - a: {call: 'file:f.yaml', input: {schema: {resource: {endpoint: s.json}}}}\n", map[string]string{
		"file:f.yaml": "set: {x: 1}\n", "file:s.json": "{}",
	})
	rapid.Check(t, func(t *rapid.T) {
		src := string(def.Source)
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			i := rapid.IntRange(0, len(src)).Draw(t, "at")
			j := rapid.IntRange(i, min(len(src), i+40)).Draw(t, "to")
			src = src[:i] + rapid.SampledFrom([]string{"", "x", "\n", "--- # downbeat: attached\n", "\"", ": ", "kind: script\n"}).Draw(t, "with") + src[j:]
		}
		if d, findings := bundle.Decode([]byte(src)); d == nil && len(findings) == 0 {
			t.Errorf("nothing was said of %q", src)
		}
	})
}
