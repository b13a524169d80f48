package expr_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func evalTemplate(t *testing.T, tmpl, input string, o expr.TemplateOptions) string {
	t.Helper()
	tm, errs := expr.CompileTemplate(decode(t, tmpl), o)
	if len(errs) > 0 {
		return "compile error: " + errs[0].Error()
	}
	v, err := tm.Eval(nil, decode(t, input), nil)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(value.JSON(v))
}

// DSL 37, DSL 51, D14b: wrapped strings anywhere in objects and arrays, no keys, no bare ones.
// D14c: interpolation.
func TestTemplate(t *testing.T) {
	t.Parallel()
	input := `{"a":1,"s":"x","o":{"k":[true]},"n":null}`
	for tmpl, want := range map[string]string{
		`{"${ .a }":"${ .a }","bare":".a","l":["${.s}",{"d":" ${ .o } "}]}`: `{"${ .a }":1,"bare":".a","l":["x",{"d":{"k":[true]}}]}`,
		`"a=${ .a }, s=${ .s }, o=${ .o }, n=${ .n }."`:                     `"a=1, s=x, o={\"k\":[true]}, n=."`,
		`"${ .a }${ .a }"`:           `"11"`,
		`"${.a}-${.s}"`:              `"${.a}-${.s}"`,
		`"echo ${HOME} $${ .a } $$"`: `"echo ${HOME} ${ .a } $$"`,
		`"${ \"}\" + .s }!"`:         `"}x!"`,
		`"${ {b: .a} | .b }!"`:       `"1!"`,
		`"${ \"\\(\"}\" + .s)\" }!"`: `"}x!"`,
		`"open ${ .a"`:               `"open ${ .a"`,
		`"$"`:                        `"$"`,
		`"${ .a }"`:                  `1`,
		`"${.a}"`:                    `1`,
		`["${ .l[]? }", "${ 1,2 }"]`: `[null,[1,2]]`,
		`"x${ 1,2 }"`:                `"x[1,2]"`,
		`"${ .a.b }"`:                `error: expression ${ .a.b }: expected an object but got: number (1)`,
		`{"x":["${ | }"]}`:           `compile error: unexpected "|"`,
	} {
		if got := evalTemplate(t, tmpl, input, expr.TemplateOptions{}); got != want {
			t.Errorf("%s gave\n%s, want\n%s", tmpl, got, want)
		}
	}
}

// D14c: never in script.code.
func TestTemplateNoInterpolation(t *testing.T) {
	t.Parallel()
	o := expr.TemplateOptions{NoInterpolation: true}
	if got, want := evalTemplate(t, `["`+"`${ x }`"+` ok","${ .a }"]`, `{"a":1}`, o), `["`+"`${ x }`"+` ok",1]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// DSL 9: loose evaluates any string and keeps it as text if that fails.
func TestTemplateLoose(t *testing.T) {
	t.Parallel()
	got := evalTemplate(t, `[".a","hello world","hello","${ .a }",".a.b","", "1 + 1"]`, `{"a":1}`, expr.TemplateOptions{Loose: true})
	if diff := cmp.Diff(`[1,"hello world","hello",1,".a.b","",2]`, got); diff != "" {
		t.Error(diff)
	}
}

// DSL 50: expression syntax in data stays text.
func TestDataIsNeverEvaluated(t *testing.T) {
	t.Parallel()
	for _, tmpl := range []string{`"${ .a }"`, `{"x":"${ .a }"}`} {
		got := evalTemplate(t, tmpl, `{"a":"${ .secret }","secret":"s"}`, expr.TemplateOptions{Loose: true})
		if strings.Contains(got, `"s"`) || !strings.Contains(got, "${ .secret }") {
			t.Errorf("%s gave %s", tmpl, got)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	t.Parallel()
	_, errs := expr.CompileTemplate(decode(t, `{"a":["ok","x ${ .b | } y"],"c":"${ $nope }"}`), expr.TemplateOptions{Scope: []string{"$input"}})
	if len(errs) != 2 {
		t.Fatalf("got %d errors, want 2", len(errs))
	}
	if diff := cmp.Diff([]any{"a", 1}, errs[0].Path); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"c"}, errs[1].Path); diff != "" || errs[1].Offset != 3 {
		t.Error(diff, errs[1].Offset)
	}
}

func TestTemplateFacts(t *testing.T) {
	t.Parallel()
	tm, errs := expr.CompileTemplate(decode(t, `{"a":"${ $input.x }","b":["Bearer ${ $secrets.token }"]}`),
		expr.TemplateOptions{Scope: []string{"$input", "$secrets"}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if diff := cmp.Diff([]string{"$input", "$secrets"}, tm.Vars()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"token"}, tm.SecretNames()); diff != "" || tm.Constant() || !tm.ReadsSecrets() {
		t.Error(diff)
	}
	tm, _ = expr.CompileTemplate(decode(t, `{"a":".x","b":"$input.y"}`), expr.TemplateOptions{})
	if !tm.Constant() {
		t.Error("bare strings are constants")
	}
}
