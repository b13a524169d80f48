package expr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func decode(t testing.TB, s string) any {
	t.Helper()
	v, err := value.Decode([]byte(s))
	if err != nil {
		t.Fatalf("decode %s: %v", s, err)
	}
	return v
}

func compile(t testing.TB, src string, scope ...string) *expr.Expr {
	t.Helper()
	e, err := expr.Compile(src, scope)
	if err != nil {
		t.Fatalf("compile %s: %v", src, err)
	}
	return e
}

// eval evaluates src on JSON input and returns JSON, or "error: …".
func eval(t testing.TB, src, input string) string {
	t.Helper()
	v, err := compile(t, src).Eval(nil, decode(t, input), nil)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(value.JSON(v))
}

// DSL 52, D13: none gives null, one gives it, several give an array.
func TestSeveralValues(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"empty":              "null",
		".a":                 "[1,2]",
		".a[]":               "[1,2]",
		"${ .a[] }":          "[1,2]",
		" ${.a[0]} ":         "1",
		".a[] | select(.>1)": "2",
		"1,2,3":              "[1,2,3]",
	} {
		if got := eval(t, src, `{"a":[1,2]}`); got != want {
			t.Errorf("%s gave %s, want %s", src, got, want)
		}
	}
}

// D14d: null and false are false, all else is true. D13: several values are an error.
func TestEvalBool(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]bool{"null": false, "false": false, "empty": false, "0": true, `""`: true, "true": true, "[]": true} {
		got, err := compile(t, src).EvalBool(nil, nil, nil)
		if err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", src, got, err, want)
		}
	}
	_, err := compile(t, ".[] > 1").EvalBool(nil, []any{1, 2}, nil)
	var e *expr.Error
	if !errors.As(err, &e) || e.Kind != expr.Failed || !strings.Contains(err.Error(), "one value, this gave 2") {
		t.Errorf("several values: %v", err)
	}
	if _, err := compile(t, `error("no")`).EvalBool(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("an error was swallowed: %v", err)
	}
}

func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src    string
		offset int
		msg    string
	}{
		{".a | | .b", 5, `unexpected "|"`},
		{"${ .a | | .b }", 8, `unexpected "|"`},
		{"${ .a + }", 8, "ends too early"},
		{"", 0, "empty"},
		{"${ }", 2, "empty"},
		{".a + $inptu", 5, "unknown variable $inptu, did you mean $input?"},
		{"$secret.x", 0, "did you mean $secrets?"},
		{".a | foo(1)", 5, "function not defined: foo/1"},
		{".a | nott", 5, "function not defined: nott/0, did you mean not?"},
		{".a | lengt", 5, "did you mean length?"},
		{"[1] | map", 6, "function not defined: map/0; map takes 1 argument"},
		{"length(1)", 0, "length takes no arguments"},
		{`sub("a")`, 0, "sub takes 2 or 3 arguments, which ; separates"},
		{"env.HOME", 0, "environment"},
		{"$ENV.HOME", 0, "environment"},
		{"input", 0, "one input"},
		{". | debug", 4, "nowhere to write"},
		{"halt", 0, "use error to fail"},
		{`import "a" as b; .`, 0, "modules are not available"},
		{"$__now", 0, "reserved"},
		{"def __x: 1; 2", 4, "reserved"},
		{"_add(1;2)", 0, "function not defined"},
		{strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000), 0, "more than 2000 deep"},
		{"1" + strings.Repeat(" + 1", 200_000), 0, "more than 2000 deep"},
		{strings.Repeat("-", 200_000) + "1", 0, "more than 2000 deep"},
		{strings.Repeat(".a", 200_000), 0, "more than 2000 deep"},
		{strings.Repeat("[", 200_000), 200_000, "ends too early"},
		{strings.Repeat("def f: ", 100_000) + "1" + strings.Repeat("; 1", 100_000), 0, "more than 2000 deep"},
		{strings.Repeat("if 1 then ", 50_000) + "1" + strings.Repeat(" end", 50_000), 0, "more than 2000 deep"},
		{"." + strings.Repeat(" as [$a]", 1) + strings.Repeat("| 1", 100_000), 0, "more than 2000 deep"},
		{". as " + strings.Repeat("[", 100_000) + "$a" + strings.Repeat("]", 100_000) + " | 1", 0, "more than 2000 deep"},
	} {
		_, err := expr.Compile(c.src, []string{"$input", "$secrets"})
		var syntax *expr.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Compile(%.40q): %v", c.src, err)
			continue
		}
		if syntax.Offset != c.offset || !strings.Contains(syntax.Message, c.msg) {
			t.Errorf("Compile(%.40q): %d %q, want %d with %q", c.src, syntax.Offset, syntax.Message, c.offset, c.msg)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	e := compile(t, `$input.a + ($secrets.token // $secrets["k"]) + (. as $item | $item) + now`, "$input", "$secrets", "$item", "$context")
	if diff := cmp.Diff([]string{"$input", "$secrets"}, e.Vars()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"k", "token"}, e.SecretNames()); diff != "" {
		t.Error(diff)
	}
	if !e.ReadsSecrets() || !e.UsesNow() {
		t.Error("secrets or now not seen")
	}
	if compile(t, "def now: 1; now").UsesNow() {
		t.Error("a function of the user's own is not the clock")
	}
}

// D13: a warning for an iterator that nothing collects.
func TestEndsInIterator(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]bool{
		".a[]": true, "[.a[]]": false, ".a[] | .b": true, ".a[0]": false, "range(3)": true, "..": true,
		"first(.a[])": false, ".a[] | select(.x)": true, "1, 2": true, ".a | map(.b)": false, "(.a[])": true,
		"if . then .a[] else 1 end": true, "reduce .[] as $x (0; . + $x)": false, ".a[] as $x | $x": true,
	} {
		if got := compile(t, src).EndsInIterator(); got != want {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
}

func TestSecretMissing(t *testing.T) {
	t.Parallel()
	e := compile(t, "$secrets.token", "$secrets")
	_, err := e.Eval(nil, nil, func(string) any { return map[string]any{"other": "x"} })
	var ours *expr.Error
	if !errors.As(err, &ours) || ours.Kind != expr.SecretMissing || ours.Secret != "token" {
		t.Errorf("got %v", err)
	}
}

func TestNow(t *testing.T) {
	t.Parallel()
	got, err := compile(t, "now | todate").Eval(nil, nil, func(name string) any {
		if name != expr.NowVariable {
			t.Errorf("lookup of %s", name)
		}
		return 86400.0
	})
	if err != nil || got != "1970-01-02T00:00:00Z" {
		t.Errorf("got %v, %v", got, err)
	}
}

// What lookup gives is trusted to be in the forms of package value; if it is
// not, the evaluation fails and the process lives.
func TestForeignValueIsAnError(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"$input | type", "$input.a", "$input | type | ascii_downcase", "$input + 1"} {
		_, err := compile(t, src, "$input").Eval(nil, nil, func(string) any { return struct{}{} })
		var ours *expr.Error
		if !errors.As(err, &ours) || ours.Kind != expr.Failed {
			t.Errorf("%s: got %v", src, err)
		}
	}
}
