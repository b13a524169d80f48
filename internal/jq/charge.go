package jq

import (
	"errors"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

// maxWalk bounds how deep a value may be nested while an expression works on
// it: what walks values recurses, and a stack has an end.
const maxWalk = 10_000

// pass charges n steps and gives v back.
func (m *Meter) pass(v any, n int) any {
	m.Charge(n)
	return v
}

// chargeObject charges an object that was just built: a small map of Go takes
// more than 300 bytes.
func (m *Meter) chargeObject(v any) any {
	o, _ := v.(map[string]any)
	return m.pass(v, ObjectCost(len(o)))
}

// ObjectCost is how many steps an object of n keys takes.
func ObjectCost(n int) int {
	if n > 8 {
		return 12 * n
	}
	return 30
}

// chargeBytes charges a string a step for each n of its bytes.
func (m *Meter) chargeBytes(v any, n int) any {
	if s, ok := v.(string); ok {
		m.Charge(len(s) / n)
	}
	return v
}

// chargeBytesTimes charges a string n steps for each byte.
func (m *Meter) chargeBytesTimes(v any, n int) any {
	if s, ok := v.(string); ok {
		m.Charge(len(s) * n)
	}
	return v
}

// chargeList charges n steps for each element of an array or object.
func (m *Meter) chargeList(v any, n int) any {
	switch v := v.(type) {
	case []any:
		m.Charge(n * len(v))
	case map[string]any:
		m.Charge(2 * n * len(v))
	}
	return v
}

// weigh charges a step for each node of v and each 16 bytes of its strings;
// what is shared counts each time that it would be walked over.
func (m *Meter) weigh(v any) bool {
	deep := false
	m.weighAt(v, 0, &deep)
	// Said last: which branch of an object comes first must not decide
	// between this and the limit of steps.
	if deep && m.stopped == nil {
		m.stop(TooLarge, "it makes a value that is nested more than "+strconv.Itoa(maxWalk)+" deep")
	}
	return m.stopped == nil
}

func (m *Meter) weighAt(v any, depth int, deep *bool) bool {
	if depth > maxWalk {
		*deep = true
		return true
	}
	switch v := v.(type) {
	case string:
		return m.Charge(1 + len(v)/16)
	case *big.Int:
		return m.Charge(1 + v.BitLen()/64)
	case []any:
		if !m.Charge(1 + len(v)/8) {
			return false
		}
		for _, x := range v {
			if !m.weighAt(x, depth+1, deep) {
				return false
			}
		}
		return true
	case map[string]any:
		if !m.Charge(2 + 3*len(v)) {
			return false
		}
		for k, x := range v {
			if !m.Charge(len(k)/16) || !m.weighAt(x, depth+1, deep) {
				return false
			}
		}
		return true
	}
	return m.Charge(1)
}

// chargeSort charges what sorting v by comparing its elements costs at most.
func (m *Meter) chargeSort(v any) any {
	before := m.left
	if !m.weigh(v) {
		return v
	}
	if list, ok := v.([]any); ok {
		m.Charge((before-m.left)*bits.Len(uint(len(list)))/4 + 8*len(list))
	}
	return v
}

// chargeWriting charges what writing v as text costs, escapes included.
func (m *Meter) chargeWriting(v any) any {
	if s, ok := v.(string); ok {
		m.Charge(len(s) * 3 / 4)
		return v
	}
	before := m.left
	if m.weigh(v) {
		m.Charge(4 * (before - m.left))
	}
	return v
}

// chargeNumber refuses to read a number out of a string of many digits, which
// takes more than linear time.
func (m *Meter) chargeNumber(v any) any {
	if s, ok := v.(string); ok {
		if len(s) > 1000 {
			return errors.New("tonumber cannot be applied to a string of " + strconv.Itoa(len(s)) + " bytes")
		}
		m.Charge(len(s) / 4)
	}
	return v
}

// chargeTimeFormat refuses %Z in strptime: what names it knows depends on the
// time zone of the host.
func (m *Meter) chargeTimeFormat(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	m.Charge(len(s) * 16)
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		for i++; i < len(s) && strings.IndexByte("-_0^#:EO123456789", s[i]) >= 0; i++ {
		}
		if i < len(s) && s[i] == 'Z' {
			return errors.New("strptime: %Z depends on the time zone of the host; use %z for an offset, or write Z for UTC")
		}
	}
	return v
}

// chargeKey charges a computed index: an array as a key searches for it.
func (m *Meter) chargeKey(v any) any {
	if list, ok := v.([]any); ok {
		m.Charge(50_000)
		before := m.left
		if m.weigh(list) {
			m.Charge(100 * (before - m.left))
		}
	}
	return v
}

// room reports whether a value of n bytes may be made, and charges for it.
func (m *Meter) room(n int) bool {
	if n > m.maxResult {
		m.stop(TooLarge, "it makes a value larger than "+bytesText(m.maxResult))
		return false
	}
	return m.Charge(n / 8)
}

// describe names v in an error message as gojq does.
func describe(v any) string {
	if v == nil {
		return "null"
	}
	return gojq.TypeOf(v) + " (" + gojq.Preview(v) + ")"
}

func cannot(name string, v any) error {
	return errors.New(name + " cannot be applied to: " + describe(v))
}

func cannotWith(name string, v, arg any) error {
	return errors.New(name + "(" + gojq.Preview(arg) + ") cannot be applied to: " + describe(v))
}

func cannotPair(verb string, l, r any) error {
	return errors.New("cannot " + verb + ": " + describe(l) + " and " + describe(r))
}

// Shorten cuts s to about n bytes at a rune's edge.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
