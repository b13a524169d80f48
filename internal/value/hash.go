package value

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// The work that Hash does is bounded, however large the value is.
const (
	hashNodes = 1024    // values looked at in one call
	hashEdge  = 256     // bytes at either end of a long string
	hashScan  = 1 << 14 // keys of one object that are looked through
)

// Hash mixes v into h and returns the result. The result is the same in every
// process and every release: it is written to journals. Equal values have
// equal hashes. It is bounded: it looks at no more than the first 1,024 nodes
// in canonical order, at the ends of long strings, and at the first keys of
// large objects; what is left out counts by its length alone. So it finds
// divergence, it does not prove equality.
func Hash(h uint64, v any) uint64 {
	s := hasher{h: h, left: hashNodes}
	s.value(v)
	return s.h
}

type hasher struct {
	h    uint64
	left int
}

// mix is one wyhash round: a 128-bit product, folded.
func (s *hasher) mix(x uint64) {
	hi, lo := bits.Mul64(s.h^0xa0761d6478bd642f, x^0xe7037ed1a0b428db)
	s.h = hi ^ lo ^ s.h<<1
}

// The tag of a type keeps null, 0, "" and [] apart.
const (
	tagNull = iota + 1
	tagFalse
	tagTrue
	tagInt
	tagFloat
	tagString
	tagArray
	tagObject
)

func (s *hasher) value(v any) {
	if s.left <= 0 {
		return
	}
	s.left--
	switch v := v.(type) {
	case nil:
		s.mix(tagNull)
	case bool:
		if v {
			s.mix(tagTrue)
		} else {
			s.mix(tagFalse)
		}
	case int:
		s.int(int64(v))
	case float64:
		s.float(v)
	case *big.Int:
		if v.IsInt64() {
			s.int(v.Int64())
		} else {
			s.float(bigFloat(v))
		}
	case string:
		s.mix(tagString)
		s.string(v)
	case []any:
		s.mix(tagArray)
		s.mix(uint64(len(v)))
		for _, x := range v {
			if s.left <= 0 {
				break
			}
			s.value(x)
		}
	case map[string]any:
		s.object(v)
	default:
		s.left++
		s.value(Normalize(v))
	}
}

func (s *hasher) int(n int64) {
	s.mix(tagInt)
	s.mix(uint64(n))
}

// float hashes a whole number as the integer that it equals.
func (s *hasher) float(f float64) {
	if f >= math.MinInt64 && f < math.MaxInt64 && f == math.Trunc(f) {
		s.int(int64(f))
		return
	}
	if math.IsNaN(f) {
		s.mix(tagNull) // as it is written in JSON
		return
	}
	s.mix(tagFloat)
	s.mix(math.Float64bits(min(max(f, -math.MaxFloat64), math.MaxFloat64)))
}

func (s *hasher) string(v string) {
	s.mix(uint64(len(v)))
	if len(v) > 2*hashEdge {
		s.bytes(v[:hashEdge])
		v = v[len(v)-hashEdge:]
	}
	s.bytes(v)
}

func (s *hasher) bytes(v string) {
	for len(v) >= 8 {
		s.mix(uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 |
			uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56)
		v = v[8:]
	}
	if len(v) > 0 {
		x := uint64(len(v))
		for i := range len(v) {
			x = x<<8 | uint64(v[i])
		}
		s.mix(x)
	}
}

func (s *hasher) object(m map[string]any) {
	s.mix(tagObject)
	s.mix(uint64(len(m)))
	if len(m) == 0 || len(m) > hashScan {
		return
	}
	var room [16]string
	keys := room[:0]
	if len(m) <= s.left {
		keys = sortedKeys(keys, m)
	} else {
		keys = firstKeys(m, s.left)
	}
	for _, k := range keys {
		if s.left <= 0 {
			break
		}
		s.string(k)
		s.value(m[k])
	}
}

// firstKeys returns the n smallest keys of m in order.
func firstKeys(m map[string]any, n int) []string {
	if n <= 0 {
		return nil
	}
	keys := make([]string, 0, 2*n)
	for k := range m {
		keys = append(keys, k)
		if len(keys) == 2*n {
			slices.Sort(keys)
			keys = keys[:n]
		}
	}
	slices.Sort(keys)
	return keys[:min(n, len(keys))]
}
