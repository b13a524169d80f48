package graph

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of the text of a node, in characters; a drawing is no place for more.
const (
	maxName   = 120
	maxDetail = 160
)

// clean makes text of an author fit for one line of any drawing: white space
// folded, without what is invisible or turns the direction of writing (a name
// could pass for another), shortened to most characters.
func clean(s string, most int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs) || !inXML(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		space = false
		if n++; n > most {
			return strings.TrimSpace(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return b.String()
}

// inXML reports that XML 1.0 can hold r.
func inXML(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF && r&0xFFFE != 0xFFFE
}

// The widths of the printable characters of ASCII in a sans-serif face, in
// thousandths of the size. Faces differ: measure adds a reserve.
var sansWidths = [95]uint16{
	278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, // space to /
	556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, // 0 to ?
	1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, // @ to O
	667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, // P to _
	333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, // ` to o
	556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, // p to ~
}

// face is a way of setting text.
type face struct {
	size    int  // px
	mono    bool // every character as wide as the next
	reserve int  // percent added: system faces are wider than the table's
}

var (
	nameFace   = face{13, false, 118}
	detailFace = face{11, true, 101}
	labelFace  = face{11, false, 112}
)

func (f face) rune(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case wide(r):
		return 1050
	case f.mono:
		return 605
	case r >= ' ' && r <= '~':
		return int(sansWidths[r-' '])
	case r < 0x300:
		return 620
	}
	return 760
}

// wide reports characters that take the place of two: East Asian and pictures.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115F || r >= 0x2E80 && r <= 0xA4CF || r >= 0xAC00 && r <= 0xD7A3 ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0xFE30 && r <= 0xFE6F || r >= 0xFF00 && r <= 0xFF60 ||
		r >= 0xFFE0 && r <= 0xFFE6 || r >= 0x1F300 && r <= 0x1FAFF || r >= 0x20000 && r <= 0x3FFFD
}

// measure is the width of s in px, rounded up.
func (f face) measure(s string) int {
	sum := 0
	for _, r := range s {
		sum += f.rune(r)
	}
	return (sum*f.size*f.reserve + 99_999) / 100_000
}

// fit shortens s to at most width px.
func (f face) fit(s string, width int) string {
	if f.measure(s) <= width {
		return s
	}
	sum, room := f.rune('…'), width*100_000/(f.size*f.reserve)
	for i, r := range s {
		if sum += f.rune(r); sum > room {
			return strings.TrimRight(s[:i], " ") + "…"
		}
	}
	return s
}
