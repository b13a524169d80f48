package value_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// anyValue draws JSON values of every kind.
func anyValue() *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int(), func(n int) any { return n }),
		rapid.Map(rapid.IntRange(-9, 99), func(n int) any { return n }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.StringMatching(`[0-9]{20,40}`), func(s string) any {
			n, _ := new(big.Int).SetString("1"+s, 10)
			return n
		}),
	)
	g := scalar
	for range 3 {
		inner := g
		g = rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(inner, 0, 5), func(v []any) any { return v }),
			rapid.Map(rapid.MapOfN(rapid.String(), inner, 0, 5), func(v map[string]any) any { return v }))
	}
	return g
}

func TestDecodeAppendRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue().Draw(t, "v")
		b := value.JSON(v)
		w, err := value.Decode(b)
		if err != nil {
			t.Fatalf("decode %s: %v", b, err)
		}
		if !value.Equal(v, w) {
			t.Fatalf("%#v became %#v by way of %s", v, w, b)
		}
		if diff := cmp.Diff(string(b), string(value.JSON(w))); diff != "" {
			t.Fatalf("canonical form is not stable (-first +second):\n%s", diff)
		}
		if value.Hash(1, v) != value.Hash(1, w) {
			t.Fatalf("hash of %s changed by a round trip", b)
		}
	})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	big1, _ := new(big.Int).SetString("9223372036854775808", 10)
	for in, want := range map[string]any{
		` {"a" : [1, 2.5, -0, 1e2, "x\u00e9\n\ud83d\ude00"], "a": true} `: map[string]any{"a": true},
		`[1, 2.5, 1.0, 1e2, "x\u00e9\n\ud83d\ude00\ud800z"]`:              []any{1, 2.5, 1.0, 100.0, "xé\n😀\ufffdz"},
		"9223372036854775807":  math.MaxInt,
		"-9223372036854775808": math.MinInt,
		"9223372036854775808":  big1,
		"[]":                   []any{},
		"{}":                   map[string]any{},
		"null":                 nil,
	} {
		got, err := value.Decode([]byte(in))
		if err != nil {
			t.Errorf("Decode(%s): %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("Decode(%s) (-want +got):\n%s", in, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":         "at byte 0: unexpected end of input",
		"nul":      "did you mean null?",
		"01":       "leading zero",
		"1.":       "a digit was expected",
		"-":        "a digit was expected",
		"1e999":    "out of range",
		"1 2":      "at byte 2: unexpected '2' after the value",
		"[1,]":     "unexpected ']'",
		"{a:1}":    "a key in double quotes",
		`{"a" 1}`:  "':' was expected",
		"\"\x01\"": "control character",
		"\"\xff\"": "not valid UTF-8",
		`"\x"`:     "invalid escape",
		`"abc`:     "end of input in a string",
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001): "nested more than 1000 deep",
		strings.Repeat("9", 100_001):                          "digits",
	} {
		_, err := value.Decode([]byte(in))
		var syntax *value.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("Decode(%.20q): got %v, want an error with %q", in, err, want)
		}
	}
	if _, err := value.Decode([]byte(strings.Repeat("[", 1000) + strings.Repeat("]", 1000))); err != nil {
		t.Errorf("1000 levels: %v", err)
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	v := map[string]any{
		"b": []any{nil, true, 1.0, 1e17, 1e21, 1.5e-9, math.NaN(), math.Inf(1), math.Inf(-1)},
		"a": "<&>\u2028\x7f\"\\\b\f\xff",
	}
	want := `{"a":"<&>` + "\u2028" + `\u007f\"\\\b\f` + "\ufffd" + `","b":[null,true,1,1e+17,1e+21,1.5e-9,null,1.7976931348623157e+308,-1.7976931348623157e+308]}`
	if diff := cmp.Diff(want, string(value.JSON(v))); diff != "" {
		t.Error(diff)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	v, err := value.Decode([]byte(`{"a":[1,22,-333,"xyz",null],"bcd":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := value.Size(v), len(value.JSON(v)); got != want {
		t.Errorf("Size = %d, want %d", got, want)
	}
}

// The hashes are in journals: these literals never change.
func TestHashGolden(t *testing.T) {
	t.Parallel()
	for in, want := range hashes {
		v, err := value.Decode([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := value.Hash(0, v); got != want {
			t.Errorf("Hash(0, %s) = %#x, want %#x", in, got, want)
		}
	}
	large := map[string]any{}
	for i := range 5000 {
		large[strings.Repeat("k", i%7)+string(rune('a'+i%26))+strings.Repeat("z", i/26)] = i
	}
	if a, b := value.Hash(7, large), value.Hash(7, value.Copy(large)); a != b {
		t.Errorf("a large object hashes to %#x and %#x", a, b)
	}
}

func TestHashTellsApart(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for _, in := range []string{"null", "0", "1", "-1", "false", "true", `""`, `"0"`, "[]", "{}", "[[]]", "[0]", "[null]", `{"a":1}`, `{"a":2}`, `{"b":1}`, `["a",1]`, "0.5", `"a"`, `"ab"`, `["a","b"]`, `["ab"]`, "[1,[2]]", "[[1],2]"} {
		v, err := value.Decode([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		h := value.Hash(0, v)
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s have the same hash", in, other)
		}
		seen[h] = in
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	same := map[string]any{"a": []any{1, "x"}}
	if got := value.Normalize(same).(map[string]any); !value.Equal(got, same) {
		t.Error("a normal value changed")
	}
	got := value.Normalize(map[string]any{
		"i": int64(1), "u": uint64(math.MaxUint64), "s": []string{"a"}, "m": map[string]string{"k": "v"},
		"l": []any{1, int32(2)}, "n": []any(nil), "t": struct {
			X int `json:"x"`
		}{3},
	})
	if diff := cmp.Diff(`{"i":1,"l":[1,2],"m":{"k":"v"},"n":[],"s":["a"],"t":{"x":3},"u":18446744073709551615}`, string(value.JSON(got))); diff != "" {
		t.Error(diff)
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	r := value.FromJSON([]byte(` {"b":1, "a":2}`))
	if diff := cmp.Diff(` {"b":1, "a":2}`, string(r.JSON())); diff != "" {
		t.Error(diff)
	}
	v, err := r.Any()
	if diff := cmp.Diff(map[string]any{"a": 2, "b": 1}, v); err != nil || diff != "" {
		t.Error(err, diff)
	}
	n := value.FromAny(nil)
	if n.IsZero() || !(value.Raw{}).IsZero() || string(n.JSON()) != "null" {
		t.Error("null is a value, no value is none")
	}
	bad := value.FromJSON([]byte("{"))
	if _, err := bad.Any(); err == nil {
		t.Error("bad JSON was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"\u00e9"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := value.Decode(b)
		if err != nil {
			return
		}
		w, err := value.Decode(value.JSON(v))
		if err != nil || !value.Equal(v, w) || value.Hash(0, v) != value.Hash(0, w) {
			t.Fatalf("%q: round trip: %v", b, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	in := []byte(`{"id":"run-17","items":[{"name":"a","price":12.5,"qty":3},{"name":"b","price":1,"qty":40}],"ok":true}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := value.Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	v, _ := value.Decode([]byte(`{"id":"run-17","items":[{"name":"a","price":12.5,"qty":3},{"name":"b","price":1,"qty":40}],"ok":true}`))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = value.Append(buf[:0], v)
	}
}
