package expr

import "github.com/itchyny/gojq"

// names is a linked list of what is bound at a place: variables as "$x",
// functions and their parameters as "f/1".
type names struct {
	name string
	up   *names
}

func (n *names) has(name string) bool {
	for ; n != nil; n = n.up {
		if n.name == name {
			return true
		}
	}
	return false
}

func (n *names) with(name string) *names { return &names{name, n} }

// walk goes through a query, keeps track of what is bound, and calls its
// hooks; those that leave may change what they are given in place.
type walk struct {
	// enter sees each call, each use of a variable and, with declared set,
	// each name that is bound. The term is where it stands, or nil.
	enter      func(f *gojq.Func, t *gojq.Term, bound *names, declared bool)
	leaveQuery func(q *gojq.Query, bound *names)
	leaveTerm  func(t *gojq.Term, bound *names)
	leaveDef   func(d *gojq.FuncDef)

	depth int
	deep  bool // some part is deeper than maxNesting and was left out
}

// maxNesting bounds how deep the tree of an expression may be, a chain such as
// 1 + 1 + 1 included: gojq's compiler recurses, and a stack has an end.
const maxNesting = 2000

// down goes one level down, or notes that there are too many.
func (w *walk) down(by int) bool {
	if w.depth+by > maxNesting {
		w.deep = true
		return false
	}
	w.depth += by
	return true
}

func (w *walk) name(f *gojq.Func, t *gojq.Term, bound *names, declared bool) {
	if w.enter != nil {
		w.enter(f, t, bound, declared)
	}
}

func (w *walk) query(q *gojq.Query, bound *names) {
	if q == nil || !w.down(1) {
		return
	}
	defer func() { w.depth-- }()
	for _, d := range q.FuncDefs {
		w.name(&gojq.Func{Name: d.Name, Args: make([]*gojq.Query, len(d.Args))}, nil, bound, true)
		bound = bound.with(funcKey(d.Name, len(d.Args)))
		inner := bound
		for _, arg := range d.Args {
			w.name(&gojq.Func{Name: arg}, nil, bound, true)
			if arg[0] == '$' {
				inner = inner.with(arg).with(funcKey(arg[1:], 0))
			} else {
				inner = inner.with(funcKey(arg, 0))
			}
		}
		w.query(d.Body, inner)
		if w.leaveDef != nil {
			w.leaveDef(d)
		}
	}
	if q.Term != nil {
		w.term(q.Term, bound)
	} else {
		w.query(q.Left, bound)
		w.query(q.Right, w.patterns(q.Patterns, bound))
	}
	if w.leaveQuery != nil {
		w.leaveQuery(q, bound)
	}
}

func (w *walk) patterns(ps []*gojq.Pattern, bound *names) *names {
	for _, p := range ps {
		bound = w.pattern(p, bound)
	}
	return bound
}

func (w *walk) pattern(p *gojq.Pattern, bound *names) *names {
	if !w.down(1) {
		return bound
	}
	defer func() { w.depth-- }()
	if p.Name != "" {
		w.name(&gojq.Func{Name: p.Name}, nil, bound, true)
		return bound.with(p.Name)
	}
	bound = w.patterns(p.Array, bound)
	for _, o := range p.Object {
		if o.Key != "" && o.Key[0] == '$' {
			w.name(&gojq.Func{Name: o.Key}, nil, bound, true)
			bound = bound.with(o.Key)
		}
		w.string(o.KeyString, bound)
		w.query(o.KeyQuery, bound)
		if o.Val != nil {
			bound = w.pattern(o.Val, bound)
		}
	}
	return bound
}

func (w *walk) string(s *gojq.String, bound *names) {
	if s == nil {
		return
	}
	for _, q := range s.Queries {
		w.query(q, bound)
	}
}

func (w *walk) index(i *gojq.Index, bound *names) {
	if i == nil {
		return
	}
	w.string(i.Str, bound)
	w.query(i.Start, bound)
	w.query(i.End, bound)
}

func (w *walk) term(t *gojq.Term, bound *names) {
	levels := 1 + len(t.SuffixList)
	if !w.down(levels) {
		return
	}
	defer func() { w.depth -= levels }()
	w.index(t.Index, bound)
	if f := t.Func; f != nil {
		w.name(f, t, bound, false)
		for _, arg := range f.Args {
			w.query(arg, bound)
		}
	}
	if t.Object != nil {
		w.object(t.Object, bound)
	}
	if t.Array != nil {
		w.query(t.Array.Query, bound)
	}
	if t.Unary != nil {
		w.term(t.Unary.Term, bound)
	}
	w.string(t.Str, bound)
	w.control(t, bound)
	w.query(t.Query, bound)
	for _, s := range t.SuffixList {
		w.index(s.Index, bound)
	}
	if w.leaveTerm != nil {
		w.leaveTerm(t, bound)
	}
}

func (w *walk) object(o *gojq.Object, bound *names) {
	for _, kv := range o.KeyVals {
		if kv.Key != "" && kv.Key[0] == '$' {
			w.name(&gojq.Func{Name: kv.Key}, nil, bound, false)
		}
		w.string(kv.KeyString, bound)
		w.query(kv.KeyQuery, bound)
		w.query(kv.Val, bound)
	}
}

func (w *walk) control(t *gojq.Term, bound *names) {
	if c := t.If; c != nil {
		w.query(c.Cond, bound)
		w.query(c.Then, bound)
		for _, e := range c.Elif {
			w.query(e.Cond, bound)
			w.query(e.Then, bound)
		}
		w.query(c.Else, bound)
	}
	if t.Try != nil {
		w.query(t.Try.Body, bound)
		w.query(t.Try.Catch, bound)
	}
	if r := t.Reduce; r != nil {
		w.query(r.Query, bound)
		w.query(r.Start, bound)
		w.query(r.Update, w.patterns(r.Patterns, bound))
	}
	if f := t.Foreach; f != nil {
		w.query(f.Query, bound)
		w.query(f.Start, bound)
		inner := w.patterns(f.Patterns, bound)
		w.query(f.Update, inner)
		w.query(f.Extract, inner)
	}
	if t.Label != nil {
		w.query(t.Label.Body, bound)
	}
}
