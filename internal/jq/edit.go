package jq

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/itchyny/gojq"
)

// editor remembers, during one assignment such as .a[] |= f, which containers
// were made by it: those it may change in place, all others it copies first.
// So the input stays as it is, and an update of n elements copies their array
// once, not n times. It is a value of jq's machine that no user's code sees.
type editor struct {
	owned   map[uintptr]any // by address; the value keeps the address in use
	dropped []any           // paths to delete when the assignment is done
}

func address(v any) uintptr { return reflect.ValueOf(v).Pointer() }

func (e *editor) owns(v any) bool {
	if e.owned == nil {
		return false
	}
	_, ok := e.owned[address(v)]
	return ok
}

func (e *editor) own(v any) {
	if e.owned == nil {
		e.owned = map[uintptr]any{}
	}
	e.owned[address(v)] = v
}

// removed marks a place whose content is deleted at the end: indexes must not
// shift before all paths were followed.
type removed struct{}

// getForEdit is getpath for an update: what it hands out may be kept
// anywhere, so it is changed in place no more.
func (m *Meter) getForEdit(v, path, ed any) any {
	out := m.getpath(v, path)
	e, ok := ed.(*editor)
	if p, list := path.([]any); ok && list {
		for _, k := range p {
			if _, slice := k.(map[string]any); slice {
				clear(e.owned) // a slice shares its array's memory, but not its address
			}
		}
	}
	switch out.(type) {
	case []any, map[string]any:
		if e.owns(out) {
			clear(e.owned)
		}
	}
	return out
}

func (m *Meter) getpath(v, path any) any {
	p, ok := path.([]any)
	if !ok {
		return cannotWith("getpath", v, path)
	}
	m.Charge(len(p))
	out := v
	for _, k := range p {
		out = m.at(out, k)
		if err, failed := out.(error); failed {
			return errors.New("getpath(" + gojq.Preview(path) + ") cannot be applied to " + gojq.Preview(v) + ": " + err.Error())
		}
	}
	return out
}

// at is one index of a path, as jq's _index.
func (m *Meter) at(v, key any) any {
	switch k := key.(type) {
	case string:
		switch v := v.(type) {
		case nil:
			return nil
		case map[string]any:
			return v[k]
		}
		return errors.New("expected an object but got: " + describe(v))
	case map[string]any:
		return m.slice(v, k)
	}
	i, ok := gojq.ToInt(key)
	if !ok {
		return errors.New("expected a string for object key but got: " + describe(key))
	}
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		if i < 0 {
			i += len(v)
		}
		if i < 0 || i >= len(v) {
			return nil
		}
		return v[i]
	}
	return errors.New("expected an array but got: " + describe(v))
}

func (m *Meter) slice(v any, k map[string]any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		start, end, err := bounds(k, len(v))
		if err != nil {
			return err
		}
		return v[start:end:end] // no room behind: what follows is not its own
	}
	return errors.New("expected an array but got: " + describe(v))
}

// bounds reads {"start": …, "end": …} for a list of n.
func bounds(k map[string]any, n int) (start, end int, err error) {
	s, ok1 := k["start"]
	e, ok2 := k["end"]
	if !ok1 || !ok2 {
		return 0, 0, errors.New(`expected "start" and "end" for slicing but got: ` + describe(k))
	}
	end = n
	if s != nil {
		i, ok := floorInt(s)
		if !ok {
			return 0, 0, errors.New("expected a number for indexing an array but got: " + describe(s))
		}
		start = clamp(i, 0, n)
	}
	if e != nil {
		i, ok := ceilInt(e)
		if !ok {
			return 0, 0, errors.New("expected a number for indexing an array but got: " + describe(e))
		}
		end = clamp(i, start, n)
	}
	return start, end, nil
}

func clamp(i, low, n int) int {
	if i < 0 {
		i += n
	}
	return min(max(i, low), n)
}

// set is setpath.
func (m *Meter) set(v, path, x, ed any) any {
	p, ok := path.([]any)
	if !ok {
		return cannotWith("setpath", v, path)
	}
	if len(p) > maxWalk {
		m.stop(TooLarge, "it uses a path that is too long")
		return nil
	}
	e, _ := ed.(*editor)
	out, err := m.update(v, p, x, e)
	if err != nil {
		return errors.New("setpath(" + gojq.Preview(path) + "; " + gojq.Preview(x) + ") cannot be applied to " + gojq.Preview(v) + ": " + err.Error())
	}
	return out
}

func (m *Meter) update(v any, path []any, x any, e *editor) (any, error) {
	if len(path) == 0 || m.stopped != nil {
		return x, nil //nolint:nilerr // who runs the program asks the meter
	}
	if _, gone := v.(removed); gone {
		return v, nil
	}
	m.Charge(1)
	switch k := path[0].(type) {
	case string:
		o, ok := v.(map[string]any)
		if !ok && v != nil {
			return nil, errors.New("expected an object but got: " + describe(v))
		}
		return m.updateKey(v, o, k, path[1:], x, e)
	case map[string]any:
		list, ok := v.([]any)
		if !ok && v != nil {
			return nil, errors.New("expected an array but got: " + describe(v))
		}
		return m.updateSlice(v, list, k, path[1:], x, e)
	default:
		i, ok := gojq.ToInt(k)
		if !ok {
			if _, list := v.([]any); list {
				return nil, errors.New("expected a number for indexing an array but got: " + describe(k))
			}
			return nil, errors.New("expected a string for object key but got: " + describe(k))
		}
		list, ok := v.([]any)
		if !ok && v != nil {
			return nil, errors.New("expected an array but got: " + describe(v))
		}
		return m.updateIndex(v, list, i, path[1:], x, e)
	}
}

func (m *Meter) updateKey(v any, o map[string]any, k string, path []any, x any, e *editor) (any, error) {
	old, has := o[k]
	if !has && x == (removed{}) {
		return v, nil
	}
	u, err := m.update(old, path, x, e)
	if err != nil {
		return nil, err
	}
	if o != nil && e.owns(o) {
		m.Charge(6)
		o[k] = u
		return o, nil
	}
	if !m.Charge(ObjectCost(len(o) + 1)) {
		return v, nil
	}
	w := make(map[string]any, len(o)+1)
	maps.Copy(w, o)
	w[k] = u
	e.own(w)
	return w, nil
}

// maxIndex is the largest index that an assignment may make, as in gojq.
const maxIndex = 0x20000000

func (m *Meter) updateIndex(v any, list []any, i int, path []any, x any, e *editor) (any, error) {
	at := i
	if at < 0 {
		at += len(list)
	}
	var old any
	switch {
	case at >= 0 && at < len(list):
		old = list[at]
	case x == (removed{}):
		return v, nil
	case at < 0:
		return nil, errors.New("array index should not be negative: " + gojq.Preview(i))
	case at >= maxIndex:
		return nil, errors.New("array index too large: " + gojq.Preview(i))
	}
	u, err := m.update(old, path, x, e)
	if err != nil {
		return nil, err
	}
	if list != nil && e.owns(list) && at < len(list) {
		list[at] = u
		return list, nil
	}
	n, room := max(len(list), at+1), 0
	if list != nil && e.owns(list) {
		if at < cap(list) {
			list = list[:at+1]
			list[at] = u
			return list, nil
		}
		room = 2 * cap(list) // grown again and again: as append does
	}
	if !m.room(2*n) || !m.Charge(2*max(n, room)) {
		return v, nil
	}
	w := make([]any, n, max(n, room))
	copy(w, list)
	w[at] = u
	e.own(w)
	return w, nil
}

func (m *Meter) updateSlice(v any, list []any, k map[string]any, path []any, x any, e *editor) (any, error) {
	start, end, err := bounds(k, len(list))
	if err != nil {
		return nil, err
	}
	if start == end && x == (removed{}) {
		return v, nil
	}
	u, err := m.update(list[start:end:end], path, x, e)
	if err != nil {
		return nil, err
	}
	if u == (removed{}) {
		w := list
		if !e.owns(list) {
			m.Charge(2 * len(w))
			w = slices.Clone(list)
		}
		m.Charge(end - start)
		for i := start; i < end; i++ {
			w[i] = removed{}
		}
		e.own(w)
		return w, nil
	}
	part, ok := u.([]any)
	if !ok {
		return nil, errors.New("expected an array but got: " + describe(u))
	}
	if len(part) == end-start && len(part) > 0 && e.owns(list) {
		m.Charge(len(part))
		copy(list[start:], part)
		return list, nil
	}
	n := len(list) - (end - start) + len(part)
	if !m.room(2*n) || !m.Charge(2*n) {
		return v, nil
	}
	w := make([]any, 0, n)
	w = append(append(append(w, list[:start]...), part...), list[end:]...)
	if n > 0 {
		e.own(w)
	}
	return w, nil
}

// appendInPlace is . + list in a reduce.
func (m *Meter) appendInPlace(v, list, ed any) any {
	e, _ := ed.(*editor)
	old, ok1 := v.([]any)
	more, ok2 := list.([]any)
	if !ok1 || !ok2 || len(more) == 0 {
		return m.Add(v, list)
	}
	n := len(old) + len(more)
	if len(old) == 0 || !e.owns(old) || n > cap(old) {
		room := max(n, 2*len(old), 4)
		if !m.room(2*n) || !m.Charge(2*room) {
			return nil
		}
		w := make([]any, len(old), room)
		copy(w, old)
		old = w
		e.own(w)
	}
	m.Charge(2 * len(more))
	return append(old, more...)
}

// drop notes that path is to be deleted when the assignment is done.
func (m *Meter) drop(v, path, ed any) any {
	if e, ok := ed.(*editor); ok {
		m.Charge(2)
		e.dropped = append(e.dropped, path)
	}
	return v
}

// finish ends an assignment.
func (m *Meter) finish(v, ed any) any {
	e, _ := ed.(*editor)
	if len(e.dropped) == 0 {
		return v
	}
	return m.deletePaths(v, e.dropped, e)
}

// deletePaths is delpaths. Unlike gojq's it touches only containers that it
// copied: gojq writes into the whole value, which may be somebody's input.
func (m *Meter) deletePaths(v, paths any, e *editor) any {
	list, ok := paths.([]any)
	if !ok {
		return cannotWith("delpaths", v, paths)
	}
	out := v
	for _, q := range list {
		p, ok := q.([]any)
		if !ok {
			return errors.New("delpaths(" + gojq.Preview(paths) + ") cannot be applied to " + gojq.Preview(v) + ": expected an array but got: " + describe(q))
		}
		if len(p) == 0 {
			return nil
		}
		if len(p) > maxWalk {
			m.stop(TooLarge, "it uses a path that is too long")
			return nil
		}
	}
	// Ancestors first, as jq has it: what lies below is gone then.
	sorted := slices.Clone(list)
	m.chargeSort(list)
	if m.stopped != nil {
		return nil
	}
	slices.SortStableFunc(sorted, gojq.Compare)
	for _, q := range sorted {
		p, _ := q.([]any)
		next, err := m.update(out, p, removed{}, e)
		if err != nil {
			return errors.New("delpaths(" + gojq.Preview(paths) + ") cannot be applied to " + gojq.Preview(v) + ": " + err.Error())
		}
		if m.stopped != nil {
			return nil
		}
		out = next
	}
	return m.sweep(out, e)
}

// sweep takes the marks out; they are in containers that e owns alone.
func (m *Meter) sweep(v any, e *editor) any {
	switch v := v.(type) {
	case map[string]any:
		if !e.owns(v) || !m.Charge(2*len(v)) {
			return v
		}
		for k, x := range v {
			if _, gone := x.(removed); gone {
				delete(v, k)
			} else {
				v[k] = m.sweep(x, e)
			}
		}
	case []any:
		if len(v) == 0 || !e.owns(v) || !m.Charge(len(v)) {
			return v
		}
		kept := v[:0]
		for _, x := range v {
			if _, gone := x.(removed); !gone {
				kept = append(kept, m.sweep(x, e))
			}
		}
		clear(v[len(kept):])
		return kept
	}
	return v
}
