//go:build linux || darwin

package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
)

type object = map[string]any

func newExecutor() *process.Executor {
	return process.New(process.Config{Environment: os.Environ()})
}

func execute(t *testing.T, kind string, arguments object) (any, *executortest.Log, error) {
	t.Helper()
	r, log := executortest.Request(t, kind, arguments)
	result, err := newExecutor().Execute(t.Context(), r)
	log.Close()
	return result.Output, log, err
}

func wants(t *testing.T, kind string, arguments object, want any) {
	t.Helper()
	got, _, err := execute(t, kind, arguments)
	if err != nil {
		t.Fatalf("%v: %v", arguments, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%v: %s", arguments, d)
	}
}

func fails(t *testing.T, kind string, arguments object, family string, detail string) *event.Problem {
	t.Helper()
	_, _, err := execute(t, kind, arguments)
	p := executortest.CheckProblem(t, err)
	if p.Type != event.TypePrefix+family || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v: got %s %q; want %s with %q", arguments, p.Type, p.Detail, family, detail)
	}
	return p
}

func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
}

func TestLawsShell(t *testing.T) {
	hanging := filepath.Join(t.TempDir(), "hanging")
	executortest.Exercise(t, executortest.Subject{
		Executor: newExecutor(),
		Kind:     "shell",
		Works:    object{"command": "echo hello", "return": "all"},
		Fails:    object{"command": "exit 3"},
		Hangs:    object{"command": "sleep 1000 & touch " + hanging + "; sleep 1000"},
		Hanging:  appears(t, hanging),
	})
}

func TestLawsScript(t *testing.T) {
	needs(t, "node")
	hanging := filepath.Join(t.TempDir(), "hanging")
	executortest.Exercise(t, executortest.Subject{
		Executor: newExecutor(),
		Kind:     "script",
		Works:    object{"language": "js", "code": "console.log(1)"},
		Fails:    object{"language": "js", "code": "throw new Error('no')"},
		Hangs:    object{"language": "js", "code": "require('fs').writeFileSync('" + hanging + "', ''); setInterval(() => {}, 1000)"},
		Hanging:  appears(t, hanging),
	})
}

// appears tells when a file is there.
func appears(t *testing.T, file string) <-chan struct{} {
	t.Helper()
	there := make(chan struct{}, 1)
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(file); err == nil {
				there <- struct{}{}
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return there
}

// DSL 132, D27
func TestReturn(t *testing.T) {
	t.Parallel()
	const command = `echo out; echo err >&2; printf 'more\n\n'`
	wants(t, "shell", object{"command": command}, "out\nmore")
	wants(t, "shell", object{"command": command, "return": "stdout"}, "out\nmore")
	wants(t, "shell", object{"command": command, "return": "stderr"}, "err")
	wants(t, "shell", object{"command": command, "return": "code"}, 0)
	wants(t, "shell", object{"command": command, "return": "all"}, object{"code": 0, "stdout": "out\nmore", "stderr": "err"})
	wants(t, "shell", object{"command": command, "return": "none"}, nil)
	wants(t, "shell", object{"command": `printf '\377x'`}, "\ufffdx")
	wants(t, "shell", object{"command": "true", "await": true}, "")
	fails(t, "shell", object{"command": "true", "return": "json"}, event.Configuration, "stdout, stderr, code, all, none")
}

// DSL 142, D27
func TestExitCode(t *testing.T) {
	t.Parallel()
	p := fails(t, "shell", object{"command": "echo one >&2; echo two >&2; exit 3"}, event.Runtime, "exit code 3: two")
	want := event.Problem{
		Type: "https://open-workflow-specification.org/spec/1.0.0/errors/runtime", Status: 500, Title: "Command failed",
		Detail: "exit code 3: two", More: object{"exitCode": 3, "stderr": "one\ntwo"},
	}
	if d := cmp.Diff(want, *p); d != "" {
		t.Error(d)
	}
	fails(t, "shell", object{"command": "exit 4", "return": "none"}, event.Runtime, "exit code 4")
	fails(t, "shell", object{"command": "exit 4", "return": "stderr"}, event.Runtime, "exit code 4")
	fails(t, "shell", object{"command": "kill -9 $$"}, event.Runtime, "signal 9 (killed)")
	fails(t, "shell", object{"command": "no-such-program-anywhere"}, event.Runtime, "exit code 127")
	wants(t, "shell", object{"command": "exit 7", "return": "code"}, 7)
	wants(t, "shell", object{"command": "echo a; exit 7", "return": "all"}, object{"code": 7, "stdout": "a", "stderr": ""})
	wants(t, "shell", object{"command": "kill -15 $$", "return": "code"}, 143)
}

// DSL 139, DSL 140, D28
func TestShellArguments(t *testing.T) {
	t.Parallel()
	args := []any{"a b", 2, true, nil, object{"k": 1}, `"'$`}
	wants(t, "shell", object{"command": `printf '[%s]'`, "arguments": args}, `[a b][2][true][][{"k":1}]["'$]`)
	wants(t, "shell", object{"command": `printf '[%s]' "$1" "$2"`, "arguments": args}, "[a b][2]")
	wants(t, "shell", object{"command": `echo $#`, "arguments": args}, "6")
	wants(t, "shell", object{"command": `echo a; echo b`, "arguments": args}, "a\nb")
	wants(t, "shell", object{"command": "echo $0"}, "sh")
	wants(t, "shell", object{"command": "echo \n", "arguments": object{"--b": "x y", "--a": 1, "-v": nil}}, "--a=1 --b=x y -v")
	fails(t, "shell", object{"command": "echo", "arguments": "text"}, event.Configuration, "list")
	fails(t, "shell", object{"command": "echo", "arguments": []any{"a\x00b"}}, event.Configuration, "zero byte")
	fails(t, "shell", object{"command": " "}, event.Configuration, "empty")
	fails(t, "shell", object{"comand": "x"}, event.Configuration, "/command is missing")
	fails(t, "shell", object{"command": "x", "comand": "x"}, event.Configuration, "/comand is not known")
}

// DSL 139
func TestEnvironmentAndInput(t *testing.T) {
	t.Setenv("DOWNBEAT_SECRET_TOKEN", "hidden")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hidden")
	wants(t, "shell", object{"command": "cat", "stdin": "text"}, "text")
	wants(t, "shell", object{"command": "cat", "stdin": object{"a": []any{1, "x"}}}, `{"a":[1,"x"]}`)
	wants(t, "shell", object{"command": "cat"}, "")
	wants(t, "shell", object{"command": "true", "stdin": strings.Repeat("x", 1<<20)}, "")
	wants(t, "shell", object{"command": `echo "$A|$B|$C"`, "environment": object{"A": "1 2", "B": 3, "C": nil}}, "1 2|3|")
	wants(t, "shell", object{"command": `env | grep -c hidden`, "return": "code"}, 1)
	wants(t, "shell", object{"command": `echo "$DOWNBEAT_RUN_ID $DOWNBEAT_TASK $DOWNBEAT_ATTEMPT $DOWNBEAT_IDEMPOTENCY_KEY"`},
		"01020300-0000-0000-0000-000000000000 /do/0/act 1 key-TestEnvironmentAndInput")
	wants(t, "shell", object{"command": "echo $DOWNBEAT_ATTEMPT", "environment": object{"DOWNBEAT_ATTEMPT": 9}}, "1")
	fails(t, "shell", object{"command": "true", "environment": object{"A=B": "x"}}, event.Configuration, `"A=B"`)
	fails(t, "shell", object{"command": "true", "environment": "x"}, event.Configuration, "/environment must be an object")
	if runtime.GOOS == "linux" {
		// The program starts as if there were no gate: SIGPIPE ends it, no file is inherited.
		wants(t, "shell", object{"command": "yes | head -n 1; ls -l /proc/self/fd | grep -c socket || true"}, "y\n0")
	}
}

// DSL 137, DSL 138
func TestJavaScript(t *testing.T) {
	t.Parallel()
	needs(t, "node")
	run := func(code string, want any) {
		t.Helper()
		wants(t, "script", object{"language": "js", "code": code, "arguments": []any{"hello", 2}, "stdin": "in", "environment": object{"foo": "bar", "my-var": "x"}}, want)
	}
	run(`import { readFileSync } from 'node:fs';
const [_, __, arg] = process.argv;
console.log(readFileSync(process.stdin.fd, 'utf8'), arg, process.env.foo, process.env['my-var']);`, "in hello bar x")
	run("const fs = require('fs'); console.log(typeof fs.readFileSync, process.argv.slice(2).join())", "function hello,2")
	run("console.log(await Promise.resolve(5)) // top level", "5")
	run("console.log(`${1 + 1}`); return; console.log('never')", "2")
	wants(t, "script", object{"language": "javascript", "code": "process.exit(4)", "return": "code"}, 4)
	p := fails(t, "script", object{"language": "js", "code": "let a = 1\nthrow new Error('broken')"}, event.Runtime, "exit code 1: Error: broken (line 2 of the script)")
	if tail, _ := p.More["stderr"].(string); !strings.Contains(tail, "Error: broken") || !strings.Contains(tail, ".cjs:2") {
		t.Errorf("stderr does not show the error and its line: %q", tail)
	}
	if p.Title != "Script failed" {
		t.Errorf("title %q", p.Title)
	}
	fails(t, "script", object{"language": "js", "code": "console.error(new Error('first'))\nfunction f(x) {\n  return x.y.z\n}\nf({})"}, event.Runtime, "(line 3 of the script)")
	fails(t, "script", object{"language": "js", "code": "let a\nlet b = = 1"}, event.Runtime, "SyntaxError: Unexpected token '=' (line 2 of the script)")
}

// DSL 137, DSL 138
func TestPython(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	wants(t, "script", object{
		"language": "python", "stdin": "in", "arguments": []any{"a", 1}, "environment": object{"K": "é"},
		"code": "import sys, os\nprint(sys.stdin.read(), sys.argv[1:], os.environ['K'])\n",
	}, "in ['a', '1'] é")
	fails(t, "script", object{"language": "python", "code": "raise ValueError('broken')"}, event.Runtime, "ValueError: broken")
}

// DSL 138
func TestScriptSource(t *testing.T) {
	t.Parallel()
	needs(t, "node")
	r, _ := executortest.Request(t, "script", nil)
	if err := os.WriteFile(filepath.Join(r.BaseDirectory, "a b.js"), []byte("console.log('from file', process.argv[2])"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []any{"a b.js", "./a b.js", "file:a b.js", "file://./a%20b.js", object{"endpoint": "a b.js"}, object{"endpoint": object{"uri": "file://" + filepath.Join(r.BaseDirectory, "a%20b.js")}}} {
		r.Arguments = object{"language": "js", "source": source, "arguments": []any{"x"}}
		got, err := newExecutor().Execute(t.Context(), r)
		if err != nil {
			t.Errorf("%v: %v", source, err)
		}
		if d := cmp.Diff("from file x", got.Output); d != "" {
			t.Errorf("%v: %s", source, d)
		}
	}
	fails(t, "script", object{"language": "js", "source": "https://user:pass@example.com/a.js"}, event.Configuration, "call: http")
	fails(t, "script", object{"language": "js", "source": "none.js"}, event.Configuration, "there is no file")
	fails(t, "script", object{"language": "js", "source": "file://host/a.js"}, event.Configuration, "three slashes")
	fails(t, "script", object{"language": "js"}, event.Configuration, "exactly one")
	fails(t, "script", object{"language": "ruby", "code": "x"}, event.Configuration, "js, javascript, python")
	fails(t, "script", object{"language": "python", "code": "x", "environment": object{"PATH": "/nowhere"}}, event.Runtime, "install Python 3")
	fails(t, "script", object{"language": "python", "code": "def f(x):\n    return x['y']\n\nf({})"}, event.Runtime, "exit code 1: KeyError: 'y' (line 2 of the script)")
	fails(t, "script", object{"language": "python", "code": "a = 1\nb = = 2"}, event.Runtime, "SyntaxError: invalid syntax (line 2 of the script)")
	fails(t, "script", object{"language": "js", "code": "x", "environment": object{"PATH": "/nowhere"}}, event.Runtime, "install Node.js")
}

func TestLogByLines(t *testing.T) {
	t.Parallel()
	_, log, err := execute(t, "shell", object{"command": "printf a; printf 'b\nc'; echo e >&2", "return": "none"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("ab\nc", log.Text("stdout")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("e\n", log.Text("stderr")); d != "" {
		t.Error(d)
	}
}

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	e := process.New(process.Config{Environment: os.Environ(), MaxOutput: 100_000})
	r, log := executortest.Request(t, "shell", object{"command": "yes"})
	_, err := e.Execute(t.Context(), r)
	log.Close()
	if p := executortest.CheckProblem(t, err); p.Title != "Output exceeded" {
		t.Errorf("got %v", p)
	}
	// What is not returned does not count.
	r, _ = executortest.Request(t, "shell", object{"command": "yes | head -c 1000000; yes >&2 | head -c 1", "return": "code"})
	r.Arguments = object{"command": "yes | head -c 1000000", "return": "stderr"}
	if got, err := e.Execute(t.Context(), r); err != nil || got.Output != "" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDoesNotStart(t *testing.T) {
	t.Parallel()
	r, _ := executortest.Request(t, "shell", object{"command": "true"})
	r.Directory = filepath.Join(r.Directory, "missing")
	_, err := newExecutor().Execute(t.Context(), r)
	if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, "no such file or directory") || !strings.Contains(p.Detail, "missing") {
		t.Errorf("got %v", p)
	}
	r, _ = executortest.Request(t, "shell", object{"command": "true", "arguments": []any{strings.Repeat("x", 4<<20)}})
	_, err = newExecutor().Execute(t.Context(), r)
	if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, "argument list too long") {
		t.Errorf("got %v", p)
	}
}

// A program runs only after its identity is journaled.
func TestGate(t *testing.T) {
	t.Parallel()
	r, _ := executortest.Request(t, "shell", nil)
	effect := filepath.Join(r.Directory, "effect")
	r.Arguments = object{"command": "touch " + effect}
	refused := errors.New("the journal is closed")
	bound := false
	r.Bind = func(_ context.Context, handle any) error {
		bound = true
		m, _ := handle.(object)
		if m["pid"] == nil || m["pid"] != m["group"] || m["boot"] == "" || m["key"] != r.IdempotencyKey {
			t.Errorf("handle %v", handle)
		}
		return refused
	}
	if _, err := newExecutor().Execute(t.Context(), r); !errors.Is(err, refused) {
		t.Errorf("got %v; want what Bind said", err)
	}
	if _, err := os.Stat(effect); !bound || err == nil {
		t.Error("the program ran although its identity was not journaled")
	}
}

// Processes that outlive the program are ended with it, and those that left
// the group do not keep us waiting.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	r, _ := executortest.Request(t, "shell", nil)
	r.Arguments = object{"command": "sleep 1000 & echo $!"}
	begin := time.Now()
	got, err := newExecutor().Execute(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	pid, _ := got.Output.(string)
	if alive(pid) {
		t.Errorf("process %s lives", pid)
	}
	if _, err := exec.LookPath("setsid"); err == nil {
		wants(t, "shell", object{"command": "setsid sleep 5 & echo started"}, "started")
	}
}

func TestCancelKillsWhatIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	r, _ := executortest.Request(t, "shell", nil)
	ready := filepath.Join(r.Directory, "ready")
	r.Arguments = object{"command": `trap "" TERM; (trap "" TERM; sleep 1000) & echo $! > pid; mv pid ` + ready + `; while :; do sleep 1; done`}
	r.Grace = 100 * time.Millisecond
	cause := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-appears(t, ready)
		cancel(cause)
	}()
	if _, err := newExecutor().Execute(ctx, r); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	if alive(strings.TrimSpace(string(pid))) {
		t.Error("a process of the group lives")
	}
}

func TestCancelLetsCleanUp(t *testing.T) {
	t.Parallel()
	r, log := executortest.Request(t, "shell", nil)
	ready := filepath.Join(r.Directory, "ready")
	r.Arguments = object{"command": `trap 'echo cleaned; exit 0' TERM; touch ` + ready + `; while :; do sleep 0.05; done`}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-appears(t, ready)
		cancel()
	}()
	if _, err := newExecutor().Execute(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff("cleaned\n", log.Text("stdout")); d != "" {
		t.Error(d)
	}
}

// alive reports a process that runs: not one that only waits to be reaped.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestKindsDescribeThemselves(t *testing.T) {
	t.Parallel()
	if _, err := executor.NewCatalog(
		executor.Entry{Kind: process.Shell(), Executor: newExecutor()},
		executor.Entry{Kind: process.Script(), Executor: newExecutor()},
	); err != nil {
		t.Error(err)
	}
}
