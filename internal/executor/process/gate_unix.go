//go:build linux || darwin

package process

import (
	"errors"
	"os"
	"syscall"
)

// gateName is the first argument by which our binary knows that it is a gate.
const gateName = "downbeat: gate"

// The gate is an init function, so that every binary that can start programs
// (the tests' too) has it, and so that it is over before the rest of the
// program has begun. It costs about 2 ms.
func init() {
	if len(os.Args) > 2 && os.Args[0] == gateName {
		gate()
	}
}

// gate waits on file 3 for the byte that opens it and becomes the program:
// os.Args[1] is its file, the rest its arguments. When the other end is closed
// instead, Downbeat has died and nothing runs.
func gate() {
	const file = 3
	var b [1]byte
	for {
		n, err := syscall.Read(file, b[:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if n != 1 {
			syscall.Exit(125)
		}
		break
	}
	syscall.CloseOnExec(file)
	err := syscall.Exec(os.Args[1], os.Args[2:], os.Environ())
	_, _ = syscall.Write(file, []byte(err.Error())) // nobody is left to tell
	syscall.Exit(126)
}
