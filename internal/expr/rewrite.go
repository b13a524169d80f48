package expr

import (
	_ "embed"
	"maps"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// renamed lists the functions of jq that are called by another name: ours is
// native (in package jq) or in prelude.jq.
var renamed = map[string]string{
	"now/0": NowVariable, "localtime/0": "gmtime", "strflocaltime/1": "strftime",

	"add/0": "__sum", "add/1": "__sum_of", "length/0": "__length", "join/1": "__join",
	"tostring/0": "__text", "tojson/0": "__tojson", "fromjson/0": "__fromjson",
	"split/1": "__split", "indices/1": "__indices", "index/1": "__index", "rindex/1": "__rindex",
	"contains/1": "__contains", "inside/1": "__inside", "flatten/0": "__flatten", "flatten/1": "__flatten",
	"transpose/0": "__transpose", "to_entries/0": "__to_entries", "from_entries/0": "__from_entries",
	"with_entries/1": "__with_entries", "map_values/1": "__map_values", "walk/1": "__walk",
	"setpath/2": "__setpath", "delpaths/1": "__delpaths", "del/1": "__del", "pick/1": "__pick", "fromstream/1": "__fromstream",
	"min_by/1": "__min_by", "max_by/1": "__max_by", "sort_by/1": "__sort_by", "group_by/1": "__group_by", "unique_by/1": "__unique_by",
	"combinations/0": "__combinations", "combinations/1": "__combinations_of",
	"match/1": "__match", "match/2": "__match_with", "test/1": "__test", "test/2": "__test_with",
	"capture/1": "__capture", "capture/2": "__capture_with", "scan/1": "__scan", "scan/2": "__scan_with",
	"splits/1": "__splits", "splits/2": "__splits_with", "split/2": "__split_with",
	"sub/2": "__sub", "sub/3": "__sub_with", "gsub/2": "__gsub", "gsub/3": "__gsub_with",
	"range/1": "__range_to", "range/2": "__range_from", "range/3": "__range_by",
	"INDEX/1": "__INDEX", "INDEX/2": "__INDEX_of", "IN/1": "__IN", "IN/2": "__IN_of",
}

// charged lists the functions of jq whose input is charged for first.
var charged = map[string]string{
	"sort/0": "__sorting", "unique/0": "__sorting", "min/0": "__sorting", "max/0": "__sorting",
	"reverse/0": "__list", "keys/0": "__list", "implode/0": "__list", "explode/0": "__exploding",
	"trim/0": "__bytes", "ltrim/0": "__bytes", "rtrim/0": "__bytes",
	"ascii_downcase/0": "__copied", "ascii_upcase/0": "__copied",
	"tonumber/0": "__number", "format/1": "__writing",
}

// guarded lists the functions of jq whose argument is charged for.
var guarded = map[string]string{
	"ltrimstr/1": "__bytes", "rtrimstr/1": "__bytes", "trimstr/1": "__bytes",
	"startswith/1": "__bytes", "endswith/1": "__bytes",
	"getpath/1": "__list", "bsearch/1": "__sorting",
	"strptime/1": "__timeformat", "strftime/1": "__copied", "strflocaltime/1": "__copied",
}

var operators = map[gojq.Operator]string{
	gojq.OpAdd: "__add", gojq.OpSub: "__subtract", gojq.OpMul: "__multiply", gojq.OpDiv: "__divide",
	gojq.OpEq: "__equal", gojq.OpNe: "__notequal", gojq.OpLt: "__less", gojq.OpLe: "__lesseq", gojq.OpGt: "__greater", gojq.OpGe: "__greatereq",
}

var updates = map[gojq.Operator]string{
	gojq.OpUpdateAdd: "__add", gojq.OpUpdateSub: "__subtract", gojq.OpUpdateMul: "__multiply",
	gojq.OpUpdateDiv: "__divide", gojq.OpUpdateMod: "_modulo", gojq.OpUpdateAlt: "_alternative",
}

//go:embed prelude.jq
var preludeSource string

// prelude is prelude.jq, read once: its definitions in order, and what names
// of ours each of them uses.
var prelude, preludeUses = readPrelude()

func readPrelude() ([]*gojq.FuncDef, map[string][]string) {
	q, err := gojq.Parse(preludeSource)
	if err != nil {
		panic("expr: prelude.jq: " + err.Error())
	}
	uses := map[string][]string{}
	for _, d := range q.FuncDefs {
		found := map[string]bool{}
		w := walk{enter: func(f *gojq.Func, _ *gojq.Term, _ *names, declared bool) {
			if !declared && strings.HasPrefix(f.Name, "__") && f.Name != d.Name {
				found[f.Name] = true
			}
		}}
		w.query(d.Body, nil)
		uses[d.Name] = slices.Sorted(maps.Keys(found))
	}
	return q.FuncDefs, uses
}

// rewrite changes q, in place, into a program that charges for what it does,
// and returns the names of ours that it uses. The law: the program gives what
// q gives, unless a limit is passed (TestRewrittenAgreesWithGojq).
func rewrite(q *gojq.Query) map[string]bool {
	r := rewriter{used: map[string]bool{}}
	w := walk{leaveTerm: r.term, leaveQuery: r.operator, leaveDef: r.definition}
	w.query(q, nil)
	var defs []*gojq.FuncDef
	for _, d := range prelude {
		if r.used[d.Name] {
			defs = append(defs, d)
		}
	}
	q.FuncDefs = append(defs, q.FuncDefs...)
	return r.used
}

type rewriter struct{ used map[string]bool }

// use notes name and all that it uses in turn.
func (r *rewriter) use(name string) string {
	if strings.HasPrefix(name, "__") && !r.used[name] {
		r.used[name] = true
		for _, n := range preludeUses[name] {
			r.use(n)
		}
	}
	return name
}

func (r *rewriter) call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: r.use(name), Args: args}}}
}

func pipe(l, r *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: l, Op: gojq.OpPipe, Right: r}
}

// group makes t the query q in parentheses, suffixes as they are.
func group(t *gojq.Term, q *gojq.Query) {
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: q, SuffixList: t.SuffixList}
}

// bare returns t without its suffixes as a query.
func bare(t *gojq.Term) *gojq.Query {
	c := *t
	c.SuffixList = nil
	return &gojq.Query{Term: &c}
}

func (r *rewriter) operator(q *gojq.Query, _ *names) {
	if q.Term != nil {
		return
	}
	var call *gojq.Query
	if name, ok := operators[q.Op]; ok {
		call = r.call(name, q.Left, q.Right)
	} else if name, ok := updates[q.Op]; ok {
		// l += r is: r as $x | l |= . + $x
		dot := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}}
		q.Left, q.Right = q.Right, r.call("__modify", q.Left, r.call(name, dot, r.call("$__u")))
		q.Patterns, q.Op = []*gojq.Pattern{{Name: "$__u"}}, gojq.OpPipe
		return
	} else if q.Op == gojq.OpAssign {
		call = r.call("__assign", q.Left, q.Right)
	} else if q.Op == gojq.OpModify {
		call = r.call("__modify", q.Left, q.Right)
	} else {
		r.separate(q)
		return
	}
	q.Term, q.Left, q.Right, q.Op = call.Term, nil, nil, 0
}

// separate puts a call between branches and a constant or variable after them:
// "(.a or .b) | 1". There gojq (v0.12.20) takes the instruction that drops the
// value out of one branch only, and the other leaves it on its stack, where
// what comes next takes it for an argument (TestConstantAfterBranches).
func (r *rewriter) separate(q *gojq.Query) {
	if q.Op == gojq.OpPipe && len(q.Patterns) == 0 && branches(q.Left) && beginsWithConstant(q.Right) {
		q.Right = pipe(r.call("__bytes"), q.Right)
	}
}

func branches(q *gojq.Query) bool {
	if q.Term == nil || len(q.FuncDefs) > 0 {
		return true
	}
	switch q.Term.Type { //nolint:exhaustive // the others may branch
	case gojq.TermTypeIdentity, gojq.TermTypeIndex, gojq.TermTypeFunc, gojq.TermTypeNumber:
		return false
	}
	return true
}

func beginsWithConstant(q *gojq.Query) bool {
	if len(q.FuncDefs) > 0 || q.Term == nil {
		return q.Term == nil && q.Op == gojq.OpPipe && beginsWithConstant(q.Left) || len(q.FuncDefs) > 0
	}
	switch q.Term.Type { //nolint:exhaustive // the others begin with something else
	case gojq.TermTypeFunc:
		return strings.HasPrefix(q.Term.Func.Name, "$")
	case gojq.TermTypeQuery:
		return beginsWithConstant(q.Term.Query)
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber, gojq.TermTypeString,
		gojq.TermTypeFormat, gojq.TermTypeUnary, gojq.TermTypeObject, gojq.TermTypeArray:
		return true
	}
	return false
}

// definition makes a function that calls itself cost more, for each level of
// it takes memory until it returns.
func (r *rewriter) definition(d *gojq.FuncDef) {
	recursive := false
	w := walk{enter: func(f *gojq.Func, _ *gojq.Term, _ *names, declared bool) {
		recursive = recursive || !declared && f.Name == d.Name
	}}
	w.query(d.Body, nil)
	if recursive {
		d.Body = pipe(r.call("__enter"), d.Body)
	}
}

func (r *rewriter) term(t *gojq.Term, bound *names) {
	switch t.Type {
	case gojq.TermTypeFunc:
		r.function(t, bound)
	case gojq.TermTypeObject:
		if !constantObject(t.Object) {
			group(t, pipe(bare(t), r.call("__object")))
		}
	case gojq.TermTypeString:
		if t.Str.Queries != nil {
			group(t, r.interpolation(t.Str, "__text"))
		}
	case gojq.TermTypeFormat:
		r.format(t)
	case gojq.TermTypeReduce:
		if r.reduceInPlace(t.Reduce.Update) {
			// __editor as $__e | reduce …
			group(t, &gojq.Query{
				Left: r.call("__editor"), Op: gojq.OpPipe, Right: bare(t),
				Patterns: []*gojq.Pattern{{Name: editorVariable}},
			})
		}
	case gojq.TermTypeIndex:
		if needsGuard(t.Index) {
			suffixes := append([]*gojq.Suffix{{Index: t.Index}}, t.SuffixList...)
			*t = *r.call("__bytes").Term
			t.SuffixList = suffixes
			r.index(t.SuffixList[0].Index)
			r.suffixes(t, 1)
			return
		}
	default: // nothing of the term itself costs more than its steps
	}
	r.suffixes(t, 0)
}

// suffixes charges for indexes of what may be a string: finding its n-th
// character takes a look at all before it.
func (r *rewriter) suffixes(t *gojq.Term, from int) {
	for i := from; i < len(t.SuffixList); i++ {
		s := t.SuffixList[i]
		if s.Index == nil || !needsGuard(s.Index) {
			continue
		}
		r.index(s.Index)
		base := *t
		base.SuffixList = t.SuffixList[:i:i]
		rest := t.SuffixList[i:]
		*t = gojq.Term{Type: gojq.TermTypeQuery, Query: pipe(&gojq.Query{Term: &base}, r.call("__bytes")), SuffixList: rest}
		i = 0
	}
}

// index charges for a computed key.
func (r *rewriter) index(i *gojq.Index) {
	if i.Start != nil && !i.IsSlice && !constantNumber(i.Start) {
		i.Start = pipe(i.Start, r.call("__key"))
	}
}

func needsGuard(i *gojq.Index) bool {
	if i.Name != "" || i.Str != nil {
		return false
	}
	return i.IsSlice || i.Start != nil && (i.Start.Term == nil || i.Start.Term.Type != gojq.TermTypeString)
}

func constantNumber(q *gojq.Query) bool {
	return q.Term != nil && len(q.Term.SuffixList) == 0 &&
		(q.Term.Type == gojq.TermTypeNumber || q.Term.Type == gojq.TermTypeUnary && q.Term.Unary.Term.Type == gojq.TermTypeNumber)
}

func (r *rewriter) function(t *gojq.Term, bound *names) {
	f := t.Func
	key := funcKey(f.Name, len(f.Args))
	if bound.has(key) {
		return
	}
	if name, ok := guarded[key]; ok {
		f.Args[0] = pipe(f.Args[0], r.call(name))
	}
	if name, ok := charged[key]; ok {
		group(t, pipe(r.call(name), bare(t)))
		return
	}
	if name, ok := renamed[key]; ok {
		f.Name = r.use(name)
	}
}

func (r *rewriter) format(t *gojq.Term) {
	if t.Str != nil && t.Str.Queries != nil {
		group(t, r.interpolation(t.Str, t.Format))
		return
	}
	if t.Str == nil {
		group(t, pipe(r.call("__writing"), bare(t)))
	}
}

// interpolation is "…\(q)…" as one call that puts the pieces together; each
// query's value becomes text by the given function or format.
func (r *rewriter) interpolation(s *gojq.String, by string) *gojq.Query {
	args := make([]*gojq.Query, 0, len(s.Queries))
	for _, q := range s.Queries {
		if q.Term != nil && q.Term.Str != nil && q.Term.Type == gojq.TermTypeString {
			args = append(args, q)
			continue
		}
		if by[0] == '@' {
			format := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFormat, Format: by}}
			args = append(args, pipe(q, pipe(r.call("__writing"), format)))
		} else {
			args = append(args, pipe(q, r.call(by)))
		}
	}
	const most = 25
	for len(args) > most {
		var packed []*gojq.Query
		for part := range slices.Chunk(args, most) {
			packed = append(packed, r.call("__concat", part...))
		}
		args = packed
	}
	return r.call("__concat", args...)
}

func constantObject(o *gojq.Object) bool {
	for _, kv := range o.KeyVals {
		if kv.Val == nil || kv.KeyQuery != nil || kv.Val.Term == nil || len(kv.Val.Term.SuffixList) > 0 {
			return false
		}
		switch kv.Val.Term.Type {
		case gojq.TermTypeNumber, gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse:
		case gojq.TermTypeString:
			if kv.Val.Term.Str.Queries != nil {
				return false
			}
		default:
			return false
		}
		if kv.KeyString != nil && kv.KeyString.Queries != nil || strings.HasPrefix(kv.Key, "$") {
			return false
		}
	}
	return true
}
