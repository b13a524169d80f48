package workflow

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// at says where in the definition a value stands: the section that names its
// rules ("call"), and the words for people ("with.endpoint").
type at struct {
	section string
	what    string
	dsl     string
}

func (a at) in(key string) at { a.what += "." + key; return a }

// shape checks one value. What it finds, it reports.
type shape func(d *decoder, n *source.Node, a at)

// wrong reports a value of the wrong kind.
func (d *decoder) wrong(n *source.Node, a at, want string) {
	d.report(Finding{Pos: n.Pos, Rule: a.section + "/type", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, n.Describe()), Allowed: "it must be " + want})
}

func (d *decoder) invalid(n *source.Node, a at, rule, message, allowed string) {
	d.report(Finding{Pos: n.Pos, Rule: a.section + "/" + rule, DSL: a.dsl, Message: message, Allowed: allowed})
}

func anything(*decoder, *source.Node, at) {}

func text(d *decoder, n *source.Node, a at) {
	if _, ok := n.Scalar.(string); n.Kind != ScalarValue || !ok {
		want := "text"
		if n.Kind == ScalarValue && n.Scalar != nil {
			want = "text; put it in quotes"
		}
		d.wrong(n, a, want)
	}
}

// someText is text that is not empty.
func someText(d *decoder, n *source.Node, a at) {
	text(d, n, a)
	if n.Kind == ScalarValue && n.Scalar == "" {
		d.invalid(n, a, "value", a.what+" is empty", "")
	}
}

func boolean(d *decoder, n *source.Node, a at) {
	if _, ok := n.Scalar.(bool); !ok {
		d.wrong(n, a, "true or false")
	}
}

func whole(low, high int) shape {
	return func(d *decoder, n *source.Node, a at) {
		if i, ok := n.Scalar.(int); !ok || i < low || i > high {
			d.wrong(n, a, fmt.Sprintf("a whole number from %d to %d", low, high))
		}
	}
}

// orExpr lets a wrapped expression stand beside s, as the schema has it.
func orExpr(s shape) shape {
	return func(d *decoder, n *source.Node, a at) {
		if t, ok := n.Scalar.(string); !ok || !source.IsWrapped(t) {
			s(d, n, a)
		}
	}
}

// orOurExpr lets a wrapped expression stand where the schema wants only s.
func orOurExpr(s shape) shape {
	return func(d *decoder, n *source.Node, a at) {
		if t, ok := n.Scalar.(string); ok && source.IsWrapped(t) {
			d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/expression", DSL: a.dsl, Message: a.what + " is an expression", Allowed: "other runtimes may want it written out"})
			return
		}
		s(d, n, a)
	}
}

// onlyExpr wants a wrapped expression.
func onlyExpr(d *decoder, n *source.Node, a at) {
	if t, ok := n.Scalar.(string); !ok || !source.IsWrapped(t) {
		d.wrong(n, a, "an expression in ${ }")
	}
}

func oneOfWords(words ...string) shape {
	return func(d *decoder, n *source.Node, a at) {
		t, ok := n.Scalar.(string)
		if !ok {
			d.wrong(n, a, "one of "+strings.Join(words, ", "))
			return
		}
		if !slices.Contains(words, t) {
			d.report(Finding{
				Pos: n.Pos, Rule: a.section + "/value", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, source.Quote(t)),
				Allowed: "it must be one of " + strings.Join(words, ", "), Suggestion: source.Nearest(t, words),
			})
		}
	}
}

func mapOf(s shape) shape {
	return func(d *decoder, n *source.Node, a at) {
		if n.Kind != MapValue {
			d.wrong(n, a, "a map")
			return
		}
		for i, k := range n.Keys {
			s(d, n.Items[i], a.in(k.Name))
		}
	}
}

func listOf(s shape) shape {
	return func(d *decoder, n *source.Node, a at) {
		if n.Kind != ListValue {
			d.wrong(n, a, "a list")
			return
		}
		for i, it := range n.Items {
			s(d, it, at{a.section, fmt.Sprintf("%s[%d]", a.what, i), a.dsl})
		}
	}
}

// uri is a URI, a URI template, or an expression (DSL 59, 205).
func uri(d *decoder, n *source.Node, a at) {
	t, ok := n.Scalar.(string)
	switch {
	case !ok:
		d.wrong(n, a, "a URI, a URI template or an expression")
	case t == "":
		d.invalid(n, a, "value", a.what+" is empty", "it must be a URI, a URI template or an expression")
	case !source.IsDynamic(t) && strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		d.invalid(n, a, "value", fmt.Sprintf("%s holds white space: %s", a.what, source.Quote(t)), "it must be a URI, a URI template or an expression in ${ }")
	}
}

// scalarText is text, or a number or boolean that is sent as text; the schema
// wants text, the specification's prose does not.
func scalarText(d *decoder, n *source.Node, a at) {
	if n.Kind != ScalarValue || n.Scalar == nil {
		d.wrong(n, a, "text")
	} else if _, ok := n.Scalar.(string); !ok {
		d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/text", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, n.Describe()), Allowed: "other runtimes want text: put it in quotes"})
	}
}

// prop is one property of a map.
type prop struct {
	name     string
	shape    shape
	required bool
}

func need(name string, s shape) prop { return prop{name, s, true} }
func may(name string, s shape) prop  { return prop{name, s, false} }

// object is a map with known properties; others are errors, or warnings when
// the schema leaves the map open.
func object(open bool, props ...prop) shape {
	names := make([]string, len(props))
	for i, p := range props {
		names[i] = p.name
	}
	return func(d *decoder, n *source.Node, a at) {
		if !d.properties(n, a, open, names) {
			return
		}
		for _, p := range props {
			if f := n.Field(p.name); f != nil {
				p.shape(d, f, a.in(p.name))
			} else if p.required {
				d.missing(n, a, p.name)
			}
		}
	}
}

// properties checks that n is a map of known properties.
func (d *decoder) properties(n *source.Node, a at, open bool, known []string) bool {
	if n.Kind != MapValue {
		d.wrong(n, a, "a map of "+strings.Join(known, ", "))
		return false
	}
	for _, k := range n.Keys {
		if slices.Contains(known, k.Name) {
			continue
		}
		f := Finding{
			Pos: k.Pos, EndCol: k.Pos.Col + utf8.RuneCountInString(k.Name), Rule: a.section + "/unknown-property", DSL: a.dsl,
			Message: fmt.Sprintf("%s has no property %s", a.what, source.Quote(k.Name)), Allowed: "it has " + strings.Join(known, ", "), Suggestion: source.Nearest(k.Name, known),
		}
		if open {
			f.Severity = SeverityWarning
		}
		d.report(f)
	}
	return true
}

func (d *decoder) missing(n *source.Node, a at, name string) {
	d.report(Finding{Pos: n.Pos, Rule: a.section + "/missing-property", DSL: a.dsl, Message: fmt.Sprintf("%s lacks the property %q", a.what, name)})
}

// exactlyOne reports which one of names n has.
func (d *decoder) exactlyOne(n *source.Node, a at, names ...string) string {
	var has []string
	for _, name := range names {
		if n.Field(name) != nil {
			has = append(has, name)
		}
	}
	switch len(has) {
	case 1:
		return has[0]
	case 0:
		d.invalid(n, a, "exactly-one", fmt.Sprintf("%s has none of %s", a.what, strings.Join(names, ", ")), "it must have exactly one of them")
		return ""
	default:
		d.invalid(n, a, "exactly-one", fmt.Sprintf("%s has %s", a.what, strings.Join(has, " and ")), "it must have exactly one of "+strings.Join(names, ", "))
		return has[0]
	}
}

// all runs several shapes over one value.
func all(shapes ...shape) shape {
	return func(d *decoder, n *source.Node, a at) {
		for _, s := range shapes {
			s(d, n, a)
		}
	}
}

// one is the shape that wants exactly one of names.
func one(names ...string) shape {
	return func(d *decoder, n *source.Node, a at) {
		if n.Kind == MapValue {
			d.exactlyOne(n, a, names...)
		}
	}
}

// str checks with s and returns the text of n, if it is text.
func (d *decoder) str(n *source.Node, a at, s shape) string {
	if n == nil {
		return ""
	}
	s(d, n, a)
	t, _ := n.Scalar.(string)
	return t
}

// flag returns the boolean of n, or otherwise.
func (d *decoder) flag(n *source.Node, a at, otherwise bool) bool {
	if n == nil {
		return otherwise
	}
	boolean(d, n, a)
	b, ok := n.Scalar.(bool)
	return b && ok || !ok && otherwise
}

// valueOf is the literal of n, or nil.
func valueOf(n *source.Node) *Value {
	if n == nil {
		return nil
	}
	v := toValue(n)
	return &v
}

// mapAny is n as a map of plain values, or nil.
func mapAny(n *source.Node) map[string]any {
	if n == nil {
		return nil
	}
	m, _ := n.Any().(map[string]any)
	return m
}

// toValue is n as the literal that definitions hold.
func toValue(n *source.Node) Value {
	v := Value{Pos: n.Pos, Kind: n.Kind, Scalar: n.Scalar, Any: n.Any()}
	switch n.Kind {
	case ListValue:
		v.Items = make([]Value, len(n.Items))
		for i, it := range n.Items {
			v.Items[i] = toValue(it)
		}
	case MapValue:
		v.Keys = make([]string, len(n.Keys))
		v.Fields = make([]Value, len(n.Keys))
		for i, k := range n.Keys {
			v.Keys[i], v.Fields[i] = k.Name, toValue(n.Items[i])
		}
	case ScalarValue, NoValue:
	}
	return v
}
