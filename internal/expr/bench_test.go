package expr_test

import (
	"testing"

	"github.com/downbeat-dev/downbeat/internal/expr"
)

func benchmark(b *testing.B, src string) {
	b.Helper()
	e := compile(b, src, "$input", "$context")
	in := decode(b, `{"a":{"b":[1,{"c":"x"}]},"user":{"name":"Ada","age":36},"items":[{"price":2,"qty":3},{"price":1.5,"qty":2}]}`)
	lookup := func(string) any { return in }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Eval(nil, in, lookup); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvalField(b *testing.B) { benchmark(b, "${ .a.b[1].c }") }

func BenchmarkEvalObject(b *testing.B) {
	benchmark(b, `{name: $input.user.name, old: (.user.age > 30), text: "hi \(.user.name)"}`)
}

func BenchmarkEvalMachine(b *testing.B) {
	benchmark(b, `[.items[] | .price * .qty] | add`)
}

func BenchmarkEvalPlainJq(b *testing.B) {
	benchmark(b, `[.items[] | select(.qty > 2) | {p: .price, q: .qty}] | map(.p + .q)`)
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := expr.Compile(`[.items[] | select(.qty > 2) | {p: .price}] | map(.p) | add`, nil); err != nil {
			b.Fatal(err)
		}
	}
}
