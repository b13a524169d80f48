package expr

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// TemplateOptions says how the strings of a template are read.
type TemplateOptions struct {
	// Scope lists the variables that its expressions may use, "$" included.
	Scope []string
	// Loose reads every string as an expression and keeps it as text when it
	// is none or fails: evaluate.mode loose, DSL 9.
	Loose bool
	// NoInterpolation leaves ${ } inside a larger string alone: script.code,
	// where JavaScript's own templates look the same (D14c).
	NoInterpolation bool
}

// TemplateError is a string of a template that is no valid expression.
type TemplateError struct {
	Path   []any // keys (string) and indexes (int) from the root
	Offset int   // in bytes, into that string
	Err    error
}

// Error implements error.
func (e TemplateError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e TemplateError) Unwrap() error { return e.Err }

// Template is a JSON value whose strings may be expressions: wholly wrapped
// ones keep the type of what they give, others may hold interpolations. The
// keys of objects are never expressions: DSL 51.
type Template struct {
	literal any
	root    part // nil if nothing in it is an expression
	vars    []string
	secrets []string
	now     bool
}

// part makes one value of a template.
type part interface {
	eval(b *Budget, input any, lookup func(string) any) (any, error)
}

// CompileTemplate compiles v. It reports every string that is wrong, and then
// returns no template.
func CompileTemplate(v any, o TemplateOptions) (*Template, []TemplateError) {
	c := templateCompiler{options: o}
	root := c.compile(v, nil)
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	slices.Sort(c.vars)
	slices.Sort(c.secrets)
	return &Template{
		literal: v, root: root, now: c.now,
		vars: slices.Compact(c.vars), secrets: slices.Compact(c.secrets),
	}, nil
}

// Eval evaluates the template's expressions on input and returns a new value;
// parts without expressions are shared with the template. An error is an
// *[Error].
func (t *Template) Eval(b *Budget, input any, lookup func(name string) any) (any, error) {
	if t.root == nil {
		return t.literal, nil
	}
	v, err := t.root.eval(b, input, lookup)
	if err != nil {
		return nil, err
	}
	if _, single := t.root.(exprPart); !single {
		if stop := b.Check("the value with its expressions filled in", v); stop != nil {
			return nil, &Error{Kind: kindOf(stop.Reason), Message: stop.Message}
		}
	}
	return v, nil
}

// Constant reports whether the template holds no expression.
func (t *Template) Constant() bool { return t.root == nil }

// Vars returns the variables that its expressions refer to, sorted.
func (t *Template) Vars() []string { return t.vars }

// SecretNames returns the secrets that its expressions read by name, sorted.
func (t *Template) SecretNames() []string { return t.secrets }

// ReadsSecrets reports whether an expression in it refers to $secrets.
func (t *Template) ReadsSecrets() bool { return slices.Contains(t.vars, "$secrets") }

// UsesNow reports whether an evaluation asks its lookup for [NowVariable].
func (t *Template) UsesNow() bool { return t.now }

// Any returns the template as it was given.
func (t *Template) Any() any { return t.literal }

// EndsInIterator reports whether the template is one expression that can give
// several values: D13 warns.
func (t *Template) EndsInIterator() bool {
	p, ok := t.root.(exprPart)
	return ok && p.e.EndsInIterator()
}

type templateCompiler struct {
	options TemplateOptions
	errs    []TemplateError
	vars    []string
	secrets []string
	now     bool
}

// compile returns the part for v, nil if v is constant.
func (c *templateCompiler) compile(v any, path []any) part {
	switch v := v.(type) {
	case string:
		return c.compileString(v, path)
	case []any:
		var p *arrayPart
		for i, x := range v {
			if sub := c.compile(x, append(path, i)); sub != nil {
				if p == nil {
					p = &arrayPart{literal: v}
				}
				p.items = append(p.items, indexedPart{i, sub})
			}
		}
		if p != nil {
			return p
		}
	case map[string]any:
		var p *objectPart
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if sub := c.compile(v[k], append(path, k)); sub != nil {
				if p == nil {
					p = &objectPart{literal: v}
				}
				p.items = append(p.items, keyedPart{k, sub})
			}
		}
		if p != nil {
			return p
		}
	}
	return nil
}

func (c *templateCompiler) compileString(s string, path []any) part {
	switch {
	case IsWrapped(s):
		e := c.expr(s, 0, path)
		if e != nil && c.options.Loose {
			return loosePart{e, s}
		}
		if e != nil {
			return exprPart{e}
		}
	case !c.options.NoInterpolation && HasInterpolation(s):
		return c.compileText(s, path)
	case c.options.Loose && strings.TrimSpace(s) != "":
		if e, err := Compile(s, c.options.Scope); err == nil {
			c.note(e)
			return loosePart{e, s}
		}
	}
	return nil
}

func (c *templateCompiler) compileText(s string, path []any) part {
	var p textPart
	for _, piece := range pieces(s) {
		if !piece.code {
			p = append(p, textPiece{text: piece.text})
		} else if e := c.expr(piece.text, piece.offset, path); e != nil {
			p = append(p, textPiece{e: e})
		}
	}
	return p
}

// expr compiles one expression of the template, or records why it cannot.
func (c *templateCompiler) expr(src string, offset int, path []any) *Expr {
	e, err := Compile(src, c.options.Scope)
	if err == nil {
		c.note(e)
		return e
	}
	if c.options.Loose {
		return nil
	}
	if syntax, ok := errors.AsType[*SyntaxError](err); ok {
		offset += syntax.Offset
	}
	c.errs = append(c.errs, TemplateError{Path: slices.Clone(path), Offset: offset, Err: err})
	return nil
}

func (c *templateCompiler) note(e *Expr) {
	c.vars = append(c.vars, e.Vars()...)
	c.secrets = append(c.secrets, e.SecretNames()...)
	c.now = c.now || e.UsesNow()
}

type exprPart struct{ e *Expr }

func (p exprPart) eval(b *Budget, input any, lookup func(string) any) (any, error) {
	return p.e.Eval(b, input, lookup)
}

// loosePart keeps its text when the expression fails on the input. A limit
// that was passed is an error all the same: it says nothing about the text.
type loosePart struct {
	e    *Expr
	text string
}

func (p loosePart) eval(b *Budget, input any, lookup func(string) any) (any, error) {
	v, err := p.e.Eval(b, input, lookup)
	var e *Error
	if errors.As(err, &e) && e.Kind == Failed {
		return p.text, nil
	}
	return v, err
}

type textPiece struct {
	text string
	e    *Expr
}

// textPart is a string with interpolations: D14c.
type textPart []textPiece

func (p textPart) eval(b *Budget, input any, lookup func(string) any) (any, error) {
	var out []byte
	for _, piece := range p {
		if piece.e == nil {
			out = append(out, piece.text...)
			continue
		}
		v, err := piece.e.Eval(b, input, lookup)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case nil:
		case string:
			out = append(out, v...)
		default:
			out = value.Append(out, v)
		}
	}
	return string(out), nil
}

type indexedPart struct {
	index int
	part  part
}

type arrayPart struct {
	literal []any
	items   []indexedPart
}

func (p *arrayPart) eval(b *Budget, input any, lookup func(string) any) (any, error) {
	out := slices.Clone(p.literal)
	for _, item := range p.items {
		v, err := item.part.eval(b, input, lookup)
		if err != nil {
			return nil, err
		}
		out[item.index] = v
	}
	return out, nil
}

type keyedPart struct {
	key  string
	part part
}

type objectPart struct {
	literal map[string]any
	items   []keyedPart // in the order of their keys: the first error is always the same one
}

func (p *objectPart) eval(b *Budget, input any, lookup func(string) any) (any, error) {
	out := make(map[string]any, len(p.literal))
	maps.Copy(out, p.literal)
	for _, item := range p.items {
		v, err := item.part.eval(b, input, lookup)
		if err != nil {
			return nil, err
		}
		out[item.key] = v
	}
	return out, nil
}
