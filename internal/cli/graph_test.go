package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const drawn = `document: {dsl: '1.0.3', namespace: test, name: drawn, version: '1.0.0'}
do:
  - greet: {set: {hello: '${ .name }'}}
  - pause: {wait: PT5M}
`

func TestGraphDrawsInEveryForm(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(file, []byte(drawn), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"graph " + file, "flowchart TB\n"},
		{"graph -o mermaid " + file, "pause<br/>PT5M"},
		{"graph " + file + " -o dot", "digraph \"test/drawn:1.0.0\" {\n"},
		{"graph --output=svg " + file, "<title>test/drawn:1.0.0</title>"},
		{"graph -o json " + file, `"id": "/do/1/pause"`},
	} {
		a := testApp("")
		if code := a.main(t.Context(), strings.Fields(c.args)); code != exitCompleted {
			t.Errorf("%s: exit code %d: %s", c.args, code, a.err)
		}
		if out := a.out.(*bytes.Buffer).String(); !strings.Contains(out, c.want) {
			t.Errorf("%s: %q is missing in\n%s", c.args, c.want, out)
		}
	}
}

func TestGraphSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, stdin, want string }{
		{"graph -", "document: {}", "no valid workflow"},
		{"graph - -o png", drawn, "mermaid, dot, svg or json"},
		{"graph", "", "the FILE or the ID of a run is missing"},
		{"graph 01890a5d-ac96-774b-bcce-b302099a8057", "", "there is no run 01890a5d-ac96-774b-bcce-b302099a8057"},
		{"graph - --run x", drawn, "run id"},
	} {
		a := testApp(c.stdin)
		if code := a.main(t.Context(), strings.Fields(c.args)); code != exitUsage {
			t.Errorf("%s: exit code %d", c.args, code)
		}
		if out := a.err.(*bytes.Buffer).String(); !strings.Contains(out, c.want) {
			t.Errorf("%s: %q is missing in\n%s", c.args, c.want, out)
		}
	}
}
