package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// child is a started program with our ends of its pipes. Its platform's part
// is the gate and the group (group_unix.go, group_windows.go).
type child struct {
	cmd     *exec.Cmd
	gate    *os.File // nil where there is none
	stdin   *os.File // nil when the program reads nothing
	stdout  *os.File
	stderr  *os.File
	feeding sync.WaitGroup
	done    chan struct{} // closed when the program itself has ended
	pid     int
	line    string // see program
}

// exit is how a program ended.
type exit struct {
	code   int    // 128 + the signal when one ended it, as shells say
	signal string // "killed", …
}

// patience is how long one look at something that should end soon lasts.
const patience = 100 * time.Millisecond

// start makes the process, held at the gate where the platform has one.
func start(p *program) (*child, error) {
	c := &child{done: make(chan struct{}), line: p.line}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the child has its own
		}
	}()
	pipe := func(toChild bool) (ours, other *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, fmt.Errorf("make a pipe: %w", err)
		}
		if toChild {
			r, w = w, r
		}
		theirs = append(theirs, w)
		return r, w, nil
	}
	c.cmd = &exec.Cmd{Path: p.path, Args: p.argv, Env: p.environment, Dir: p.directory}
	var out, errs *os.File
	var err error
	if c.stdout, out, err = pipe(false); err != nil {
		return nil, err
	}
	c.cmd.Stdout = out
	if c.stderr, errs, err = pipe(false); err != nil {
		c.close()
		return nil, err
	}
	c.cmd.Stderr = errs
	if p.stdin != nil {
		ours, in, err := pipe(true)
		if err != nil {
			c.close()
			return nil, err
		}
		c.stdin, c.cmd.Stdin = ours, in
	}
	if err := c.launch(); err != nil {
		c.close()
		return nil, err
	}
	c.pid = c.cmd.Process.Pid
	go func() {
		_ = c.cmd.Wait() // ProcessState says all
		close(c.done)
	}()
	return c, nil
}

// close closes what is still open of our ends.
func (c *child) close() {
	for _, f := range []*os.File{c.gate, c.stdin, c.stdout, c.stderr} {
		if f != nil {
			_ = f.Close() // twice is harmless
		}
	}
}

// discard ends a child that was not let through the gate.
func (c *child) discard() {
	c.kill()
	<-c.done
}

// feed writes the program's input while it runs.
func (c *child) feed(text string) {
	c.feeding.Go(func() {
		// A program need not read its input: then the pipe breaks, which is no error.
		_, err := c.stdin.WriteString(text)
		_ = errors.Join(err, c.stdin.Close()) // see above
	})
}

func (c *child) finishFeeding() {
	if c.stdin != nil {
		_ = c.stdin.Close() // wakes the writer
		c.feeding.Wait()
	}
}

// await waits for the program, and ends its group when ctx is done before
// (false then). In both cases nothing of the group is left when it returns,
// unless the system does not let us end it (see stuck).
func (c *child) await(ctx context.Context, grace time.Duration) bool {
	ended := true
	select {
	case <-c.done:
		grace = min(grace, 2*time.Second)
	case <-ctx.Done():
		// What came first decides, when both are there.
		select {
		case <-c.done:
		default:
			ended = false
		}
	}
	if ended && !c.groupLives() {
		return true
	}
	c.terminate()
	if !c.groupGone(grace) {
		c.kill()
		// What another user owns (sudo) may stay in spite of that.
		c.groupGone(5 * time.Second)
	}
	return ended
}

// stuck reports that the program runs on although it was killed.
func (c *child) stuck() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// groupGone waits for the whole group to end, at most for d.
func (c *child) groupGone(d time.Duration) bool {
	limit, cancel := context.WithTimeout(context.Background(), d) //nolint:forbidigo // only a timer: the caller's ctx is done
	defer cancel()
	select {
	case <-c.done:
	case <-limit.Done():
		return false
	}
	for wait := time.Millisecond; c.groupLives(); wait = min(2*wait, patience) {
		if waitFor(limit.Done(), wait) {
			return false
		}
	}
	return true
}

// waitFor waits for the channel, at most for d; it says whether it was closed.
func waitFor(done <-chan struct{}, d time.Duration) bool {
	limit, cancel := context.WithTimeout(context.Background(), d) //nolint:forbidigo // only a timer
	defer cancel()
	select {
	case <-done:
		return true
	case <-limit.Done():
		return false
	}
}

// exit says how the program ended; only after await.
func (c *child) exit() exit {
	<-c.done
	return exitOf(c.cmd.ProcessState)
}

// handle is what Recover finds the process by.
func (c *child) handle(key string) (map[string]any, error) {
	id, err := identify(c.pid)
	if err != nil {
		return nil, executor.NewProblem(event.Runtime, 500, "Process not identified", "%v", err)
	}
	id.key = key
	return id.handle(), nil
}
