package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ownBinary is this binary even after it was replaced on disk.
func ownBinary() (string, error) { return "/proc/self/exe", nil }

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// startTime is when a process started, in clock ticks since boot; an error
// when there is none, or only its remains.
func startTime(pid int) (int, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	if s.dead {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return s.start, nil
}

type stat struct {
	dead         bool
	group, start int
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	// The second field is the name in parentheses; it may hold anything.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 {
		return stat{}, fmt.Errorf("read process %d: its stat has %d fields", pid, len(f))
	}
	group, err1 := strconv.Atoi(f[2])
	start, err2 := strconv.Atoi(f[19])
	return stat{dead: f[0] == "Z" || f[0] == "X", group: group, start: start}, errors.Join(err1, err2)
}

// groupLives reports whether a process of the group runs; those that have
// ended and only wait to be reaped do not count.
func groupLives(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	return len(members(group)) > 0
}

// groupOf reports whether a process runs that is of the group and of the
// attempt with this idempotency key.
func groupOf(group int, key string) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	mark := []byte("DOWNBEAT_IDEMPOTENCY_KEY=" + key + "\x00")
	for _, pid := range members(group) {
		if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); err == nil && bytes.Contains(b, mark) {
			return true
		}
	}
	return false
}

// members lists the processes of a group.
func members(group int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close() //nolint:errcheck // only read
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var list []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && s.group == group && !s.dead {
			list = append(list, pid)
		}
	}
	return list
}
