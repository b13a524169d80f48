//go:build unix

package sqlite

import (
	"errors"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile takes a lock without waiting; one that excludes all others or one
// that only those exclude.
func lockFile(f *os.File, exclusive bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func unlockFile(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // closing would do it too
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// maxSocketPath is what every unix has room for; a longer one does without pokes.
const maxSocketPath = 100

// listen opens the socket on which others poke this owner; nil without one.
func (o *owner) listen(dir string) *net.UnixConn {
	path := filepath.Join(dir, ownersDir, o.name+sockSuffix)
	if o.name == "" || len(path) > maxSocketPath {
		return nil
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil // the fallback notices changes too, later
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = c.Close()
		return nil
	}
	return c
}

// send never waits: a receiver whose queue is full has been told already.
func (s *sender) send(path string) {
	if len(path) > maxSocketPath {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd == 0 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			return
		}
		unix.CloseOnExec(fd)
		s.fd = fd + 1
	}
	_ = unix.Sendto(s.fd-1, []byte{1}, unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: path})
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd != 0 {
		_ = unix.Close(s.fd - 1)
		s.fd = 0
	}
}
