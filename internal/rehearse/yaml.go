package rehearse

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// width is how long a line may get before a value is spread over several.
const width = 100

// plainYAML reports whether text needs no quotes: every reader of YAML, also one
// of version 1.1, takes it for the same text.
func plainYAML(s string) bool {
	if s == "" || strings.HasSuffix(s, ":") || strings.HasSuffix(s, " ") || strings.Contains(s, ": ") || strings.Contains(s, " #") {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "y", "n", "yes", "no", "on", "off":
		return false
	}
	for i, r := range s {
		letter := r == '/' || r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-.:+@ ()=;~%", r)) {
			return false
		}
	}
	return true
}

func textYAML(s string) string {
	if plainYAML(s) {
		return s
	}
	if !strings.Contains(s, "'") && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r > 0xfffd || r == 0xfeff || r == 0x85 || r == 0x2028 || r == 0x2029 }) < 0 {
		return "'" + s + "'"
	}
	return string(value.JSON(s))
}

// flow is a value on one line.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		return textYAML(v)
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = flow(x)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range keys(v) {
			parts = append(parts, textYAML(k)+": "+flow(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return string(value.JSON(v))
}

// first are the keys that people want to read before the others.
var first = []string{
	"name", "task", "workflow", "at", "event", "when", "status", "type", "title", "detail", "output", "error", "delay",
	"input", "start", "mocks", "attempts", "events", "expect",
}

func keys(m map[string]any) []string {
	list := slices.Sorted(maps.Keys(m))
	rank := func(k string) int {
		if i := slices.Index(first, k); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(list, func(a, b string) int { return rank(a) - rank(b) })
	return list
}

// entry is what stands behind "key:" whose lines are indented by indent: on the
// same line when that is short enough, else below it. It ends without a newline.
func entry(v any, indent int) string {
	one := flow(v)
	if len(one)+indent <= width && (shallow(v) || len(one) <= 40) {
		return " " + one
	}
	var b strings.Builder
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys(v) {
			b.WriteString("\n" + strings.Repeat(" ", indent) + textYAML(k) + ":" + entry(v[k], indent+2))
		}
	case []any:
		for _, x := range v {
			b.WriteString("\n" + strings.Repeat(" ", indent) + "-" + member(x, indent+2))
		}
	default:
		return " " + one
	}
	return b.String()
}

// member is an entry behind the dash of a list: a map begins on the dash's line.
func member(v any, indent int) string {
	text := entry(v, indent)
	if _, ok := v.(map[string]any); ok && strings.HasPrefix(text, "\n") {
		return " " + strings.TrimLeft(text, "\n ")
	}
	if strings.HasPrefix(text, "\n") { // a list in a list
		return " " + flow(v)
	}
	return text
}

// shallow reports a value without structure inside its structure.
func shallow(v any) bool {
	nested := func(x any) bool {
		switch x := x.(type) {
		case map[string]any:
			return len(x) > 0
		case []any:
			return len(x) > 0
		}
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			if nested(x) {
				return false
			}
		}
	case []any:
		return !slices.ContainsFunc(v, nested)
	}
	return true
}

// LineDiff shows how the lines of two texts differ, with two lines around each
// change, as diff -u does without its heads.
func LineDiff(old, now string) []string {
	a, b := strings.Split(strings.TrimSuffix(old, "\n"), "\n"), strings.Split(strings.TrimSuffix(now, "\n"), "\n")
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	const around, most = 2, 2000
	from := max(0, head-around)
	lines := []string{"@@ line " + strconv.Itoa(from+1)}
	for _, s := range a[from:head] {
		lines = append(lines, "  "+s)
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(x) > most || len(y) > most {
		return append(lines, "… too many lines differ to be shown")
	}
	lines = append(lines, common(x, y, around)...)
	for _, s := range a[len(a)-tail : min(len(a), len(a)-tail+around)] {
		lines = append(lines, "  "+s)
	}
	return lines
}

// common is the longest common subsequence of x and y, as a diff.
func common(x, y []string, around int) []string {
	long := make([][]int, len(x)+1)
	for i := range long {
		long[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				long[i][j] = long[i+1][j+1] + 1
			} else {
				long[i][j] = max(long[i+1][j], long[i][j+1])
			}
		}
	}
	var out []string
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			out = append(out, "  "+x[i])
			i, j = i+1, j+1
		case i < len(x) && (j == len(y) || long[i+1][j] >= long[i][j+1]):
			out = append(out, "- "+x[i])
			i++
		default:
			out = append(out, "+ "+y[j])
			j++
		}
	}
	return fold(out, around)
}

// fold leaves out long stretches without a change.
func fold(lines []string, around int) []string {
	var out []string
	for i := 0; i < len(lines); {
		end := i
		for end < len(lines) && strings.HasPrefix(lines[end], " ") {
			end++
		}
		if end-i > 2*around+1 {
			out = append(out, lines[i:i+around]...)
			out = append(out, "@@")
			i = end - around
		}
		for ; i < end; i++ {
			out = append(out, lines[i])
		}
		for i < len(lines) && !strings.HasPrefix(lines[i], " ") {
			out = append(out, lines[i])
			i++
		}
	}
	return out
}
