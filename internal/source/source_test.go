package source

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/value"
)

func jsonValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Int().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := jsonValue(depth - 1)
	return rapid.OneOf(append(scalars, rapid.SliceOfN(inner, 0, 4).AsAny(), rapid.MapOfN(rapid.String(), inner, 0, 4).AsAny())...)
}

// DSL 1: JSON is read as it was written, and the YAML library, where it reads
// the same text, agrees.
func TestReadsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.MarshalIndent([]any{jsonValue(3).Draw(t, "value")}, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		n, findings := Read(b, 1<<20)
		if n == nil {
			t.Skip(findings) // NUL
		}
		want, err := value.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !value.Equal(n.Any(), want) {
			t.Fatalf("%s was read as %#v", b, n.Any())
		}
	})
}

func TestFormat(t *testing.T) {
	t.Parallel()
	f := Finding{Pos: Pos{3, 7}, Severity: SeverityWarning, Rule: "a/b", Message: "what was found", Allowed: "what is right", Suggestion: "near"}
	if diff := cmp.Diff(`x.yaml:3:7: warning: what was found; did you mean "near"?; what is right (a/b)`, f.Format("x.yaml")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("x.yaml: error: m", Finding{Message: "m"}.Format("x.yaml")); diff != "" {
		t.Error(diff)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"title", "summary", "do", "document"}
	for name, want := range map[string]string{"titel": "title", "TITLE": "title", "summary": "summary", "doc": "do", "x": "", "documents": "document", "completely": ""} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%s: %q instead of %q", name, got, want)
		}
	}
}

func TestSort(t *testing.T) {
	t.Parallel()
	fs := []Finding{{Pos: Pos{2, 1}}, {Pos: Pos{1, 5}, Severity: SeverityHint}, {Pos: Pos{1, 5}}, {}}
	Sort(fs)
	want := []Finding{{}, {Pos: Pos{1, 5}}, {Pos: Pos{1, 5}, Severity: SeverityHint}, {Pos: Pos{2, 1}}}
	if diff := cmp.Diff(want, fs); diff != "" {
		t.Error(diff)
	}
	if !HasErrors(fs) || HasErrors(fs[2:3]) {
		t.Error("HasErrors")
	}
}

// TestLineOfMistakes: the line is the author's, whichever part of the module found the mistake.
func TestLineOfMistakes(t *testing.T) {
	t.Parallel()
	for text, line := range map[string]int{
		"a: 1\nb:\n  - {x: 1, y: why?, z: [], no}}\n": 3,
		"a: 1\nb: {x: == []}\n":                       2,
		"a: 1\nb: [1, 2\nc: 3\n":                      2,
		"a: 1\nb:\n  c: 'open\n":                      3,
		"a: 1\nb: c: d\n":                             2,
		"a: 1\nb: %x\n":                               2,
	} {
		_, findings := Read([]byte(text), 1<<20)
		if len(findings) != 1 || findings[0].Pos.Line != line {
			t.Errorf("%q: %v, want a mistake in line %d", text, findings, line)
		}
	}
}
