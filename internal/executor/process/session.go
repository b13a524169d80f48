package process

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

// Session is a program that a task talks to by its standard input and output.
// It lives in a process group of its own, as the programs of `run: shell` do.
type Session struct {
	Stdin  io.WriteCloser
	Stdout io.Reader

	child   *child
	grace   time.Duration
	copying chan struct{} // closed when its stderr has been read
}

// Open starts the program of a session: journaled before it runs, with the
// environment of programs and the author's. What it prints on stderr goes to
// the log. Errors are problems, or the cause of the context's end.
func (e *Executor) Open(ctx context.Context, r *executor.Request, argv []string, authored map[string]any) (*Session, error) {
	variables, err := e.variables(r, authored)
	if err != nil {
		return nil, err
	}
	path, ok := find(variables, argv[0])
	if name, rest, spaced := strings.Cut(argv[0], " "); !ok && spaced {
		return nil, badArguments("there is no program %q on this machine's PATH; the command is %q alone, and %q belongs into its arguments", argv[0], name, rest)
	}
	if !ok {
		return nil, badArguments("there is no program %q on this machine's PATH", argv[0])
	}
	p := &program{path: path, argv: argv, environment: variables, directory: directory(r), stdin: new(string), title: "Program failed"}
	c, err := start(p)
	if err != nil {
		return nil, failedToStart(p, err)
	}
	handle, err := c.handle(r.IdempotencyKey)
	if err == nil {
		err = r.Bind(ctx, handle)
	}
	if err != nil {
		c.discard()
		c.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if err := c.open(); err != nil {
		c.discard()
		c.close()
		return nil, failedToStart(p, err)
	}
	s := &Session{Stdin: c.stdin, Stdout: c.stdout, child: c, grace: r.Grace, copying: make(chan struct{})}
	if s.grace <= 0 {
		s.grace = e.grace
	}
	log := r.Log.Stream("stderr")
	go func() {
		defer close(s.copying)
		_, _ = io.Copy(log, c.stderr) // a log that cannot be written must not fail the task
	}()
	return s, nil
}

// patienceAtEnd is how long a program has to end by itself once its input is closed.
const patienceAtEnd = 2 * time.Second

// Close ends the session and all of its process group: its input is closed,
// then come SIGTERM and, after the grace, SIGKILL. It works although ctx is
// over. It returns how the program ended: nil when by itself, or by us.
func (s *Session) Close(ctx context.Context) error {
	c := s.child
	_ = c.stdin.Close() // the reader may be gone
	// A program that still prints must not hang in it.
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, c.stdout) // nobody wants it
	}()
	byItself := waitFor(c.done, min(s.grace, patienceAtEnd))
	over, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	c.await(over, s.grace)
	waitFor(s.copying, 5*patience) // who left the group may hold it open
	c.close()
	<-s.copying
	<-drained
	if exit := c.exit(); byItself && exit.code != 0 {
		return failedWith(&program{title: "Program failed"}, exit, "")
	}
	return nil
}

// Ended waits for the program to end, at most for a moment, and says how; nil
// when it still runs.
func (s *Session) Ended() error {
	if !waitFor(s.child.done, patience) {
		return nil
	}
	if exit := s.child.exit(); exit.code != 0 {
		return failedWith(&program{title: "Program failed"}, exit, "")
	}
	return errors.New("the program has ended")
}
