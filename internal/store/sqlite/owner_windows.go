package sqlite

import (
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes a lock without waiting; one that excludes all others or one
// that only those exclude.
func lockFile(f *os.File, exclusive bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
}

func unlockFile(f *os.File) {
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, new(windows.Overlapped)) // closing would do it too
}

// syncDir does nothing: NTFS journals its directories.
func syncDir(string) error { return nil }

// listen returns nothing: Windows has no datagram sockets in the file system,
// so the fallback notices what others write.
func (o *owner) listen(string) *net.UnixConn { return nil }

func (s *sender) send(string) {}

func (s *sender) close() {}
