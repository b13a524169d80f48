package jq

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"math/big"
	"strings"

	"github.com/itchyny/gojq"
)

// maxBits bounds integers: about 30,000 digits.
const maxBits = 100_000

// Add is jq's +.
func (m *Meter) Add(l, r any) any {
	switch l := l.(type) {
	case nil:
		return r
	case int:
		if r, ok := r.(int); ok {
			if v := l + r; (v >= l) == (r >= 0) {
				return v
			}
		}
	case float64:
		switch r := r.(type) {
		case float64:
			return l + r
		case int:
			return l + float64(r)
		}
	case string:
		if r, ok := r.(string); ok {
			if !m.room(len(l) + len(r)) {
				return nil
			}
			return l + r
		}
	case []any:
		if r, ok := r.([]any); ok {
			return m.addArrays(l, r)
		}
	case map[string]any:
		if r, ok := r.(map[string]any); ok {
			return m.addObjects(l, r)
		}
	}
	if r == nil {
		return l
	}
	return m.arithmetic("add", l, r, func(x, y float64) any { return x + y }, (*big.Int).Add)
}

func (m *Meter) addArrays(l, r []any) any {
	switch {
	case len(l) == 0:
		return r
	case len(r) == 0:
		return l
	case !m.room(2*(len(l)+len(r))) || !m.Charge(2*(len(l)+len(r))):
		return nil
	}
	v := make([]any, len(l)+len(r))
	copy(v, l)
	copy(v[len(l):], r)
	return v
}

func (m *Meter) addObjects(l, r map[string]any) any {
	switch {
	case len(l) == 0:
		return r
	case len(r) == 0:
		return l
	case !m.Charge(ObjectCost(len(l) + len(r))):
		return nil
	}
	v := make(map[string]any, len(l)+len(r))
	maps.Copy(v, l)
	maps.Copy(v, r)
	return v
}

// arithmetic is what is left to do for numbers that are no two small ints.
func (m *Meter) arithmetic(verb string, l, r any, floats func(x, y float64) any, ints func(z, x, y *big.Int) *big.Int) any {
	x, okX := bigOf(l)
	y, okY := bigOf(r)
	if okX && okY {
		if verb == "multiply" && x.BitLen()+y.BitLen() > maxBits || max(x.BitLen(), y.BitLen()) > maxBits {
			m.stop(TooLarge, "it makes an integer of more than 30,000 digits")
			return nil
		}
		m.Charge((x.BitLen()/64 + 1) * (y.BitLen()/64 + 1) / 8)
		return ints(new(big.Int), x, y)
	}
	f, okX := gojq.ToFloat64(l)
	g, okY := gojq.ToFloat64(r)
	if okX && okY {
		return floats(f, g)
	}
	return cannotPair(verb, l, r)
}

func bigOf(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int:
		return big.NewInt(int64(v)), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// Subtract is jq's -.
func (m *Meter) Subtract(l, r any) any {
	if x, ok := l.(int); ok {
		if y, ok := r.(int); ok {
			if v := x - y; (v <= x) == (y >= 0) {
				return v
			}
		}
	}
	if x, ok := l.([]any); ok {
		if y, ok := r.([]any); ok {
			return m.subtractArrays(x, y)
		}
	}
	return m.arithmetic("subtract", l, r, func(x, y float64) any { return x - y }, (*big.Int).Sub)
}

func (m *Meter) subtractArrays(l, r []any) any {
	v := make([]any, 0, len(l))
	if !m.Charge(2 * len(l)) {
		return nil
	}
next:
	for _, x := range l {
		for _, y := range r {
			if m.compare(x, y, 0) == 0 {
				continue next
			}
			if !m.Charge(1) {
				return nil
			}
		}
		v = append(v, x)
	}
	return v
}

// Multiply is jq's *.
func (m *Meter) Multiply(l, r any) any {
	if x, ok := l.(int); ok {
		if y, ok := r.(int); ok && y != -1 {
			if v := x * y; y == 0 || v/y == x {
				return v
			}
		}
	}
	if s, ok := l.(string); ok {
		if n, ok := gojq.ToFloat64(r); ok {
			return m.repeat(s, n)
		}
	}
	if s, ok := r.(string); ok {
		if n, ok := gojq.ToFloat64(l); ok {
			return m.repeat(s, n)
		}
	}
	if x, ok := l.(map[string]any); ok {
		if y, ok := r.(map[string]any); ok {
			return m.merge(x, y, 0)
		}
	}
	v := m.arithmetic("multiply", l, r, func(x, y float64) any { return x * y }, (*big.Int).Mul)
	if b, ok := v.(*big.Int); ok && b.IsInt64() {
		return int(b.Int64())
	}
	return v
}

func (m *Meter) repeat(s string, n float64) any {
	if n < 0 || math.IsNaN(n) {
		return nil
	}
	if s == "" {
		return ""
	}
	if n*float64(len(s)) > float64(m.maxResult) {
		n = float64(m.maxResult + 1) // enough to be refused
	}
	if !m.room(len(s) * int(n)) {
		return nil
	}
	return strings.Repeat(s, int(n))
}

// merge is the deep merge of two objects.
func (m *Meter) merge(l, r map[string]any, depth int) any {
	if depth > maxWalk || !m.Charge(ObjectCost(len(l)+len(r))) {
		m.stop(TooLarge, "it merges objects that are nested too deep")
		return m.stopped
	}
	v := make(map[string]any, len(l)+len(r))
	maps.Copy(v, l)
	for _, k := range sortedKeys(r) {
		x := r[k]
		if y, ok := v[k].(map[string]any); ok {
			if z, ok := x.(map[string]any); ok {
				x = m.merge(y, z, depth+1)
				if m.stopped != nil {
					return nil
				}
			}
		}
		v[k] = x
	}
	return v
}

// Divide is jq's /.
func (m *Meter) Divide(l, r any) any {
	if s, ok := l.(string); ok {
		if sep, ok := r.(string); ok {
			return m.split(s, sep)
		}
	}
	if f, ok := gojq.ToFloat64(r); ok && f == 0 {
		if _, ok := gojq.ToFloat64(l); ok {
			return errors.New("cannot divide " + describe(l) + " by: " + describe(r))
		}
	}
	if x, ok := l.(int); ok {
		if y, ok := r.(int); ok && y != -1 {
			if x%y == 0 {
				return x / y
			}
			return float64(x) / float64(y)
		}
	}
	x, okX := bigOf(l)
	y, okY := bigOf(r)
	if okX && okY {
		m.Charge((x.BitLen()/64 + 1) * (y.BitLen()/64 + 1) / 8)
		if d, rest := new(big.Int).QuoRem(x, y, new(big.Int)); rest.Sign() == 0 {
			if d.IsInt64() {
				return int(d.Int64())
			}
			return d
		}
	}
	return m.arithmeticFloat("divide", l, r, func(x, y float64) any { return x / y })
}

func (m *Meter) arithmeticFloat(verb string, l, r any, floats func(x, y float64) any) any {
	f, okX := gojq.ToFloat64(l)
	g, okY := gojq.ToFloat64(r)
	if okX && okY {
		return floats(f, g)
	}
	return cannotPair(verb, l, r)
}

// Compare orders values as jq does: null, false, true, numbers, strings,
// arrays, objects. It charges a step for each pair that it looks at.
func (m *Meter) Compare(l, r any) int { return m.compare(l, r, 0) }

func (m *Meter) compare(l, r any, depth int) int {
	switch x := l.(type) {
	case string:
		if y, ok := r.(string); ok {
			m.Charge(min(len(x), len(y)) / 64)
			return strings.Compare(x, y)
		}
	case int:
		if y, ok := r.(int); ok {
			return cmp.Compare(x, y)
		}
	case []any:
		if y, ok := r.([]any); ok {
			return m.compareArrays(x, y, depth+1)
		}
	case map[string]any:
		if y, ok := r.(map[string]any); ok {
			return m.compareObjects(x, y, depth+1)
		}
	}
	return gojq.Compare(l, r)
}

// shallow reports whether a comparison may go one level deeper.
func (m *Meter) shallow(depth int) bool {
	if depth > maxWalk {
		m.stop(TooLarge, "it compares values that are nested too deep")
	}
	return m.stopped == nil
}

func (m *Meter) compareArrays(l, r []any, depth int) int {
	for i := range min(len(l), len(r)) {
		if !m.Charge(1) || !m.shallow(depth) {
			return 0
		}
		if c := m.compare(l[i], r[i], depth); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(l), len(r))
}

func (m *Meter) compareObjects(l, r map[string]any, depth int) int {
	if !m.Charge(4*(len(l)+len(r))) || !m.shallow(depth) {
		return 0
	}
	a, b := sortedKeys(l), sortedKeys(r)
	for i := range min(len(a), len(b)) {
		if c := strings.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for _, k := range a {
		if c := m.compare(l[k], r[k], depth); c != 0 {
			return c
		}
	}
	return 0
}
