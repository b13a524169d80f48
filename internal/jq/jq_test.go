package jq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/itchyny/gojq"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// What is counted is not promised by gojq: it looks at the context once
// before each instruction, so a context can count them.
func TestGojqAsksContextEachStep(t *testing.T) {
	t.Parallel()
	q, err := gojq.Parse("1, 2")
	if err != nil {
		t.Fatal(err)
	}
	code, err := gojq.Compile(q)
	if err != nil {
		t.Fatal(err)
	}
	m := meter(nil)
	iter := code.RunWithContext(m, nil)
	for {
		if _, ok := iter.Next(); !ok {
			break
		}
	}
	if got, want := m.used(), 10; got != want {
		t.Errorf("gojq took %d steps, %d were known: what a step is has changed, and with it journals that ended by the limit", got, want)
	}
}

func meter(b *Budget) *Meter {
	m := &Meter{}
	m.Init(b)
	return m
}

// run evaluates src, in which every name of ours may be called.
func run(t *testing.T, b *Budget, src string, input any) ([]any, *Meter) {
	t.Helper()
	q, err := gojq.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"__range": true}
	for _, n := range natives {
		used[n.name] = true
	}
	code, err := Compile(q, nil, used)
	if err != nil {
		t.Fatal(err)
	}
	m := meter(b)
	var out []any
	for iter := code.Run(m, input); ; {
		v, ok := iter.Next()
		if !ok || m.Stopped() != nil {
			code.Forget()
			return out, m
		}
		if err, ok := v.(error); ok {
			t.Fatalf("%s: %v", src, err)
		}
		out = append(out, v)
	}
}

// Updates copy what they did not make themselves: the input is somebody's.
func TestInputStaysAsItIs(t *testing.T) {
	t.Parallel()
	const input = `{"a":[1,2,{"b":3}],"c":{"d":[4]}}`
	for src, want := range map[string]string{
		`__editor as $e | __set(["a",0]; 9; $e) | __set(["a",1]; 8; $e)`: `{"a":[9,8,{"b":3}],"c":{"d":[4]}}`,
		`__setpath(["a",2,"b"]; 0)`:                                      `{"a":[1,2,{"b":0}],"c":{"d":[4]}}`,
		`__delpaths([["a",0],["c","d"]])`:                                `{"a":[2,{"b":3}],"c":{}}`,
		`.a | __editor as $e | __append([5]; $e) | __append([6]; $e)`:    `[1,2,{"b":3},5,6]`,
		`__multiply(.; {c: {e: 1}})`:                                     `{"a":[1,2,{"b":3}],"c":{"d":[4],"e":1}}`,
		`[.a, .c.d] | __sum`:                                             `[1,2,{"b":3},4]`,
	} {
		in, err := value.Decode([]byte(input))
		if err != nil {
			t.Fatal(err)
		}
		out, _ := run(t, nil, src, in)
		if len(out) != 1 || string(value.JSON(out[0])) != want {
			t.Errorf("%s gave %s, want %s", src, value.JSON(out), want)
		}
		if got := string(value.JSON(in)); got != input {
			t.Errorf("%s changed its input to %s", src, got)
		}
	}
}

// A step costs the same on every machine, so the limits end the same work
// with the same words, and what was used is taken from the caller's slice.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src    string
		b      Budget
		reason Reason
		msg    string
	}{
		{`[__range(0; 1000000; 1)] | length`, Budget{PerExpr: 1000}, OutOfSteps, "more than its limit of steps"},
		{`__multiply("x"; 2000)`, Budget{MaxResult: 1 << 10}, TooLarge, "larger than 1 KiB"},
		{`[__range(0; 1000000; 1)] | length`, Budget{Interrupted: func() bool { return true }}, Interrupted, "interrupted"},
	} {
		out, m := run(t, &c.b, c.src, nil)
		stop := m.Stopped()
		if stop == nil || stop.Reason != c.reason || !strings.Contains(stop.Error(), c.msg) {
			t.Errorf("%s gave %v, %v; want %q", c.src, out, stop, c.msg)
		}
		m.Settle()
		if c.reason == OutOfSteps && c.b.Steps != -1000 {
			t.Errorf("%s took %d steps of 1000", c.src, -c.b.Steps)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	out, _ := run(t, nil, `[__matches("(?<x>b*)"; "g"; false)[] | [.offset, .length, .captures[0].name]]`, "äbb c")
	want := []any{[]any{
		[]any{0, 0, "x"}, []any{1, 2, "x"}, []any{3, 0, "x"}, []any{4, 0, "x"}, []any{5, 0, "x"},
	}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

// What an evaluation gives is what a reader of its JSON sees.
func TestResultIsSettled(t *testing.T) {
	t.Parallel()
	m := meter(&Budget{MaxResult: 100})
	one, _ := m.Result(map[string]any{"n": 2.0, "s": "a\xff"}, nil)
	if diff := cmp.Diff(map[string]any{"n": 2, "s": "a\ufffd"}, one); diff != "" {
		t.Error(diff)
	}
	if m.Result(strings.Repeat("x", 200), nil); m.Stopped() == nil || m.Stopped().Reason != TooLarge {
		t.Errorf("stopped with %v", m.Stopped())
	}
	var none *Budget
	if stop := none.Check("it", []any{1}); stop != nil {
		t.Error(stop)
	}
	if stop := (&Budget{MaxResult: 10}).Check("it", strings.Repeat("x", 20)); stop == nil || stop.Message != "it is larger than 10 bytes or nested too deep" {
		t.Error(stop)
	}
}
