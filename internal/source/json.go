package source

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonParser reads JSON with positions. The YAML library refuses some valid
// JSON (tabs between tokens, surrogate pairs), so JSON has its own reader.
type jsonParser struct {
	src   []byte
	i     int
	line  int
	start int // of the current line
	col   int // runes of the current line up to colAt
	colAt int
	d     *reader
}

type jsonError struct {
	Pos Pos
	msg string
}

func (p *jsonParser) pos() Pos {
	if p.colAt < p.start || p.colAt > p.i {
		p.col, p.colAt = 0, p.start
	}
	p.col += utf8.RuneCount(p.src[p.colAt:p.i])
	p.colAt = p.i
	return Pos{p.line, 1 + p.col}
}

func (p *jsonParser) err(format string, args ...any) *jsonError {
	return &jsonError{p.pos(), "the JSON cannot be read: " + fmt.Sprintf(format, args...)}
}

func (p *jsonParser) space() {
	for p.i < len(p.src) {
		switch p.src[p.i] {
		case '\n':
			p.i++
			p.line++
			p.start = p.i
		case ' ', '\t', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *jsonParser) document() (*Node, *jsonError) {
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.src) {
		return nil, p.err("more text after the end of the document: %s", p.found())
	}
	return n, nil
}

// found names what stands at the parser's place.
func (p *jsonParser) found() string {
	if p.i >= len(p.src) {
		return "the end of the text"
	}
	r, _ := utf8.DecodeRune(p.src[p.i:])
	return strconv.QuoteRune(r)
}

func (p *jsonParser) value(depth int) (*Node, *jsonError) {
	p.space()
	if depth > maxDepth {
		return nil, p.err("it is nested deeper than %d levels", maxDepth)
	}
	n := &Node{Pos: p.pos(), Kind: Scalar}
	if p.i >= len(p.src) {
		return nil, p.err("a value is missing at the end of the text")
	}
	var err *jsonError
	switch c := p.src[p.i]; {
	case c == '{':
		err = p.object(n, depth)
	case c == '[':
		err = p.array(n, depth)
	case c == '"':
		n.Scalar, err = p.text()
	case c == '-' || c >= '0' && c <= '9':
		n.Scalar, err = p.number()
	case p.word("true"):
		n.Scalar = true
	case p.word("false"):
		n.Scalar = false
	case p.word("null"):
	default:
		return nil, p.err("a value is expected, found %s", p.found())
	}
	return n, err
}

func (p *jsonParser) word(w string) bool {
	if !strings.HasPrefix(string(p.src[p.i:min(len(p.src), p.i+len(w))]), w) {
		return false
	}
	p.i += len(w)
	return true
}

// next consumes c, or the end mark; it reports which, or an error.
func (p *jsonParser) next(c, end byte) (more bool, err *jsonError) {
	p.space()
	if p.i < len(p.src) {
		switch p.src[p.i] {
		case c:
			p.i++
			return true, nil
		case end:
			p.i++
			return false, nil
		}
	}
	return false, p.err("%q or %q is expected, found %s", c, end, p.found())
}

func (p *jsonParser) object(n *Node, depth int) *jsonError {
	n.Kind = Map
	p.i++
	p.space()
	if p.i < len(p.src) && p.src[p.i] == '}' {
		p.i++
		return nil
	}
	at := map[string]int{}
	for {
		p.space()
		pos := p.pos()
		if p.i >= len(p.src) || p.src[p.i] != '"' {
			return p.err("a key in double quotes is expected, found %s", p.found())
		}
		name, err := p.text()
		if err != nil {
			return err
		}
		p.space()
		if p.i >= len(p.src) || p.src[p.i] != ':' {
			return p.err("':' is expected after the key %s, found %s", Quote(name), p.found())
		}
		p.i++
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		if first, twice := at[name]; twice {
			p.d.report(Finding{
				Pos: pos, Rule: "source/duplicate-key", DSL: "D30",
				Message: fmt.Sprintf("the key %s stands twice in this map, first in line %d", Quote(name), n.Keys[first].Pos.Line), Allowed: "each key once",
			})
		} else {
			at[name] = len(n.Keys)
			n.Keys = append(n.Keys, Key{pos, name})
			n.Items = append(n.Items, v)
		}
		if more, err := p.next(',', '}'); err != nil || !more {
			return err
		}
	}
}

func (p *jsonParser) array(n *Node, depth int) *jsonError {
	n.Kind = List
	p.i++
	p.space()
	if p.i < len(p.src) && p.src[p.i] == ']' {
		p.i++
		return nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, v)
		if more, err := p.next(',', ']'); err != nil || !more {
			return err
		}
	}
}

func (p *jsonParser) number() (any, *jsonError) {
	start := p.i
	for p.i < len(p.src) && strings.IndexByte("+-.eE0123456789", p.src[p.i]) >= 0 {
		p.i++
	}
	s := string(p.src[start:p.i])
	digits := strings.TrimPrefix(s, "-")
	if len(digits) > maxDigits {
		return nil, p.err("a number has %d digits; at most %d are read", len(digits), maxDigits)
	}
	if isDigits(digits, 10) && (len(digits) == 1 || digits[0] != '0') {
		i, _ := new(big.Int).SetString(s, 10)
		return integer(i), nil
	}
	whole, _, _ := strings.Cut(digits, ".")
	badPoint := strings.HasPrefix(digits, ".") || strings.HasSuffix(digits, ".") || strings.Contains(digits, ".e") || strings.Contains(digits, ".E")
	if !isFloat(digits) || badPoint || len(whole) > 1 && whole[0] == '0' && whole[1] >= '0' && whole[1] <= '9' {
		p.i = start
		return nil, p.err("%s is not a number of JSON", Quote(s))
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		p.i = start
		return nil, p.err("the number %s is too large", Quote(s))
	}
	return f, nil
}

var jsonEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *jsonParser) text() (string, *jsonError) {
	p.i++
	start := p.i
	for p.i < len(p.src) && p.src[p.i] != '"' && p.src[p.i] != '\\' && p.src[p.i] >= 0x20 {
		p.i++
	}
	if p.i < len(p.src) && p.src[p.i] == '"' {
		p.i++
		return string(p.src[start : p.i-1]), nil
	}
	b := append([]byte(nil), p.src[start:p.i]...)
	for p.i < len(p.src) {
		switch c := p.src[p.i]; {
		case c == '"':
			p.i++
			return string(b), nil
		case c < 0x20:
			return "", p.err("the control character %q stands in a string", c)
		case c != '\\':
			b = append(b, c)
			p.i++
		case p.i+1 >= len(p.src):
			p.i++
		case p.src[p.i+1] == 'u':
			r, err := p.unicode()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		default:
			e, ok := jsonEscapes[p.src[p.i+1]]
			if !ok {
				return "", p.err(`\%c is no escape of JSON`, p.src[p.i+1])
			}
			b = append(b, e)
			p.i += 2
		}
	}
	return "", p.err("a string is not closed")
}

// unicode reads \uXXXX, and the second half of a surrogate pair when there is
// one; a lone half becomes U+FFFD, as in encoding/json.
func (p *jsonParser) unicode() (rune, *jsonError) {
	hex := func(at int) (rune, bool) {
		if at+6 > len(p.src) || p.src[at] != '\\' || p.src[at+1] != 'u' || !isDigits(string(p.src[at+2:at+6]), 16) {
			return 0, false
		}
		u, _ := strconv.ParseUint(string(p.src[at+2:at+6]), 16, 32)
		return rune(u), true
	}
	r, ok := hex(p.i)
	if !ok {
		return 0, p.err(`\u needs four hexadecimal digits`)
	}
	p.i += 6
	if utf16.IsSurrogate(r) {
		if low, ok := hex(p.i); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			p.i += 6
			return utf16.DecodeRune(r, low), nil
		}
		return utf8.RuneError, nil
	}
	return r, nil
}
