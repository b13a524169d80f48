package program

import (
	"errors"
	"fmt"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Schema validates a value.
type Schema = schema.Schema

// Value is a part of a definition that gives a value: an expression, a literal
// whose strings may be expressions, or a plain literal. A nil *Value is identity.
type Value struct {
	expr    *expr.Expr
	tmpl    *expr.Template
	literal any
}

// Constant returns the value of a literal without expressions.
func (v *Value) Constant() (any, bool) {
	if v == nil || v.expr != nil || v.tmpl != nil {
		return nil, false
	}
	return v.literal, true
}

// Eval evaluates v on input. The result must not be changed.
func (v *Value) Eval(b *expr.Budget, input any, lookup func(string) any) (any, error) {
	switch {
	case v == nil:
		return input, nil
	case v.expr != nil:
		return v.expr.Eval(b, input, lookup)
	case v.tmpl != nil:
		return v.tmpl.Eval(b, input, lookup)
	}
	return v.literal, nil
}

// EvalBool evaluates a condition (D14d).
func (v *Value) EvalBool(b *expr.Budget, input any, lookup func(string) any) (bool, error) {
	if v.expr != nil {
		return v.expr.EvalBool(b, input, lookup)
	}
	r, err := v.Eval(b, input, lookup)
	return r != nil && r != false, err
}

// Reads reports whether v reads the variable, named with its "$".
func (v *Value) Reads(name string) bool {
	switch {
	case v == nil:
		return false
	case v.expr != nil:
		return slices.Contains(v.expr.Vars(), name)
	case v.tmpl != nil:
		return slices.Contains(v.tmpl.Vars(), name)
	}
	return false
}

// Secrets are the names of secrets that v reads by name.
func (v *Value) Secrets() []string {
	switch {
	case v == nil:
		return nil
	case v.expr != nil:
		return v.expr.SecretNames()
	case v.tmpl != nil:
		return v.tmpl.SecretNames()
	}
	return nil
}

// Duration is a length of time, known now or when it is evaluated (DSL 202-204).
type Duration struct {
	fixed value.Duration
	value *Value
}

// Eval returns the duration.
func (d *Duration) Eval(b *expr.Budget, input any, lookup func(string) any) (value.Duration, error) {
	if d.value == nil {
		return d.fixed, nil
	}
	v, err := d.value.Eval(b, input, lookup)
	if err != nil {
		return value.Duration{}, err
	}
	r, err := value.DurationFromValue(v)
	if err != nil {
		return value.Duration{}, &BadDuration{err}
	}
	return r, nil
}

// BadDuration is the error of an expression that gives no duration.
type BadDuration struct{ Err error }

// Error implements error.
func (e *BadDuration) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *BadDuration) Unwrap() error { return e.Err }

// note remembers what a value reads of $secrets.
func (c *compiler) note(v *Value) *Value {
	if v.Reads("$secrets") {
		names := v.Secrets()
		c.secretNames = append(c.secretNames, names...)
		c.allSecrets = c.allSecrets || len(names) == 0
	}
	return v
}

// expression compiles the text of an expression-typed property (D14).
func (c *compiler) expression(src string, site workflow.Site, vars []string) *Value {
	e, err := expr.Compile(src, workflow.Scope(site, vars))
	if err != nil {
		c.fail("%s: %w", site, err)
		return &Value{}
	}
	return c.note(&Value{expr: e})
}

func (c *compiler) condition(e *workflow.Expr, site workflow.Site, vars []string) *Value {
	if e == nil {
		return nil
	}
	return c.expression(e.Source, site, vars)
}

// transform compiles `from` and `as`: a string is an expression, an object a template (D14, D14b).
func (c *compiler) transform(v *workflow.Value, site workflow.Site, vars []string) *Value {
	if v.IsZero() {
		return nil
	}
	if s, ok := v.Any.(string); ok {
		if isIdentity(s) && site != workflow.ExportSite { // there it replaces the context
			return nil
		}
		return c.expression(s, site, vars)
	}
	return c.template(v.Any, site, vars, false)
}

func isIdentity(src string) bool { return src == "." || src == "${ . }" || src == "${.}" }

// template compiles a literal whose strings may be expressions.
func (c *compiler) template(literal any, site workflow.Site, vars []string, plainText bool) *Value {
	t, errs := expr.CompileTemplate(literal, expr.TemplateOptions{
		Scope: workflow.Scope(site, vars), Loose: c.def.Evaluate.Loose, NoInterpolation: plainText,
	})
	for i, e := range errs {
		if i < 5 {
			c.fail("%s: at %v: %w", site, e.Path, e.Err)
		}
	}
	if len(errs) > 0 || t == nil {
		return &Value{}
	}
	if t.Constant() {
		return &Value{literal: t.Any()}
	}
	return c.note(&Value{tmpl: t})
}

// body is the template of an optional part of a task's definition.
func (c *compiler) body(v *workflow.Value, vars []string) *Value {
	if v.IsZero() {
		return nil
	}
	return c.template(v.Any, workflow.BodySite, vars, false)
}

// list or expression: `for.in` and `in` of a map.
func (c *compiler) items(v *workflow.Value, vars []string) *Value {
	if s, ok := v.Any.(string); ok {
		return c.expression(s, workflow.ForInSite, vars)
	}
	return c.template(v.Any, workflow.ForInSite, vars, false)
}

func (c *compiler) schema(s *workflow.Schema) *Schema {
	if s == nil {
		return nil
	}
	if s.Document == nil {
		c.fail("the schema is not attached: a definition is linked before it is compiled")
		return nil
	}
	compiled, err := schema.Compile(s.Document.Any)
	if err != nil {
		c.fail("schema: %w", err)
		return nil
	}
	return compiled
}

func (c *compiler) in(d *workflow.DataIn, site workflow.Site, vars []string) *In {
	if d == nil {
		return nil
	}
	in := &In{Schema: c.schema(d.Schema), From: c.transform(d.From, site, vars)}
	if in.Schema == nil && in.From == nil {
		return nil
	}
	return in
}

func (c *compiler) out(d *workflow.DataOut, site workflow.Site, vars []string) *Out {
	if d == nil {
		return nil
	}
	out := &Out{Schema: c.schema(d.Schema), As: c.transform(d.As, site, vars)}
	if out.Schema == nil && out.As == nil {
		return nil
	}
	return out
}

func (c *compiler) duration(d *workflow.Duration, site workflow.Site, vars []string) *Duration {
	if d == nil || d.Value.IsZero() {
		return nil
	}
	if s, ok := d.Value.Any.(string); ok && (expr.IsWrapped(s) || expr.HasInterpolation(s)) {
		return &Duration{value: c.template(s, site, vars, false)}
	}
	v := c.template(d.Value.Any, site, vars, false)
	literal, ok := v.Constant()
	if !ok {
		return &Duration{value: v}
	}
	fixed, err := value.DurationFromValue(literal)
	if err != nil {
		c.fail("duration: %w", err)
	}
	return &Duration{fixed: fixed}
}

func (c *compiler) timeout(t *workflow.TimeoutRef, site workflow.Site, vars []string) *Duration {
	if t == nil {
		return nil
	}
	if t.Name != "" {
		named := c.def.FindTimeout(t.Name)
		if named == nil {
			c.fail("timeout: use.timeouts has no %q", t.Name)
			return nil
		}
		t = named
	}
	return c.duration(t.After, site, vars)
}

// Describe makes the text of an evaluation's error fit for people.
func Describe(err error) string {
	if e, ok := errors.AsType[*expr.Error](err); ok {
		return e.Error()
	}
	return fmt.Sprint(err)
}
