package workflow_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// DESIGN §7: whatever the text, Decode answers within bounded time and memory.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"too large":        {strings.Repeat("a", workflow.MaxSource+1), "source/size"},
		"one line":         {"a: " + strings.Repeat("x", 10_000_000), "source/size"},
		"long line":        {head + "do:\n- a: {set: {a: " + strings.Repeat("x", 900_000) + "}}", ""},
		"not UTF-8":        {head + "do: [\xff]", "source/encoding"},
		"UTF-16":           {"\xff\xfed\x00o\x00", "source/encoding"},
		"NUL":              {"a\x00b", "source/encoding"},
		"empty":            {" \n\t\n", "source/empty"},
		"deep flow":        {strings.Repeat("[", 500_000), ""},
		"deep json":        {`{"a":` + strings.Repeat("[", 500_000), ""},
		"deep json, valid": {strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), ""},
		"deep maps":        {strings.Repeat("{a: ", 100_000), ""},
		"deep block":       {deepBlock(400), "source/depth"},
		"billion laughs":   {laughs(), "source/aliases"},
		"cycle":            {"a: &x [*x]", "source/aliases"},
		"merge bomb":       {mergeBomb(), ""},
		"many findings":    {head + "do:\n" + strings.Repeat("- x\n", 200_000), "source/more-findings"},
		"many tasks":       {head + "do:\n" + manyTasks(20_000), ""},
		"digits":           {head + "do:\n- a: {set: {a: " + strings.Repeat("9", 500_000) + "}}", "source/number"},
		"hex":              {head + "do:\n- a: {set: {a: 0x" + strings.Repeat("f", 500_000) + "}}", "source/number"},
		"json digits":      {`{"a": ` + strings.Repeat("9", 500_000) + `}`, "source/json"},
		"quotes":           {strings.Repeat(`"`, 500_000), ""},
		"question marks":   {strings.Repeat("? ", 100_000), ""},
		"dashes":           {strings.Repeat("- ", 100_000), ""},
		"anchors":          {strings.Repeat("&a ", 100_000), ""},
		"comments":         {strings.Repeat("#\n", 500_000), "source/empty"},
		"documents":        {strings.Repeat("---\n", 250_000), ""},
		"unknown keys":     {head + "do: []\n" + unknownKeys(50_000), ""},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, findings := workflow.Decode([]byte(c.src))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if took > 300*time.Millisecond {
			t.Logf("%s: %v", name, took)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 600 {
			t.Errorf("%s: %d MiB allocated", name, mib)
		}
		found := c.want == ""
		for _, f := range findings {
			found = found || f.Rule == c.want
		}
		if !found {
			t.Errorf("%s: %d findings, none is %s: %v", name, len(findings), c.want, findings[:min(3, len(findings))])
		}
		if len(findings) > 202 {
			t.Errorf("%s: %d findings", name, len(findings))
		}
	}
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func laughs() string {
	s := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		s += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return s
}

func mergeBomb() string {
	s := "a0: &a0 {x: 1}\n"
	for i := 1; i < 100; i++ {
		s += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i-1, i-1)
	}
	return s
}

func manyTasks(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- a%d: {set: {a: 1}, then: b%d}\n", i, i)
	}
	return b.String()
}

func unknownKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	return b.String()
}

func FuzzDecode(f *testing.F) {
	f.Add(head + "do:\n- a: {set: {a: &x [1, *x]}}\n")
	f.Add(head + "do:\n- a: {for: {in: .x}, do: [{b: {call: map, with: {in: .y, do: []}}}]}\nuse: {retries: {r: {}}}\n")
	f.Add(`{"document": {"dsl": "1.0.0", "namespace": "a", "name": "\ud83d\ude00", "version": "1.0.0"}, "do": [{"a": {"wait": {"seconds": 1e3}}}]}`)
	f.Add("a: !!binary |\n  x\n? [b]\n: <<: *c\n")
	f.Fuzz(func(t *testing.T, src string) {
		def, findings := workflow.Decode([]byte(src))
		errs, breaks := 0, 0
		for _, r := range src {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) { // the line breaks of YAML 1.1
				breaks++
			}
		}
		for _, f := range findings {
			if f.Severity == workflow.SeverityError {
				errs++
			}
			if f.Pos.IsValid() && f.Pos.Line > breaks+2 {
				t.Errorf("%s is beyond the end", f.Format("x"))
			}
		}
		if (def == nil) != (errs > 0) {
			t.Errorf("definition %v with %d errors", def != nil, errs)
		}
		if def != nil {
			for t := range def.Tasks() {
				_ = t.Lists()
			}
		}
	})
}
