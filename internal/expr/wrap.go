package expr

import "strings"

// IsWrapped reports whether s is one expression written ${ … }, white space
// around it allowed: DSL 37.
func IsWrapped(s string) bool {
	_, _, ok := unwrap(s)
	return ok
}

// unwrap returns what is inside the braces and where it begins.
func unwrap(s string) (inner string, offset int, ok bool) {
	start := len(s) - len(strings.TrimLeft(s, spaces))
	end := len(strings.TrimRight(s, spaces))
	if end-start < 3 || s[start] != '$' || s[start+1] != '{' || s[end-1] != '}' {
		return "", 0, false
	}
	// A close before the end: "${ .a } and ${ .b }" is interpolation. None at
	// all: a string or bracket is not closed, which the parser tells better.
	if i := closing(s[:end], start+2); i >= 0 && i != end-1 {
		return "", 0, false
	}
	return s[start+2 : end-1], start + 2, true
}

const spaces = " \t\r\n"

// closing returns the index of the } that closes the brace before i, looking
// past strings, nested braces and comments; -1 if there is none.
func closing(s string, i int) int { return scanCode(s, i, '{', '}') }

// scanCode looks from i for the close that matches an open before i.
func scanCode(s string, i int, open, shut byte) int {
	for depth := 0; i >= 0 && i < len(s); {
		switch s[i] {
		case '"':
			if i = scanText(s, i+1); i < 0 {
				return -1
			}
			continue
		case '#':
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return -1
			}
			i += n
		case open:
			depth++
		case shut:
			if depth == 0 {
				return i
			}
			depth--
		}
		i++
	}
	return -1
}

// maxScan bounds how deep strings may be nested in interpolations of strings.
const maxScan = 100

// scanText returns the index after the quote that closes a jq string whose
// text begins at i; \( … ) inside it is code again.
func scanText(s string, i int) int { return scanTextDepth(s, i, 0) }

func scanTextDepth(s string, i, depth int) int {
	if depth > maxScan {
		return -1
	}
	for i < len(s) {
		switch {
		case s[i] == '"':
			return i + 1
		case s[i] != '\\':
			i++
		case i+1 < len(s) && s[i+1] == '(':
			if i = scanParen(s, i+2, depth+1); i < 0 {
				return -1
			}
		default:
			i += 2
		}
	}
	return -1
}

// scanParen returns the index after the ) that closes a \( before i.
func scanParen(s string, i, level int) int {
	for depth := 0; i < len(s); {
		switch s[i] {
		case '"':
			if i = scanTextDepth(s, i+1, level); i < 0 {
				return -1
			}
			continue
		case '#':
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return -1
			}
			i += n
		case '(':
			depth++
		case ')':
			if depth == 0 {
				return i + 1
			}
			depth--
		}
		i++
	}
	return -1
}

// piece is a part of a string with interpolation.
type piece struct {
	text   string // literal text, or the source of an expression
	code   bool
	offset int // of text in the whole string
}

// HasInterpolation reports whether s, which is not wholly wrapped, holds
// "${ … }" with white space after the brace, or the escape "$${": D14c.
func HasInterpolation(s string) bool {
	if !strings.Contains(s, "${") || IsWrapped(s) {
		return false
	}
	for _, p := range pieces(s) {
		if p.code {
			return true
		}
	}
	return strings.Contains(s, "$${")
}

// pieces cuts s at its interpolations.
func pieces(s string) []piece {
	var out []piece
	var text strings.Builder
	start := 0
	flush := func() {
		if text.Len() > 0 {
			out = append(out, piece{text: text.String(), offset: start})
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		if s[i] != '$' {
			n := strings.IndexByte(s[i:], '$')
			if n < 0 {
				n = len(s) - i
			}
			text.WriteString(s[i : i+n])
			i += n
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "$${"):
			text.WriteString("${")
			i += 3
		case i+2 < len(s) && s[i+1] == '{' && strings.IndexByte(spaces, s[i+2]) >= 0:
			end := closing(s, i+2)
			if end < 0 {
				text.WriteString(s[i : i+2])
				i += 2
				continue
			}
			flush()
			out = append(out, piece{text: s[i+2 : end], code: true, offset: i + 2})
			i = end + 1
			start = i
		default:
			text.WriteByte('$')
			i++
		}
	}
	flush()
	return out
}
