package process

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// launch starts the program. There is no gate here: the program runs for a
// moment before it is journaled.
func (c *child) launch() error {
	c.cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP, CmdLine: c.line}
	return c.cmd.Start()
}

// ownBinary is this binary.
func ownBinary() (string, error) { return os.Executable() }

func (c *child) open() error { return nil }

// terminate asks the tree to end; programs without a window do not hear it.
func (c *child) terminate() { taskkill(c.pid, false) }

func (c *child) kill() { taskkill(c.pid, true) }

func (c *child) groupLives() bool { return false }

func taskkill(pid int, force bool) {
	args := []string{"taskkill", "/T", "/PID", strconv.Itoa(pid)}
	if force {
		args = append(args, "/F")
	}
	path, err := exec.LookPath("taskkill")
	if err != nil {
		return
	}
	_ = (&exec.Cmd{Path: path, Args: args}).Run() // it may be gone, which is what we want
}

func exitOf(state *os.ProcessState) exit { return exit{code: state.ExitCode()} }

func bootID() (string, error) { return "windows", nil }

// identify names a process by its time of creation, which no other with its
// pid has.
func identify(pid int) (identity, error) {
	start, err := startTime(pid)
	return identity{boot: "windows", pid: pid, start: start, group: pid}, err
}

func startTime(pid int) (int, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid)) //nolint:gosec // a pid of Windows has 32 bits
	if err != nil {
		return 0, fmt.Errorf("read process %d: %w", pid, err)
	}
	defer windows.CloseHandle(h) //nolint:errcheck // only read
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return 0, fmt.Errorf("read process %d: %w", pid, err)
	}
	if exited.HighDateTime != 0 || exited.LowDateTime != 0 {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return int(created.Nanoseconds()), nil
}

func (id identity) lives() bool {
	start, err := startTime(id.pid)
	return err == nil && start == id.start
}

func (id identity) terminate() error { taskkill(id.pid, false); return nil }

func (id identity) kill() error { taskkill(id.pid, true); return nil }
