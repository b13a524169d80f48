package yamledit_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

func drawValue(t *rapid.T, depth int) any {
	text := rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{"", " ", "yes", "null", "1", "1e3", "a: b", "a #b", "- a", "it's", "2026-01-01", "/do/0/a", "x:", "${ .a }", "\t", "a\nb", "\u2028", "0x1", "{", "é", "~", "<<", "=", "&a", "*a", "!x", "%a", "@a", "`", "a, b", "[a]", ".", ".inf", ".nan", "../a.yaml", "./", "..", "-.inf", strings.Repeat("long text ", 20)}),
	)
	kinds := 5
	if depth > 0 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int().Draw(t, "int")
	case 3:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
	case 6:
		list := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			list = append(list, drawValue(t, depth-1))
		}
		return list
	case 7:
		m := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			m[text.Draw(t, "key")] = drawValue(t, depth-1)
		}
		return m
	}
	return text.Draw(t, "text")
}

func read(t *rapid.T, src string) any {
	n, findings := source.Read([]byte(src), 1<<20)
	if n == nil || source.HasErrors(findings) {
		t.Fatalf("%q cannot be read: %v", src, findings)
	}
	return n.Any()
}

// What is written is never read as something else.
func TestWrittenIsNeverReadOtherwise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 3)
		src := "first: 1\nkey:" + yamledit.Entry(v, 2) + "\nlist:\n  -" + yamledit.Member(v, 4) + "\nlast: 1\n"
		want := map[string]any{"first": 1, "key": v, "list": []any{v}, "last": 1}
		if got := read(t, src); !value.Equal(want, got) {
			t.Fatalf("%s\n%s", src, cmp.Diff(want, got))
		}
	})
}

// An edited map holds the new values, and the comments around what stays.
func TestAnEditNeverTouchesTheRest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := map[string]any{}, map[string]any{}
		var names []string
		for _, k := range []string{"one", "two", "three", "four"} {
			if rapid.IntRange(0, 4).Draw(t, "has") > 0 {
				a[k] = drawValue(t, 2)
			}
			switch rapid.IntRange(0, 3).Draw(t, "next") {
			case 0:
				if v, ok := a[k]; ok {
					b[k] = v
				}
			case 1:
				b[k] = drawValue(t, 2)
			}
			if _, ok := b[k]; ok {
				names = append(names, k)
			}
		}
		a["stays"], b["stays"] = 1, 1
		names = append(names, "stays")
		var src strings.Builder
		src.WriteString("# head\nbefore: x # b\nexpect: # here\n")
		for _, k := range []string{"one", "two", "stays", "three", "four"} {
			if v, ok := a[k]; ok {
				src.WriteString("  " + k + ":" + yamledit.Entry(v, 4) + "\n")
				if k == "stays" {
					src.WriteString("\n")
				}
			}
		}
		src.WriteString("# between\nafter: {x: 1} # a\n")
		root, findings := source.Read([]byte(src.String()), 1<<20)
		if root == nil {
			t.Fatalf("%s %v", src.String(), findings)
		}
		e := yamledit.New([]byte(src.String()))
		e.Section(root.Field("expect"), names, b)
		out := string(e.Apply())
		want := map[string]any{"before": "x", "expect": b, "after": map[string]any{"x": 1}}
		if got := read(t, out); !value.Equal(want, got) {
			t.Fatalf("%s\nbecame\n%s\n%s", src.String(), out, cmp.Diff(want, got))
		}
		for _, c := range []string{"# head\n", "before: x # b\n", "# here\n", "# between\n", "after: {x: 1} # a\n"} {
			if !strings.Contains(out, c) {
				t.Fatalf("%q is lost in\n%s", c, out)
			}
		}
	})
}

func TestLineDiff(t *testing.T) {
	t.Parallel()
	got := strings.Join(yamledit.LineDiff("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n", "a\nb\nc\nX\ne\nf\ng\nh\ni\nj\nk\nY\nl\n"), "\n")
	want := "@@ line 2\n  b\n  c\n- d\n+ X\n  e\n  f\n@@\n  j\n  k\n+ Y\n  l"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
