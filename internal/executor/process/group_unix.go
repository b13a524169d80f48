//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch starts our own binary, which waits at the gate and then becomes the
// program. The same pid, so its identity is known before the program runs.
func (c *child) launch() error {
	self, err := ownBinary()
	if err != nil {
		return fmt.Errorf("find the binary of Downbeat: %w", err)
	}
	syscall.ForkLock.RLock()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(pair[0])
		syscall.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return fmt.Errorf("make the gate: %w", err)
	}
	c.gate = os.NewFile(uintptr(pair[0]), "gate")
	theirs := os.NewFile(uintptr(pair[1]), "gate")
	defer theirs.Close() //nolint:errcheck // the child has its own
	c.cmd.Args = append([]string{gateName, c.cmd.Path}, c.cmd.Args...)
	c.cmd.Path = self
	c.cmd.ExtraFiles = []*os.File{theirs}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c.cmd.Start()
}

// open lets the program through and waits until it runs.
func (c *child) open() error {
	defer c.gate.Close() //nolint:errcheck // has been read to its end
	if _, err := c.gate.Write([]byte{1}); err != nil {
		return fmt.Errorf("open the gate: %w", err)
	}
	// The other end closes when the program is loaded; else it says why not.
	why, err := io.ReadAll(io.LimitReader(c.gate, 1000))
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("wait for the program: %w", err)
	}
	if len(why) > 0 {
		return errors.New(string(why))
	}
	return nil
}

func (c *child) terminate() {
	_ = syscall.Kill(-c.pid, syscall.SIGTERM) // it may be gone, which is what we want
	_ = syscall.Kill(-c.pid, syscall.SIGCONT) // a stopped process would not notice
}

func (c *child) kill() {
	_ = syscall.Kill(-c.pid, syscall.SIGKILL) // it may be gone, which is what we want
}

func (c *child) groupLives() bool { return groupLives(c.pid) }

func exitOf(state *os.ProcessState) exit {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exit{code: 128 + int(status.Signal()), signal: status.Signal().String()}
	}
	return exit{code: state.ExitCode()}
}

func identify(pid int) (identity, error) {
	boot, err := bootID()
	if err != nil {
		return identity{}, err
	}
	start, err := startTime(pid)
	if err != nil {
		return identity{}, err
	}
	return identity{boot: boot, pid: pid, start: start, group: pid}, nil
}

// lives reports whether the leader or, where that can be told, another process
// of the group is there.
func (id identity) lives() bool {
	if start, err := startTime(id.pid); err == nil {
		// The leader, or another process with its pid: then the group is over,
		// since no pid is given out while a group has that number.
		return start == id.start
	}
	return groupOf(id.group, id.key)
}

func (id identity) terminate() error {
	if err := id.signal(unix.SIGTERM); err != nil {
		return err
	}
	return id.signal(unix.SIGCONT)
}

func (id identity) kill() error { return id.signal(unix.SIGKILL) }

func (id identity) signal(s syscall.Signal) error {
	err := syscall.Kill(-id.group, s)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal %s to the group %d: %w", unix.SignalName(s), id.group, err)
	}
	return nil
}
