// Package conformance_test runs black-box scripts over the built binary: what
// the contract says about the command line, one numbered script a behaviour.
package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var (
	bin  string // directory of the built binaries
	root string // of the repository
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "downbeat-conformance-")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		panic(err) // nothing can be tested
	}
	m.Run()
	_ = os.RemoveAll(dir)
}

// build makes the binaries that the scripts run.
func build(dir string) (err error) {
	bin = dir
	if root, err = filepath.Abs(".."); err != nil {
		return err
	}
	for target, name := range map[string]string{"./cmd/downbeat": "downbeat", "./examples/api-composition/services": "services"} {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		args := []string{"build", "-o", filepath.Join(dir, name)}
		if environ("DOWNBEAT_RACE") != "" {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, target)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", target, err, out)
		}
	}
	return nil
}

// environ is a variable of the environment; "" when it is not set.
func environ(name string) string {
	v, _ := os.LookupEnv(name)
	return v
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "scripts",
		Setup:         setup,
		Cmds:          commands,
		UpdateScripts: environ("UPDATE_SCRIPTS") != "",
		Condition: func(name string) (bool, error) {
			if name != "javascript" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return environ("DOWNBEAT_RACE") == "", nil // see executor/javascript: no engine in race builds
		},
	})
}

func setup(env *testscript.Env) error {
	env.Setenv("BIN", bin)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "xdg"))
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "conf"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("EXAMPLES", filepath.Join(root, "examples"))
	env.Setenv("NO_COLOR", "1")
	return nil
}

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":   exits,
	"until":   until,
	"json":    jsonField,
	"capture": capture,
}

// exits CODE COMMAND ARGS... runs a command that must end with exactly that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// until PATTERN COMMAND ARGS... repeats a command until its stdout matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND ARGS...")
	}
	re := regexp.MustCompile(args[0])
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("stdout never matched %q; the last was:\n%s%s", args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// json PATH VALUE compares a field of the JSON on stdout: `json tasks.0.name '"a"'`.
// VALUE - means that the field is absent, * that it is there.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is no JSON: %v\n%s", err, ts.ReadFile("stdout"))
	}
	got, ok := dig(v, args[0])
	switch {
	case args[1] == "-" && !ok, args[1] == "*" && ok:
		return
	case !ok:
		ts.Fatalf("there is no field %s in %s", args[0], ts.ReadFile("stdout"))
	}
	b, err := json.Marshal(got)
	ts.Check(err)
	var want any
	if err := json.Unmarshal([]byte(args[1]), &want); err != nil {
		want = args[1]
	}
	w, err := json.Marshal(want)
	ts.Check(err)
	if (string(w) == string(b)) == neg {
		ts.Fatalf("%s is %s, want %s", args[0], b, w)
	}
}

// capture NAME PATH puts a field of the JSON on stdout into an environment variable.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: capture NAME PATH")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	got, ok := dig(v, args[1])
	if !ok {
		ts.Fatalf("there is no field %s in %s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], fmt.Sprint(got))
}

func dig(v any, path string) (any, bool) {
	if path == "." {
		return v, true
	}
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			y, ok := x[part]
			if !ok {
				return nil, false
			}
			v = y
		case []any:
			i, err := strconv.Atoi(part)
			if part == "len" {
				return float64(len(x)), true
			}
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}
