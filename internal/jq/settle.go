package jq

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/value"
)

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Result gives what an evaluation gave, one value or several, in its settled
// form; or it stops the evaluation because that is too large or too deep.
func (m *Meter) Result(one any, several []any) (any, []any) {
	v := one
	if several != nil {
		v = several
	}
	s := settler{limit: m.maxResult}
	if v, _ = s.value(v, value.MaxDepth); s.refused {
		m.stop(TooLarge, "its result is larger than "+bytesText(m.maxResult)+" or nested more than "+strconv.Itoa(value.MaxDepth)+" deep")
		return nil, nil
	}
	if several != nil {
		several, _ = v.([]any)
		return nil, several
	}
	return v, nil
}

// Check returns why b does not allow v, which is called what, as one value;
// nil if it does.
func (b *Budget) Check(what string, v any) *Stop {
	limit, size := DefaultMaxResult, 0
	if b != nil && b.MaxResult > 0 {
		limit = b.MaxResult
	}
	if !resultSize(v, value.MaxDepth, limit, &size) {
		return &Stop{Reason: TooLarge, Message: what + " is larger than " + bytesText(limit) + " or nested too deep"}
	}
	return nil
}

// resultSize adds about the length of v's JSON to size and reports whether it
// is within limit and no deeper than depth. It stops as soon as it is not:
// parts that are shared count each time, as they would when written.
func resultSize(v any, depth, limit int, size *int) bool {
	s := settler{limit: limit - *size, check: true}
	s.value(v, depth)
	*size += s.size
	return !s.refused
}

// settler brings results into the form that they have when they are written
// to a journal and read again, so that a run that goes on and a run that is
// replayed see the same value: a whole float becomes an integer, NaN null, an
// infinity the largest number, and bytes that are no text U+FFFD. It copies
// what it changes: the rest may be somebody's input.
type settler struct {
	size    int
	limit   int
	check   bool // measure only
	refused bool // larger than limit, or too deep
}

func (s *settler) grow(n int) bool {
	s.size += n
	if s.size > s.limit {
		s.refused = true
	}
	return !s.refused
}

// value returns v in its settled form and whether that is another one.
func (s *settler) value(v any, depth int) (any, bool) {
	switch v := v.(type) {
	case nil, bool:
		s.grow(4)
	case int:
		s.grow(4)
	case float64:
		s.grow(8)
		if !s.check {
			return settleFloat(v)
		}
	case *big.Int:
		s.grow(v.BitLen()*3/10 + 1)
		if !s.check && v.IsInt64() {
			return int(v.Int64()), true
		}
	case string:
		s.grow(len(v) + 2)
		if !s.check && !utf8.ValidString(v) {
			return strings.ToValidUTF8(v, "\ufffd"), true
		}
	case []any:
		return s.array(v, depth)
	case map[string]any:
		return s.object(v, depth)
	default:
		s.grow(4)
		if !s.check {
			return value.Normalize(v), true
		}
	}
	return v, false
}

func (s *settler) array(v []any, depth int) (any, bool) {
	if s.refused = s.refused || depth <= 0; !s.grow(2 + len(v)) {
		return v, false
	}
	changed := false
	for i, x := range v {
		y, other := s.value(x, depth-1)
		if s.refused {
			return v, false
		}
		if other {
			if !changed {
				v, changed = slices.Clone(v), true
			}
			v[i] = y
		}
	}
	return v, changed
}

func (s *settler) object(v map[string]any, depth int) (any, bool) {
	if s.refused = s.refused || depth <= 0; !s.grow(2 + 4*len(v)) {
		return v, false
	}
	out, keys := v, false
	for k, x := range v {
		y, other := s.value(x, depth-1)
		if !s.grow(len(k)) {
			return v, false
		}
		keys = keys || !s.check && !utf8.ValidString(k)
		if other {
			if mapsSame(out, v) {
				out = maps.Clone(v)
			}
			out[k] = y
		}
	}
	if keys {
		fixed := make(map[string]any, len(out))
		for _, k := range sortedKeys(out) { // the last one wins, as when it is read
			fixed[strings.ToValidUTF8(k, "\ufffd")] = out[k]
		}
		return fixed, true
	}
	return out, !mapsSame(out, v)
}

func mapsSame(a, b map[string]any) bool { return address(a) == address(b) }

func settleFloat(f float64) (any, bool) {
	switch {
	case math.IsNaN(f):
		return nil, true
	case math.IsInf(f, 0):
		return math.Copysign(math.MaxFloat64, f), true
	case f != math.Trunc(f) || math.Abs(f) >= 1<<53:
		return f, false // as it is written, so as it reads back
	}
	return int(f), true
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}
