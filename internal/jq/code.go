package jq

import (
	"fmt"

	"github.com/itchyny/gojq"
)

// Code is one compiled program with the functions of ours that it calls. They
// reach the meter of the evaluation by it, so it serves one at a time.
type Code struct {
	program *gojq.Code
	m       *Meter
	regexes map[regexKey]*matcher
}

// Compile compiles q. The program's variables are vars; it may call those
// functions of ours whose names are in used.
func Compile(q *gojq.Query, vars []string, used map[string]bool) (c *Code, err error) {
	c = &Code{}
	options := []gojq.CompilerOption{gojq.WithVariables(vars)}
	for _, n := range natives {
		if used[n.name] {
			options = append(options, gojq.WithFunction(n.name, n.args, n.max, func(v any, args []any) any {
				if c.m.stopped != nil {
					return c.m.stopped
				}
				out := n.call(c, v, args)
				if c.m.stopped != nil {
					return c.m.stopped
				}
				return out
			}))
		}
	}
	if used["__range"] {
		options = append(options, gojq.WithIterFunction("__range", 3, 3, func(_ any, args []any) gojq.Iter {
			return c.m.rangeOf(args[0], args[1], args[2])
		}))
	}
	// gojq panics where its own invariants break; that is no reason to die.
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("the expression cannot be compiled: %v", r)
		}
	}()
	c.program, err = gojq.Compile(q, options...)
	return c, err
}

// Run starts an evaluation under m. Nothing else may use the code until
// [Code.Forget].
func (c *Code) Run(m *Meter, input any, vars ...any) gojq.Iter {
	c.m = m
	return c.program.RunWithContext(m, input, vars...)
}

// Forget ends an evaluation: the code keeps nothing of it but the regular
// expressions that it compiled.
func (c *Code) Forget() { c.m = nil }

// native is a function of ours that stands in for one of gojq's.
type native struct {
	name      string
	args, max int
	call      func(c *Code, v any, args []any) any
}

// natives lists them all. Those that only charge give their input back, so
// that gojq's own function can follow: "sort" is rewritten to "__sorting |
// sort". The others do the work themselves, because gojq would do it without
// asking anybody, or in a way that depends on the host.
var natives = []native{
	{"__add", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Add(a[0], a[1]) }},
	{"__subtract", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Subtract(a[0], a[1]) }},
	{"__multiply", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Multiply(a[0], a[1]) }},
	{"__divide", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Divide(a[0], a[1]) }},
	{"__equal", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) == 0 }},
	{"__notequal", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) != 0 }},
	{"__less", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) < 0 }},
	{"__lesseq", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) <= 0 }},
	{"__greater", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) > 0 }},
	{"__greatereq", 2, 2, func(c *Code, _ any, a []any) any { return c.m.Compare(a[0], a[1]) >= 0 }},

	{"__object", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeObject(v) }},
	{"__enter", 0, 0, func(c *Code, v any, _ []any) any { return c.m.pass(v, 25) }},
	{"__bytes", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeBytes(v, 64) }},
	{"__copied", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeBytes(v, 4) }},
	{"__exploding", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeBytesTimes(v, 3) }},
	{"__list", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeList(v, 3) }},
	{"__sorting", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeSort(v) }},
	{"__writing", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeWriting(v) }},
	{"__number", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeNumber(v) }},
	{"__timeformat", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeTimeFormat(v) }},
	{"__key", 0, 0, func(c *Code, v any, _ []any) any { return c.m.chargeKey(v) }},

	{"__sum", 0, 0, func(c *Code, v any, _ []any) any { return c.m.Sum(v) }},
	{"__length", 0, 0, func(c *Code, v any, _ []any) any { return c.m.Length(v) }},
	{"__join", 1, 1, func(c *Code, v any, a []any) any { return c.m.join(v, a[0]) }},
	{"__concat", 1, 30, func(c *Code, _ any, a []any) any { return c.m.Concat(a) }},
	{"__text", 0, 0, func(c *Code, v any, _ []any) any { return c.m.Text(v) }},
	{"__tojson", 0, 0, func(c *Code, v any, _ []any) any { return c.m.ToJSON(v) }},
	{"__fromjson", 0, 0, func(c *Code, v any, _ []any) any { return c.m.fromJSON(v) }},
	{"__split", 1, 1, func(c *Code, v any, a []any) any { return c.m.split(v, a[0]) }},
	{"__indices", 1, 1, func(c *Code, v any, a []any) any { return c.m.indices("indices", v, a[0]) }},
	{"__index", 1, 1, func(c *Code, v any, a []any) any { return c.m.indices("index", v, a[0]) }},
	{"__rindex", 1, 1, func(c *Code, v any, a []any) any { return c.m.indices("rindex", v, a[0]) }},
	{"__contains", 1, 1, func(c *Code, v any, a []any) any { return c.m.contains(v, a[0], 0) }},
	{"__inside", 1, 1, func(c *Code, v any, a []any) any { return c.m.contains(a[0], v, 0) }},
	{"__flatten", 0, 1, func(c *Code, v any, a []any) any { return c.m.flatten(v, a) }},
	{"__transpose", 0, 0, func(c *Code, v any, _ []any) any { return c.m.transpose(v) }},
	{"__to_entries", 0, 0, func(c *Code, v any, _ []any) any { return c.m.toEntries(v) }},

	{"__editor", 0, 0, func(c *Code, _ any, _ []any) any { return &editor{} }},
	{"__get", 2, 2, func(c *Code, v any, a []any) any { return c.m.getForEdit(v, a[0], a[1]) }},
	{"__peek", 1, 1, func(c *Code, v any, a []any) any { return c.m.getpath(v, a[0]) }},
	{"__set", 3, 3, func(c *Code, v any, a []any) any { return c.m.set(v, a[0], a[1], a[2]) }},
	{"__drop", 2, 2, func(c *Code, v any, a []any) any { return c.m.drop(v, a[0], a[1]) }},
	{"__finish", 1, 1, func(c *Code, v any, a []any) any { return c.m.finish(v, a[0]) }},
	{"__append", 2, 2, func(c *Code, v any, a []any) any { return c.m.appendInPlace(v, a[0], a[1]) }},
	{"__setpath", 2, 2, func(c *Code, v any, a []any) any { return c.m.set(v, a[0], a[1], &editor{}) }},
	{"__delpaths", 1, 1, func(c *Code, v any, a []any) any { return c.m.deletePaths(v, a[0], &editor{}) }},

	{"__matches", 3, 3, func(c *Code, v any, a []any) any { return c.matches(v, a[0], a[1], a[2]) }},
	{"__captures", 0, 0, func(c *Code, v any, _ []any) any { return captures(v) }},
	{"__splice", 1, 1, func(c *Code, v any, a []any) any { return c.m.splice(v, a[0]) }},
	{"__pieces", 1, 1, func(c *Code, v any, a []any) any { return c.m.pieces(v, a[0]) }},
}
