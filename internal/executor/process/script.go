package process

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// language says how scripts of one language run.
type language struct {
	name         string
	interpreters []string
	hint         string
}

var (
	javascript = language{"JavaScript", []string{"node", "nodejs"}, "install Node.js 18 or later (https://nodejs.org) and put node on the PATH of Downbeat"}
	python     = language{"Python", []string{"python3", "python"}, "install Python 3 (https://www.python.org) and put python3 on the PATH of Downbeat"}
)

// interpreter is what runs a script.
type interpreter struct {
	path      string
	argv      []string // up to the script
	variables []string
}

// script makes the program of `run: script`.
func (e *Executor) script(r *executor.Request) (*program, error) {
	var a scriptArguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return nil, err
	}
	if (a.Code == "") == (a.Source == nil) {
		return nil, badArguments("a script has exactly one of code and source (DSL run.script)")
	}
	args, err := Words(a.Arguments)
	if err != nil {
		return nil, err
	}
	in, err := e.interpreter(r, &a)
	if err != nil {
		return nil, err
	}
	file, remove, err := scriptFile(r, &a)
	if err != nil {
		return nil, err
	}
	return &program{
		path:        in.path,
		argv:        slices.Concat(in.argv, []string{file}, args),
		environment: in.variables,
		directory:   directory(r),
		stdin:       input(a.Stdin),
		result:      orStdout(a.Return),
		title:       "Script failed",
		script:      file,
		remove:      remove,
	}, nil
}

// interpreter finds what runs the script: the program of its language, for
// JavaScript else the embedded engine.
func (e *Executor) interpreter(r *executor.Request, a *scriptArguments) (*interpreter, error) {
	list, err := e.variables(r, a.Environment)
	if err != nil {
		return nil, err
	}
	lang := javascript
	if a.Language == "python" {
		lang = python
		list = unlessSet(list, "PYTHONUNBUFFERED=1", "PYTHONIOENCODING=utf-8", "PYTHONDONTWRITEBYTECODE=1")
	} else {
		switch e.javascript {
		case "embedded":
			return e.engine(r, a)
		case "", "auto", "node":
		default:
			return nil, badArguments("the setting javascript (DOWNBEAT_JAVASCRIPT) of this Downbeat is %q; want node, embedded or auto", e.javascript)
		}
	}
	path, ok := find(list, lang.interpreters...)
	switch {
	case ok:
		return &interpreter{path: path, argv: []string{filepath.Base(path)}, variables: list}, nil
	case lang.name == javascript.name && e.embedded != nil && e.javascript != "node":
		return e.engine(r, a)
	}
	return nil, executor.NewProblem(event.Runtime, 500, "Script failed", "there is no %s to run %s on this machine: %s", lang.interpreters[0], lang.name, lang.hint)
}

// engine is the embedded JavaScript: this very binary. It sees nothing of the
// machine's environment but the time zone.
func (e *Executor) engine(r *executor.Request, a *scriptArguments) (*interpreter, error) {
	if e.embedded == nil {
		return nil, executor.NewProblem(event.Runtime, 500, "Script failed", "this Downbeat is built without an engine for JavaScript: %s", javascript.hint)
	}
	self, err := ownBinary()
	if err != nil {
		return nil, fmt.Errorf("find the binary of Downbeat: %w", err)
	}
	m := map[string]string{}
	if zone, ok := e.environment["TZ"]; ok {
		m["TZ"] = zone
	}
	list, err := variables(r, m, a.Environment)
	return &interpreter{path: self, argv: e.embedded, variables: list}, err
}

// scriptFile gives the file to run: the author's own, or the code in a file of
// the attempt's directory, so that line numbers in errors are the author's.
func scriptFile(r *executor.Request, a *scriptArguments) (file string, remove func(), err error) {
	if a.Source != nil {
		file, err = sourceFile(a.Source, r.BaseDirectory)
		return file, func() {}, err
	}
	name, code := "script-*.py", a.Code
	if a.Language != "python" {
		name, code = javascriptFile(a.Code)
	}
	f, err := os.CreateTemp(cmp.Or(r.Scratch, directory(r)), name)
	if err != nil {
		return "", nil, fmt.Errorf("write the script: %w", err)
	}
	_, err = f.WriteString(code)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", nil, fmt.Errorf("write the script: %w", errors.Join(err, os.Remove(f.Name())))
	}
	file, err = filepath.Abs(f.Name())
	return file, func() { _ = os.Remove(f.Name()) }, err // the directory goes with the attempt anyway
}

var (
	moduleLine = regexp.MustCompile(`(?m)^\s*(import\s*['"{*]|import\s+[\w$*{]|export\s+[\w{*]|export\s*\{)`)
	awaitWord  = regexp.MustCompile(`\bawait\b`)
)

// javascriptFile chooses how node reads the code. An ES module is told by its
// imports and exports. CommonJS has no await at the top level, so code with an
// await goes into an async function, on the lines where it stands anyway.
func javascriptFile(code string) (name, content string) {
	switch {
	case moduleLine.MatchString(code):
		return "script-*.mjs", code
	case awaitWord.MatchString(code):
		return "script-*.cjs", "(async()=>{" + code + "\n})();"
	}
	return "script-*.cjs", code
}

// sourceFile finds the file of `script.source`: a path, or a file: URI, both
// relative to the definition.
func sourceFile(source any, base string) (string, error) {
	text, ok := resourceURI(source)
	if !ok {
		return "", badArguments("source must be a URI, or a resource with an endpoint")
	}
	path := text
	if u, err := url.Parse(text); err == nil && len(u.Scheme) > 1 { // one letter is a drive of Windows
		switch {
		case u.Scheme != "file":
			return "", badArguments("source %q: scripts are read from files only (a path or file:); fetch it with call: http, or put it into code", u.Redacted())
		case u.Opaque != "":
			path = u.Opaque
		case u.Host == "." || u.Host == "..":
			path = u.Host + u.Path
		case u.Host != "" && u.Host != "localhost":
			return "", badArguments("source %q names the machine %q; a file: URI has three slashes: file:///path", text, u.Host)
		default:
			path = u.Path
		}
	}
	path = filepath.FromSlash(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", badArguments("source: there is no file %s; relative paths start at the directory of the definition", path)
	}
	if err != nil {
		return "", badArguments("source: %v", err)
	}
	return path, nil
}

// resourceURI takes the URI out of the forms that a resource has.
func resourceURI(v any) (string, bool) {
	for range 4 {
		switch x := v.(type) {
		case string:
			return x, strings.TrimSpace(x) != ""
		case map[string]any:
			if v = x["endpoint"]; v == nil {
				v = x["uri"]
			}
		default:
			return "", false
		}
	}
	return "", false
}

func unlessSet(variables []string, more ...string) []string {
	for _, kv := range more {
		name, _, _ := strings.Cut(kv, "=")
		if _, set := lookup(variables, name); !set {
			variables = append(variables, kv)
		}
	}
	return variables
}

func lookup(variables []string, name string) (string, bool) {
	for _, kv := range variables {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			return v, true
		}
	}
	return "", false
}
