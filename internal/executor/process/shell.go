package process

import (
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/shellwords"
)

// shell makes the program of `run: shell`, D28: sh -c command sh arguments; on
// Windows the shell that the document names, else an sh that is on the PATH.
func (e *Executor) shell(r *executor.Request) (*program, error) {
	var a shellArguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return nil, err
	}
	if strings.TrimSpace(a.Command) == "" {
		return nil, badArguments("command is empty; it must be a command line for the shell")
	}
	if hasZero(a.Command) {
		return nil, badArguments("command holds a zero byte, which no shell takes")
	}
	args, err := Words(a.Arguments)
	if err != nil {
		return nil, err
	}
	variables, err := e.variables(r, a.Environment)
	if err != nil {
		return nil, err
	}
	p := &program{
		environment: variables,
		directory:   directory(r),
		stdin:       input(a.Stdin),
		result:      orStdout(a.Return),
		title:       "Command failed",
		remove:      func() {},
	}
	if e.system == "windows" && a.Shell != "" {
		return p, p.windows(a.Shell, a.Command, args)
	}
	path, ok := find(variables, "/bin/sh", "sh")
	if !ok {
		return nil, e.noShell()
	}
	p.path, p.argv = path, ShellCommand(a.Command, args)
	return p, nil
}

// ShellCommand is the argv by which sh carries out a command line with its
// arguments, D28.
func ShellCommand(command string, args []string) []string {
	if len(args) > 0 && shellwords.TakesArguments(command) {
		command = strings.TrimSpace(command) + ` "$@"`
	}
	return append([]string{"sh", "-c", command, "sh"}, args...)
}

func (e *Executor) noShell() *event.Problem {
	hint := "install one at /bin/sh"
	if e.system == "windows" {
		hint = "write metadata.downbeat.shell: powershell (or cmd) in the document for a shell of Windows, or put an sh on the PATH (Git for Windows has one)"
	}
	return executor.NewProblem(event.Runtime, 500, "Command failed", "there is no POSIX shell sh on this machine: %s", hint)
}

// directory is where the program runs.
func directory(r *executor.Request) string {
	if r.Directory != "" {
		return r.Directory
	}
	return r.RunDirectory
}
