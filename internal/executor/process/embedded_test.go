//go:build (linux || darwin) && !race

package process_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/javascript"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
)

// embedded is an executor whose JavaScript is the engine that we bring along.
func embedded(memory int64, limit time.Duration) *process.Executor {
	return process.New(process.Config{
		Environment: append(os.Environ(), "HOST_ONLY=hidden"), Inherit: []string{"HOST_ONLY"},
		JavaScript: "embedded", Embedded: javascript.Command(memory, limit),
	})
}

func TestLawsEmbedded(t *testing.T) {
	executortest.Exercise(t, executortest.Subject{
		Executor: embedded(0, 0),
		Kind:     "script",
		Works:    object{"language": "js", "code": "console.log(1)"},
		Fails:    object{"language": "js", "code": "throw new Error('no')"},
		// A call that the engine cannot interrupt: only the end of the process ends it.
		Hangs: object{"language": "js", "code": "Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)"},
	})
}

// A script in a call that the engine cannot interrupt ends with its task.
func TestEmbeddedCancel(t *testing.T) {
	t.Parallel()
	r, _ := executortest.Request(t, "script", object{"language": "js", "code": "console.log('begins'); Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)"})
	begins := make(signal, 1)
	r.Log = begins
	cause := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begins
		cancel(cause)
	}()
	begin := time.Now()
	if _, err := embedded(0, 0).Execute(ctx, r); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > r.Grace+5*time.Second {
		t.Errorf("took %v", took)
	}
}

// signal is a log that tells when something was printed.
type signal chan struct{}

func (s signal) Stream(string) io.Writer { return s }

func (s signal) Write(b []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(b), nil
}

// DSL 132, DSL 137, DSL 138, D27
func TestEmbedded(t *testing.T) {
	t.Parallel()
	run := func(arguments object) (any, error) {
		t.Helper()
		arguments["language"] = "js"
		r, log := executortest.Request(t, "script", arguments)
		got, err := embedded(0, 0).Execute(t.Context(), r)
		log.Close()
		return got.Output, err
	}
	wants := func(arguments object, want any) {
		t.Helper()
		got, err := run(arguments)
		if err != nil {
			t.Fatalf("%v: %v", arguments, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v: %s", arguments, d)
		}
	}
	given := object{"environment": object{"K": "é", "TZ": "Asia/Tokyo"}, "arguments": []any{"a b", 2}, "stdin": object{"x": 1}}
	given["code"] = `console.log(process.argv.slice(2), process.env.K, JSON.parse(stdin).x, process.env.HOST_ONLY, process.env.PATH, process.env.DOWNBEAT_ATTEMPT, new Date(0).getHours())`
	wants(given, "[ 'a b', '2' ] é 1 undefined undefined 1 9")
	wants(object{"code": "console.log('out'); console.error('err')", "return": "all"}, object{"code": 0, "stdout": "out", "stderr": "err"})
	wants(object{"code": "console.error('err')", "return": "stderr"}, "err")
	wants(object{"code": "process.exit(4)", "return": "code"}, 4)
	wants(object{"code": "1", "return": "none"}, nil)
	wants(object{"code": "console.log(await Promise.resolve(5)) // top level"}, "5")
	wants(object{"code": "console.log(await Promise.resolve(6))\nexport {}"}, "6")
	wants(object{"code": "console.log(`${1 + 1}`); return; console.log('never')"}, "2")
}

// The error of a script says what is wrong and where; by the engine as by node.
func TestEmbeddedFails(t *testing.T) {
	t.Parallel()
	fails := func(e *process.Executor, code, detail string) *event.Problem {
		t.Helper()
		r, log := executortest.Request(t, "script", object{"language": "js", "code": code})
		_, err := e.Execute(t.Context(), r)
		log.Close()
		p := executortest.CheckProblem(t, err)
		if p.Type != event.TypePrefix+event.Runtime || p.Title != "Script failed" || !strings.Contains(p.Detail, detail) {
			t.Errorf("%s: got %v %q; want %q", code, p, p.Detail, detail)
		}
		return p
	}
	e := embedded(32<<20, 0)
	p := fails(e, "let a = 1\nthrow new Error('broken')", "exit code 1: Error: broken (line 2 of the script)")
	fails(e, "function f(x) {\n  return x.y.z\n}\nf({})", "(line 2 of the script)")
	fails(e, "let a\nlet b = = 1", "(line 2 of the script)")
	if tail, _ := p.More["stderr"].(string); !strings.Contains(tail, ".cjs:2") {
		t.Errorf("stderr does not show the line: %q", tail)
	}
	fails(e, "let all = []; for (;;) all.push('x'.repeat(1000) + all.length)", "memory of a script is limited to 32 MiB")
	fails(embedded(0, 300*time.Millisecond), "'a'.repeat(2e7).indexOf('a'.repeat(1e7) + 'b')", "exit code 124: Error: the script ran longer than 300ms")
	fails(e, "require('fs')", "run the script with Node.js")
	fails(process.New(process.Config{Environment: os.Environ(), JavaScript: "node"}), "throw new TypeError('broken')", "exit code 1: TypeError: broken")
}

// With auto, the engine stands in where there is no node.
func TestEmbeddedStandsIn(t *testing.T) {
	t.Parallel()
	execute := func(c process.Config) (any, error) {
		t.Helper()
		r, log := executortest.Request(t, "script", nil)
		file := filepath.Join(r.BaseDirectory, "a.js")
		if err := os.WriteFile(file, []byte("console.log(process.argv[0].split('/').pop())"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Arguments = object{"language": "javascript", "source": "a.js"}
		got, err := process.New(c).Execute(t.Context(), r)
		log.Close()
		return got.Output, err
	}
	bare := []string{"PATH=/nowhere"}
	got, err := execute(process.Config{Environment: bare, Embedded: javascript.Command(0, 0)})
	if err != nil || got != "javascript" {
		t.Errorf("got %v, %v", got, err)
	}
	for name, c := range map[string]process.Config{
		"install Node.js":                        {Environment: bare, Embedded: javascript.Command(0, 0), JavaScript: "node"},
		"without an engine":                      {Environment: append(bare, "DOWNBEAT_JAVASCRIPT=embedded")},
		`is "deno"; want node, embedded or auto`: {Environment: append(bare, "DOWNBEAT_JAVASCRIPT=deno"), Embedded: javascript.Command(0, 0)},
	} {
		_, err := execute(c)
		if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, name) {
			t.Errorf("got %q; want %q", p.Detail, name)
		}
	}
	needs(t, "node")
	if got, err := execute(process.Config{Environment: os.Environ(), Embedded: javascript.Command(0, 0)}); err != nil || got != "node" {
		t.Errorf("got %v, %v", got, err)
	}
}

// D27: what a script gives has the same shape whichever engine ran it: each of
// the scripts under each `return`, by node and by the embedded engine.
func TestSameShape(t *testing.T) {
	t.Parallel()
	needs(t, "node")
	by := func(engine string) func(object) any {
		e := process.New(process.Config{Environment: os.Environ(), JavaScript: engine, Embedded: javascript.Command(0, 0)})
		return func(arguments object) any {
			r, log := executortest.Request(t, "script", arguments)
			got, err := e.Execute(t.Context(), r)
			log.Close()
			if p, ok := errors.AsType[*event.Problem](err); ok {
				// The words of an engine and the place in its own files are its own.
				return object{"type": p.Type, "status": p.Status, "title": p.Title, "exitCode": p.More["exitCode"], "members": len(p.More)}
			}
			if err != nil {
				t.Fatalf("%v: %v", arguments, err)
			}
			return got.Output
		}
	}
	node, embedded := by("node"), by("embedded")
	scripts := []string{
		"console.log('a\\n\\nb\\n\\n')", "console.log(''); console.error('e\\n')", "1", "process.stdout.write('no newline')",
		"console.log({a: [1, {b: null}], c: 'é\\u{1F600}'}, undefined, 10n, new Map([[1, 2]]), [,1], -0)", "console.log(JSON.stringify({a: 1e21, b: -0, c: [undefined]}))",
		"process.exitCode = 3; console.log('x')", "process.exit(300)", "throw new TypeError('broken')", "let a = ;", "Promise.reject(new Error('lost'))",
		"setTimeout(() => { console.log('late'); process.exit(7) }, 1); console.log('early')", "console.log(process.argv.slice(2), process.env.K)",
		"const x = await Promise.resolve(1); console.log(x)", "export const x = 1; console.log(typeof require)",
	}
	for _, code := range scripts {
		for _, result := range []string{"stdout", "code", "none"} {
			arguments := object{"language": "js", "code": code, "return": result, "arguments": []any{"a b", 1.5, true}, "environment": object{"K": "v"}}
			if d := cmp.Diff(node(arguments), embedded(arguments)); d != "" {
				t.Errorf("%s, return: %s: %s", code, result, d)
			}
		}
		// stderr of a failing script is the engine's own.
		shape := func(run func(object) any) any {
			m, ok := run(object{"language": "js", "code": code, "return": "all"}).(map[string]any)
			if !ok {
				return nil
			}
			text, isText := m["stderr"].(string)
			if m["code"] == 1 {
				return []any{m["code"], m["stdout"], isText, text != "", len(m)}
			}
			return []any{m["code"], m["stdout"], text, len(m)}
		}
		if d := cmp.Diff(shape(node), shape(embedded)); d != "" {
			t.Errorf("%s, return: all: %s", code, d)
		}
	}
}
