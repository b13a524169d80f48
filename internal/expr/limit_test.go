package expr

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/jq"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// bombs are expressions that want all memory or never end. Each must end with
// an error, soon, and in bounded memory.
var bombs = []string{
	`reduce range(28) as $i ("x"; .+.)`,
	`reduce range(26) as $i ([0]; .+.)`,
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
	`[range(1e7) as $i | (. or .) | 1]`,
	`reduce range(1e9) as $i ([]; . + [$i])`,
	`reduce range(1e9) as $i ({}; .["k\($i)"] = $i)`,
	`reduce range(1e9) as $i ({}; .a[$i % 7] += [$i])`,
	`reduce repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") as $s (""; . + $s)`,
	`[range(1e6)] as $a | [$a[] as $x | $a[] as $y | [$x, $y]]`,
	`"\("x" * 9e6)\("x" * 9e6)"`,
	`[range(1e5)] | [combinations(3)?, .] | contains([[1]])`,
	`("[" * 5e5) | fromjson`,
	`[limit(100; repeat("9" * 900000 | tonumber?))]`,
	`[limit(3e5; repeat([1, 2]))] | transpose | transpose | unique`,
	`[range(1e6)] | bsearch(5) as $x | [repeat(bsearch($x))]`,
	`{} | [limit(1e6; repeat(.a.b.c.d.e.f.g.h = 1))]`,
	`[range(1e5) | [., "k"]] | [repeat(tojson | fromjson)]`,
}

// Each of the bombs ends with an error, soon and in bounded memory. By default
// with a tenth of the steps, to save time; DOWNBEAT_BOMBS=full takes them all.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	limit, memory := DefaultSteps/10, uint64(100<<20)
	if os.Getenv("DOWNBEAT_BOMBS") == "full" {
		limit, memory = DefaultSteps, 300<<20
	}
	var worst uint64
	for _, src := range bombs {
		e, err := Compile(src, nil)
		if err != nil {
			t.Errorf("compile %s: %v", src, err)
			continue
		}
		start := time.Now()
		b := &Budget{PerExpr: limit}
		grown := growth(func() { _, err = e.Eval(b, nil, nil) })
		worst = max(worst, grown)
		var ours *Error
		if !errors.As(err, &ours) {
			t.Errorf("%s ended with %v", src, err)
			continue
		}
		if grown > memory {
			t.Errorf("%s: the heap grew by %d MiB", src, grown>>20)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", src, took)
		}
		t.Logf("%4d MiB %5.2fs %s: %s", grown>>20, time.Since(start).Seconds(), jq.Shorten(src, 80), jq.Shorten(ours.Message, 60))

		// The same again takes the same steps.
		again := &Budget{PerExpr: limit}
		if len(src) < 40 && limit < DefaultSteps {
			if _, err := e.Eval(again, nil, nil); err == nil || again.Steps != b.Steps || err.Error() != ours.Error() {
				t.Errorf("%s took %d steps (%v), then %d (%v)", src, -b.Steps, ours, -again.Steps, err)
			}
		}
	}
	t.Logf("worst: %d MiB", worst>>20)
}

// growth returns by how much the heap grew, at most, while f ran.
func growth(f func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	quit, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var now runtime.MemStats
		most := before.HeapInuse
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
			select {
			case <-quit:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(quit)
	return <-peak - before.HeapInuse
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	e, err := Compile("def f: f; f", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	b := &Budget{Interrupted: func() bool { asked++; return asked == 3 }}
	_, err = e.Eval(b, nil, nil)
	var ours *Error
	if !errors.As(err, &ours) || ours.Kind != Interrupted || asked != 3 || -b.Steps > 4<<16 {
		t.Errorf("got %v after %d questions and %d steps", err, asked, -b.Steps)
	}
}

// A limit that was passed cannot be caught, nor can its error be cleared.
func TestLimitIsNotCaught(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`try ("x" * 1e9) catch 1`, `[.[]?, ("x" * 1e9)?] | 1`, `("x" * 1e9)? // 1`, `label $f | try (def f: f; f) catch 1`,
	} {
		e, err := Compile(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Eval(&Budget{PerExpr: 1e6}, nil, nil)
		var ours *Error
		if !errors.As(err, &ours) || ours.Kind != TooLarge && ours.Kind != BudgetExceeded {
			t.Errorf("%s gave %v", src, err)
		}
	}
}

func TestEvalAtTheSameTime(t *testing.T) {
	t.Parallel()
	e, err := Compile(`[.[] | select(test("a+")) | ascii_upcase] | sort | {n: length, all: join(",")}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := []any{"b", "aa", "xa"}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				v, err := e.Eval(nil, in, nil)
				if diff := cmp.Diff(map[string]any{"n": 2, "all": "AA,XA"}, v); err != nil || diff != "" {
					t.Error(err, diff)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The host's time zone and clock are not visible.
func TestTimeIsUTC(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]any{
		`0 | localtime | .[3]`:                                                    0,
		`0 | strflocaltime("%H %Z")`:                                              "00 UTC",
		`"10:00 +0200" | strptime("%H:%M %z") | .[3]`:                             8,
		`try ("10:00 EST" | strptime("%H:%M %Z")) catch (. | test("depends on"))`: true,
		`now`: 7,
	} {
		e, err := Compile(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := e.Eval(nil, nil, func(string) any { return 7 })
		if err != nil || v != want {
			t.Errorf("%s gave %v, %v; want %v", src, v, err, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, src := range programs {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		e, err := Compile(src, []string{"$input", "$secrets"})
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(src) || syntax.Message == "" {
				t.Fatalf("Compile(%q): %#v", src, err)
			}
			return
		}
		lookup := func(string) any { return map[string]any{"a": 1} }
		v, err := e.Eval(&Budget{PerExpr: 20_000, MaxResult: 1 << 16}, map[string]any{"a": []any{1, "x"}}, lookup)
		w, err2 := e.Eval(&Budget{PerExpr: 20_000, MaxResult: 1 << 16}, map[string]any{"a": []any{1, "x"}}, lookup)
		if (err == nil) != (err2 == nil) || err == nil && string(value.JSON(v)) != string(value.JSON(w)) {
			t.Fatalf("%q gave %v, %v, then %v, %v", src, v, err, w, err2)
		}
	})
}

func FuzzInterpolation(f *testing.F) {
	f.Add(`a ${ .x } b $${ c } ${ "}" } ${ {a: 1} }`)
	f.Fuzz(func(t *testing.T, s string) {
		text, code := 0, 0
		for _, p := range pieces(s) {
			if p.code {
				code++
				if s[p.offset:p.offset+len(p.text)] != p.text {
					t.Fatalf("%q: the piece %q is not at %d", s, p.text, p.offset)
				}
			} else {
				text += len(p.text)
			}
		}
		if text > len(s) || code == 0 && !strings.Contains(s, "$${") && text != len(s) {
			t.Fatalf("%q: %d pieces, %d bytes of text", s, code, text)
		}
		IsWrapped(s)
	})
}
