//go:build !race

package javascript

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// commandName is the first argument by which our binary knows that it is the engine.
const commandName = "downbeat: javascript"

// DefaultTime is how long a script may run when nothing else is said.
const DefaultTime = 10 * time.Minute

// Command is the beginning of the command line by which this binary becomes
// the engine; the file of the script and its arguments follow. 0 stands for
// the defaults.
func Command(memory int64, limit time.Duration) []string {
	if memory <= 0 {
		memory = DefaultMemory
	}
	if limit <= 0 {
		limit = DefaultTime
	}
	return []string{commandName, strconv.FormatInt(memory, 10), limit.String()}
}

// The engine is an init function, as the gate of executor/process is, so that
// every binary that can run scripts (the tests' too) has it.
func init() {
	if len(os.Args) > 3 && os.Args[0] == commandName {
		syscall.Exit(command(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]))
	}
}

// timedOut is the exit code of timeout(1).
const timedOut = 124

func command(memory, limit, file string, args []string) int {
	script, err := read(file)
	if err != nil {
		return complain(err)
	}
	script.Arguments = args
	if script.Memory, err = strconv.ParseInt(memory, 10, 64); err != nil {
		return complain(fmt.Errorf("memory of a script: %w", err))
	}
	d, err := time.ParseDuration(limit)
	if err != nil {
		return complain(fmt.Errorf("time of a script: %w", err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), d) //nolint:forbidigo // the process is the context
	defer cancel()
	// Not through the engine, which need not look for days.
	defer context.AfterFunc(ctx, func() {
		complain(fmt.Errorf("Error: the script ran longer than %s, the limit of Downbeat's own JavaScript engine; make it shorter, or run it with Node.js", d)) //nolint:staticcheck // as scripts report
		syscall.Exit(timedOut)
	})()
	code, err := Run(context.WithoutCancel(ctx), script)
	if err != nil {
		return complain(err)
	}
	return code
}

func complain(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, err) //nolint:forbidigo // this process is the engine; nobody else to tell
	return 1
}
