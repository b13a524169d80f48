package report

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Findings are the remarks about one file.
type Findings struct {
	File   string
	Source []byte
	List   []workflow.Finding
}

// Count is how many findings have the severity.
func (f Findings) Count(s workflow.Severity) int {
	n := 0
	for _, x := range f.List {
		if x.Severity == s {
			n++
		}
	}
	return n
}

// Unlinked reports that all errors are about what stands elsewhere and could
// not be attached: the definition itself may be right.
func (f Findings) Unlinked() bool {
	n := 0
	for _, x := range f.List {
		if x.Severity == workflow.SeverityError && strings.HasPrefix(x.Rule, "link/") {
			n++
		}
	}
	return n > 0 && n == f.Count(workflow.SeverityError)
}

// Show writes the findings of one of the severities, each with its source line.
func (f Findings) Show(w io.Writer, p progress.Palette, severities ...workflow.Severity) {
	lines := strings.Split(string(f.Source), "\n")
	for _, x := range f.List {
		wanted := false
		for _, s := range severities {
			wanted = wanted || s == x.Severity
		}
		if !wanted {
			continue
		}
		_, _ = fmt.Fprintln(w, f.Line(p, x))
		lines := lines
		if x.File != "" { // attached; its text is at hand when it is a file here
			text, _ := os.ReadFile(x.File)
			lines = strings.Split(string(text), "\n")
		}
		if x.Pos.IsValid() && x.Pos.Line <= len(lines) {
			excerpt(w, p, lines[x.Pos.Line-1], x)
		}
	}
}

// Line is the finding as compilers write it, with its severity coloured.
func (f Findings) Line(p progress.Palette, x workflow.Finding) string {
	s := x.Format(f.File)
	word := x.Severity.String() + ":"
	painted := p.Dim(word)
	switch x.Severity {
	case workflow.SeverityError:
		painted = p.Bad(word)
	case workflow.SeverityUnsupported, workflow.SeverityWarning:
		painted = p.Warn(word)
	case workflow.SeverityHint:
	}
	return strings.Replace(s, " "+word+" ", " "+painted+" ", 1)
}

// excerpt shows the source line of a finding and marks the place in it.
func excerpt(w io.Writer, p progress.Palette, line string, x workflow.Finding) {
	const most = 160
	line = strings.TrimRight(line, "\r")
	if utf8.RuneCountInString(line) > most || strings.TrimSpace(line) == "" {
		return
	}
	num := strconv.Itoa(x.Pos.Line)
	_, _ = fmt.Fprintf(w, "%s %s\n", p.Dim("  "+num+" |"), line)
	if x.Pos.Col < 1 || x.Pos.Col > utf8.RuneCountInString(line)+1 {
		return
	}
	pad := make([]rune, 0, x.Pos.Col)
	for _, r := range []rune(line)[:x.Pos.Col-1] {
		if r != '\t' {
			r = ' '
		}
		pad = append(pad, r)
	}
	width := 1
	if x.EndCol > x.Pos.Col {
		width = min(x.EndCol-x.Pos.Col, max(1, utf8.RuneCountInString(line)-x.Pos.Col+1))
	}
	_, _ = fmt.Fprintf(w, "%s %s%s\n", p.Dim("  "+strings.Repeat(" ", len(num))+" |"), string(pad), p.Bad(strings.Repeat("^", width)))
}

// Value is the form of validate -o json.
func (f Findings) Value() map[string]any {
	list := make([]any, len(f.List))
	for i, x := range f.List {
		m := map[string]any{"severity": x.Severity.String(), "message": x.Message, "line": x.Pos.Line, "column": x.Pos.Col}
		for _, o := range []struct{ k, v string }{{"rule", x.Rule}, {"dsl", x.DSL}, {"reference", x.Reference}, {"allowed", x.Allowed}, {"document", x.File}, {"suggestion", x.Suggestion}} {
			if o.v != "" {
				m[o.k] = o.v
			}
		}
		if x.EndCol > 0 {
			m["endColumn"] = x.EndCol
		}
		list[i] = m
	}
	return map[string]any{
		"file": f.File, "valid": f.Count(workflow.SeverityError) == 0,
		"supported": f.Count(workflow.SeverityError) == 0 && f.Count(workflow.SeverityUnsupported) == 0, "findings": list,
	}
}

// Verdict sums the findings up in a few words.
func (f Findings) Verdict(p progress.Palette) string {
	var parts []string
	for _, s := range []workflow.Severity{workflow.SeverityError, workflow.SeverityUnsupported, workflow.SeverityWarning} {
		switch n := f.Count(s); {
		case n == 0:
		case s == workflow.SeverityUnsupported:
			parts = append(parts, fmt.Sprintf("%d unsupported", n))
		default:
			parts = append(parts, progress.Plural(n, s.String()))
		}
	}
	word := p.Good("valid")
	if f.Count(workflow.SeverityError) > 0 {
		word = p.Bad("invalid")
	} else if f.Count(workflow.SeverityUnsupported) > 0 {
		word = p.Warn("valid, but not supported by this version")
	}
	if len(parts) == 0 {
		return word
	}
	return word + " (" + strings.Join(parts, ", ") + ")"
}
