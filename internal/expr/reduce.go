package expr

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// Most uses of reduce build one value: {} with a key set, or [] with an
// element added, for each input. Copying that value each time makes the whole
// quadratic, and a few thousand elements pass the limit of steps. So when
// nothing but the update itself can see the value, it is changed in place: the
// update uses one editor for the whole reduce. What must hold for that:
//
//   - the update is .path = x, .path op= x or . + [x], or several of these
//     with | between, and
//   - x gives exactly one value and does not look at the value being built
//     (dot), which it could keep, and
//   - the path is a single one: further ones would be looked for in what was
//     changed already. It may look at the value, for what it gives are keys.
//
// reduceInPlace changes r.Update, which is rewritten already, accordingly and
// reports whether it did.
func (r *rewriter) reduceInPlace(u *gojq.Query) bool {
	if len(u.FuncDefs) > 0 {
		return false
	}
	if u.Term == nil {
		if u.Op != gojq.OpPipe {
			return false
		}
		if len(u.Patterns) > 0 {
			return r.updateInPlace(u)
		}
		// Both or none: one that copies would leave two owners.
		left, right := cloneUpdate(u.Left), cloneUpdate(u.Right)
		if !r.reduceInPlace(left) || !r.reduceInPlace(right) {
			return false
		}
		u.Left, u.Right = left, right
		return true
	}
	t := u.Term
	if t.Type == gojq.TermTypeQuery && len(t.SuffixList) == 0 {
		return r.reduceInPlace(t.Query)
	}
	if t.Type != gojq.TermTypeFunc || len(t.SuffixList) > 0 || len(t.Func.Args) != 2 {
		return false
	}
	f := t.Func
	switch f.Name {
	case "__assign":
		if oneValue(f.Args[0]) && apart(f.Args[1]) && oneValue(f.Args[1]) {
			*t.Func = gojq.Func{Name: r.use("__assign_in"), Args: []*gojq.Query{f.Args[0], f.Args[1], r.call(editorVariable)}}
			return true
		}
	case "__add":
		if isDot(f.Args[0]) && f.Args[1].Term != nil && f.Args[1].Term.Type == gojq.TermTypeArray && apart(f.Args[1]) && oneValue(f.Args[1]) {
			*t.Func = gojq.Func{Name: r.use("__append"), Args: []*gojq.Query{f.Args[1], r.call(editorVariable)}}
			return true
		}
	}
	return false
}

// cloneUpdate copies as much of an update as reduceInPlace may change.
func cloneUpdate(q *gojq.Query) *gojq.Query {
	c := *q
	if q.Term != nil {
		t := *q.Term
		if t.Func != nil {
			f := *t.Func
			t.Func = &f
		}
		if t.Query != nil {
			t.Query = cloneUpdate(t.Query)
		}
		c.Term = &t
		return &c
	}
	if c.Left != nil {
		c.Left = cloneUpdate(c.Left)
	}
	if c.Right != nil {
		c.Right = cloneUpdate(c.Right)
	}
	return &c
}

// editorVariable holds the editor of the reduce around an update.
const editorVariable = "$__e"

// updateInPlace is for what operator made of l op= x:
// x as $__u | __modify(l; op(.; $__u)).
func (r *rewriter) updateInPlace(u *gojq.Query) bool {
	if u.Patterns[0].Name != "$__u" || !apart(u.Left) || !oneValue(u.Left) {
		return false
	}
	t := u.Right.Term
	if t == nil || t.Type != gojq.TermTypeFunc || t.Func.Name != "__modify" || !oneValue(t.Func.Args[0]) {
		return false
	}
	by := t.Func.Args[1]
	if f := by.Term.Func; f.Name == "__add" {
		by = r.call("__append", f.Args[1], r.call(editorVariable))
	}
	u.Right = r.call("__update_in", t.Func.Args[0], by, r.call(editorVariable))
	return true
}

func isDot(q *gojq.Query) bool {
	return q.Term != nil && q.Term.Type == gojq.TermTypeIdentity && len(q.Term.SuffixList) == 0 && len(q.FuncDefs) == 0
}

// apart reports whether q surely does not look at dot.
func apart(q *gojq.Query) bool {
	if q == nil {
		return true
	}
	if len(q.FuncDefs) > 0 {
		return false
	}
	if q.Term == nil {
		if q.Op == gojq.OpPipe && len(q.Patterns) == 0 {
			return apart(q.Left)
		}
		return q.Op != gojq.OpAssign && q.Op != gojq.OpModify && apart(q.Left) && apart(q.Right)
	}
	t := q.Term
	for _, s := range t.SuffixList {
		if s.Index != nil && (!apart(s.Index.Start) || !apart(s.Index.End) || !apartText(s.Index.Str)) {
			return false
		}
	}
	switch t.Type { //nolint:exhaustive // the others may look at dot
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return true
	case gojq.TermTypeString:
		return apartText(t.Str)
	case gojq.TermTypeQuery:
		return apart(t.Query)
	case gojq.TermTypeArray:
		return apart(t.Array.Query)
	case gojq.TermTypeObject:
		return apartObject(t.Object)
	case gojq.TermTypeFunc:
		if strings.HasPrefix(t.Func.Name, "$") {
			return true
		}
		// Ours with arguments work on these alone, if they are operators.
		return (isOperator(t.Func.Name) || t.Func.Name == "__concat") && !slices.ContainsFunc(t.Func.Args, func(a *gojq.Query) bool { return !apart(a) })
	}
	return false
}

func isOperator(name string) bool {
	for _, n := range operators {
		if n == name {
			return true
		}
	}
	return false
}

func apartText(s *gojq.String) bool {
	return s == nil || !slices.ContainsFunc(s.Queries, func(q *gojq.Query) bool { return !apart(q) })
}

func apartObject(o *gojq.Object) bool {
	for _, kv := range o.KeyVals {
		if kv.Val == nil && !strings.HasPrefix(kv.Key, "$") || !apart(kv.Val) || !apart(kv.KeyQuery) || !apartText(kv.KeyString) {
			return false
		}
	}
	return true
}

// oneValue reports whether q surely gives exactly one value, or an error.
func oneValue(q *gojq.Query) bool {
	if len(q.FuncDefs) > 0 {
		return false
	}
	if q.Term == nil {
		plain := q.Op == gojq.OpPipe || q.Op == gojq.OpMod || q.Op == gojq.OpAnd || q.Op == gojq.OpOr
		return plain && len(q.Patterns) == 0 && oneValue(q.Left) && oneValue(q.Right)
	}
	t := q.Term
	for _, s := range t.SuffixList {
		if s.Index == nil || s.Index.IsSlice || s.Index.Start != nil && !oneValue(s.Index.Start) || s.Index.Str != nil && s.Index.Str.Queries != nil {
			return false
		}
	}
	switch t.Type { //nolint:exhaustive // the others may give several
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber, gojq.TermTypeIdentity, gojq.TermTypeArray:
		return true
	case gojq.TermTypeIndex:
		return t.Index.Name != ""
	case gojq.TermTypeString:
		return t.Str.Queries == nil
	case gojq.TermTypeQuery:
		return oneValue(t.Query)
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			if kv.KeyQuery != nil || kv.KeyString != nil && kv.KeyString.Queries != nil || kv.Val != nil && !oneValue(kv.Val) {
				return false
			}
		}
		return true
	case gojq.TermTypeFunc:
		known := isOperator(t.Func.Name) || slices.Contains([]string{"__concat", "__text", "__length", "__tojson", "__sum", "__object", "__bytes", "__key", "__join"}, t.Func.Name)
		return strings.HasPrefix(t.Func.Name, "$") || known && !slices.ContainsFunc(t.Func.Args, func(a *gojq.Query) bool { return !oneValue(a) })
	}
	return false
}
