package value

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and objects that [Decode] accepts.
const MaxDepth = 1000

// SyntaxError says where bytes stop being JSON.
type SyntaxError struct {
	Offset  int    // in bytes, from 0
	Message string // what is wrong there
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Message)
}

// Decode reads one JSON value: UTF-8, no text after it, nested at most
// [MaxDepth] deep. An integer literal becomes an int, or a *big.Int when it
// does not fit; any other number a float64. When a key occurs twice in an
// object, the last one wins. The result shares no memory with b.
func Decode(b []byte) (any, error) {
	d := decoder{b: b}
	d.space()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.i < len(d.b) {
		return nil, d.fail("unexpected " + d.here() + " after the value")
	}
	return v, nil
}

type decoder struct {
	b []byte
	i int
}

func (d *decoder) fail(msg string) error { return &SyntaxError{Offset: d.i, Message: msg} }

// here names the byte at the reading position for an error message.
func (d *decoder) here() string {
	if d.i >= len(d.b) {
		return "end of input"
	}
	if c := d.b[d.i]; c < utf8.RuneSelf {
		return strconv.QuoteRune(rune(c))
	}
	r, _ := utf8.DecodeRune(d.b[d.i:])
	return strconv.QuoteRune(r)
}

func (d *decoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\n', '\t', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *decoder) value(depth int) (any, error) {
	if d.i >= len(d.b) {
		return nil, d.fail("unexpected end of input, a value was expected")
	}
	switch c := d.b[d.i]; c {
	case '{':
		return d.object(depth + 1)
	case '[':
		return d.array(depth + 1)
	case '"':
		return d.string()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return d.number()
		}
		return nil, d.fail("unexpected " + d.here() + ", a value was expected")
	}
}

func (d *decoder) word(w string) error {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return d.fail("unexpected text, did you mean " + w + "?")
	}
	d.i += len(w)
	return nil
}

func (d *decoder) array(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, d.fail(fmt.Sprintf("nested more than %d deep", MaxDepth))
	}
	d.i++
	d.space()
	if d.i < len(d.b) && d.b[d.i] == ']' {
		d.i++
		return []any{}, nil
	}
	vs := make([]any, 0, 4)
	for {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
		d.space()
		if d.i >= len(d.b) {
			return nil, d.fail("unexpected end of input in an array")
		}
		switch d.b[d.i] {
		case ',':
			d.i++
			d.space()
		case ']':
			d.i++
			return vs, nil
		default:
			return nil, d.fail("unexpected " + d.here() + " in an array, ',' or ']' was expected")
		}
	}
}

func (d *decoder) object(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, d.fail(fmt.Sprintf("nested more than %d deep", MaxDepth))
	}
	d.i++
	m := make(map[string]any)
	d.space()
	if d.i < len(d.b) && d.b[d.i] == '}' {
		d.i++
		return m, nil
	}
	for {
		if d.i >= len(d.b) || d.b[d.i] != '"' {
			return nil, d.fail("unexpected " + d.here() + " in an object, a key in double quotes was expected")
		}
		k, err := d.string()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.i >= len(d.b) || d.b[d.i] != ':' {
			return nil, d.fail("unexpected " + d.here() + " after a key, ':' was expected")
		}
		d.i++
		d.space()
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		m[k] = v
		d.space()
		if d.i >= len(d.b) {
			return nil, d.fail("unexpected end of input in an object")
		}
		switch d.b[d.i] {
		case ',':
			d.i++
			d.space()
		case '}':
			d.i++
			return m, nil
		default:
			return nil, d.fail("unexpected " + d.here() + " in an object, ',' or '}' was expected")
		}
	}
}

// string reads a string; nearly all have no escape and are cut out whole.
func (d *decoder) string() (string, error) {
	d.i++
	start, ascii := d.i, true
	for i := d.i; i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			s := d.b[start:i]
			if !ascii && !utf8.Valid(s) {
				return "", d.fail("a string is not valid UTF-8")
			}
			d.i = i + 1
			return string(s), nil
		case c == '\\':
			return d.escaped(start, i)
		case c < ' ':
			d.i = i
			return "", d.fail("a control character in a string, it must be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	d.i = len(d.b)
	return "", d.fail("unexpected end of input in a string")
}

func (d *decoder) escaped(start, i int) (string, error) {
	s := append(make([]byte, 0, i-start+32), d.b[start:i]...)
	for i < len(d.b) {
		c := d.b[i]
		d.i = i
		switch {
		case c == '"':
			if !utf8.Valid(s) {
				return "", d.fail("a string is not valid UTF-8")
			}
			d.i = i + 1
			return string(s), nil
		case c < ' ':
			return "", d.fail("a control character in a string, it must be escaped")
		case c != '\\':
			s = append(s, c)
			i++
		default:
			r, n := d.escape(i)
			if n == 0 {
				return "", d.fail("an invalid escape in a string")
			}
			s = utf8.AppendRune(s, r)
			i += n
		}
	}
	d.i = len(d.b)
	return "", d.fail("unexpected end of input in a string")
}

// escape reads the escape at i and returns its rune and length, 0 if invalid.
// Half of a surrogate pair becomes U+FFFD, as everywhere in Go.
func (d *decoder) escape(i int) (rune, int) {
	if i+1 >= len(d.b) {
		return 0, 0
	}
	switch c := d.b[i+1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := d.hex(i + 2)
		if r < 0 {
			return 0, 0
		}
		if utf16.IsSurrogate(r) {
			if i+7 < len(d.b) && d.b[i+6] == '\\' && d.b[i+7] == 'u' {
				if r2 := utf16.DecodeRune(r, d.hex(i+8)); r2 != utf8.RuneError {
					return r2, 12
				}
			}
			return utf8.RuneError, 6
		}
		return r, 6
	}
	return 0, 0
}

func (d *decoder) hex(i int) rune {
	if i+4 > len(d.b) {
		return -1
	}
	var r rune
	for _, c := range d.b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

func (d *decoder) number() (any, error) {
	start := d.i
	if d.b[d.i] == '-' {
		d.i++
	}
	switch {
	case d.i < len(d.b) && d.b[d.i] == '0':
		d.i++
		if d.i < len(d.b) && '0' <= d.b[d.i] && d.b[d.i] <= '9' {
			return nil, d.fail("a number with a leading zero")
		}
	case d.digits() == 0:
		return nil, d.fail("unexpected " + d.here() + " in a number, a digit was expected")
	}
	integer := true
	if d.i < len(d.b) && d.b[d.i] == '.' {
		d.i++
		integer = false
		if d.digits() == 0 {
			return nil, d.fail("unexpected " + d.here() + " in a number, a digit was expected")
		}
	}
	if d.i < len(d.b) && (d.b[d.i] == 'e' || d.b[d.i] == 'E') {
		d.i++
		integer = false
		if d.i < len(d.b) && (d.b[d.i] == '+' || d.b[d.i] == '-') {
			d.i++
		}
		if d.digits() == 0 {
			return nil, d.fail("unexpected " + d.here() + " in a number, a digit was expected")
		}
	}
	s := d.b[start:d.i]
	if integer && len(s) < 19 {
		return smallInt(s), nil
	}
	v, err := convertNumber(s, integer)
	if err != nil {
		d.i = start
		return nil, d.fail(err.Error())
	}
	return v, nil
}

func (d *decoder) digits() int {
	start := d.i
	for d.i < len(d.b) && '0' <= d.b[d.i] && d.b[d.i] <= '9' {
		d.i++
	}
	return d.i - start
}

// smallInt converts up to 18 digits, which always fit.
func smallInt(s []byte) any {
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	if neg {
		return -n
	}
	return n
}

// maxDigits bounds integers: converting many digits costs more than linear
// time, and nobody means them.
const maxDigits = 100_000

func convertNumber(s []byte, integer bool) (any, error) {
	if integer {
		if n, err := strconv.ParseInt(string(s), 10, 64); err == nil && int64(int(n)) == n {
			return int(n), nil
		}
		if len(s) > maxDigits {
			return nil, fmt.Errorf("an integer of more than %d digits", maxDigits)
		}
		n, ok := new(big.Int).SetString(string(s), 10)
		if !ok {
			return nil, fmt.Errorf("not a number")
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("a number out of range")
	}
	return f, nil
}

// parseNumber reads a whole JSON number literal.
func parseNumber(b []byte) (any, error) {
	d := decoder{b: b}
	if len(b) == 0 || b[0] != '-' && (b[0] < '0' || b[0] > '9') {
		return nil, d.fail("not a number")
	}
	v, err := d.number()
	if err == nil && d.i < len(b) {
		return nil, d.fail("not a number")
	}
	return v, err
}
