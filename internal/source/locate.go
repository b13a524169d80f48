package source

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Locate is the place in src of the byte at offset of the text of the scalar
// that begins at pos, whatever its style: plain, quoted, or a block. It serves
// pointing into an expression; where src and text do not match (an escape that
// is not known) it answers with a place of the same scalar.
func Locate(src []byte, pos Pos, offset int) Pos {
	i := index(src, pos)
	if i < 0 || offset < 0 {
		return pos
	}
	i = skipProperties(src, i)
	if i >= len(src) {
		return pos
	}
	w := locator{src: src, i: i, left: offset}
	switch src[i] {
	case '"':
		w.i++
		w.double()
	case '\'':
		w.i++
		w.single()
	case '|', '>':
		w.block(src[i] == '>')
	default:
		w.plain()
	}
	return place(src, min(w.i, len(src)))
}

// index is the byte of src at pos, or -1.
func index(src []byte, pos Pos) int {
	if !pos.IsValid() {
		return -1
	}
	i := 0
	for range pos.Line - 1 {
		n := bytes.IndexByte(src[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
	}
	if i == 0 && bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		i = 3
	}
	for range pos.Col - 1 {
		_, size := utf8.DecodeRune(src[i:])
		i += size
	}
	return i
}

// skipProperties passes an anchor and a tag before a scalar.
func skipProperties(src []byte, i int) int {
	for i < len(src) && (src[i] == '&' || src[i] == '!') {
		for i < len(src) && strings.IndexByte(" \t\r\n", src[i]) < 0 {
			i++
		}
		for i < len(src) && strings.IndexByte(" \t\r\n", src[i]) >= 0 {
			i++
		}
	}
	return i
}

// locator walks over a scalar until left bytes of its text have passed.
type locator struct {
	src  []byte
	i    int
	left int
}

// pass takes size bytes of the source for n bytes of text; it reports the end.
func (w *locator) pass(size, n int) bool {
	if w.left < n || w.left == 0 {
		return true
	}
	w.left -= n
	w.i += size
	return w.i >= len(w.src)
}

// fold takes a line break with the white space around it: one space, or as many
// line breaks as there are empty lines.
func (w *locator) fold() bool {
	j, breaks := w.i, 0
	for j < len(w.src) && strings.IndexByte(" \t\r\n", w.src[j]) >= 0 {
		if w.src[j] == '\n' {
			breaks++
		}
		j++
	}
	return w.pass(j-w.i, max(1, breaks-1))
}

// blankToBreak reports whether only white space is left on the line.
func (w *locator) blankToBreak() bool {
	rest := bytes.TrimLeft(w.src[w.i:], " \t\r")
	return len(rest) > 0 && rest[0] == '\n'
}

func (w *locator) plain() {
	for w.i < len(w.src) && w.left > 0 {
		if w.blankToBreak() {
			if w.fold() {
				return
			}
		} else if w.pass(1, 1) {
			return
		}
	}
}

func (w *locator) single() {
	for w.i < len(w.src) && w.left > 0 {
		switch {
		case w.src[w.i] == '\'' && !bytes.HasPrefix(w.src[w.i:], []byte("''")):
			return
		case w.src[w.i] == '\'':
			if w.pass(2, 1) {
				return
			}
		case w.blankToBreak():
			if w.fold() {
				return
			}
		default:
			if w.pass(1, 1) {
				return
			}
		}
	}
}

func (w *locator) double() {
	for w.i < len(w.src) && w.left > 0 {
		switch c := w.src[w.i]; {
		case c == '"':
			return
		case c == '\\':
			size, n := w.escape()
			if w.pass(size, n) {
				return
			}
		case w.blankToBreak():
			if w.fold() {
				return
			}
		default:
			if w.pass(1, 1) {
				return
			}
		}
	}
}

// escape is the length of an escape sequence in the source and in the text.
func (w *locator) escape() (size, n int) {
	if w.i+1 >= len(w.src) {
		return 1, 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[w.src[w.i+1]]
	if digits == 0 {
		if w.src[w.i+1] == '\n' { // an escaped break joins the lines
			rest := bytes.TrimLeft(w.src[w.i+2:], " \t")
			return len(w.src) - w.i - len(rest), 0
		}
		return 2, 1
	}
	size = min(2+digits, len(w.src)-w.i)
	p := jsonParser{src: w.src, i: w.i}
	if digits == 4 {
		if r, err := p.unicode(); err == nil {
			return p.i - w.i, utf8.RuneLen(r)
		}
	}
	return size, 1
}

func (w *locator) block(folded bool) {
	next := bytes.IndexByte(w.src[w.i:], '\n')
	if next < 0 {
		return
	}
	w.i += next + 1
	indent := blockIndent(w.src[w.i:])
	for first := true; w.i < len(w.src); first = false {
		line := w.src[w.i:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		skip := min(indent, len(line)-len(bytes.TrimLeft(line, " ")))
		empty := len(bytes.TrimSpace(line)) == 0
		w.i += skip
		if folded && empty && !first && w.left > 0 {
			w.left++ // the break before an empty line is not part of the text
		}
		if w.left <= len(line)-skip {
			w.i += w.left
			return
		}
		w.left -= len(line) - skip + 1
		w.i += len(line) - skip + 1
	}
}

func blockIndent(src []byte) int {
	for len(src) > 0 {
		line, rest, _ := bytes.Cut(src, []byte("\n"))
		if trimmed := bytes.TrimLeft(line, " "); len(bytes.TrimSpace(trimmed)) > 0 {
			return len(line) - len(trimmed)
		}
		src = rest
	}
	return 0
}
