// Package executortest holds the laws that every executor keeps (Exercise),
// and requests for tests of a single one.
package executortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Subject is an executor with arguments that bring it into each situation.
type Subject struct {
	Executor executor.Executor
	Kind     string
	Works    any // arguments that give a result soon
	Fails    any // arguments that give a problem soon; nil when the kind cannot fail
	Hangs    any // arguments that would run for ever; nil when the kind cannot hang
	// Hanging is closed, or sent to, when Hangs has begun to hang; nil: at once.
	Hanging <-chan struct{}
}

// Exercise checks the laws of executors:
//
//	E1 the output is a value of package value;
//	E2 a failure is a well-formed problem;
//	E3 cancellation returns its cause soon, and nothing is left: no goroutine, no process;
//	E4 arguments of any form give a result or a problem, never a panic;
//	E5 the log is not written to after Execute has returned;
//	E6 several attempts may run at once;
//	E7 with a context that is over, nothing is started.
//
// It must not run beside other tests of its package (no t.Parallel).
func Exercise(t *testing.T, s Subject) {
	t.Helper()
	t.Run("E1 output is a value", func(t *testing.T) {
		r, log := Request(t, s.Kind, s.Works)
		result, err := s.Executor.Execute(t.Context(), r)
		if err != nil {
			t.Fatalf("Execute: %v", err)
		}
		checkValue(t, "", result.Output)
		log.Close()
	})
	if s.Fails != nil {
		t.Run("E2 failure is a problem", func(t *testing.T) {
			r, log := Request(t, s.Kind, s.Fails)
			_, err := s.Executor.Execute(t.Context(), r)
			_ = CheckProblem(t, err)
			log.Close()
		})
	}
	if s.Hangs != nil {
		t.Run("E3 cancellation leaves nothing", func(t *testing.T) { cancellation(t, s) })
	}
	t.Run("E4 any arguments", func(t *testing.T) { anyArguments(t, s) })
	t.Run("E6 several at once", func(t *testing.T) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				r, log := Request(t, s.Kind, s.Works)
				if _, err := s.Executor.Execute(t.Context(), r); err != nil {
					t.Errorf("Execute: %v", err)
				}
				log.Close()
			})
		}
		all.Wait()
	})
	if _, immediate := s.Executor.(executor.Immediate); !immediate {
		t.Run("E7 nothing starts when it is over", func(t *testing.T) {
			r, log := Request(t, s.Kind, s.Works)
			r.Bind = func(context.Context, any) error {
				t.Error("Bind was called: something was about to start")
				return nil
			}
			cause := errors.New("over")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			if _, err := s.Executor.Execute(ctx, r); !errors.Is(err, cause) {
				t.Errorf("Execute returned %v; want the cause of the cancellation", err)
			}
			log.Close()
		})
	}
}

func cancellation(t *testing.T, s Subject) {
	t.Helper()
	before := Children(t)
	ignore := goleak.IgnoreCurrent()
	r, log := Request(t, s.Kind, s.Hangs)
	cause := errors.New("cancelled by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Executor.Execute(ctx, r)
		ended <- err
	}()
	if s.Hanging != nil {
		select {
		case <-s.Hanging:
		case err := <-ended:
			t.Fatalf("Execute returned %v; it was to hang", err)
		}
	}
	cancel(cause)
	select {
	case err := <-ended:
		if !errors.Is(err, cause) {
			t.Errorf("Execute returned %v; want the cause of the cancellation", err)
		}
	case <-time.After(r.Grace + 5*time.Second):
		t.Fatal("Execute has not returned long after its cancellation")
	}
	log.Close()
	if after := Children(t); len(after) > len(before) {
		t.Errorf("processes are left: %v", after)
	}
	if closer, ok := s.Executor.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
	goleak.VerifyNone(t, ignore)
}

func anyArguments(t *testing.T, s Subject) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		arguments := value.Normalize(anyValue(3).Draw(rt, "arguments"))
		if m, ok := s.Works.(map[string]any); ok && rapid.Bool().Draw(rt, "spoil one") {
			// A good set of arguments with one property spoilt gets further in.
			m = maps.Clone(m)
			m[rapid.SampledFrom(slices.Sorted(maps.Keys(m))).Draw(rt, "property")] = arguments
			arguments = m
		}
		r, log := Request(t, s.Kind, arguments)
		r.Bind = func(context.Context, any) error { return errNoStart }
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if c, ok := s.Executor.(executor.Checker); ok {
			_ = c.Check(arguments) // it may refuse, but not panic
		}
		_, err := s.Executor.Execute(ctx, r)
		if err != nil && !errors.Is(err, errNoStart) && ctx.Err() == nil {
			_ = CheckProblem(rt, err)
		}
		log.Close()
	})
}

var errNoStart = errors.New("random arguments start nothing")

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 4+2*min(depth, 1)).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return rapid.IntRange(-10, 100000).Draw(t, "int")
		case 3:
			return rapid.SampledFrom([]any{1.5, new(big.Int).Lsh(big.NewInt(1), 80)}).Draw(t, "number")
		case 4:
			return rapid.SampledFrom([]string{"", "x", "\x00", "é\n", "http://", "//", "%zz", "file:", "a=b"}).Draw(t, "string")
		case 5:
			return rapid.SliceOfN(anyValue(depth-1), 0, 3).Draw(t, "array")
		default:
			return rapid.MapOfN(rapid.SampledFrom([]string{"", "uri", "use", "basic", "x-y", "endpoint", "a b"}), anyValue(depth-1), 0, 3).Draw(t, "object")
		}
	})
}

// Fataler is what CheckProblem needs of a test.
type Fataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// CheckProblem fails the test unless err is a well-formed problem, which it returns.
func CheckProblem(t Fataler, err error) *event.Problem {
	t.Helper()
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		t.Fatalf("got %T %v; want an *event.Problem", err, err)
	}
	family, ok := strings.CutPrefix(p.Type, event.TypePrefix)
	if !ok || !slices.Contains([]string{
		event.Configuration, event.Validation, event.Expression, event.Authentication,
		event.Forbidden, event.Timeout, event.Communication, event.Runtime,
	}, family) {
		t.Errorf("problem of type %q, which is not one of the standard's", p.Type)
	}
	if p.Status < 300 || p.Status > 599 {
		t.Errorf("problem with status %d", p.Status)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("problem without title or detail: %+v", p)
	}
	if strings.Contains(p.Detail, "%!") {
		t.Errorf("problem with a broken format: %q", p.Detail)
	}
	if p.More != nil {
		checkValue(t, "/more", p.More)
	}
	return p
}

func checkValue(t Fataler, at string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil, bool, int, float64, string, *big.Int:
	case []any:
		for i, x := range v {
			checkValue(t, at+"/"+strconv.Itoa(i), x)
		}
	case map[string]any:
		for k, x := range v {
			checkValue(t, at+"/"+k, x)
		}
	default:
		t.Errorf("output%s is of type %T, which is no value", at, v)
	}
}

// Log is a log that keeps what was written, by stream. After Close a write is
// an error of the test (law E5). The zero Log takes everything and keeps nothing.
type Log struct {
	t       testing.TB
	mu      sync.Mutex
	streams map[string]*bytes.Buffer
	closed  bool
}

// Stream returns the writer of a stream.
func (l *Log) Stream(name string) io.Writer { return logWriter{l, name} }

// Close forbids further writes.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Text returns what was written to a stream.
func (l *Log) Text(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.streams[name]; b != nil {
		return b.String()
	}
	return ""
}

type logWriter struct {
	log  *Log
	name string
}

// Write keeps b.
func (w logWriter) Write(b []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.streams == nil {
		return len(b), nil // the zero Log keeps nothing
	}
	if w.log.closed {
		w.log.t.Errorf("%q was logged after Execute had returned", b)
	}
	if w.log.streams[w.name] == nil {
		w.log.streams[w.name] = new(bytes.Buffer)
	}
	return w.log.streams[w.name].Write(b)
}

// Secrets are secrets by name.
type Secrets map[string]any

// Secret returns one, or the problem of the port's contract.
func (s Secrets) Secret(_ context.Context, name string) (any, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return nil, executor.NewProblem(event.Forbidden, 403, "Secret not found", "there is no secret %q", name)
}

// Request makes the request of one attempt, with its log.
func Request(t testing.TB, kind string, arguments any) (*executor.Request, *Log) {
	t.Helper()
	log := &Log{t: t, streams: map[string]*bytes.Buffer{}}
	dir := t.TempDir()
	return &executor.Request{
		Run:            event.RunID{1, 2, 3},
		Workflow:       "test/exercise:1.0.0",
		Namespace:      "test",
		WorkflowName:   "exercise",
		Reference:      "/do/0/act",
		Name:           "act",
		Activation:     "0",
		Attempt:        1,
		IdempotencyKey: "key-" + t.Name(),
		Kind:           kind,
		Arguments:      arguments,
		Secrets:        Secrets{},
		Log:            log,
		Bind:           func(context.Context, any) error { return nil },
		Directory:      dir,
		RunDirectory:   dir,
		BaseDirectory:  dir,
		Grace:          2 * time.Second,
	}, log
}

// Children lists the processes that this process started and that still run;
// nil where that cannot be told.
func Children(t testing.TB) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}
