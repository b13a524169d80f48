package executor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Variables makes the environment of a program out of variables by name, with
// those that tell it which attempt it is.
func Variables(r *Request, m map[string]string) []string {
	m["DOWNBEAT_RUN_ID"] = r.Run.String()
	m["DOWNBEAT_TASK"] = r.Reference
	m["DOWNBEAT_ATTEMPT"] = strconv.Itoa(r.Attempt)
	m["DOWNBEAT_IDEMPOTENCY_KEY"] = r.IdempotencyKey
	if r.Traceparent != "" {
		m["TRACEPARENT"] = r.Traceparent
	}
	list := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, name+"="+m[name])
	}
	return list
}

// MaxTail is how many bytes Tail looks at.
const MaxTail = 4 << 10

// Printed is what a program printed, without the newlines at its end (D27).
func Printed(b []byte) string {
	return strings.TrimRight(strings.ToValidUTF8(string(b), "\ufffd"), "\r\n")
}

// Tail is the end of what a program printed: at most 20 lines and 4 KiB.
func Tail(b []byte) string {
	lines := strings.Split(Printed(b[max(0, len(b)-MaxTail):]), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// LastLine is the last line of text that says something, at most 200 bytes.
func LastLine(text string) string {
	text = strings.TrimSpace(text)
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
