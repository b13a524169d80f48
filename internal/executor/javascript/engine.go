//go:build !race

package javascript

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"modernc.org/quickjs"
)

// Script is one script to run.
type Script struct {
	File      string            // its path; the name tells modules (.mjs) from scripts
	Code      string            // what the file holds
	Arguments []string          // process.argv from the third element
	Env       map[string]string // process.env
	Memory    int64             // in bytes; 0: DefaultMemory
	Stdin     io.Reader         // read when the script asks for it
	Stdout    io.Writer
	Stderr    io.Writer
}

// DefaultMemory is how much memory a script may use when nothing else is said.
const DefaultMemory = 256 << 20

// unsettled is node's exit code for a module that awaits what never comes.
const unsettled = 13

// preludeLine is a line further down than scripts have any, so that stacks tell
// the prelude from the script; the engine gives both the same name.
const preludeLine = 100_000

//go:embed prelude.js
var prelude string

// Run runs a script to its end and returns its exit code. When ctx is done it
// stops as soon as the engine looks, which need not be soon.
func Run(ctx context.Context, s *Script) (code int, err error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return 0, fmt.Errorf("start the JavaScript engine: %w", err)
	}
	defer vm.Close() //nolint:errcheck // nothing of it is kept
	if s.Memory <= 0 {
		s.Memory = DefaultMemory
	}
	vm.SetMemoryLimit(uintptr(s.Memory))
	vm.SetModuleLoader(noModules, func(_ *quickjs.VM, _, name string) (string, error) { return name, nil })
	defer context.AfterFunc(ctx, vm.Interrupt)()
	e := &engine{vm: vm, script: s}
	defer func() {
		// process.exit leaves the engine as a panic, past catch and finally of the script.
		switch p := recover().(type) {
		case nil:
		case exited:
			code, err = int(p), nil
		default:
			panic(p)
		}
		if ctx.Err() != nil {
			code, err = 0, context.Cause(ctx)
		}
	}()
	return e.run(ctx)
}

// exited is the panic of process.exit.
type exited int

type engine struct {
	vm     *quickjs.VM
	script *Script
	hooks  quickjs.Value // what the prelude returned
	lost   rejections
	before int // bytes of ours before the script on its first line
}

func (e *engine) run(ctx context.Context) (int, error) {
	if err := e.prepare(); err != nil {
		return 0, err
	}
	e.lost.track(e.vm)
	settled, err := e.start()
	if err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		ticks, err := e.number("tick")
		if err != nil {
			e.fail(err)
		}
		jobs, err := e.vm.ExecutePendingJobs()
		if err != nil {
			e.fail(err)
		}
		if ticks+jobs > 0 {
			continue
		}
		if reason, ok := e.lost.first(); ok {
			e.lost.raise(reason)
			_, err := e.hook("raise")
			return 0, fmt.Errorf("report a rejection: %w", err)
		}
		wait, err := e.number("turn")
		if err != nil {
			e.fail(err)
		}
		if wait < 0 {
			break
		}
		pause(ctx, time.Duration(wait)*time.Millisecond)
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if done, err := settled(); err != nil || !done {
		_, _ = fmt.Fprintln(e.script.Stderr, "Error: the module awaits at its top level what can never come") // nobody else to tell
		return unsettled, err
	}
	return e.number("code")
}

// prepare makes what the script finds beside the language.
func (e *engine) prepare() error {
	vm, s := e.vm, e.script
	doors := map[string]quickjs.HostFunc{
		"__write": func(args []any) (any, error) {
			if len(args) != 2 {
				return nil, errors.New("write: want a stream and a text")
			}
			w, text := s.Stdout, fmt.Sprint(args[1])
			if args[0] == 2 {
				w = s.Stderr
			}
			_, err := io.WriteString(w, text)
			return nil, err
		},
		"__exit": func(args []any) (any, error) {
			code, _ := args[0].(int)
			panic(exited(code))
		},
		"__stdin": func([]any) (any, error) {
			b, err := io.ReadAll(s.Stdin)
			return strings.ToValidUTF8(string(b), "\ufffd"), err
		},
	}
	for name, door := range doors {
		if err := vm.RegisterHostFunc(name, door); err != nil {
			return fmt.Errorf("prepare the JavaScript engine: %w", err)
		}
	}
	given, err := json.Marshal(map[string]any{
		"argv": append([]string{"javascript", s.File}, s.Arguments...), "env": s.Env,
		"file": filepath.Base(s.File), "line": preludeLine, "memory": s.Memory >> 20,
	})
	if err != nil {
		return fmt.Errorf("prepare the JavaScript engine: %w", err)
	}
	e.hooks, err = vm.EvalValue(strings.Repeat("\n", preludeLine)+prelude+"({write: __write, exit: __exit, stdin: __stdin, ..."+string(given)+"})", quickjs.EvalGlobal)
	if err != nil {
		return fmt.Errorf("prepare the JavaScript engine: %w", err)
	}
	_, err = vm.Eval("delete globalThis.__write; delete globalThis.__exit; delete globalThis.__stdin", quickjs.EvalGlobal)
	return err
}

var (
	moduleLine = regexp.MustCompile(`(?m)^\s*(import\s*['"{*]|import\s+[\w$*{]|export\s+[\w{*]|export\s*\{)`)
	awaitWord  = regexp.MustCompile(`\bawait\b`)
	firstLine  = regexp.MustCompile(`^#![^\r\n]*`)
)

// start evaluates the script; what it returns tells whether that has ended.
func (e *engine) start() (settled func() (bool, error), err error) {
	code := firstLine.ReplaceAllString(strings.TrimPrefix(e.script.Code, "\ufeff"), "")
	always := func() (bool, error) { return true, nil }
	if ext := filepath.Ext(e.script.File); ext == ".mjs" || ext != ".cjs" && moduleLine.MatchString(code) {
		promise, err := e.vm.EvalValue(code, quickjs.EvalModule)
		if err != nil {
			e.fail(err)
			return always, nil
		}
		if _, err := e.hook("watch", promise); err != nil {
			return nil, err
		}
		return func() (bool, error) {
			n, err := e.number("settled")
			return n == 1, err
		}, nil
	}
	open := "(function (exports, require, module, __filename, __dirname) {"
	if awaitWord.MatchString(code) {
		open = "(async function (exports, require, module, __filename, __dirname) {"
	}
	e.before = len(open)
	f, err := e.vm.EvalValue(open+code+"\n})", quickjs.EvalGlobal)
	if err != nil {
		e.fail(err)
		return always, nil
	}
	if _, err := e.hook("run", f, len(open)); err != nil {
		e.fail(err)
	}
	return always, nil
}

// noModules refuses every import.
func noModules(_ *quickjs.VM, name string) (string, error) {
	return "", fmt.Errorf("import of %q: Downbeat's own JavaScript engine has no modules, files, network, processes; run the script with Node.js (put node on Downbeat's PATH)", name)
}

// hook calls one of the functions that the prelude returned.
func (e *engine) hook(name string, args ...any) (any, error) {
	atom, err := e.vm.NewAtom(name)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	f, err := e.hooks.GetPropertyValue(atom)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	defer f.Free()
	return f.Call(quickjs.UndefinedValue, args...)
}

func (e *engine) number(name string) (int, error) {
	v, err := e.hook(name)
	if err != nil {
		return 0, err
	}
	switch n := v.(type) {
	case int:
		return n, nil
	case float64:
		return int(n), nil
	}
	return 0, fmt.Errorf("the JavaScript engine answered %s with %v", name, v)
}

// fail ends the script with an error that the prelude could not catch: a
// mistake in the syntax, or memory that ran out.
func (e *engine) fail(err error) {
	text, where := err.Error(), ""
	if js, ok := errors.AsType[*quickjs.Error](err); ok && js.Name != "" {
		text = js.Name + ": " + js.Message
		if column := js.ColumnNumber; js.LineNumber > 0 {
			if js.LineNumber == 1 {
				column -= e.before
			}
			where = fmt.Sprintf("    at %s:%d:%d\n", filepath.Base(e.script.File), js.LineNumber, column)
		}
		if js.Message == "out of memory" {
			text += fmt.Sprintf("; the memory of a script is limited to %d MiB", e.script.Memory>>20)
		}
	}
	_, _ = fmt.Fprintln(e.script.Stderr, where+text) // nobody else to tell
	panic(exited(1))
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	limit, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-limit.Done()
}

// read takes the script and what belongs to it from the process.
func read(file string) (*Script, error) {
	b, err := os.ReadFile(file) //nolint:gosec // the task names the file
	if err != nil {
		return nil, fmt.Errorf("read the script: %w", err)
	}
	s := &Script{File: file, Code: string(b), Env: map[string]string{}}
	s.Stdin, s.Stdout, s.Stderr = os.Stdin, os.Stdout, os.Stderr //nolint:forbidigo // this process is the engine
	for _, kv := range os.Environ() {
		if name, v, ok := strings.Cut(kv, "="); ok && name != "" {
			s.Env[name] = v
		}
	}
	return s, nil
}
