//go:build unix

package link

import (
	"os/exec"
	"syscall"
)

// together makes the end of cmd that of its helpers too: git has one for each
// transport, which would wait for a server that hangs.
func together(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // git removes its locks then
}
