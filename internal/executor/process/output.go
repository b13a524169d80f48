package process

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

const (
	stdout = 0
	stderr = 1
)

// output takes what a program prints: all of it goes to the log by lines, what
// is to be returned is kept, and always the last lines of stderr.
type output struct {
	streams [2]stream
	kept    atomic.Int64 // bytes, of both streams
	seen    atomic.Int64
	limit   int64
	over    func() // called once, when more was printed than can be returned
	once    sync.Once
	pipes   [2]io.ReadCloser
	reading sync.WaitGroup
}

// stream is one of the two; it belongs to its reader until that has ended.
type stream struct {
	log  io.Writer
	keep bool
	all  []byte
	end  []byte // the last of it
	line []byte // begun and not yet logged
}

// maxLine is the longest line that is logged in one piece.
const maxLine = 64 << 10

func newOutput(log executor.Log, result string, limit int64, over func()) *output {
	o := &output{limit: limit, over: over}
	o.streams[stdout] = stream{log: log.Stream("stdout"), keep: result == "stdout" || result == "all"}
	o.streams[stderr] = stream{log: log.Stream("stderr"), keep: result == "stderr" || result == "all"}
	return o
}

// read begins to read both pipes of the child.
func (o *output) read(c *child) {
	o.pipes = [2]io.ReadCloser{c.stdout, c.stderr}
	for i := range o.streams {
		o.reading.Go(func() { o.copy(&o.streams[i], o.pipes[i]) })
	}
}

func (o *output) copy(s *stream, r io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			o.seen.Add(int64(n))
			o.take(s, buffer[:n])
		}
		if err != nil {
			s.flush()
			return
		}
	}
}

func (o *output) take(s *stream, b []byte) {
	s.write(b)
	if s.end = append(s.end, b...); len(s.end) > 2*executor.MaxTail {
		s.end = append(s.end[:0], s.end[len(s.end)-executor.MaxTail:]...)
	}
	if !s.keep {
		return
	}
	if o.kept.Add(int64(len(b))) > o.limit {
		o.once.Do(o.over)
		return
	}
	s.all = append(s.all, b...)
}

// write logs the whole lines and holds the rest.
func (s *stream) write(b []byte) {
	i := bytes.LastIndexByte(b, '\n')
	if i < 0 {
		if s.line = append(s.line, b...); len(s.line) > maxLine {
			s.flush()
		}
		return
	}
	s.line = append(s.line, b[:i+1]...)
	s.flush()
	s.line = append(s.line, b[i+1:]...)
}

// flush logs what is held. A log that cannot be written must not fail the task.
func (s *stream) flush() {
	if len(s.line) > 0 {
		_, _ = s.log.Write(s.line) // see above
		s.line = s.line[:0]
	}
}

// finish waits until both pipes are read to their ends. A process that left
// the group may still hold them: then they are closed once nothing comes any more.
func (o *output) finish() {
	ended := make(chan struct{})
	go func() {
		o.reading.Wait()
		close(ended)
	}()
	for quiet, all := 0, 0; quiet < 5 && all < 100; all++ {
		before := o.seen.Load()
		if waitFor(ended, patience) {
			return
		}
		if quiet++; o.seen.Load() != before {
			quiet = 0
		}
	}
	_ = errors.Join(o.pipes[0].Close(), o.pipes[1].Close()) // to wake the readers
	<-ended
}

func (o *output) exceeded() bool { return o.kept.Load() > o.limit }

// text is what was printed on a stream, without the newlines at its end.
func (o *output) text(i int) string { return executor.Printed(o.streams[i].all) }

// tail is the last of stderr.
func (o *output) tail() string { return executor.Tail(o.streams[stderr].end) }
