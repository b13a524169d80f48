package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

// output takes what a container prints: all of it goes to the log, what is to
// be returned is kept, and always the last of stderr.
type output struct {
	streams [2]stream
	limit   int64
	kept    int64
}

type stream struct {
	log  io.Writer
	keep bool
	all  []byte
	end  []byte // the last of it
	seen int64  // bytes, in all readings
	skip int64  // bytes that the present reading repeats
}

const (
	stdout = 0
	stderr = 1
)

// maxFrame is the longest piece that an engine sends at once: they send 16 KiB.
const maxFrame = 16 << 20

var errTooMuch = errors.New("too much output")

func newOutput(log executor.Log, result string, limit int64) *output {
	o := &output{limit: limit}
	o.streams[stdout] = stream{log: log.Stream("stdout"), keep: result == "stdout" || result == "all"}
	o.streams[stderr] = stream{log: log.Stream("stderr"), keep: result == "stderr" || result == "all"}
	return o
}

// read takes the log of the container from its beginning. When it was read
// before, up to where the engine went away, what is known already is skipped.
func (o *output) read(r io.Reader) error {
	for i := range o.streams {
		o.streams[i].skip = o.streams[i].seen
	}
	var header [8]byte
	buffer := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := int64(binary.BigEndian.Uint32(header[4:]))
		if header[0] > 2 || size > maxFrame {
			return fmt.Errorf("the engine's log is not in the form of Docker's API")
		}
		s := &o.streams[stdout]
		if header[0] == 2 {
			s = &o.streams[stderr]
		}
		for size > 0 {
			n, err := io.ReadFull(r, buffer[:min(size, int64(len(buffer)))])
			if takeErr := o.take(s, buffer[:n]); takeErr != nil {
				return takeErr
			}
			if err != nil {
				return err
			}
			size -= int64(n)
		}
	}
}

func (o *output) take(s *stream, b []byte) error {
	known := min(s.skip, int64(len(b)))
	s.skip -= known
	if b = b[known:]; len(b) == 0 {
		return nil
	}
	s.seen += int64(len(b))
	_, _ = s.log.Write(b) // a log that cannot be written must not fail the task
	if s.end = append(s.end, b...); len(s.end) > 2*executor.MaxTail {
		s.end = append(s.end[:0], s.end[len(s.end)-executor.MaxTail:]...)
	}
	if !s.keep {
		return nil
	}
	if o.kept += int64(len(b)); o.kept > o.limit {
		return errTooMuch
	}
	s.all = append(s.all, b...)
	return nil
}

// text is what was printed on a stream, without the newlines at its end, D27.
func (o *output) text(i int) string { return executor.Printed(o.streams[i].all) }

// tail is the last of stderr.
func (o *output) tail() string { return executor.Tail(o.streams[stderr].end) }
