package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
)

// task is one attempt with its container.
type task struct {
	e       *Executor
	engine  *client.Client
	r       *executor.Request
	plan    *plan
	grace   time.Duration
	id      string // of the container
	feeding sync.WaitGroup
	closing func() // ends the feeding
	returns int    // how often the engine went away and came back
}

// surely is how much input a connection holds for a container that does not
// read yet. Input of this size is with the engine, whole, before the container
// starts; a longer one may be cut short by a crash of Downbeat.
const surely = 64 << 10

func (t *task) execute(ctx context.Context) (executor.Result, error) {
	started, err := t.obtain(ctx)
	if err != nil {
		return executor.Result{}, err
	}
	if !started {
		if err := t.start(ctx); err != nil {
			_ = t.discard(ctx) // the reason counts, and it is tried again
			return executor.Result{}, err
		}
	}
	out := newOutput(t.r.Log, t.plan.result, t.e.maxOutput)
	state, err := t.follow(ctx, out)
	t.stopFeeding()
	switch {
	case ctx.Err() != nil:
		_ = t.discard(ctx) // it is tried again
		return executor.Result{}, context.Cause(ctx)
	case errors.Is(err, errTooMuch):
		_ = t.discard(ctx) // it is tried again
		return executor.Result{}, problem("Output exceeded", "the container printed more than %d bytes to be returned and was ended; write to a volume, or ask for return: none or code", t.e.maxOutput)
	case err != nil:
		return executor.Result{}, err
	}
	if t.plan.cleanup == "always" {
		if err := t.remove(ctx); err != nil {
			t.e.doom(t.id)
		}
	}
	return t.outcome(state, out)
}

// outcome makes the task's raw output, D27.
func (t *task) outcome(state *container.State, out *output) (executor.Result, error) {
	code := state.ExitCode
	if code != 0 && t.plan.result != "code" && t.plan.result != "all" {
		what := fmt.Sprintf("exit code %d", code)
		switch {
		case state.OOMKilled:
			what += ": the container ran out of memory"
		case code == 128+9 && executor.LastLine(out.tail()) == "":
			what += ": the container was killed, by hand or with its engine"
		case executor.LastLine(out.tail()) != "":
			what += ": " + executor.LastLine(out.tail())
		case state.Error != "":
			what += ": " + state.Error
		}
		if t.returns > 0 {
			what += "; the engine went away and came back meanwhile, which ends containers"
		}
		p := problem("Container failed", "%s", what)
		p.More = map[string]any{"exitCode": code, "stderr": out.tail(), "container": t.plan.name}
		return executor.Result{}, p
	}
	var v any
	switch t.plan.result {
	case "stdout":
		v = out.text(stdout)
	case "stderr":
		v = out.text(stderr)
	case "code":
		v = code
	case "all":
		v = map[string]any{"code": code, "stdout": out.text(stdout), "stderr": out.text(stderr)}
	}
	return executor.Result{Output: v}, nil
}

// obtain finds the attempt's container, or makes it; started says that it has
// been started, by a Downbeat before this one.
func (t *task) obtain(ctx context.Context) (started bool, err error) {
	found, err := t.find(ctx)
	if err != nil {
		return false, err
	}
	if found != "" {
		t.id = found
		state, err := t.inspect(ctx)
		switch {
		case errdefs.IsNotFound(err):
		case err != nil:
			return false, explained("Container not found", "look for the container of the attempt", err)
		case state.Status == container.StateCreated:
			return false, nil
		case state.Status == container.StateDead || state.Status == container.StateRemoving || t.plan.stdin != nil && len(*t.plan.stdin) > surely:
			if err := t.discard(ctx); err != nil {
				return false, explained("Container not started", "remove the container of an attempt that was cut short", err)
			}
		default:
			t.note("the container %s of this attempt is adopted", t.plan.name)
			return true, nil
		}
	}
	return false, t.create(ctx)
}

// find gives the id of the attempt's container; "" when there is none.
func (t *task) find(ctx context.Context) (string, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := t.engine.ContainerList(limited, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label",
		labelRun+"="+t.r.Run.String(), labelActivation+"="+string(t.r.Activation), labelAttempt+"="+strconv.Itoa(t.r.Attempt))})
	if err != nil {
		return "", explained("Container not found", "look for the container of the attempt", err)
	}
	for _, c := range list.Items {
		// Engines differ in whether several labels must all be there.
		if c.Labels[labelRun] == t.r.Run.String() && c.Labels[labelActivation] == string(t.r.Activation) && c.Labels[labelAttempt] == strconv.Itoa(t.r.Attempt) {
			return c.ID, nil
		}
	}
	return "", nil
}

func (t *task) inspect(ctx context.Context) (*container.State, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := t.engine.ContainerInspect(limited, t.id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, err
	}
	if c.Container.State == nil {
		return nil, errors.New("the engine gave a container without a state")
	}
	return c.Container.State, nil
}

// create makes the container, which does nothing yet.
func (t *task) create(ctx context.Context) error {
	own, err := t.image(ctx)
	if err != nil {
		return err
	}
	p := t.plan
	config, host := p.config, p.host
	config.Image = p.image
	switch {
	case p.command != "":
		argv := process.ShellCommand(p.command, p.args)
		config.Entrypoint, config.Cmd = argv[:2], argv[2:]
	case len(p.args) > 0 && len(own.entrypoint) == 0:
		config.Cmd = append(append([]string{}, own.command...), p.args...)
	case len(p.args) > 0:
		config.Cmd = p.args
	}
	if p.stdin != nil {
		config.OpenStdin, config.StdinOnce, config.AttachStdin = true, true, true
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	made, err := t.engine.ContainerCreate(limited, client.ContainerCreateOptions{Name: p.name, Config: &config, HostConfig: &host})
	if disconnected(err) && ctx.Err() == nil {
		return t.made(ctx, err)
	}
	if errdefs.IsConflict(err) || err != nil && strings.Contains(err.Error(), "name is already in use") { // Podman says 500
		return problem("Container not started", "there is a container with the name %s; give each its own by an expression, or let them be removed by lifetime: {cleanup: always}", p.name)
	}
	if err != nil {
		return explained("Container not started", fmt.Sprintf("make the container %s of the image %s", p.name, p.image), err)
	}
	t.id = made.ID
	return nil
}

// made looks for the container that an engine which went away may have made
// before it answered.
func (t *task) made(ctx context.Context, cause error) error {
	err := t.persist(ctx, func() (err error) {
		t.id, err = t.find(ctx)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case t.id == "":
		return explained("Container not started", "make the container "+t.plan.name, cause)
	}
	return nil
}

// start journals what is about to run, and lets it run.
func (t *task) start(ctx context.Context) error {
	handle := map[string]any{"engine": t.engine.DaemonHost(), "container": t.id, "name": t.plan.name, "cleanup": t.plan.cleanup}
	if err := t.r.Bind(ctx, handle); err != nil {
		return err
	}
	if t.plan.stdin != nil {
		if err := t.feed(ctx, *t.plan.stdin); err != nil {
			return explained("Container not started", "attach to the input of the container "+t.plan.name, err)
		}
	}
	err := t.letRun(ctx)
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*event.Problem](err); ok || ctx.Err() != nil {
		return cmp.Or[error](context.Cause(ctx), p)
	}
	p := explained("Container not started", fmt.Sprintf("start the container %s of the image %s", t.plan.name, t.plan.image), err)
	if t.plan.command != "" && strings.Contains(p.Detail, `"sh"`) {
		p.Detail += "; the image has no sh, so it takes no command: use arguments"
	}
	return p
}

// letRun starts the container. When the engine goes away before it has answered,
// the container tells whether it was started; its input is lost if it was not.
func (t *task) letRun(ctx context.Context) (err error) {
	for range 5 {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		_, err = t.engine.ContainerStart(limited, t.id, client.ContainerStartOptions{})
		cancel()
		if !disconnected(err) || ctx.Err() != nil {
			return err
		}
		state, err := t.state(ctx)
		switch {
		case err != nil:
			return err
		case state.Status != container.StateCreated:
			return nil
		case t.plan.stdin != nil:
			return problem("Container not started", "the engine went away while the container %s was given its input", t.plan.name)
		}
	}
	return err
}

// feed gives the input to the engine before the container runs, as much of it
// as the connection holds; the rest while it runs.
func (t *task) feed(ctx context.Context, text string) error {
	attached, err := t.engine.ContainerAttach(ctx, t.id, client.ContainerAttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return err
	}
	first := text[:min(len(text), surely)]
	if _, err := attached.Conn.Write([]byte(first)); err != nil {
		attached.Close()
		return err
	}
	t.closing = attached.Close
	if len(text) == len(first) {
		return attached.CloseWrite()
	}
	t.feeding.Go(func() {
		// A program need not read its input: then the connection breaks, which is no error.
		_, err := attached.Conn.Write([]byte(text[len(first):]))
		_ = errors.Join(err, attached.CloseWrite()) // see above
	})
	return nil
}

func (t *task) stopFeeding() {
	if t.closing != nil {
		t.closing() // wakes the writer
		t.feeding.Wait()
		t.closing = nil
	}
}

// discard ends the container, with the grace, and removes it. It works although
// ctx may be over; what cannot be removed now is left to Reap.
func (t *task) discard(ctx context.Context) error {
	t.stopFeeding()
	if t.id == "" {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	limited, cancel := context.WithTimeout(ctx, t.grace+5*time.Second)
	defer cancel()
	seconds := int(t.grace / time.Second)
	_, _ = t.engine.ContainerStop(limited, t.id, client.ContainerStopOptions{Timeout: &seconds}) // removing it ends it too
	err := t.remove(ctx)
	if err != nil {
		t.e.doom(t.id)
	}
	return err
}

// remove removes the container and its nameless volumes.
func (t *task) remove(ctx context.Context) error {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	_, err := t.engine.ContainerRemove(limited, t.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // it is being removed
		return nil
	}
	if t.r != nil {
		t.note("the container %s could not be removed: %v", t.id, err)
	}
	return err
}
