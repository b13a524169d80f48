package value

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// JSON returns the canonical JSON of v; see [Append].
func JSON(v any) []byte { return Append(nil, v) }

// Append appends the canonical JSON of v to dst: keys sorted, no white space,
// nothing escaped that need not be, numbers as jq writes them. Bytes that are
// not UTF-8 become U+FFFD, NaN becomes null and an infinity the largest
// number, because JSON has no form for them.
func Append(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case float64:
		return appendFloat(dst, v)
	case *big.Int:
		return v.Append(dst, 10)
	case string:
		return appendString(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, x := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = Append(dst, x)
		}
		return append(dst, ']')
	case map[string]any:
		return appendObject(dst, v)
	}
	return Append(dst, Normalize(v))
}

func appendObject(dst []byte, m map[string]any) []byte {
	dst = append(dst, '{')
	var room [16]string // most objects are small: sort their keys on the stack
	for i, k := range sortedKeys(room[:0], m) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, k)
		dst = append(dst, ':')
		dst = Append(dst, m[k])
	}
	return append(dst, '}')
}

func sortedKeys(keys []string, m map[string]any) []string {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		return append(dst, "null"...)
	}
	if f == 0 {
		return append(dst, '0') // also negative zero, which reads back as the integer
	}
	f = min(max(f, -math.MaxFloat64), math.MaxFloat64)
	format := byte('f')
	// From 2^53 on the shortest digits of a whole float are those of another
	// integer, so it keeps an exponent and reads back as the float that it is.
	if x := math.Abs(f); x < 1e-6 || x >= 1<<53 {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	// e-09 is written e-9, as encoding/json and jq do.
	if n := len(dst); format == 'e' && n-start >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if ' ' <= b && b <= '~' && b != '"' && b != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, b)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
}

// Size returns about how long the canonical JSON of v is, without making it:
// it counts a string without its escapes and a fraction as 12 bytes.
func Size(v any) int {
	switch v := v.(type) {
	case nil:
		return 4
	case bool:
		return 5
	case int:
		return intSize(v)
	case float64:
		return 12
	case *big.Int:
		return v.BitLen()*3/10 + 1
	case string:
		return len(v) + 2
	case []any:
		n := 2 + max(0, len(v)-1)
		for _, x := range v {
			n += Size(x)
		}
		return n
	case map[string]any:
		n := 2 + max(0, len(v)-1)
		for k, x := range v {
			n += len(k) + 3 + Size(x)
		}
		return n
	}
	return Size(Normalize(v))
}

func intSize(n int) int {
	size := 1
	if n < 0 {
		size++
	}
	for n /= 10; n != 0; n /= 10 {
		size++
	}
	return size
}
