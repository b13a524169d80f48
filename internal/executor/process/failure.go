package process

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"

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
	if all := errorLine.FindAllString(tail, -1); p.traced && len(all) > 0 {
		line = executor.LastLine(all[len(all)-1])
	}
	if line != "" {
		what += ": " + line
	}
	problem := executor.NewProblem(event.Runtime, 500, p.title, "%s", what)
	problem.More = map[string]any{"exitCode": exit.code, "stderr": tail}
	return problem
}

// failedToStart is the fault of a program that never ran.
func failedToStart(p *program, err error) error {
	why := err.Error()
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		why = pe.Err.Error()
	}
	return executor.NewProblem(event.Runtime, 500, p.title, "%s did not start in directory %q: %s", p.argv[0], p.directory, why)
}
