// Package value is Downbeat's one model of JSON data: it decodes, encodes
// canonically, measures, compares, hashes and copies it.
//
// A value is nil, bool, int, float64, *big.Int, string, []any or
// map[string]any: exactly what package expr hands to jq. Everything that
// enters Downbeat is decoded by [Decode] (or brought into form by [Normalize])
// once, at the edge; inside, a value is never changed after it was made, so
// parts of it are shared freely. The package is pure: it knows no clock, does
// no input or output and starts nothing.
//
// The package also holds the two small text forms of the language that stand
// for values: durations and URI templates.
package value

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
)

// TypeName returns the JSON name of v's type: "object", "array", "string",
// "number", "boolean" or "null".
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case int, float64, *big.Int:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return TypeName(Normalize(v))
}

// Copy returns a deep copy of v: no container is shared with it.
func Copy(v any) any {
	switch v := v.(type) {
	case []any:
		w := make([]any, len(v))
		for i, x := range v {
			w[i] = Copy(x)
		}
		return w
	case map[string]any:
		w := make(map[string]any, len(v))
		for k, x := range v {
			w[k] = Copy(x)
		}
		return w
	}
	return v
}

// Normalize brings other Go forms of JSON data (int64, json.Number, []string,
// map[string]string, …) to the forms of this package. A value that has them
// already is returned as it is, without a copy. What JSON has no form for
// becomes null.
func Normalize(v any) any {
	switch v := v.(type) {
	case nil, bool, int, string, float64, *big.Int:
		return v
	case []any:
		return normalizeArray(v)
	case map[string]any:
		return normalizeObject(v)
	case json.Number:
		if n, err := parseNumber([]byte(v)); err == nil {
			return n
		}
		return nil
	case json.RawMessage:
		return normalizeJSON(v)
	case Raw:
		w, err := v.Any()
		if err != nil {
			return nil
		}
		return w
	case *Raw:
		if v == nil {
			return nil
		}
		return Normalize(*v)
	case []string:
		return normalizeSlice(v)
	case []map[string]any:
		return normalizeSlice(v)
	case []byte:
		return string(v)
	case map[string]string:
		return normalizeMap(v)
	case map[string][]string:
		return normalizeMap(v)
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			if k, ok := k.(string); ok {
				m[k] = Normalize(x)
			}
		}
		return m
	}
	return normalizeNumber(v)
}

func normalizeNumber(v any) any {
	switch v := v.(type) {
	case int8:
		return int(v)
	case int16:
		return int(v)
	case int32:
		return int(v)
	case int64:
		return int(v)
	case uint8:
		return int(v)
	case uint16:
		return int(v)
	case uint32:
		return int(v)
	case uint:
		return normalizeUint(uint64(v))
	case uint64:
		return normalizeUint(v)
	case float32:
		return float64(v)
	case big.Int:
		return &v
	}
	return normalizeJSON(v)
}

// normalizeJSON is the slow way for anything else: through its JSON form.
func normalizeJSON(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	w, err := Decode(b)
	if err != nil {
		return nil
	}
	return w
}

func normalizeUint(v uint64) any {
	if v <= math.MaxInt {
		return int(v)
	}
	return new(big.Int).SetUint64(v)
}

func normalizeSlice[T any](v []T) any {
	w := make([]any, len(v))
	for i, x := range v {
		w[i] = Normalize(x)
	}
	return w
}

func normalizeMap[T any](v map[string]T) any {
	w := make(map[string]any, len(v))
	for k, x := range v {
		w[k] = Normalize(x)
	}
	return w
}

func normalizeArray(v []any) any {
	if v == nil {
		return []any{}
	}
	for i, x := range v {
		if y := Normalize(x); !same(x, y) {
			w := slices.Clone(v)
			w[i] = y
			for j := i + 1; j < len(w); j++ {
				w[j] = Normalize(w[j])
			}
			return w
		}
	}
	return v
}

func normalizeObject(v map[string]any) any {
	if v == nil {
		return map[string]any{}
	}
	var w map[string]any
	for k, x := range v {
		if y := Normalize(x); !same(x, y) {
			if w == nil {
				w = maps.Clone(v)
			}
			w[k] = y
		}
	}
	if w != nil {
		return w
	}
	return v
}

// same reports whether Normalize returned its argument itself.
func same(x, y any) bool {
	switch x := x.(type) {
	case nil:
		return true
	case bool, int, string, float64, *big.Int:
		return true
	case []any:
		y, ok := y.([]any)
		return ok && x != nil && len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	case map[string]any:
		if x == nil {
			return false
		}
		y, ok := y.(map[string]any)
		return ok && reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer()
	}
	return false
}

// Equal reports whether a and b are the same JSON value; numbers compare by
// their value, so 1 equals 1.0.
func Equal(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && a == b
	case int, float64, *big.Int:
		return equalNumbers(a, b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	}
	return false
}

func equalNumbers(a, b any) bool {
	switch x := a.(type) {
	case int:
		switch y := b.(type) {
		case int:
			return x == y
		case float64:
			// Exact, not by rounding x: equal values must have equal hashes.
			return y >= math.MinInt64 && y < math.MaxInt64 && y == math.Trunc(y) && int(y) == x
		case *big.Int:
			return y.IsInt64() && y.Int64() == int64(x)
		}
	case float64:
		switch y := b.(type) {
		case int:
			return equalNumbers(y, x)
		case float64:
			return x == y
		case *big.Int:
			return x == bigFloat(y)
		}
	case *big.Int:
		if y, ok := b.(*big.Int); ok {
			return x.Cmp(y) == 0
		}
		return equalNumbers(b, a)
	}
	return false
}

func bigFloat(x *big.Int) float64 {
	f, _ := new(big.Float).SetInt(x).Float64()
	return f
}
