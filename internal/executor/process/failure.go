package process

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// errorLine is the line of a stack trace that says what is wrong: node puts it
// above the trace, and a line about itself below.
var errorLine = regexp.MustCompile(`(?m)^([A-Z]\w*)?(Error|Exception)\b.*`)

var errTooMuch = errors.New("too much output")

// failedWith is the fault of a program that ended with another code than 0.
func failedWith(p *program, exit exit, tail string) *event.Problem {
	what := fmt.Sprintf("exit code %d", exit.code)
	if exit.signal != "" {
		what = fmt.Sprintf("ended by signal %d (%s)", exit.code-128, exit.signal)
	}
	line := executor.LastLine(tail)
	if all := errorLine.FindAllString(tail, -1); p.script != "" && len(all) > 0 {
		line = executor.LastLine(all[len(all)-1])
	}
	if line != "" {
		what += ": " + line
	}
	what += scriptLine(p.script, tail)
	problem := executor.NewProblem(event.Runtime, 500, p.title, "%s", what)
	problem.More = map[string]any{"exitCode": exit.code, "stderr": tail}
	return problem
}

// scriptLine says at which line of the script it failed, as its trace has it;
// "" when that does not say. Python has the innermost call at the end of the
// trace, JavaScript at its beginning, which node puts behind the error unless
// the script cannot be read.
func scriptLine(file, tail string) string {
	if file == "" {
		return ""
	}
	place := regexp.MustCompile(regexp.QuoteMeta(filepath.Base(file)) + `(?:", line |:)(\d+)`)
	all := place.FindAllStringSubmatchIndex(tail, -1)
	if len(all) == 0 {
		return ""
	}
	chosen := all[0]
	if filepath.Ext(file) == ".py" {
		chosen = all[len(all)-1]
	} else if errs := errorLine.FindAllStringIndex(tail, -1); len(errs) > 0 {
		for _, at := range slices.Backward(all) {
			if at[0] > errs[len(errs)-1][0] {
				chosen = at
			}
		}
	}
	return " (line " + tail[chosen[2]:chosen[3]] + " of the script)"
}

// failedToStart is the fault of a program that never ran.
func failedToStart(p *program, err error) error {
	why := err.Error()
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		why = pe.Err.Error()
	}
	return executor.NewProblem(event.Runtime, 500, p.title, "%s did not start in directory %q: %s", p.argv[0], p.directory, why)
}
