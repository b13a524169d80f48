package jq

import (
	"errors"
	"maps"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// elements returns the elements of an array, or the values of an object in
// the order of its keys.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		out := make([]any, 0, len(v))
		for _, k := range sortedKeys(v) {
			out = append(out, v[k])
		}
		return out, true
	}
	return nil, false
}

// Sum is jq's add: elements of one kind are put together in one go.
func (m *Meter) Sum(v any) any {
	m.chargeList(v, 1)
	list, ok := elements(v)
	if !ok {
		return cannot("add", v)
	}
	var out any
	for i := 0; i < len(list) && m.stopped == nil; {
		if list[i] == nil {
			i++
			continue
		}
		run, n := m.sumRun(list[i:])
		i += n
		if out = m.Add(out, run); isError(out) {
			return out
		}
	}
	return out
}

func isError(v any) bool {
	_, ok := v.(error)
	return ok
}

// sumRun adds as many elements of one kind as list begins with.
func (m *Meter) sumRun(list []any) (any, int) {
	n := 1
	switch first := list[0].(type) {
	case string:
		size := len(first)
		for ; n < len(list); n++ {
			s, ok := list[n].(string)
			if !ok {
				break
			}
			size += len(s)
		}
		if n == 1 || !m.room(size) {
			return first, n
		}
		var b strings.Builder
		b.Grow(size)
		for _, s := range list[:n] {
			b.WriteString(s.(string)) //nolint:errcheck // seen above to be a string
		}
		return b.String(), n
	case []any:
		size := len(first)
		for ; n < len(list); n++ {
			s, ok := list[n].([]any)
			if !ok {
				break
			}
			size += len(s)
		}
		if n == 1 || !m.room(2*size) || !m.Charge(2*size) {
			return first, n
		}
		out := make([]any, 0, size)
		for _, s := range list[:n] {
			out = append(out, s.([]any)...) //nolint:errcheck // seen above to be an array
		}
		return out, n
	case map[string]any:
		return m.sumObjects(first, list)
	}
	return list[0], 1
}

func (m *Meter) sumObjects(first map[string]any, list []any) (any, int) {
	n := 1
	var out map[string]any
	for ; n < len(list); n++ {
		o, ok := list[n].(map[string]any)
		if !ok {
			break
		}
		if out == nil {
			if !m.Charge(ObjectCost(len(first))) {
				return first, n
			}
			out = maps.Clone(first)
		}
		if !m.Charge(12 * len(o)) {
			return first, n
		}
		maps.Copy(out, o)
	}
	if out == nil {
		return first, n
	}
	return out, n
}

// Length is jq's length.
func (m *Meter) Length(v any) any {
	switch v := v.(type) {
	case nil:
		return 0
	case string:
		m.Charge(len(v) / 64)
		return utf8.RuneCountInString(v)
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	case int:
		if v >= 0 {
			return v
		}
		return m.Subtract(0, v)
	case float64:
		return math.Abs(v)
	case *big.Int:
		return new(big.Int).Abs(v)
	}
	return cannot("length", v)
}

// join is jq's join: strings with sep between, numbers and booleans as JSON.
func (m *Meter) join(v, sep any) any {
	m.chargeList(v, 1)
	list, ok := elements(v)
	if !ok {
		return cannotWith("join", v, sep)
	}
	var b strings.Builder
	for i, x := range list {
		if i > 0 && sep != nil {
			s, ok := sep.(string)
			if !ok {
				return cannotPair("add", b.String(), sep)
			}
			b.WriteString(s)
		}
		switch x := x.(type) {
		case nil:
		case string:
			b.WriteString(x)
		case []any, map[string]any:
			return cannotPair("add", b.String(), x)
		default:
			b.Write(value.JSON(x))
		}
		if b.Len() > m.maxResult {
			break
		}
	}
	if !m.room(b.Len()) {
		return nil
	}
	return b.String()
}

// Concat puts the pieces of a string with interpolations together.
func (m *Meter) Concat(args []any) any {
	n := 0
	for _, a := range args {
		s, ok := a.(string)
		if !ok {
			return cannotPair("add", "", a)
		}
		n += len(s)
	}
	if !m.room(n) {
		return nil
	}
	var b strings.Builder
	b.Grow(n)
	for _, a := range args {
		b.WriteString(a.(string)) //nolint:errcheck // seen above to be a string
	}
	return b.String()
}

// Text is jq's tostring.
func (m *Meter) Text(v any) any {
	if s, ok := v.(string); ok {
		return s
	}
	return m.ToJSON(v)
}

// ToJSON is jq's tojson.
func (m *Meter) ToJSON(v any) any {
	size := 0
	if !resultSize(v, maxWalk, m.maxResult, &size) {
		m.stop(TooLarge, "it makes text of a value that is larger than "+bytesText(m.maxResult)+" or nested too deep")
		return nil
	}
	if !m.Charge(size / 4) {
		return nil
	}
	return string(value.Append(make([]byte, 0, size), v))
}

func (m *Meter) fromJSON(v any) any {
	s, ok := v.(string)
	if !ok {
		return cannot("fromjson", v)
	}
	if !m.Charge(2 * len(s)) {
		return nil
	}
	out, err := value.Decode([]byte(s))
	if err != nil {
		return errors.New("fromjson cannot be applied to " + gojq.Preview(v) + ": " + err.Error())
	}
	return out
}

func (m *Meter) split(v, sep any) any {
	s, ok1 := v.(string)
	t, ok2 := sep.(string)
	if !ok1 || !ok2 {
		return cannotWith("split", v, sep)
	}
	if s == "" {
		return []any{}
	}
	n := strings.Count(s, t) + 1
	if !m.Charge(len(s)/64 + 6*n) {
		return nil
	}
	out := make([]any, 0, n)
	for part := range strings.SplitSeq(s, t) {
		out = append(out, part)
	}
	return out
}

// indices is jq's indices, index and rindex: places counted in characters or
// elements, overlapping ones too.
func (m *Meter) indices(name string, v, x any) any {
	var at []any
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		want, ok := x.([]any)
		if !ok {
			want = []any{x}
		}
		at = m.findList(v, want)
	case string:
		want, ok := x.(string)
		if !ok {
			return cannotWith(name, v, x)
		}
		at = m.findText(v, want)
	default:
		return cannotWith(name, v, x)
	}
	switch {
	case name == "indices":
		return at
	case len(at) == 0:
		return nil
	case name == "index":
		return at[0]
	}
	return at[len(at)-1]
}

func (m *Meter) findList(v, want []any) []any {
	at := []any{}
	if len(want) == 0 {
		return at
	}
	for i := range len(v) - len(want) + 1 {
		if !m.Charge(1) {
			return at
		}
		if m.compareArrays(v[i:i+len(want)], want, 0) == 0 {
			m.Charge(4)
			at = append(at, i)
		}
	}
	return at
}

func (m *Meter) findText(s, want string) []any {
	at := []any{}
	if want == "" || !m.Charge(len(s)/16) {
		return at
	}
	runes := 0
	for {
		i := strings.Index(s, want)
		if i < 0 || !m.Charge(4+len(want)/16) {
			return at
		}
		runes += utf8.RuneCountInString(s[:i])
		at = append(at, runes)
		_, w := utf8.DecodeRuneInString(s[i:])
		s = s[i+w:]
		runes++
	}
}

// contains is jq's contains.
func (m *Meter) contains(l, r any, depth int) any {
	if !m.Charge(1) || !m.shallow(depth) {
		return false
	}
	switch x := l.(type) {
	case string:
		if y, ok := r.(string); ok {
			m.Charge(len(x) / 16)
			return strings.Contains(x, y)
		}
	case []any:
		if y, ok := r.([]any); ok {
			return m.containsAll(x, y, depth+1)
		}
	case map[string]any:
		if y, ok := r.(map[string]any); ok {
			if len(x) < len(y) {
				return false
			}
			m.Charge(2 * len(y))
			for _, k := range sortedKeys(y) {
				if sub, ok := x[k]; !ok || m.contains(sub, y[k], depth+1) != true {
					return false
				}
			}
			return true
		}
	}
	if gojq.TypeOf(l) == gojq.TypeOf(r) && gojq.TypeOf(l) != "boolean" || l == r {
		return gojq.Compare(l, r) == 0
	}
	return cannotWith("contains", l, r)
}

func (m *Meter) containsAll(l, r []any, depth int) any {
next:
	for _, y := range r {
		for _, x := range l {
			if m.contains(x, y, depth) == true {
				continue next
			}
			if m.stopped != nil {
				return false
			}
		}
		return false
	}
	return true
}

func (m *Meter) flatten(v any, args []any) any {
	list, ok := elements(v)
	if !ok {
		return cannot("flatten", v)
	}
	depth := -1.0
	if len(args) > 0 {
		if depth, ok = gojq.ToFloat64(args[0]); !ok {
			return cannot("flatten", args[0])
		}
		if depth < 0 || math.IsNaN(depth) {
			return errors.New("flatten depth should not be negative: " + gojq.Preview(depth))
		}
	}
	return m.flattenInto([]any{}, list, depth, 0)
}

func (m *Meter) flattenInto(out, list []any, depth float64, level int) []any {
	if !m.Charge(4*len(list)) || !m.shallow(level) {
		return out
	}
	for _, x := range list {
		if sub, ok := x.([]any); ok && depth != 0 {
			if out = m.flattenInto(out, sub, depth-1, level+1); m.stopped != nil {
				return out
			}
		} else {
			out = append(out, x)
		}
	}
	return out
}

func (m *Meter) transpose(v any) any {
	rows, ok := v.([]any)
	if !ok {
		return cannot("transpose", v)
	}
	width := 0
	for _, row := range rows {
		row, ok := row.([]any)
		if !ok {
			return cannot("transpose", v)
		}
		width = max(width, len(row))
	}
	if !m.Charge(4*len(rows)) || width > 0 && len(rows) > m.left/(2*width) || !m.Charge(width*(2*len(rows)+6)) {
		m.Charge(m.left + 1)
		return nil
	}
	out := make([]any, width)
	for i := range out {
		column := make([]any, len(rows))
		for j, row := range rows {
			if row, ok := row.([]any); ok && i < len(row) {
				column[j] = row[i]
			}
		}
		out[i] = column
	}
	return out
}

func (m *Meter) toEntries(v any) any {
	var n int
	switch v := v.(type) {
	case []any:
		n = len(v)
	case map[string]any:
		n = len(v)
	default:
		return cannot("keys", v)
	}
	if !m.Charge(n * (ObjectCost(2) + 4)) {
		return nil
	}
	out := make([]any, 0, n)
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			out = append(out, map[string]any{"key": i, "value": x})
		}
	case map[string]any:
		for _, k := range sortedKeys(v) {
			out = append(out, map[string]any{"key": k, "value": v[k]})
		}
	}
	return out
}

// ranger is jq's range. Each number that it gives is charged for, because
// most go into an array.
type ranger struct {
	m                *Meter
	value, end, step any
}

func (m *Meter) rangeOf(start, end, step any) gojq.Iter {
	for _, x := range []any{start, end, step} {
		if _, ok := gojq.ToFloat64(x); !ok {
			return gojq.NewIter[any](cannot("range", x))
		}
	}
	return &ranger{m, start, end, step}
}

// Next implements gojq.Iter.
func (r *ranger) Next() (any, bool) {
	if gojq.Compare(r.step, 0)*gojq.Compare(r.value, r.end) >= 0 {
		return nil, false
	}
	if !r.m.Charge(2) {
		return r.m.stopped, true
	}
	v := r.value
	r.value = r.m.Add(v, r.step)
	return v, true
}
