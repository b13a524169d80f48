//go:build !race

package javascript

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// result is what a script gave: exit code, stdout and stderr.
type result struct {
	code        int
	out, errors string
}

func run(t *testing.T, s *Script) result {
	t.Helper()
	var out, errs bytes.Buffer
	if s.File == "" {
		s.File = "/tmp/script-1.cjs"
	}
	if s.Stdin == nil {
		s.Stdin = strings.NewReader("")
	}
	s.Stdout, s.Stderr = &out, &errs
	code, err := Run(t.Context(), s)
	if err != nil {
		t.Fatalf("%s: %v", s.Code, err)
	}
	return result{code, out.String(), errs.String()}
}

func prints(t *testing.T, code, want string) {
	t.Helper()
	if d := cmp.Diff(result{0, want, ""}, run(t, &Script{Code: code}), cmp.AllowUnexported(result{})); d != "" {
		t.Errorf("%s: %s", code, d)
	}
}

func fails(t *testing.T, s *Script, code int, says string) {
	t.Helper()
	if got := run(t, s); got.code != code || !strings.Contains(got.errors, says) {
		t.Errorf("%s: exit code %d, %q; want %d and %q", s.Code, got.code, got.errors, code, says)
	}
}

func read1(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The console shows values as node does, and what waits runs in node's order.
func TestLikeNode(t *testing.T) {
	t.Parallel()
	const file = "testdata/like-node.js"
	want := read1(t, "testdata/like-node.txt")
	got := run(t, &Script{File: file, Code: read1(t, file), Arguments: []string{"a", "b c"}})
	if d := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); d != "" {
		t.Error(d)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: its answers are those recorded")
	}
	version, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil || !strings.HasPrefix(string(version), "v20.") {
		t.Skipf("the recorded answers are those of node 20, here is %s", version)
	}
	theirs, err := exec.CommandContext(t.Context(), node, file, "a", "b c").Output()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(theirs)); d != "" {
		t.Errorf("node prints something else than was recorded: %s", d)
	}
}

// DSL 137: each line of the list that engines were compared by; ES2024 and
// before must hold, but for the one that the documentation names.
func TestLanguage(t *testing.T) {
	t.Parallel()
	lacking := map[string]bool{
		"ES2024: Atomics.waitAsync": true, "proposal: Array.fromAsync": true, "web: URL": true,
		"Intl: DateTimeFormat with a time zone": true, "Intl: NumberFormat": true,
	}
	for line := range strings.Lines(read1(t, "testdata/features.txt")) {
		name, code, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if !ok {
			t.Fatalf("%q: want name | code", line)
		}
		got := run(t, &Script{Code: "const f = async () => {" + code + "}; f().then((v) => console.log(v), (e) => console.log(e.message))"})
		if works := got.out == "true\n"; works == lacking[name] {
			t.Errorf("%s: works: %v, as documented: %v (%+v)", name, works, !lacking[name], got)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	prints(t, "console.log(1); return; console.log(2)", "1\n")
	prints(t, "console.log(typeof module, typeof exports, typeof require, __filename)", "object object function script-1.cjs\n")
	prints(t, "console.log(await new Promise((r) => setTimeout(r, 5, 'later')))", "later\n")
	prints(t, "#!/usr/bin/env node\nconsole.log(1)", "1\n")
	prints(t, "process.stdout.write('a'); process.exit(0); console.log('never')", "a")
	prints(t, "try { process.exit(0) } catch { console.log('no') } finally { console.log('no') }", "")
	prints(t, "new Promise(() => {})", "")
	prints(t, "console.log('\\ud800|')", "\ufffd|\n")
	prints(t, "const stdin = 5; console.log(stdin)", "5\n")
	if got := run(t, &Script{Code: "console.log(stdin + stdin); stdin = 'x'; console.log(stdin)", Stdin: strings.NewReader("a\xffb")}); got.out != "a\ufffdba\ufffdb\nx\n" {
		t.Errorf("stdin: %+v", got)
	}
	if got := run(t, &Script{Code: "process.env.B = 2; console.log(process.env)", Env: map[string]string{"A": "1"}}); got.out != "{ A: '1', B: 2 }\n" {
		t.Errorf("environment: %+v", got)
	}
	module := &Script{File: "a.mjs", Code: "const f = async () => 7;\nconsole.log(await f(), typeof require, this);\nexport default f"}
	if got := run(t, module); got.out != "7 undefined undefined\n" || got.code != 0 {
		t.Errorf("module: %+v", got)
	}
	fails(t, &Script{Code: "process.exitCode = 5"}, 5, "")
	fails(t, &Script{Code: "process.exit(256 + 3)"}, 3, "")
	fails(t, &Script{File: "a.mjs", Code: "await new Promise(() => {})"}, 13, "can never come")
}

// An error ends the script with code 1, its last line says what is wrong, and
// the lines above where.
func TestErrors(t *testing.T) {
	t.Parallel()
	fails(t, &Script{Code: "let a = 1;\nfunction f() {\n  throw new TypeError('broken')\n}\nf()"}, 1, "at f (script-1.cjs:3:")
	if got := run(t, &Script{Code: "\nthrow new Error('broken')"}); !strings.HasSuffix(got.errors, "\nError: broken\n") || strings.Contains(got.errors, "downbeat") {
		t.Errorf("got %q", got.errors)
	}
	if d := cmp.Diff("    at <anonymous> (script-1.cjs:1:16)\nError: x\n", run(t, &Script{Code: "throw new Error('x')"}).errors); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("    at <anonymous> (script-1.cjs:1:8)\n", strings.SplitAfter(run(t, &Script{Code: "require('x')"}).errors, "\n")[0]); d != "" {
		t.Error(d)
	}
	fails(t, &Script{Code: "let a = ;"}, 1, "    at script-1.cjs:1:9\nSyntaxError: ")
	fails(t, &Script{Code: "let a = 1;\nlet b = ;"}, 1, "at script-1.cjs:2:")
	fails(t, &Script{File: "a.mjs", Code: "export const a = 1;\nthrow new Error('in a module')"}, 1, "(a.mjs:2:")
	fails(t, &Script{Code: "throw { code: 7 }"}, 1, "Error: uncaught { code: 7 }")
	fails(t, &Script{Code: "throw null"}, 1, "uncaught null")
	fails(t, &Script{Code: "setTimeout(() => { throw new Error('in a timer') })"}, 1, "Error: in a timer")
	fails(t, &Script{Code: "throw new Error('outer', { cause: new Error('inner') })"}, 1, "[cause]: Error: inner")
	fails(t, &Script{Code: "(function f() { f() })()"}, 1, "stack overflow")
	fails(t, &Script{Code: "throw { get message() { throw 1 }, toString() { throw 2 } }"}, 1, "Error: ")
}

// A promise that is rejected while nobody looks fails the script, as with node.
func TestRejections(t *testing.T) {
	t.Parallel()
	fails(t, &Script{Code: "const main = async () => { throw new Error('in main') };\nmain()"}, 1, "Error: in main")
	fails(t, &Script{Code: "async function main() { await 1; throw new Error('in main') }\nmain(); console.log('goes on')"}, 1, "script-1.cjs:1")
	fails(t, &Script{Code: "Promise.reject(5)"}, 1, "uncaught 5")
	fails(t, &Script{Code: "setTimeout(() => Promise.reject(new Error('late')), 1); setTimeout(() => {}, 10000)"}, 1, "late")
	fails(t, &Script{File: "a.mjs", Code: "await 1; Promise.reject(new Error('x'))"}, 1, "Error: x")
	prints(t, "const p = Promise.reject(1); p.catch(() => console.log('caught'))", "caught\n")
	prints(t, "(async () => { const p = Promise.reject(1); try { await p } catch { console.log('caught') } })()", "caught\n")
	prints(t, "const p = Promise.reject(1); queueMicrotask(() => p.catch((e) => console.log('in time', e)))", "in time 1\n")
	prints(t, "Promise.allSettled([Promise.reject(1), 2]).then((v) => console.log(v.length))", "2\n")
}

// What is not there says so, and what to do.
func TestLacking(t *testing.T) {
	t.Parallel()
	const node = "run the script with Node.js"
	fails(t, &Script{Code: "const fs = require('fs')"}, 1, node)
	fails(t, &Script{Code: "const fs = await import('fs')"}, 1, node)
	fails(t, &Script{Code: "import { readFileSync } from 'node:fs'", File: "a.mjs"}, 1, `import of "node:fs"`)
	fails(t, &Script{Code: "import x from './other.mjs'", File: "a.js"}, 1, node)
	fails(t, &Script{Code: "fetch('http://example.com')"}, 1, "call: http")
	fails(t, &Script{Code: "process.stdin.on('data', () => {})"}, 1, "read the global string stdin")
	fails(t, &Script{Code: "Buffer.from('x')"}, 1, "use Uint8Array")
	fails(t, &Script{Code: "new URL('http://x')"}, 1, node)
	fails(t, &Script{Code: "undefinedName"}, 1, "'undefinedName' is not defined\n")
	prints(t, "console.log(typeof Buffer, typeof std, typeof os, typeof print, typeof __write, typeof scriptArgs, Object.keys(globalThis))", "undefined undefined undefined undefined undefined undefined []\n")
}

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		"'x'.repeat(2 ** 29).length", "new ArrayBuffer(1e9)",
	} {
		fails(t, &Script{Code: code, Memory: 8 << 20}, 1, "out of memory; the memory of a script is limited to 8 MiB")
	}
	fails(t, &Script{Code: "const a = []; for (;;) a.push({ a: [1, 2, 3] })", Memory: 8 << 20}, 1, "8 MiB")
	prints(t, "try { 'x'.repeat(2 ** 29) } catch { console.log('caught') }", "caught\n")
}

// A script that is cancelled cannot hold on by catching it.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		"for (;;) {}", "for (;;) { try { for (;;) {} } catch {} finally { for (;;) {} } }", "const p = () => Promise.resolve().then(p); p()",
		"setInterval(() => {}, 1e6)", "/(a+)+$/.test('a'.repeat(40) + 'b')", "setInterval(() => {}, 0)", "process.nextTick(function f() { process.nextTick(f) })",
	} {
		cause := errors.New("cancelled")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, cause)
		_, err := Run(ctx, &Script{File: "a.cjs", Code: code, Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}})
		cancel()
		if !errors.Is(err, cause) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if _, err := Run(b.Context(), &Script{File: "a.cjs", Code: "1", Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}); err != nil {
			b.Fatal(err)
		}
	}
}
