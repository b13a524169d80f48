package process

import (
	"context"
	"fmt"
	"time"
)

// identity names a process group for ever: a pid alone is used again.
type identity struct {
	boot  string
	pid   int
	start int // of the platform's own counting
	group int
	key   string // idempotency key of the attempt, in the environment of all its processes
}

func (id identity) handle() map[string]any {
	return map[string]any{"boot": id.boot, "pid": id.pid, "start": id.start, "group": id.group, "key": id.key}
}

func parseHandle(handle any) (identity, error) {
	m, _ := handle.(map[string]any)
	var id identity
	var ok [5]bool
	id.boot, ok[0] = m["boot"].(string)
	id.pid, ok[1] = m["pid"].(int)
	id.start, ok[2] = m["start"].(int)
	id.group, ok[3] = m["group"].(int)
	id.key, ok[4] = m["key"].(string)
	if ok != [5]bool{true, true, true, true, true} || id.pid <= 1 || id.group <= 1 {
		return id, fmt.Errorf("recover a process: the journaled handle is none: want boot, pid, start, group, key")
	}
	return id, nil
}

// Recover ends what is left of an attempt whose Downbeat died: SIGTERM to its
// group, after the grace SIGKILL, until it is gone. It does nothing after a
// restart of the machine, and never touches a process that only has the pid.
func (e *Executor) Recover(ctx context.Context, handle any) error {
	id, err := parseHandle(handle)
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return fmt.Errorf("recover process %d: %w", id.pid, err)
	}
	if boot != id.boot || !id.lives() {
		return nil
	}
	if err := id.terminate(); err != nil {
		return fmt.Errorf("recover process %d: %w", id.pid, err)
	}
	if gone(ctx, id, e.grace) {
		return nil
	}
	if err := id.kill(); err != nil {
		return fmt.Errorf("recover process %d: %w", id.pid, err)
	}
	if !gone(context.WithoutCancel(ctx), id, 5*time.Second) {
		return fmt.Errorf("recover process %d: it is still there after SIGKILL; end it by hand, then resume the run", id.pid)
	}
	return nil
}

// gone waits until nothing of the group lives, at most for d.
func gone(ctx context.Context, id identity, d time.Duration) bool {
	limit, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for wait := time.Millisecond; id.lives(); wait = min(2*wait, patience) {
		if waitFor(limit.Done(), wait) {
			return !id.lives()
		}
	}
	return true
}
