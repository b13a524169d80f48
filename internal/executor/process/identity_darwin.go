package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const zombie = 5 // SZOMB of sys/proc.h

func ownBinary() (string, error) { return os.Executable() }

// groupLives reports whether the group has a process.
func groupLives(group int) bool { return !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) }

// groupOf cannot look into other processes here, so it counts only groups
// whose leader is there.
func groupOf(int, string) bool { return false }

func bootID() (string, error) {
	t, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "", fmt.Errorf("read the time of boot: %w", err)
	}
	return fmt.Sprintf("%d.%06d", t.Sec, t.Usec), nil
}

// startTime is when a process started, in microseconds.
func startTime(pid int) (int, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, fmt.Errorf("read process %d: %w", pid, err)
	}
	if int(p.Proc.P_pid) != pid || p.Proc.P_stat == zombie {
		return 0, fmt.Errorf("process %d is not there", pid)
	}
	t := p.Proc.P_starttime
	return int(t.Sec)*1_000_000 + int(t.Usec), nil
}
