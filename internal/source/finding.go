package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells what a finding means for the definition.
type Severity uint8

// The severities, the gravest first.
const (
	SeverityError       Severity = iota // the definition is invalid
	SeverityUnsupported                 // valid, but this runtime cannot carry it out yet
	SeverityWarning                     // valid, but probably not what was meant
	SeverityHint                        // valid; a better or more portable way exists
)

var severityNames = [...]string{"error", "unsupported", "warning", "hint"}

// String is the severity as people read it.
func (s Severity) String() string {
	if int(s) >= len(severityNames) {
		return "unknown"
	}
	return severityNames[s]
}

// Finding is one remark about a definition: what was found, where, and what
// would be right.
type Finding struct {
	File       string // URI of the attached document that it is about; "": the definition itself
	Pos        Pos
	EndCol     int // the column after the last one meant, on the same line; 0: unknown
	Severity   Severity
	Rule       string // stable: "task/unknown-property"
	DSL        string // what of the language it rests on: "DSL 56", "D14c"; may be ""
	Reference  string // of the task; "" outside of tasks
	Message    string // what was found
	Allowed    string // what would be right; may be ""
	Suggestion string // the nearest known name; may be ""
}

// Format writes f as compilers do: file:line:col: severity: message (rule).
func (f Finding) Format(file string) string {
	var b strings.Builder
	b.WriteString(cmp.Or(f.File, file))
	if f.Pos.IsValid() {
		fmt.Fprintf(&b, ":%d:%d", f.Pos.Line, f.Pos.Col)
	}
	fmt.Fprintf(&b, ": %s: %s", f.Severity, f.Message)
	if f.Suggestion != "" {
		fmt.Fprintf(&b, "; did you mean %q?", f.Suggestion)
	}
	if f.Allowed != "" {
		fmt.Fprintf(&b, "; %s", f.Allowed)
	}
	if f.Rule != "" {
		fmt.Fprintf(&b, " (%s)", f.Rule)
	}
	return b.String()
}

// HasErrors reports whether one of the findings makes the definition invalid.
func HasErrors(fs []Finding) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == SeverityError })
}

// Sort orders findings by position, then gravity, then rule.
func Sort(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(
			strings.Compare(a.File, b.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
			cmp.Compare(a.Severity, b.Severity),
			strings.Compare(a.Rule, b.Rule),
		)
	})
}

// Nearest returns the name of known that is nearest to name when it is near
// enough to be meant, else "".
func Nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, bestDist := "", 1+max(len(name), 3)/3
	for _, k := range known {
		if len(k) > 64 || k == "" {
			continue
		}
		if strings.EqualFold(k, name) {
			return k
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < bestDist && d < len(k) {
			best, bestDist = k, d
		}
	}
	return best
}

// distance is Levenshtein's, with a swap of neighbours counted as one edit.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j]+cost, prev[j+1]+1, cur[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
