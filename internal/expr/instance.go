package expr

import (
	"fmt"

	"github.com/itchyny/gojq"
)

// instance is one compiled program with the functions of ours that it calls.
// They reach the meter of the evaluation by it, so an instance serves one
// evaluation at a time; an Expr keeps a few.
type instance struct {
	code    *gojq.Code
	m       *meter
	regexes map[regexKey]*matcher
}

func newInstance(q *gojq.Query, vars []string, used map[string]bool) (in *instance, err error) {
	in = &instance{}
	options := []gojq.CompilerOption{gojq.WithVariables(vars)}
	for _, n := range natives {
		if used[n.name] {
			options = append(options, gojq.WithFunction(n.name, n.args, n.max, func(v any, args []any) any {
				if in.m.stopped != nil {
					return in.m.stopped
				}
				out := n.call(in, v, args)
				if in.m.stopped != nil {
					return in.m.stopped
				}
				return out
			}))
		}
	}
	if used["__range"] {
		options = append(options, gojq.WithIterFunction("__range", 3, 3, func(_ any, args []any) gojq.Iter {
			return in.m.rangeOf(args[0], args[1], args[2])
		}))
	}
	// gojq panics where its own invariants break; that is no reason to die.
	defer func() {
		if r := recover(); r != nil {
			in, err = nil, fmt.Errorf("the expression cannot be compiled: %v", r)
		}
	}()
	in.code, err = gojq.Compile(q, options...)
	return in, err
}

// native is a function of ours that stands in for one of gojq's.
type native struct {
	name      string
	args, max int
	call      func(in *instance, v any, args []any) any
}

// natives lists them all. Those that only charge give their input back, so
// that gojq's own function can follow: "sort" is rewritten to "__sorting |
// sort". The others do the work themselves, because gojq would do it without
// asking anybody, or in a way that depends on the host.
var natives = []native{
	{"__add", 2, 2, func(in *instance, _ any, a []any) any { return in.m.add(a[0], a[1]) }},
	{"__subtract", 2, 2, func(in *instance, _ any, a []any) any { return in.m.subtract(a[0], a[1]) }},
	{"__multiply", 2, 2, func(in *instance, _ any, a []any) any { return in.m.multiply(a[0], a[1]) }},
	{"__divide", 2, 2, func(in *instance, _ any, a []any) any { return in.m.divide(a[0], a[1]) }},
	{"__equal", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) == 0 }},
	{"__notequal", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) != 0 }},
	{"__less", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) < 0 }},
	{"__lesseq", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) <= 0 }},
	{"__greater", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) > 0 }},
	{"__greatereq", 2, 2, func(in *instance, _ any, a []any) any { return in.m.compare(a[0], a[1], 0) >= 0 }},

	{"__object", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeObject(v) }},
	{"__enter", 0, 0, func(in *instance, v any, _ []any) any { return in.m.pass(v, 25) }},
	{"__bytes", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeBytes(v, 64) }},
	{"__copied", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeBytes(v, 4) }},
	{"__exploding", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeBytesTimes(v, 3) }},
	{"__list", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeList(v, 3) }},
	{"__sorting", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeSort(v) }},
	{"__writing", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeWriting(v) }},
	{"__number", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeNumber(v) }},
	{"__timeformat", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeTimeFormat(v) }},
	{"__key", 0, 0, func(in *instance, v any, _ []any) any { return in.m.chargeKey(v) }},

	{"__sum", 0, 0, func(in *instance, v any, _ []any) any { return in.m.sum(v) }},
	{"__length", 0, 0, func(in *instance, v any, _ []any) any { return in.m.length(v) }},
	{"__join", 1, 1, func(in *instance, v any, a []any) any { return in.m.join(v, a[0]) }},
	{"__concat", 1, 30, func(in *instance, _ any, a []any) any { return in.m.concat(a) }},
	{"__text", 0, 0, func(in *instance, v any, _ []any) any { return in.m.text(v) }},
	{"__tojson", 0, 0, func(in *instance, v any, _ []any) any { return in.m.toJSON(v) }},
	{"__fromjson", 0, 0, func(in *instance, v any, _ []any) any { return in.m.fromJSON(v) }},
	{"__split", 1, 1, func(in *instance, v any, a []any) any { return in.m.split(v, a[0]) }},
	{"__indices", 1, 1, func(in *instance, v any, a []any) any { return in.m.indices("indices", v, a[0]) }},
	{"__index", 1, 1, func(in *instance, v any, a []any) any { return in.m.indices("index", v, a[0]) }},
	{"__rindex", 1, 1, func(in *instance, v any, a []any) any { return in.m.indices("rindex", v, a[0]) }},
	{"__contains", 1, 1, func(in *instance, v any, a []any) any { return in.m.contains(v, a[0], 0) }},
	{"__inside", 1, 1, func(in *instance, v any, a []any) any { return in.m.contains(a[0], v, 0) }},
	{"__flatten", 0, 1, func(in *instance, v any, a []any) any { return in.m.flatten(v, a) }},
	{"__transpose", 0, 0, func(in *instance, v any, _ []any) any { return in.m.transpose(v) }},
	{"__to_entries", 0, 0, func(in *instance, v any, _ []any) any { return in.m.toEntries(v) }},

	{"__editor", 0, 0, func(in *instance, _ any, _ []any) any { return &editor{} }},
	{"__get", 2, 2, func(in *instance, v any, a []any) any { return in.m.getForEdit(v, a[0], a[1]) }},
	{"__peek", 1, 1, func(in *instance, v any, a []any) any { return in.m.getpath(v, a[0]) }},
	{"__set", 3, 3, func(in *instance, v any, a []any) any { return in.m.set(v, a[0], a[1], a[2]) }},
	{"__drop", 2, 2, func(in *instance, v any, a []any) any { return in.m.drop(v, a[0], a[1]) }},
	{"__finish", 1, 1, func(in *instance, v any, a []any) any { return in.m.finish(v, a[0]) }},
	{"__append", 2, 2, func(in *instance, v any, a []any) any { return in.m.appendInPlace(v, a[0], a[1]) }},
	{"__setpath", 2, 2, func(in *instance, v any, a []any) any { return in.m.set(v, a[0], a[1], &editor{}) }},
	{"__delpaths", 1, 1, func(in *instance, v any, a []any) any { return in.m.deletePaths(v, a[0], &editor{}) }},

	{"__matches", 3, 3, func(in *instance, v any, a []any) any { return in.matches(v, a[0], a[1], a[2]) }},
	{"__captures", 0, 0, func(in *instance, v any, _ []any) any { return captures(v) }},
	{"__splice", 1, 1, func(in *instance, v any, a []any) any { return in.m.splice(v, a[0]) }},
	{"__pieces", 1, 1, func(in *instance, v any, a []any) any { return in.m.pieces(v, a[0]) }},
}
