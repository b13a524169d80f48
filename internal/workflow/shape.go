package workflow

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
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
type shape func(d *decoder, n *node, a at)

// wrong reports a value of the wrong kind.
func (d *decoder) wrong(n *node, a at, want string) {
	d.report(Finding{Pos: n.pos, Rule: a.section + "/type", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, n.describe()), Allowed: "it must be " + want})
}

func (d *decoder) invalid(n *node, a at, rule, message, allowed string) {
	d.report(Finding{Pos: n.pos, Rule: a.section + "/" + rule, DSL: a.dsl, Message: message, Allowed: allowed})
}

// isWrapped reports whether the whole of s is one ${ expression }.
func isWrapped(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 3 && strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}")
}

// isDynamic reports whether evaluating s gives something else than s.
func isDynamic(s string) bool {
	if isWrapped(s) {
		return true
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return false
		}
		if after != "" && strings.ContainsRune(" \t\r\n", rune(after[0])) {
			return true
		}
		rest = after
	}
}

func anything(*decoder, *node, at) {}

func text(d *decoder, n *node, a at) {
	if _, ok := n.scalar.(string); n.kind != ScalarValue || !ok {
		want := "text"
		if n.kind == ScalarValue && n.scalar != nil {
			want = "text; put it in quotes"
		}
		d.wrong(n, a, want)
	}
}

// someText is text that is not empty.
func someText(d *decoder, n *node, a at) {
	text(d, n, a)
	if n.kind == ScalarValue && n.scalar == "" {
		d.invalid(n, a, "value", a.what+" is empty", "")
	}
}

func boolean(d *decoder, n *node, a at) {
	if _, ok := n.scalar.(bool); !ok {
		d.wrong(n, a, "true or false")
	}
}

func whole(low, high int) shape {
	return func(d *decoder, n *node, a at) {
		if i, ok := n.scalar.(int); !ok || i < low || i > high {
			d.wrong(n, a, fmt.Sprintf("a whole number from %d to %d", low, high))
		}
	}
}

// orExpr lets a wrapped expression stand where the schema wants something else.
func orExpr(s shape) shape {
	return func(d *decoder, n *node, a at) {
		if t, ok := n.scalar.(string); ok && isWrapped(t) {
			return
		}
		s(d, n, a)
	}
}

// onlyExpr wants a wrapped expression.
func onlyExpr(d *decoder, n *node, a at) {
	if t, ok := n.scalar.(string); !ok || !isWrapped(t) {
		d.wrong(n, a, "an expression in ${ }")
	}
}

func oneOfWords(words ...string) shape {
	return func(d *decoder, n *node, a at) {
		t, ok := n.scalar.(string)
		if !ok {
			d.wrong(n, a, "one of "+strings.Join(words, ", "))
			return
		}
		if !slices.Contains(words, t) {
			d.report(Finding{Pos: n.pos, Rule: a.section + "/value", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, quote(t)),
				Allowed: "it must be one of " + strings.Join(words, ", "), Suggestion: Nearest(t, words)})
		}
	}
}

func mapOf(s shape) shape {
	return func(d *decoder, n *node, a at) {
		if n.kind != MapValue {
			d.wrong(n, a, "a map")
			return
		}
		for i, k := range n.keys {
			s(d, n.items[i], a.in(k.name))
		}
	}
}

func listOf(s shape) shape {
	return func(d *decoder, n *node, a at) {
		if n.kind != ListValue {
			d.wrong(n, a, "a list")
			return
		}
		for i, it := range n.items {
			s(d, it, at{a.section, fmt.Sprintf("%s[%d]", a.what, i), a.dsl})
		}
	}
}

// uri is a URI, a URI template, or an expression (DSL 59, 205).
func uri(d *decoder, n *node, a at) {
	t, ok := n.scalar.(string)
	switch {
	case !ok:
		d.wrong(n, a, "a URI, a URI template or an expression")
	case t == "":
		d.invalid(n, a, "value", a.what+" is empty", "it must be a URI, a URI template or an expression")
	case !isDynamic(t) && strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		d.invalid(n, a, "value", fmt.Sprintf("%s holds white space: %s", a.what, quote(t)), "it must be a URI, a URI template or an expression in ${ }")
	}
}

// scalarText is text, or a number or boolean that is sent as text; the schema
// wants text, the specification's prose does not.
func scalarText(d *decoder, n *node, a at) {
	if n.kind != ScalarValue || n.scalar == nil {
		d.wrong(n, a, "text")
	} else if _, ok := n.scalar.(string); !ok {
		d.report(Finding{Pos: n.pos, Severity: SeverityHint, Rule: "portable/text", DSL: a.dsl, Message: fmt.Sprintf("%s is %s", a.what, n.describe()), Allowed: "other runtimes want text: put it in quotes"})
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
	return func(d *decoder, n *node, a at) {
		if !d.properties(n, a, open, names) {
			return
		}
		for _, p := range props {
			if f := n.field(p.name); f != nil {
				p.shape(d, f, a.in(p.name))
			} else if p.required {
				d.missing(n, a, p.name)
			}
		}
	}
}

// properties checks that n is a map of known properties.
func (d *decoder) properties(n *node, a at, open bool, known []string) bool {
	if n.kind != MapValue {
		d.wrong(n, a, "a map of "+strings.Join(known, ", "))
		return false
	}
	for _, k := range n.keys {
		if slices.Contains(known, k.name) {
			continue
		}
		f := Finding{Pos: k.pos, EndCol: k.pos.Col + utf8.RuneCountInString(k.name), Rule: a.section + "/unknown-property", DSL: a.dsl,
			Message: fmt.Sprintf("%s has no property %s", a.what, quote(k.name)), Allowed: "it has " + strings.Join(known, ", "), Suggestion: Nearest(k.name, known)}
		if open {
			f.Severity = SeverityWarning
		}
		d.report(f)
	}
	return true
}

func (d *decoder) missing(n *node, a at, name string) {
	d.report(Finding{Pos: n.pos, Rule: a.section + "/missing-property", DSL: a.dsl, Message: fmt.Sprintf("%s lacks the property %q", a.what, name)})
}

// exactlyOne reports which one of names n has.
func (d *decoder) exactlyOne(n *node, a at, names ...string) string {
	var has []string
	for _, name := range names {
		if n.field(name) != nil {
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
	return func(d *decoder, n *node, a at) {
		for _, s := range shapes {
			s(d, n, a)
		}
	}
}

// one is the shape that wants exactly one of names.
func one(names ...string) shape {
	return func(d *decoder, n *node, a at) {
		if n.kind == MapValue {
			d.exactlyOne(n, a, names...)
		}
	}
}

// str checks with s and returns the text of n, if it is text.
func (d *decoder) str(n *node, a at, s shape) string {
	if n == nil {
		return ""
	}
	s(d, n, a)
	t, _ := n.scalar.(string)
	return t
}

// flag returns the boolean of n, or otherwise.
func (d *decoder) flag(n *node, a at, otherwise bool) bool {
	if n == nil {
		return otherwise
	}
	boolean(d, n, a)
	b, ok := n.scalar.(bool)
	return b && ok || !ok && otherwise
}

// valueOf is the literal of n, or nil.
func valueOf(n *node) *Value {
	if n == nil {
		return nil
	}
	v := n.value()
	return &v
}

// mapAny is n as a map of plain values, or nil.
func mapAny(n *node) map[string]any {
	if n == nil {
		return nil
	}
	m, _ := n.any().(map[string]any)
	return m
}
