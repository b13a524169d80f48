package check

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// expr checks an expression-typed property; condition says that it must give
// one value.
func (c *checker) expr(e *workflow.Expr, site workflow.Site, vars []string, condition bool) {
	if e == nil || c.def.Evaluate.Language != "jq" {
		return
	}
	compiled, err := expr.Compile(e.Source, workflow.Scope(site, vars))
	if err != nil {
		c.badExpression(e.Pos, e.Source, 0, site, vars, err)
		return
	}
	c.secrets(e.Pos, compiled.ReadsSecrets(), compiled.SecretNames(), site == workflow.InputFromSite || site == workflow.WorkflowInputSite)
	c.portableExpression(e.Pos, e.Source, compiled.Vars(), compiled.EndsInIterator() && !condition, condition)
	if !compiled.EndsInIterator() {
		return
	}
	if condition {
		c.warn(e.Pos, "expression/several-values", "D13", "the condition ends in an iterator; several values are an error when it is evaluated", "ask for one: any(…) or all(…)")
	} else {
		c.warn(e.Pos, "expression/several-values", "D13", "the expression ends in an iterator: no value gives null, one gives itself, several give a list", "wrap it in [ ] for a list always, or in first(…)")
	}
}

// badExpression reports why the expression src does not compile; offset is
// where src begins in the scalar at pos.
func (c *checker) badExpression(pos workflow.Pos, src string, offset int, site workflow.Site, vars []string, err error) {
	at := offset
	if syntax, ok := errors.AsType[*expr.SyntaxError](err); ok {
		at += syntax.Offset
	}
	f := workflow.Finding{Pos: source.Locate(c.text, pos, at), Rule: "expression/syntax", DSL: "DSL 37", Message: "the expression does not compile: " + err.Error()}
	if name := misplaced(src, site, vars); name != "" {
		f.Rule, f.DSL = "expression/variable", "DSL 39-48"
		f.Message = fmt.Sprintf("%s cannot be read in %s", name, site)
		f.Allowed = whereRight(name)
	} else if strings.Contains(err.Error(), "unknown variable") {
		f.Rule, f.DSL = "expression/variable", "DSL 39-48"
		if strings.HasPrefix(err.Error(), "unknown variable $secret,") || strings.HasPrefix(err.Error(), "unknown variable $secret;") {
			f.DSL, f.Suggestion = "D17", "$secrets"
			f.Message, f.Allowed = "there is no variable $secret", "the secrets that use.secrets lists are in $secrets"
		}
	}
	c.report(f)
}

// everywhere are the specification's variables, wherever they may stand.
var everywhere = workflow.Scope(workflow.ExportSite, nil)

// misplaced is a variable of the specification that src reads and site does not
// have, or "".
func misplaced(src string, site workflow.Site, vars []string) string {
	scope := workflow.Scope(site, vars)
	e, err := expr.Compile(src, append(slices.Clone(everywhere), workflow.Scope(workflow.NoSite, vars)...))
	if err != nil {
		return ""
	}
	for _, v := range e.Vars() {
		if !slices.Contains(scope, v) {
			return v
		}
	}
	return ""
}

func whereRight(name string) string {
	var names []string
	for _, s := range workflow.SitesOf(name) {
		names = append(names, s.String())
	}
	if len(names) == 0 {
		return ""
	}
	return "it can be read in " + strings.Join(names, ", ")
}

// selector checks from and as: an expression, or a template (D14b).
func (c *checker) selector(v *workflow.Value, site workflow.Site, vars []string) {
	if v.IsZero() {
		return
	}
	if s, ok := v.Scalar.(string); ok {
		c.expr(&workflow.Expr{Pos: v.Pos, Source: s}, site, vars, false)
		return
	}
	c.template(v, site, vars, templateOptions{lint: true})
}

// items checks for.in and its kin: an expression, or a list in place.
func (c *checker) items(v *workflow.Value, vars []string) {
	if s, ok := v.Scalar.(string); ok {
		if compiled, err := expr.Compile(s, workflow.Scope(workflow.ForInSite, vars)); err == nil && compiled.EndsInIterator() {
			c.secrets(v.Pos, compiled.ReadsSecrets(), compiled.SecretNames(), false)
			c.warn(v.Pos, "expression/several-values", "D13", "the expression ends in an iterator; a single value would not be a list", "name the list itself, or wrap the expression in [ ]")
			return
		}
		c.expr(&workflow.Expr{Pos: v.Pos, Source: s}, workflow.ForInSite, vars, false)
		return
	}
	c.template(v, workflow.ForInSite, vars, templateOptions{lint: true})
}

// templateOptions say how the strings of a template are judged.
type templateOptions struct {
	plain     bool // no interpolation: script.code (D14c)
	lint      bool // a bare .name or $name is probably meant as an expression (D14b)
	secretsOK bool // $secrets belong here (D17)
}

// template checks every string of a value that may hold expressions.
func (c *checker) template(v *workflow.Value, site workflow.Site, vars []string, o templateOptions) {
	if v.IsZero() || c.def.Evaluate.Language != "jq" {
		return
	}
	for i := range v.Items {
		c.template(&v.Items[i], site, vars, o)
	}
	for i, k := range v.Keys {
		inner := o
		inner.secretsOK = o.secretsOK || k == "authentication" || k == "headers"
		c.template(&v.Fields[i], site, vars, inner)
	}
	s, ok := v.Scalar.(string)
	if !ok || s == "" {
		return
	}
	t, errs := expr.CompileTemplate(s, expr.TemplateOptions{Scope: workflow.Scope(site, vars), Loose: c.def.Evaluate.Loose, NoInterpolation: o.plain})
	for _, e := range errs {
		c.badTemplate(v.Pos, s, site, vars, e)
	}
	if t == nil {
		return
	}
	if c.options.Portable && !t.Constant() && !expr.IsWrapped(s) {
		c.hint(v.Pos, "portable/interpolation", "D14c", "an expression stands inside a larger string; other runtimes may leave it as text", fmt.Sprintf("wrap the whole string: ${ %q + … }", "text "))
	}
	if !t.Constant() {
		c.portableExpression(v.Pos, s, t.Vars(), t.EndsInIterator(), false)
	}
	secretsOK := o.secretsOK || site == workflow.InputFromSite || site == workflow.WorkflowInputSite
	c.secrets(v.Pos, t.ReadsSecrets(), t.SecretNames(), secretsOK)
	if t.EndsInIterator() {
		c.warn(v.Pos, "expression/several-values", "D13", "the expression ends in an iterator: no value gives null, one gives itself, several give a list", "wrap it in [ ] for a list always, or in first(…)")
	}
	if i := strings.LastIndex(s, "${"); !o.plain && i >= 0 && !strings.Contains(s[i:], "}") && (i == 0 || s[i-1] != '$') {
		c.warn(v.Pos, "expression/not-closed", "D14c", source.Quote(s[i:])+" is text here: its ${ has no }", "write ${ … } for a value, $${ for the characters")
	}
	if o.lint && t.Constant() && !c.def.Evaluate.Loose && looksMeant(s, workflow.Scope(site, vars)) {
		c.warn(v.Pos, "expression/not-wrapped", "D14b", fmt.Sprintf("%s is text here, though it looks like an expression", source.Quote(s)), fmt.Sprintf("write ${ %s } for its value", s))
	}
}

// badTemplate reports one wrong string. Its offset may be into the expression
// or into the string; misplaced needs the expression alone.
func (c *checker) badTemplate(pos workflow.Pos, s string, site workflow.Site, vars []string, e expr.TemplateError) {
	err, offset := e.Err, e.Offset
	if syntax, ok := errors.AsType[*expr.SyntaxError](e.Err); ok {
		err = &expr.SyntaxError{Message: syntax.Message}
	}
	inner := s
	if !expr.IsWrapped(s) {
		if i := strings.LastIndex(s[:min(offset, len(s))], "${"); i >= 0 {
			inner = s[i:]
			if end := strings.IndexByte(inner, '}'); end >= 0 {
				inner = inner[:end+1]
			}
		}
	}
	c.badExpression(pos, inner, offset, site, vars, err)
}

var (
	barePath     = regexp.MustCompile(`^\.[A-Za-z_][A-Za-z0-9_]*((\.[A-Za-z_][A-Za-z0-9_]*)|\[[0-9]*\])*$`)
	bareVariable = regexp.MustCompile(`^(\$[A-Za-z_][A-Za-z0-9_]*)((\.[A-Za-z_][A-Za-z0-9_]*)|\[[0-9]*\])*$`)
)

// looksMeant reports whether text is what an author writes who forgot ${ }.
func looksMeant(s string, scope []string) bool {
	if m := bareVariable.FindStringSubmatch(s); m != nil {
		return slices.Contains(scope, m[1])
	}
	return barePath.MatchString(s)
}

// foreign warns where a document of another machine does what only a trusted one may.
func (c *checker) foreign(pos workflow.Pos, does string) {
	if c.file != "" && !strings.HasPrefix(c.file, "file:") {
		c.warn(pos, "link/secret", "D17, D24", fmt.Sprintf("this function from elsewhere %s of the workflow that calls it", does), "make sure that you trust its author; name a tag or commit to keep what you have looked at")
	}
}

// secrets checks that what an expression reads of $secrets is listed, and that
// the place is one where secrets belong (D17, DSL 207).
func (c *checker) secrets(pos workflow.Pos, reads bool, names []string, placeOK bool) {
	if !reads {
		return
	}
	known := make([]string, len(c.def.Use.Secrets))
	for i, s := range c.def.Use.Secrets {
		known[i] = s.Name
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			c.report(workflow.Finding{
				Pos: pos, Rule: "secret/not-listed", DSL: "DSL 21, DSL 207, D17", Message: fmt.Sprintf("the secret %s is not listed in use.secrets", source.Quote(n)),
				Allowed: "only listed secrets can be read", Suggestion: source.Nearest(n, known),
			})
		}
	}
	if !placeOK {
		c.warn(pos, "secret/place", "D17", "$secrets is read outside of input.from, authentication and headers; its value may reach outputs and other systems", "pass secrets by authentication or headers where that is possible")
	}
	c.foreign(pos, "reads secrets")
}
