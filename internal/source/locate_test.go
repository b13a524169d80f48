package source

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The place of a mark inside a scalar is found whatever the scalar's style.
func TestLocate(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]string{
		"plain":         "a: one two @ three",
		"plain folded":  "a: one\n   two\n\n   three @ four",
		"anchor":        "a: &x !!str one @",
		"single":        "a: 'it''s @ here'",
		"single folded": "a: 'it''s\n  é @ here'",
		"double":        `a: "\t\"é\u00e9\x41 @ x"`,
		"double folded": "a: \"one \\\n   two\n   @\"",
		"json":          "{\n\t\"a\": \"\\ud83d\\ude00 \\/ @\"}",
		"literal":       "a: |\n  one\n    two\n\n  é @ x\n",
		"literal strip": "a: |-\n\n  one @",
		"folded block":  "a: >\n  one\n  two\n\n  three @ x\n",
		"sequence":      "- - - a: x @",
	} {
		root, findings := Read([]byte(src), 1<<20)
		if root == nil {
			t.Fatalf("%s: %v", name, findings)
		}
		n := root
		for n.Kind != Scalar {
			n = n.Items[0]
		}
		text := n.Scalar.(string)
		got := Locate([]byte(src), n.Pos, strings.IndexByte(text, '@'))
		if want := place([]byte(src), strings.IndexByte(src, '@')); got != want {
			t.Errorf("%s: %v instead of %v in %q", name, got, want, text)
		}
	}
}

func TestLocateNeverPanics(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.StringOf(rapid.SampledFrom([]rune("a: |>'\"\\&!x\n é-"))).Draw(t, "src")
		Locate([]byte(src), Pos{rapid.IntRange(-1, 9).Draw(t, "line"), rapid.IntRange(-1, 30).Draw(t, "col")}, rapid.IntRange(-1, 50).Draw(t, "offset"))
	})
}
