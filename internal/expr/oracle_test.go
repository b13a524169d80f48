package expr

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/itchyny/gojq"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// reporter is what *testing.T and *rapid.T have in common.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// plain evaluates src by gojq alone: the oracle.
func plain(t reporter, src string, input any) (any, error) {
	t.Helper()
	q, err := gojq.Parse(src)
	if err != nil {
		t.Fatalf("parse %s: %v", src, err)
	}
	code, err := gojq.Compile(q)
	if err != nil {
		t.Fatalf("compile %s: %v", src, err)
	}
	var out []any
	for iter := code.Run(value.Copy(input)); ; {
		v, ok := iter.Next()
		if !ok {
			break
		}
		if err, ok := v.(error); ok {
			return nil, err
		}
		if out = append(out, v); len(out) > 1000 {
			t.Fatalf("%s does not end", src)
		}
	}
	switch len(out) {
	case 0:
		return nil, nil
	case 1:
		return out[0], nil
	}
	return out, nil
}

// agree checks that src gives on input what gojq gives, leaves the input
// alone, and gives the same again.
func agree(t reporter, src string, input any) {
	t.Helper()
	e, err := Compile(src, nil)
	if err != nil {
		t.Errorf("compile %s: %v", src, err)
		return
	}
	before := value.JSON(input)
	want, wantErr := plain(t, src, input)
	got, gotErr := e.Eval(nil, input, nil)
	if (wantErr == nil) != (gotErr == nil) {
		t.Errorf("%s on %s gave %v, %v; gojq gives %v, %v", src, before, got, gotErr, want, wantErr)
		return
	}
	if wantErr == nil {
		if diff := cmp.Diff(string(value.JSON(want)), string(value.JSON(got))); diff != "" {
			t.Errorf("%s on %s (-gojq +ours):\n%s", src, before, diff)
		}
		settled, err := value.Decode(value.JSON(got))
		if diff := cmp.Diff(settled, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); err != nil || diff != "" {
			t.Errorf("%s on %s is another value when it is read again (-read +given): %v\n%s", src, before, err, diff)
		}
	} else {
		var ours *Error
		if !errors.As(gotErr, &ours) || ours.Kind != Failed {
			t.Errorf("%s on %s: %v; gojq: %v", src, before, gotErr, wantErr)
		}
	}
	if after := value.JSON(input); string(before) != string(after) {
		t.Errorf("%s changed its input from %s to %s", src, before, after)
	}
	again, againErr := e.Eval(nil, input, nil)
	if (againErr == nil) != (gotErr == nil) || string(value.JSON(again)) != string(value.JSON(got)) {
		t.Errorf("%s on %s gave %v, then %v", src, before, got, again)
	}
}

// The programs that the oracle is asked about, each on each of the inputs.
var programs = strings.Split(strings.TrimSpace(`
.
.a
.a.b
.["a"]
.[0]
.[-1]
.[1:]
.[:2]
.[1:2]
.a[0].b
.a?
.a[]?
.[]?
..
[..]
.a // 1
.a + 1
. + .
. - .
. * 2
. * .
. / 2
. / .
. % 2
-.
. == .a
. != null
. < 1
. <= "a"
. > [1]
. >= {}
[.[]?] | add
add
add(.[]?)
length
keys
[.[]?|length]
join(",")
join(", ")
tostring
tojson
tojson|fromjson
fromjson
"x\(.)y"
"\(.a) and \(.b)\("in \(.)")"
@json "v=\(.)"
@html "<\(.)>"
@text
@json
@uri
@base64
@base64|@base64d
@sh
@csv
@tsv
split(",")
split("")
split("b";null)
split("[ab]+";"g")
[splits("a")]
indices("a")
indices(1)
indices([1])
index("b")
rindex("b")
contains("a")
contains([1])
contains({a:1})
inside("abc")
inside([1,2,3])
flatten
flatten(1)
flatten(-1)
transpose
to_entries
from_entries
with_entries(.value |= tostring)
map_values(. , 1)
map_values(empty)
map(. + 1)
map(select(. != null))
walk(if type == "number" then . + 1 else . end)
setpath(["a"]; 1)
setpath([0]; 1)
setpath(["a","b",2]; 1)
setpath([{"start":0,"end":1}]; ["x"])
delpaths([["a"],[0]])
del(.a)
del(.[0])
del(.[0,1])
del(.[1:])
del(.[]?)
del(..)
del(.. | select(. == 1)?)
pick(.a)
pick(.[1])
to_entries | from_entries
[paths]
[paths(type == "number")]
[getpath(["a","b"])?]
getpath(["a"])
[tostream]
fromstream(tostream)
[truncate_stream(1; tostream)]
sort
sort_by(.a?)
group_by(. == 1)
unique
unique_by(length?)
min
max
min_by(.a?)
max_by(.a?)
reverse
[combinations]
[combinations(2)]
explode
explode | implode
implode
trim
ltrimstr("a")
rtrimstr("c")
trimstr("a")
startswith("a")
endswith("c")
ascii_downcase
ascii_upcase
tonumber
test("a")
test(["A","i"])
test("B";"i")
[match("b")]
[match("";"g")]
[match("b*";"g")]
[match("(?<x>a)|(?<y>b)";"g")]
[match(["a","g"])]
capture("(?<x>a)(?<n>z)?")
[scan("[a-c]")]
[scan("(a)(b)")]
sub("a";"x")
sub("(?<x>a)";"<\(.x)>")
gsub("b*";"-")
gsub("[ab]";"x";"i")
[gsub("a";"x","y")]
sub("a";empty)
gsub("a";null)
gsub("a";1)
gsub("";"-")
gsub("\\b";"|")
INDEX(.a?)
INDEX(.[]?;tostring)
IN(1,"abc")
IN(.[]?;1,2)
any
all
any(.[]?; . == 1)
isempty(.[]?)
first(.[]?)
[limit(2;.[]?)]
[range(5)]
[range(0;10;3)]
reduce .[]? as $x (0; . + 1)
[foreach .[]? as $x (0; . + 1; [$x, .])]
.a = 1
.a |= 5
.[0] = "x"
.[-1] = "x"
.[1:] = ["q"]
.[1:] |= map([.])
.a += 1
.a -= 1
.a *= 2
.a /= 2
.a %= 2
.a //= 7
.[]? += 1
.[]? |= empty
.[]? |= (., .)
.[] |= [.]
(.a, .b) = (1, 2)
(.a, .b) |= 3
.a.b.c = 1
.a[2] = 1
.a["x"] += 1
(.a | .b) = 9
.. |= .
.. |= (.a? // .)
(.[0:2], .[0]) |= [.]
[.[]? as {a: $x} ?// [$x] | $x]
. as [$a, {b: $c}] | [$a, $c]
. as {a: $x, $b} | [$x, $b]
{a, b: .a?, "c": 1, ("d"): 2, "x\(1)": 3}
{(.a?, "k" | tostring): 1}
{a: (1, 2)}
[.[]? | {v: .}]
{"a": {"b": 1}} * {"a": {"c": 2}}
{"a": 1} + .
"ab" * 3
3 * "ab"
"ab" * 0
"ab" * -1
"a,b" / ","
[1,2,3,1] - [1]
9007199254740993 + 1
9223372036854775807 + 1
9223372036854775807 * 2
-9223372036854775808 - 1
-9223372036854775808 / -1
1 / 3
1 / 0
1e1000
[1,1.0,1.5] | map(. * 2)
try error("x") catch .
try error({a:1}) catch .a
error(null)
.a.b.c?
try .a.b.c catch "no"
if . then 1 else 2 end
if .a == 1 then "one" elif .a == 2 then "two" end
(.a | not)
.a and .b
.a or .b
[.[]? | not]
label $f | 1, break $f, 2
def f: 1; f + 1
def f(x): x * 2; f(.a?)
def f($x; y): $x + y; f(1; 2)
def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 6 | fac
def add: "mine"; add
def length: "mine"; [1] | length
def map(f): "mine"; map(.)
def sort: "mine"; sort
[.[]? | tostring] | sort
[.[]?] | sort | unique | group_by(type)
input_line_number? // 1
$__loc__? // 1
gmtime
mktime
1425599621 | todate
"2015-03-05T23:53:41Z" | fromdate
"2015-03-05T23:53:41Z" | strptime("%Y-%m-%dT%H:%M:%SZ")
1425599621 | strftime("%A, %B %d, %Y")
1425599621.5 | gmtime | mktime
splits("a";"b";"c")?
ascii?
tojson | length
. as $x | [$x, $x] | map(. == $x)
[.[]? | {a: .}] | map(.a) | add?
([.[]?] | sort_by(tostring) | .[0]) // "none"
to_entries? // "no entries"
[limit(3; repeat(1))]
[.[]?] | .[1:][0]
.[[1]]?
.["a","b"]?
.[1.7]
.[null]?
[.[] | .[]?]
bsearch(1)
bsearch("b")
tostring | ascii_downcase | test("a")
getpath(["a",0,"b"])?
has("a")
has(0)
in({"a":1})
type
infinite, nan | tostring
[nan] | sort
[nan, 1] | min
null + 1
1 + null
{} + {}
[] + null
"a" + "b" + "c"
significand?
[splits("b")]
ltrimstr(1)
@base32d?
error
abs
toarray?
have_literal_numbers?
1e17 + 1
1e18 * 1.5
9007199254740993.0 * 1024
1e20
1e21
[nan, infinite, -infinite]
"/w==" | @base64d
{("/w==" | @base64d): ("/w==" | @base64d)}
reduce .[]? as $x ({}; .[$x | tostring] = $x)
reduce .[]? as $x ({}; .[$x | tostring] += 1)
reduce .[]? as $x ({}; .n += 1 | .last = $x)
reduce .[]? as $x ({a: []}; .a += [$x])
reduce .[]? as $x ([]; . + [$x])
reduce .[]? as $x ({a: {}}; .a[$x | tostring] += [$x])
reduce .[]? as $x ({}; .a = .)
reduce .[]? as $x ([]; .[length] = $x)
reduce .[]? as $x ([]; .[length] = ($x, 1))
reduce .[]? as $x ([]; .[length] = .)
reduce .[]? as $x ({}; .x[$x | type] |= . + 1)
. as $o | reduce .[]? as $x ($o; .[0]? = $x)
[., (reduce .[]? as $x (.; .[0]? = 9))]
limit(0; 1)
[limit(-1; 1)]?
[skip(1; 1, 2, 3)]
nth(1; 1, 2, 3)
[.[]?] | first, last
until(true; .)
[while(false; .)]
[recurse(if type == "array" then .[0] else empty end)]
env_no?
ascii(65)?
@urid
"%41" | @urid
JOIN({"1": 2}; tostring)?
[1,[2]] | getpath([1,0])
[[1,2],[3]] | transpose
[3,1,2] | sort_by(-.)
[{"a":1,"b":2},{"a":1,"b":1}] | sort_by(.a, .b)
[{"name":"a","value":1},{"k":"x","v":2}] | from_entries
`), "\n")

var inputs = []string{
	`null`, `true`, `1`, `-2.5`, `"abc"`, `""`, `"a,b;aé😀b"`, `[]`, `{}`, `[1,2,1]`, `["a","b",null]`, `[[1,2],[3,[4]]]`,
	`{"a":1,"b":"x"}`, `{"a":{"b":[1,{"c":null}]}}`, `{"a":[{"b":1},{"b":2}],"b":false}`, `[{"a":2},{"a":1},{"b":0}]`, `123456789012345678901234567890`,
}

func TestRewrittenAgreesWithGojq(t *testing.T) {
	t.Parallel()
	for _, src := range programs {
		q, err := gojq.Parse(src)
		if err != nil {
			t.Errorf("parse %s: %v", src, err)
			continue
		}
		if _, err := gojq.Compile(q); err != nil {
			continue // not a function of this gojq
		}
		if _, err := Compile(src, nil); err != nil && refusedHere(src) {
			continue
		}
		for _, in := range inputs {
			v, err := value.Decode([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			agree(t, src, v)
		}
	}
}

func refusedHere(src string) bool {
	for name := range refused {
		if strings.Contains(src, name) {
			return true
		}
	}
	return false
}

// anyJSON draws small values that programs find something to do with.
func anyJSON() *rapid.Generator[any] {
	scalar := rapid.SampledFrom([]any{nil, true, false, 0, 1, 2, -1, 1.5, "", "a", "b", "abc", "a,b", "aé"})
	g := scalar
	for range 3 {
		inner := g
		g = rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(inner, 0, 4), func(v []any) any { return v }),
			rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "key", "value"}), inner, 0, 4), func(v map[string]any) any { return v }))
	}
	return g
}

// A program on any input: gives what gojq gives, never changes its input.
func TestRewrittenAgreesWithGojqOnAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		in := anyJSON().Draw(rt, "input")
		src := rapid.SampledFrom(programs).Draw(rt, "program")
		q, err := gojq.Parse(src)
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := gojq.Compile(q); err != nil || refusedHere(src) {
			return
		}
		agree(rt, src, in)
	})
}

// anyFast draws programs that nodes evaluate, or nearly.
func anyFast() *rapid.Generator[string] {
	g := rapid.SampledFrom([]string{
		".", ".a", ".b.a", ".c[0]", ".[1]", ".[-1]", `.["a"]`, "1", "2.5", "-1", `"x"`, "null", "true", "false", "[]", "{}", "$v", "$v.a", "$v[0]", "1e3",
	})
	for range 3 {
		inner := g
		g = rapid.OneOf(inner, rapid.Custom(func(t *rapid.T) string {
			op := rapid.SampledFrom([]string{"+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "and", "or", "//", "|", ","}).Draw(t, "op")
			return "(" + inner.Draw(t, "l") + " " + op + " " + inner.Draw(t, "r") + ")"
		}), rapid.Custom(func(t *rapid.T) string {
			return "{a: " + inner.Draw(t, "a") + `, "b": ` + inner.Draw(t, "b") + ", c, $v}"
		}), rapid.Custom(func(t *rapid.T) string {
			return "[" + inner.Draw(t, "a") + ", " + inner.Draw(t, "b") + "]"
		}), rapid.Custom(func(t *rapid.T) string {
			return "if " + inner.Draw(t, "a") + " then " + inner.Draw(t, "b") + " elif . then 1 else " + inner.Draw(t, "c") + " end"
		}), rapid.Custom(func(t *rapid.T) string {
			return `"a\(` + inner.Draw(t, "a") + `)b"`
		}), rapid.Custom(func(t *rapid.T) string {
			return "(" + inner.Draw(t, "a") + " | " + rapid.SampledFrom([]string{"not", "length", "tostring", "tojson", "add", "type"}).Draw(t, "call") + ")"
		}))
	}
	return g
}

func TestFastAgreesWithSlow(t *testing.T) {
	t.Parallel()
	fast := 0
	rapid.Check(t, func(t *rapid.T) {
		src := anyFast().Draw(t, "program")
		in, v := anyJSON().Draw(t, "input"), anyJSON().Draw(t, "v")
		lookup := func(string) any { return v }
		e, err := Compile(src, []string{"$v"})
		if err != nil {
			t.Fatalf("compile %s: %v", src, err)
		}
		if e.fast != nil {
			fast++
		}
		got, gotErr := e.Eval(nil, in, lookup)
		e.fast = nil
		want, wantErr := e.Eval(nil, in, lookup)
		if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
			t.Fatalf("%s: fast says %v, slow says %v", src, gotErr, wantErr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-slow +fast):\n%s", src, diff)
		}
	})
	if fast == 0 {
		t.Error("no program was fast")
	}
}

// A value that a reduce builds in place is seen by nobody else.
func TestReduceInPlaceAgreesWithGojq(t *testing.T) {
	t.Parallel()
	update := rapid.SampledFrom(strings.Split(strings.TrimSpace(`
.a = $x
.[$x | tostring] += 1
.a += [$x]
. + [$x]
. + $x
. += [$x]
.a.b = $x
(.a, .b) = $x
(.a, .b) = [$x]
(.a, .b) += [$x]
.a *= {c: $x}
.a //= $x
.a[0] = $x
.a[-1] = $x
.a += {k: $x}
.a -= [1]
.a[1:] = [$x]
.a[:1] += [$x]
.a[0:2] += [1]
(.a, .a[0]) = [$x]
.[0] = $x
.[length] = $x
.a |= [., $x]
.a |= empty
.b = .a
.a = .
.a = {c: $x, d: [$x]}
.a.d += [1]
.a.c = 2
.a = ($x | .a?)
`), "\n"))
	start := rapid.SampledFrom([]string{"{}", "[]", "null", ".", ".[0]", "{a: .}", "{a: [], b: {}}", "{a: .[0], b: .[0]}", "({}, [])", "{a: $o}", "$o"})
	rapid.Check(t, func(rt *rapid.T) {
		in := rapid.SliceOfN(anyJSON(), 0, 4).Draw(rt, "input")
		u := strings.Join(rapid.SliceOfN(update, 1, 3).Draw(rt, "update"), " | ")
		src := ". as $o | [reduce (.[], .) as $x (" + start.Draw(rt, "start") + "; " + u + "), $o, .]"
		agree(rt, src, in)
	})
}

func TestReduceInPlaceIsLinear(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`reduce range(50000) as $i ({}; .["k\($i)"] = $i) | length`,
		`reduce range(50000) as $i ([]; . + [$i]) | length`,
		`reduce range(50000) as $i ({}; .[$i % 3 | tostring] += [$i]) | length`,
		`reduce range(50000) as $i ({n: 0}; .n += $i | .seen["k\($i)"] = true) | .n`,
		`[range(50000) | {id: "k\(.)", v: .}] | INDEX(.id) | length`,
		`[range(50000)] | map_values(. + 1) | length`,
		`[range(50000)] | .[] |= . + 1 | length`,
	} {
		e, err := Compile(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &Budget{}
		if _, err := e.Eval(b, nil, nil); err != nil {
			t.Errorf("%s: %v", src, err)
		}
		if -b.Steps > 15_000_000 {
			t.Errorf("%s took %d steps", src, -b.Steps)
		}
	}
}

// gojq alone gives garbage here; the values are what jq gives.
func TestConstantAfterBranches(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`"a\((. or .) | 1)b"`:                       `"a1b"`,
		`((. or .) | 1) + 1`:                        `2`,
		`{a: ((. or .) | 1)}`:                       `{"a":1}`,
		`{a: ((. and .) | "x"), b: [(. or .) | 2]}`: `{"a":"x","b":[2]}`,
		`((if . then 1 else 2 end) | 3) + 1`:        `4`,
		`. as $x | ((. or .) | $x) == true`:         `true`,
		`5 as $x | ([(1, $x) | $x] | add) + 1`:      `11`,
		`((. or .) | 1 | . + 1) * 2`:                `4`,
		`((.a?, .) | (1 | .)) + 1`:                  `2`,
	} {
		e, err := Compile(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := e.Eval(nil, true, nil)
			if s := string(value.JSON(got)); err != nil || s != want {
				t.Errorf("%s gave %s, %v; want %s", src, s, err, want)
			}
			e.fast = nil
		}
	}
}
