package container

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// pause is between two looks at an engine that is away, or whose log has ended
// before the container; it doubles up to maxPause.
const pause, maxPause = 50 * time.Millisecond, 2 * time.Second

// follow reads what the container prints until it has ended.
func (t *task) follow(ctx context.Context, out *output) (*container.State, error) {
	for between := pause; ; between = min(2*between, maxPause) {
		err := t.readLog(ctx, out, true)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errTooMuch):
			return nil, err
		case errdefs.IsNotImplemented(err):
			return t.unseen(ctx)
		}
		state, err := t.state(ctx)
		if err != nil {
			return nil, err
		}
		if hasEnded(state) {
			// An engine may end a log that it follows a moment too early.
			if err = t.persist(ctx, func() error { return t.readLog(ctx, out, false) }); err != nil {
				return nil, t.lost(ctx, "read the log of the container", err)
			}
			return state, nil
		}
		if !wait(ctx, between) {
			return nil, context.Cause(ctx)
		}
	}
}

// unseen is for a container whose log goes elsewhere, by the engine's
// configuration, and cannot be read.
func (t *task) unseen(ctx context.Context) (*container.State, error) {
	if t.plan.result == "code" || t.plan.result == "none" {
		return t.await(ctx)
	}
	_ = t.discard(ctx) // it is tried again
	return nil, problem("Output not readable", "the engine's log driver keeps nothing to read back, so return: %s has nothing to return; set the log driver json-file or local, or ask for return: code", t.plan.result)
}

// readLog reads the container's log from the beginning to its end.
func (t *task) readLog(ctx context.Context, out *output, follow bool) error {
	log, err := t.engine.ContainerLogs(ctx, t.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow})
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // only read
	return out.read(log)
}

// await waits until the container has ended.
func (t *task) await(ctx context.Context) (*container.State, error) {
	for between := pause; ; between = min(2*between, maxPause) {
		state, err := t.state(ctx)
		if err != nil || hasEnded(state) {
			return state, err
		}
		ended := t.engine.ContainerWait(ctx, t.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case <-ended.Result:
			continue
		case <-ended.Error: //nolint:errcheck // state tells what it means
		}
		if !wait(ctx, between) {
			return nil, context.Cause(ctx)
		}
	}
}

func hasEnded(s *container.State) bool {
	return s.Status == container.StateExited || s.Status == container.StateDead || s.Status == "stopped" // Podman's word
}

// state asks for the state of the container.
func (t *task) state(ctx context.Context) (*container.State, error) {
	var state *container.State
	err := t.persist(ctx, func() (err error) {
		state, err = t.inspect(ctx)
		return err
	})
	if err != nil {
		return nil, t.lost(ctx, "look at the container", err)
	}
	return state, nil
}

// lost is the fault when nobody can tell what became of the container.
func (t *task) lost(ctx context.Context, doing string, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errTooMuch):
		return err
	case errdefs.IsNotFound(err), errdefs.IsConflict(err): // or it is being removed
		return problem("Container gone", "the container %s was removed by somebody else before its result was read", t.id)
	case away(err):
		return problem("Container engine not reachable", "%s %s: the engine went away and did not come back within %s: %v", doing, t.id, t.e.patience, err)
	}
	return explained("Container lost", doing+" "+t.id, err)
}

// persist asks until the engine answers, as long as the patience lasts.
func (t *task) persist(ctx context.Context, ask func() error) error {
	limited, cancel := context.WithTimeout(ctx, t.e.patience)
	defer cancel()
	for between := pause; ; between = min(2*between, maxPause) {
		err := ask()
		if !away(err) || errors.Is(err, errTooMuch) || ctx.Err() != nil {
			if err == nil && between > pause {
				t.returns++
			}
			return err
		}
		if !wait(limited, between) {
			return err
		}
	}
}
