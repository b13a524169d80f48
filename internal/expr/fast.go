package expr

import (
	"math"
	"slices"
	"strconv"

	"github.com/itchyny/gojq"

	"github.com/downbeat-dev/downbeat/internal/jq"
)

// Most expressions of a workflow are fields of the input, comparisons, small
// objects. For those that surely give one value, node evaluates the tree
// itself, without jq's machine, ten times as fast. The law: a node gives what
// gojq gives or passes (TestFastAgreesWithSlow). It passes on whatever is
// unusual, errors included, and then the machine does it again from the start.
type node interface {
	// eval gives the value on dot; false passes to the machine.
	eval(c *fast, dot any) (any, bool)
}

// fast is one evaluation by nodes.
type fast struct {
	jq.Meter
	e      *Expr
	lookup func(string) any
	vals   []any // of e.vars, filled in when first used
	have   []bool
	err    error // from a lookup; ends the evaluation
}

func (c *fast) variable(i int) (any, bool) {
	if c.vals == nil {
		c.vals, c.have = make([]any, len(c.e.vars)), make([]bool, len(c.e.vars))
	}
	if !c.have[i] {
		if c.vals[i], c.err = c.e.resolve(c.e.vars[i], c.lookup); c.err != nil {
			return nil, false
		}
		c.have[i] = true
	}
	return c.vals[i], true
}

// give ends a step: false when the evaluation has to stop.
func (c *fast) give(v any) (any, bool) {
	_, failed := v.(error)
	if !c.Charge(1) || failed {
		return nil, false
	}
	return v, true
}

type constNode struct{ v any }

func (n constNode) eval(c *fast, _ any) (any, bool) { return c.give(n.v) }

type dotNode struct{}

func (dotNode) eval(c *fast, dot any) (any, bool) { return c.give(dot) }

type varNode struct{ i int }

func (n varNode) eval(c *fast, _ any) (any, bool) { return c.variable(n.i) }

// pathNode follows constant keys.
type pathNode struct {
	base node
	keys []any // string or int
}

func (n pathNode) eval(c *fast, dot any) (any, bool) {
	v, ok := n.base.eval(c, dot)
	if !ok || !c.Charge(len(n.keys)) {
		return nil, false
	}
	for _, k := range n.keys {
		switch x := v.(type) {
		case nil:
		case map[string]any:
			k, ok := k.(string)
			if !ok {
				return nil, false
			}
			v = x[k]
		case []any:
			i, ok := k.(int)
			if !ok {
				return nil, false
			}
			if i < 0 {
				i += len(x)
			}
			if i < 0 || i >= len(x) {
				v = nil
			} else {
				v = x[i]
			}
		default:
			return nil, false
		}
	}
	return v, true
}

type pipeNode struct{ l, r node }

func (n pipeNode) eval(c *fast, dot any) (any, bool) {
	v, ok := n.l.eval(c, dot)
	if !ok {
		return nil, false
	}
	return n.r.eval(c, v)
}

// operatorNode is a binary operator; gojq evaluates the right side first.
type operatorNode struct {
	l, r node
	do   func(m *jq.Meter, l, r any) any
}

func (n operatorNode) eval(c *fast, dot any) (any, bool) {
	r, ok := n.r.eval(c, dot)
	if !ok {
		return nil, false
	}
	l, ok := n.l.eval(c, dot)
	if !ok {
		return nil, false
	}
	return c.give(n.do(&c.Meter, l, r))
}

var fastOperators = map[gojq.Operator]func(m *jq.Meter, l, r any) any{
	gojq.OpAdd: (*jq.Meter).Add, gojq.OpSub: (*jq.Meter).Subtract, gojq.OpMul: (*jq.Meter).Multiply, gojq.OpDiv: (*jq.Meter).Divide,
	gojq.OpEq: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) == 0 },
	gojq.OpNe: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) != 0 },
	gojq.OpLt: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) < 0 },
	gojq.OpLe: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) <= 0 },
	gojq.OpGt: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) > 0 },
	gojq.OpGe: func(m *jq.Meter, l, r any) any { return m.Compare(l, r) >= 0 },
}

func truthy(v any) bool { return v != nil && v != false }

// chooseNode is if, and, or, //: what comes next depends on the first value.
type chooseNode struct {
	cond, yes, no node // yes nil: the condition's own value
	boolean       bool // what is chosen becomes true or false
}

func (n chooseNode) eval(c *fast, dot any) (any, bool) {
	v, ok := n.cond.eval(c, dot)
	if !ok {
		return nil, false
	}
	next := n.no
	if truthy(v) {
		if n.yes == nil {
			return c.give(v)
		}
		next = n.yes
	}
	if v, ok = next.eval(c, dot); ok && n.boolean {
		v = truthy(v)
	}
	return v, ok
}

type objectNode struct {
	keys []string
	vals []node
}

func (n objectNode) eval(c *fast, dot any) (any, bool) {
	if !c.Charge(jq.ObjectCost(len(n.keys))) {
		return nil, false
	}
	out := make(map[string]any, len(n.keys))
	for i, k := range n.keys {
		v, ok := n.vals[i].eval(c, dot)
		if !ok {
			return nil, false
		}
		out[k] = v
	}
	return out, true
}

type arrayNode []node

func (n arrayNode) eval(c *fast, dot any) (any, bool) {
	if !c.Charge(2 * len(n)) {
		return nil, false
	}
	out := make([]any, len(n))
	for i, x := range n {
		v, ok := x.eval(c, dot)
		if !ok {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// callNode is a function without arguments.
type callNode func(m *jq.Meter, v any) any

func (n callNode) eval(c *fast, dot any) (any, bool) { return c.give(n(&c.Meter, dot)) }

var fastCalls = map[string]callNode{
	"not":      func(_ *jq.Meter, v any) any { return !truthy(v) },
	"length":   (*jq.Meter).Length,
	"tostring": (*jq.Meter).Text,
	"tojson":   (*jq.Meter).ToJSON,
	"add":      (*jq.Meter).Sum,
	"type":     func(_ *jq.Meter, v any) any { return gojq.TypeOf(v) },
}

type textNode []node

func (n textNode) eval(c *fast, dot any) (any, bool) {
	parts := make([]any, len(n))
	for i := len(n) - 1; i >= 0; i-- { // as the arguments of a call
		v, ok := n[i].eval(c, dot)
		if !ok {
			return nil, false
		}
		if parts[i], ok = c.give(c.Text(v)); !ok {
			return nil, false
		}
	}
	return c.give(c.Concat(parts))
}

// fastBuilder makes nodes, or nil for what only the machine can do.
type fastBuilder struct{ vars []string }

// fastNode returns the node for q, or nil. Variables are those of vars.
func fastNode(q *gojq.Query, vars []string) node {
	b := fastBuilder{vars: vars}
	return b.query(q)
}

func (b fastBuilder) query(q *gojq.Query) node {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return nil
	}
	if q.Term != nil {
		return b.term(q.Term)
	}
	l, r := b.query(q.Left), b.query(q.Right)
	if l == nil || r == nil {
		return nil
	}
	if do, ok := fastOperators[q.Op]; ok {
		return operatorNode{l, r, do}
	}
	switch q.Op { //nolint:exhaustive // the others are left to the machine
	case gojq.OpPipe:
		return pipeNode{l, r}
	case gojq.OpAlt:
		return chooseNode{cond: l, no: r}
	case gojq.OpAnd:
		return chooseNode{cond: l, yes: r, no: constNode{false}, boolean: true}
	case gojq.OpOr:
		return chooseNode{cond: l, yes: constNode{true}, no: r, boolean: true}
	}
	return nil
}

func (b fastBuilder) term(t *gojq.Term) node {
	var keys []any
	if t.Type == gojq.TermTypeIndex {
		k, ok := fastKey(t.Index)
		if !ok {
			return nil
		}
		keys = append(keys, k)
	}
	for _, s := range t.SuffixList {
		if s.Index == nil {
			return nil
		}
		k, ok := fastKey(s.Index)
		if !ok {
			return nil
		}
		keys = append(keys, k)
	}
	n := b.base(t)
	if n == nil || len(keys) == 0 {
		return n
	}
	return pathNode{n, keys}
}

func fastKey(i *gojq.Index) (any, bool) {
	if i.IsSlice {
		return nil, false
	}
	if k, ok := constantKey(i); ok {
		return k, true
	}
	if q := i.Start; q != nil && constantNumber(q) {
		n, err := strconv.Atoi(q.String())
		return n, err == nil
	}
	return nil, false
}

func (b fastBuilder) base(t *gojq.Term) node {
	switch t.Type { //nolint:exhaustive // the others are left to the machine
	case gojq.TermTypeIdentity, gojq.TermTypeIndex:
		return dotNode{}
	case gojq.TermTypeNull:
		return constNode{nil}
	case gojq.TermTypeTrue:
		return constNode{true}
	case gojq.TermTypeFalse:
		return constNode{false}
	case gojq.TermTypeNumber:
		return fastNumber(t.Number)
	case gojq.TermTypeString:
		return b.text(t.Str)
	case gojq.TermTypeQuery:
		return b.query(t.Query)
	case gojq.TermTypeObject:
		return b.object(t.Object)
	case gojq.TermTypeArray:
		return b.array(t.Array)
	case gojq.TermTypeFunc:
		return b.call(t.Func)
	case gojq.TermTypeIf:
		return b.choice(t.If)
	}
	return nil
}

func fastNumber(s string) node {
	if n, err := strconv.Atoi(s); err == nil {
		return constNode{n}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && len(s) < 16 && !math.IsInf(f, 0) {
		return constNode{f}
	}
	return nil
}

func (b fastBuilder) call(f *gojq.Func) node {
	if len(f.Args) > 0 {
		return nil
	}
	if i := slices.Index(b.vars, f.Name); i >= 0 && f.Name[0] == '$' {
		return varNode{i}
	}
	if call, ok := fastCalls[f.Name]; ok {
		return call
	}
	return nil
}

func (b fastBuilder) text(s *gojq.String) node {
	if s.Queries == nil {
		return constNode{s.Str}
	}
	var n textNode
	for _, q := range s.Queries {
		x := b.query(q)
		if x == nil || len(s.Queries) > 25 {
			return nil
		}
		n = append(n, x)
	}
	return n
}

func (b fastBuilder) object(o *gojq.Object) node {
	n := objectNode{}
	for _, kv := range o.KeyVals {
		key, val := kv.Key, b.query(kv.Val)
		switch {
		case kv.KeyString != nil && kv.KeyString.Queries == nil:
			key = kv.KeyString.Str
		case kv.KeyString != nil || kv.KeyQuery != nil || key == "":
			return nil
		case key[0] == '$':
			if kv.Val != nil {
				return nil
			}
			val = b.call(&gojq.Func{Name: key})
			key = key[1:]
		}
		if val == nil && kv.Val == nil {
			val = pathNode{dotNode{}, []any{key}}
		}
		if val == nil || slices.Contains(n.keys, key) {
			return nil
		}
		n.keys, n.vals = append(n.keys, key), append(n.vals, val)
	}
	return n
}

func (b fastBuilder) array(a *gojq.Array) node {
	n := arrayNode{}
	for q := a.Query; q != nil; {
		item := q
		if q.Term == nil && q.Op == gojq.OpComma && len(q.FuncDefs) == 0 {
			// a, b, c is (a, b), c: collected from behind
			item, q = q.Right, q.Left
		} else {
			q = nil
		}
		x := b.query(item)
		if x == nil {
			return nil
		}
		n = append(n, x)
	}
	slices.Reverse(n)
	return n
}

func (b fastBuilder) choice(c *gojq.If) node {
	no := node(dotNode{})
	if c.Else != nil {
		no = b.query(c.Else)
	}
	for _, e := range slices.Backward(c.Elif) {
		cond, then := b.query(e.Cond), b.query(e.Then)
		if cond == nil || then == nil || no == nil {
			return nil
		}
		no = chooseNode{cond: cond, yes: then, no: no}
	}
	cond, then := b.query(c.Cond), b.query(c.Then)
	if cond == nil || then == nil || no == nil {
		return nil
	}
	return chooseNode{cond: cond, yes: then, no: no}
}

// shares reports whether n gives the input, a variable, a constant, or a part
// of one: a value that was checked before.
func shares(n node) bool {
	switch n := n.(type) {
	case dotNode, varNode:
		return true
	case constNode:
		_, float := n.v.(float64) // may have another settled form
		return !float
	case pathNode:
		return shares(n.base)
	case pipeNode:
		return shares(n.l) && shares(n.r)
	case chooseNode:
		return n.boolean || shares(n.no) && (n.yes == nil && shares(n.cond) || n.yes != nil && shares(n.yes))
	}
	return false
}
