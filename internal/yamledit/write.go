package yamledit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// width is how long a line may get before a value is spread over several.
const width = 100

// Plain reports whether text needs no quotes: every reader of YAML, also one
// of version 1.1, takes it for the same text.
func Plain(s string) bool {
	if s == "" || strings.HasSuffix(s, ":") || strings.HasSuffix(s, " ") || strings.Contains(s, ": ") || strings.Contains(s, " #") {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "y", "n", "yes", "no", "on", "off":
		return false
	}
	rest := s
	for strings.HasPrefix(rest, "../") || strings.HasPrefix(rest, "./") { // file names
		_, rest, _ = strings.Cut(rest, "/")
	}
	for i, r := range rest {
		letter := r == '/' || r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-.:+@ ()=;~%", r)) {
			return false
		}
	}
	return true
}

// Text is text as YAML writes it, in quotes where it needs them.
func Text(s string) string {
	if Plain(s) {
		return s
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if !strings.Contains(s, "'") && strings.IndexFunc(s, odd) < 0 {
		return "'" + s + "'"
	}
	var b strings.Builder
	for _, r := range string(value.JSON(s)) {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Flow is a value on one line.
func Flow(v any) string {
	switch v := v.(type) {
	case string:
		return Text(v)
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = Flow(x)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range keys(v) {
			parts = append(parts, Text(k)+": "+Flow(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return string(value.JSON(v))
}

// first are the keys that people want to read before the others.
var first = []string{
	"name", "id", "task", "workflow", "at", "event", "when", "status", "type", "title", "detail", "output", "error", "delay",
	"input", "start", "secrets", "mocks", "attempts", "events", "crash", "cancelAt", "suspendAt", "resumeAt", "expect",
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

// Entry is what stands behind "key:" whose lines are indented by indent: on the
// same line when that is short enough, else below it. It ends without a newline.
func Entry(v any, indent int) string {
	one := Flow(v)
	if len(one)+indent <= width && (shallow(v) || len(one) <= 40) {
		return " " + one
	}
	var b strings.Builder
	switch v := v.(type) {
	case map[string]any:
		for _, k := range keys(v) {
			b.WriteString("\n" + strings.Repeat(" ", indent) + Text(k) + ":" + Entry(v[k], indent+2))
		}
	case []any:
		for _, x := range v {
			b.WriteString("\n" + strings.Repeat(" ", indent) + "-" + Member(x, indent+2))
		}
	default:
		return " " + one
	}
	return b.String()
}

// Member is an Entry behind the dash of a list: a map begins on the dash's line.
func Member(v any, indent int) string {
	text := Entry(v, indent)
	if _, ok := v.(map[string]any); ok && strings.HasPrefix(text, "\n") {
		return " " + strings.TrimLeft(text, "\n ")
	}
	if strings.HasPrefix(text, "\n") { // a list in a list
		return " " + Flow(v)
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
