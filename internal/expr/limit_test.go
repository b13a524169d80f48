package expr

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/itchyny/gojq"
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
	m := newMeter(nil)
	iter := code.RunWithContext(m, nil)
	for {
		if _, ok := iter.Next(); !ok {
			break
		}
	}
	if got, want := m.used(), 10; got != want {
		t.Errorf("gojq took %d steps, %d were known: what a step is has changed, and with it journals that ended by the limit", got, want)
	}
	m = newMeter(&Budget{PerExpr: 3})
	iter = code.RunWithContext(m, nil)
	v, ok := iter.Next()
	for ok && v != error(m.stopped) {
		if err, isErr := v.(error); isErr {
			if !errors.Is(err, context.Canceled) && err != error(m.stopped) {
				t.Fatalf("ended by %v", err)
			}
			return
		}
		v, ok = iter.Next()
	}
}

// bombs are expressions that want all memory or never end. Each must end with
// an error, soon, and in bounded memory.
var bombs = []string{
	`reduce range(28) as $i ("x"; .+.)`,
	`reduce range(26) as $i ([0]; .+.)`,
	`reduce range(100) as $i ({a:1}; . + {("k\(range(1000))"): .})`,
	`"x" * 1e9`,
	`[range(1e9)]`,
	`[repeat(1)]`,
	`[repeat("x")] | add`,
	`def f: f; f`,
	`def f: 1 + f; f`,
	`def f: [f]; f`,
	`def f: {a: f}; f`,
	`def f: f, 1; f`,
	`def f: (f, f) | f; f`,
	`def f(x): f(x | x); f(.)`,
	`def f($x): f($x + 1) + 1; f(1)`,
	`.[1e9] = 1`,
	`.[5e8] = 1`,
	`.[5e8] |= 1`,
	`.[5e8] += 1`,
	`setpath([5e8]; 1)`,
	`setpath(["a", 5e8]; 1)`,
	`[range(1000) | 8e6 | . as $i | [] | .[$i] = 1]`,
	`fromstream([[5e8], 1], [[5e8]])`,
	`[limit(1e8; repeat("xxxxxxxxxx"))] | add`,
	`("ab" * 4e6) | [repeat(ltrimstr("a"))] | length`,
	`[("ab" * 4e6) | while(. != ""; ltrimstr("ab"))] | length`,
	`[range(1e9) | {a: .}]`,
	`[range(1e9) | [.]]`,
	`[range(1e9) | tostring]`,
	`[range(1e9) | "\(.)xxxxxxxxxxxxxxxxxxxxxxxx"]`,
	`[range(1e4) | "x" * 1e6]`,
	`reduce range(100) as $i (1; [., .]) | tojson`,
	`reduce range(100) as $i (1; [., .]) | . == .`,
	`reduce range(100) as $i (1; [., .]) | sort`,
	`reduce range(100) as $i (1; [., .]) | flatten`,
	`reduce range(100) as $i (1; [., .]) | contains([1])`,
	`reduce range(100) as $i (1; [., .]) | [..] | length`,
	`reduce range(100) as $i (1; {a: ., b: .}) | . * .`,
	`reduce range(100) as $i (1; [., .])`,
	`reduce range(1e7) as $i (1; [.])`,
	`reduce range(1e6) as $i (1; [.]) | . == 1 or (. == .)`,
	`reduce range(1e6) as $i (1; [.]) | tojson`,
	`reduce range(1e6) as $i (1; [.]) | try error catch 1 | sort`,
	`reduce range(1e6) as $i (1; [.]) | error`,
	`reduce range(100) as $i (3; . * .)`,
	`("x" * 16e6) | explode`,
	`("x" * 16e6) | split("")`,
	`("x" * 16e6) | [match(""; "g")]`,
	`("x" * 16e6) | gsub(""; "yy")`,
	`("x" * 8e6) | gsub("x"; "yyy")`,
	`("x" * 16e6) | [range(1e6) as $i | .[$i]]`,
	`("x" * 16e6) | [range(1e6) as $i | .[$i:]] | length`,
	`("x" * 16e6) | indices("x")`,
	`("'" * 16e6) | @html`,
	`("'" * 8e6) | [repeat(@sh)]`,
	`[range(3000)] | [combinations(5)]`,
	`[range(1e6)] | [., [], []] | [range(1e4) as $i | $i] as $x | [$x[] | []] | .[0] = [range(1e6)] | transpose`,
	`[range(1e5)] | [.[] as $x | .]| add`,
	`[range(1e5)] | . - .`,
	`[range(3e5)] | map(tostring) | group_by(.) | add | add`,
	`[recurse(. + 1)]`,
	`[recurse([.])]`,
	`last(range(1e12))`,
	`[range(1e6)] | [repeat(to_entries)]`,
	`[range(1e6)] | [repeat(keys)]`,
	`[range(1e6)] | [repeat(reverse)]`,
	`[range(1e6)] | [repeat(sort)]`,
	`[range(1e6)] | [repeat(implode)]`,
	`[limit(1e6; repeat("a"))] as $p | [repeat(null | getpath($p))]`,
	`try (def f: f; f) catch "caught"`,
	`[.[]?, repeat(1)] | length // 1`,
	`[range(1e7)] | map({}) | length`,
	`[range(1e9) | . as $x | {} | .a = $x]`,
	`(1 | until(false; . + 1))`,
	`[paths(..)] , [repeat([[[[1]]]] | paths)]`,
	`reduce range(1e6) as $i ({}; .["k\($i)"] = $i)`,
	`[range(1e6) | {key: "k\(.)", value: .}] | from_entries | with_entries(.value += 1)`,
	`[range(2e6)] | map_values(. + 1) | map_values([.])`,
	`[range(1e6)] | tojson | fromjson | tojson | [., .] | tojson | [., .] | tojson | [repeat(tojson)]`,
	`input_bomb`,
}

func TestBombs(t *testing.T) {
	debug.SetGCPercent(100)
	var worst uint64
	for _, src := range bombs {
		if src == "input_bomb" {
			continue
		}
		e, err := Compile(src, nil)
		if err != nil {
			t.Errorf("compile %s: %v", src, err)
			continue
		}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		peak := make(chan uint64)
		quit := make(chan struct{})
		go func() {
			var most uint64
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-quit:
					peak <- most
					return
				case <-tick.C:
					runtime.ReadMemStats(&after)
					most = max(most, after.HeapInuse)
				}
			}
		}()
		b := &Budget{}
		start := time.Now()
		v, err := e.Eval(b, nil, nil)
		took := time.Since(start)
		close(quit)
		grown := max(<-peak, before.HeapInuse) - before.HeapInuse
		worst = max(worst, grown)
		what := "a value"
		if err != nil {
			what = shorten(err.(*Error).Message, 60)
		}
		_ = v
		mark := ""
		if grown > 200<<20 || took > 2*time.Second {
			mark = "  <<<<"
		}
		t.Logf("%5d MiB %6.2fs %9d steps %s: %s%s", grown>>20, took.Seconds(), -b.Steps, src, what, mark)
		v = nil
	}
	t.Logf("worst: %d MiB", worst>>20)
}
