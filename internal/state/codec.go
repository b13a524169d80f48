package state

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"reflect"
	"slices"
	"time"
)

// writer writes a snapshot: tagged values, each container once.
type writer struct {
	b     []byte
	known map[container]int
}

// container is the identity of an object or array that several places share.
type container struct {
	at uintptr
	n  int
}

func (w *writer) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) int(n int)     { w.b = binary.AppendVarint(w.b, int64(n)) }

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) string(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.int(0)
		return
	}
	w.b = binary.AppendVarint(w.b, t.UnixMicro())
}

// The tags of values. A float keeps its form, so that a restored run computes
// exactly as it would have.
const (
	tagNull = iota
	tagFalse
	tagTrue
	tagInt
	tagFloat
	tagBig
	tagString
	tagArray
	tagObject
	tagAgain
)

func (w *writer) value(v any) {
	switch v := v.(type) {
	case nil:
		w.b = append(w.b, tagNull)
	case bool:
		if v {
			w.b = append(w.b, tagTrue)
		} else {
			w.b = append(w.b, tagFalse)
		}
	case int:
		w.b = append(w.b, tagInt)
		w.int(v)
	case float64:
		w.b = binary.BigEndian.AppendUint64(append(w.b, tagFloat), math.Float64bits(v))
	case *big.Int:
		w.b = append(w.b, tagBig)
		w.string(v.String())
	case string:
		w.b = append(w.b, tagString)
		w.string(v)
	case []any:
		if len(v) > 0 && w.again(container{reflect.ValueOf(v).Pointer(), len(v)}) {
			return
		}
		w.b = append(w.b, tagArray)
		w.uint(uint64(len(v)))
		for _, x := range v {
			w.value(x)
		}
	case map[string]any:
		if len(v) > 0 && w.again(container{reflect.ValueOf(v).Pointer(), -1}) {
			return
		}
		w.b = append(w.b, tagObject)
		w.uint(uint64(len(v)))
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			w.string(k)
			w.value(v[k])
		}
	default:
		w.b = append(w.b, tagNull)
	}
}

// again writes a reference to a container that was written before.
func (w *writer) again(c container) bool {
	if i, ok := w.known[c]; ok {
		w.b = append(w.b, tagAgain)
		w.uint(uint64(i))
		return true
	}
	w.known[c] = len(w.known)
	return false
}

func (w *writer) values(list []any) {
	w.uint(uint64(len(list)))
	for _, v := range list {
		w.value(v)
	}
}

func (w *writer) ints(list []int) {
	w.uint(uint64(len(list)))
	for _, n := range list {
		w.int(n)
	}
}

func (w *writer) bools(list []bool) {
	w.uint(uint64(len(list)))
	for _, v := range list {
		w.bool(v)
	}
}

// reader reads what writer wrote. Damage is an error, never a panic, and never
// makes it take more memory than the bytes justify.
type reader struct {
	b     []byte
	err   error
	known []any
	depth int
}

var errSnapshot = errors.New("the snapshot is damaged")

func (r *reader) fail() {
	if r.err == nil {
		r.err = errSnapshot
	}
	r.b = nil
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) int() int {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return int(n)
}

// count reads a length: no more than there are bytes left.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bool() bool { return r.byte() == 1 }

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) string() string { return string(r.bytes(r.count())) }

func (r *reader) time() time.Time {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return time.Time{}
	}
	r.b = r.b[size:]
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (r *reader) value() any {
	if r.depth++; r.depth > 10_000 {
		r.fail()
		return nil
	}
	defer func() { r.depth-- }()
	switch r.byte() {
	case tagNull:
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagInt:
		return r.int()
	case tagFloat:
		if b := r.bytes(8); len(b) == 8 {
			return math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case tagBig:
		if n, ok := new(big.Int).SetString(r.string(), 10); ok {
			return n
		}
		r.fail()
	case tagString:
		return r.string()
	case tagArray:
		n := r.count()
		list := make([]any, n)
		if n > 0 {
			r.known = append(r.known, list)
		}
		for i := range list {
			list[i] = r.value()
		}
		return list
	case tagObject:
		n := r.count()
		m := make(map[string]any, n)
		if n > 0 {
			r.known = append(r.known, m)
		}
		for range n {
			k := r.string()
			m[k] = r.value()
		}
		return m
	case tagAgain:
		if i := r.uint(); i < uint64(len(r.known)) {
			return r.known[i]
		}
		r.fail()
	default:
		r.fail()
	}
	return nil
}

func (r *reader) object() map[string]any {
	m, _ := r.value().(map[string]any)
	return m
}

func (r *reader) values() []any {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]any, 0, n)
	for range n {
		list = append(list, r.value())
	}
	return list
}

func (r *reader) ints() []int {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]int, 0, n)
	for range n {
		list = append(list, r.int())
	}
	return list
}

func (r *reader) bools() []bool {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]bool, 0, n)
	for range n {
		list = append(list, r.bool())
	}
	return list
}
