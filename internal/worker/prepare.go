package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// prepared is what an attempt has while it is carried out.
type prepared struct {
	directory string // removed at the end; "" none
	log       *attemptLog
}

func (p *prepared) close() {
	if p.log != nil {
		p.log.close()
	}
	if p.directory != "" {
		_ = os.RemoveAll(p.directory)            // what is left is removed with the run
		_ = os.Remove(filepath.Dir(p.directory)) // when it was the last in there
	}
}

// rebind is how long an attempt waits until it asks again for a place in the journal.
const rebind = 200 * time.Millisecond

// bind journals what an attempt is about to start outside. While the journal
// takes nothing, as when the disk is full, the attempt waits: it has begun
// nothing yet.
func (w *Worker) bind(ctx context.Context, j *job, handle any) error {
	if j.Bind == nil {
		return nil
	}
	h := value.FromAny(value.Normalize(handle))
	for {
		durable, err := j.Bind(h)
		if err != nil {
			return err
		}
		select {
		case err = <-durable:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err == nil || w.o.Passing == nil || !w.o.Passing(err) {
			return err
		}
		if err := w.o.Clock.Sleep(ctx, rebind); err != nil {
			return err
		}
	}
}

// prepare fills in what the executor needs of us.
func (w *Worker) prepare(j *job) (*prepared, error) {
	q := &j.Request
	p := &prepared{}
	masker := &masker{}
	q.Grace = w.o.Grace
	q.Secrets = &listed{from: w.o.Secrets, names: j.SecretNames, masker: masker}
	q.Bind = func(ctx context.Context, handle any) error { return w.bind(ctx, j, handle) }
	if j.Evaluate != nil {
		q.Evaluate = func(ctx context.Context, condition string, input any) (any, error) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return j.Evaluate(w.o.Clock.Now(), condition, input)
		}
	}
	for _, name := range j.SecretNames {
		// Known before the first line is printed; an absent one matters only to who asks for it.
		if v, err := w.o.Secrets.Secret(context.Background(), name); err == nil { //nolint:forbidigo // a local look-up
			masker.add(v)
		}
	}
	files := w.o.Directories[q.Kind] && w.o.DataDir != ""
	p.log = &attemptLog{w: w, line: j.Line, masker: masker, left: w.o.LogBytes}
	if files {
		p.log.path = LogFile(w.o.DataDir, q.Run, q.Activation, q.Attempt)
		dir, temporary := w.directory(j)
		err := os.MkdirAll(dir, 0o700)
		for range 3 {
			if !errors.Is(err, os.ErrNotExist) {
				break
			}
			err = os.MkdirAll(dir, 0o700) // another attempt of the run removed the empty parent meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("make the working directory: %w", err)
		}
		q.Directory = dir
		if temporary {
			p.directory, q.Scratch = dir, dir
			if q.RunDirectory != "" {
				q.Directory = q.RunDirectory // as in a shell: the run's directory, unless the task asks for a workspace
			}
		}
	}
	q.Log = p.log
	return p, nil
}

// directory is where an attempt works, and whether it is its own.
func (w *Worker) directory(j *job) (dir string, temporary bool) {
	q := &j.Request
	run := filepath.Join(w.o.DataDir, "work", q.Run.String())
	switch j.Workspace {
	case "":
		return filepath.Join(run, short(q.Activation)+"-"+strconv.Itoa(q.Attempt)), true
	case "task":
		return filepath.Join(run, "task-"+short(q.Activation)), false
	case "run":
		return filepath.Join(run, "run"), false
	}
	return filepath.Join(run, "name-"+short(event.Activation(j.Workspace))), false
}

// Forget removes what the attempts of an ended run left in working directories.
func (w *Worker) Forget(run event.RunID) {
	if w.o.DataDir != "" {
		_ = os.RemoveAll(filepath.Join(w.o.DataDir, "work", run.String())) // a left-over does no harm
	}
}

// LogFile is where the output of an attempt is kept.
func LogFile(dataDir string, run event.RunID, a event.Activation, attempt int) string {
	return filepath.Join(dataDir, "logs", run.String(), short(a)+"-"+strconv.Itoa(attempt)+".log")
}

// short is a file name for an activation, whose path may be long.
func short(a event.Activation) string {
	sum := sha256.Sum256([]byte(a))
	return hex.EncodeToString(sum[:8])
}

// masker hides the secrets of an attempt, those that it asks for on the way too.
type masker struct{ now atomic.Pointer[secret.Masker] }

func (m *masker) add(v any) {
	for {
		was := m.now.Load()
		if m.now.CompareAndSwap(was, was.With(v)) {
			return
		}
	}
}

func (m *masker) text(s string) string { return m.now.Load().String(s) }

// listed gives the secrets that a definition lists, and no others.
type listed struct {
	from   executor.Secrets
	names  []string
	masker *masker
}

// Secret returns a listed secret and makes sure that its value is masked.
func (l *listed) Secret(ctx context.Context, name string) (any, error) {
	if !slices.Contains(l.names, name) {
		return nil, &event.Problem{
			Type: event.TypePrefix + event.Forbidden, Status: 403, Title: "Secret not available",
			Detail: fmt.Sprintf("the secret %q is not listed in use.secrets", name),
		}
	}
	v, err := l.from.Secret(ctx, name)
	if err == nil {
		l.masker.add(v)
	}
	return v, err
}

// Mask hides a value that is no listed secret, as a token that was fetched for
// one, in all that the attempt prints from now on.
func (l *listed) Mask(v any) { l.masker.add(v) }

// attemptLog takes what an attempt prints: line by line, masked, to its file
// and to who watches. The file is made with the first line.
type attemptLog struct {
	w      *Worker
	path   string
	line   func(stream, text string)
	masker *masker

	mu      sync.Mutex
	streams []*stream
	file    *os.File
	left    int64
	broken  bool
}

// stream splits one stream into lines.
type stream struct {
	log  *attemptLog
	name string
	rest []byte
}

// maxLine bounds one line; a longer one is cut into several.
const maxLine = 64 << 10

// Stream returns the writer of one stream.
func (l *attemptLog) Stream(name string) io.Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if s.name == name {
			return s
		}
	}
	s := &stream{log: l, name: name}
	l.streams = append(l.streams, s)
	return s
}

// Write takes output; it never fails, for a full disk must not end the task.
func (s *stream) Write(b []byte) (int, error) {
	l := s.log
	if l.path == "" && l.line == nil {
		return len(b), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.rest = append(s.rest, b...)
	begin := 0
	for i, c := range s.rest {
		if c == '\n' || i-begin >= maxLine {
			end := i
			if c != '\n' {
				end = i + 1
			}
			l.put(s.name, s.rest[begin:end])
			begin = i + 1
		}
	}
	s.rest = append(s.rest[:0], s.rest[begin:]...)
	return len(b), nil
}

// put writes one line. The caller holds mu.
func (l *attemptLog) put(stream string, line []byte) {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(line), "\r"), "\uFFFD")
	text = l.masker.text(text)
	if l.line != nil {
		l.line(stream, text)
	}
	if l.path == "" || l.broken {
		return
	}
	if l.file == nil && !l.open() {
		return
	}
	row := l.w.o.Clock.Now().Format("2006-01-02T15:04:05.000000Z") + " " + stream + " " + text + "\n"
	if l.left -= int64(len(row)); l.left < 0 {
		row = "… the rest of the output is not kept\n"
		l.broken = true
	}
	if _, err := l.file.WriteString(row); err != nil {
		l.broken = true
	}
}

func (l *attemptLog) open() bool {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		l.broken = true
		return false
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		l.broken = true
		return false
	}
	l.file = f
	return true
}

func (l *attemptLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		if len(s.rest) > 0 {
			l.put(s.name, s.rest)
			s.rest = nil
		}
	}
	if l.file != nil {
		_ = l.file.Close() // nothing depends on it
		l.file = nil
	}
}

// silent is the log of attempts that print nothing.
type silent struct{}

// Stream returns a writer that forgets.
func (silent) Stream(string) io.Writer { return io.Discard }
