package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor/process"
)

// maxMessage bounds one message of a server.
const maxMessage = 16 << 20

// stdioWire talks to a program: one message a line.
type stdioWire struct {
	session *process.Session
	lines   *bufio.Scanner
	writing sync.Mutex
}

func newStdioWire(s *process.Session) *stdioWire {
	lines := bufio.NewScanner(s.Stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxMessage)
	return &stdioWire{session: s, lines: lines}
}

func (w *stdioWire) agreed(string) {}

func (w *stdioWire) send(_ context.Context, message []byte, _ int) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	if _, err := w.session.Stdin.Write(append(message, '\n')); err != nil {
		return w.broken(err)
	}
	return nil
}

func (w *stdioWire) receive(context.Context) ([]byte, error) {
	for w.lines.Scan() {
		line := bytes.TrimSpace(w.lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' {
			return nil, failure("the server printed something that is no message of JSON-RPC: %s; what it has to say to people belongs on stderr", describe(line))
		}
		return line, nil
	}
	err := w.lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return nil, failure("the server sent a message of more than %d bytes", maxMessage)
	}
	if err == nil {
		err = io.EOF
	}
	return nil, w.broken(err)
}

// broken explains why the program does not talk any more.
func (w *stdioWire) broken(err error) error {
	if ended := w.session.Ended(); ended != nil {
		return failure("the server ended before it answered: %v", ended)
	}
	return failure("the server does not talk any more: %v", err)
}

// courtesy is how long a server has to take the news that nobody waits.
const courtesy = 200 * time.Millisecond

func (w *stdioWire) close(ctx context.Context, pending int, over <-chan struct{}) {
	told := make(chan struct{})
	if pending == 0 {
		close(told)
	} else {
		go func() {
			defer close(told)
			_ = w.send(ctx, cancelled(pending), 0) // who does not read will see the end
		}()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), courtesy)
		select {
		case <-told:
		case <-limit.Done():
		}
		cancel()
	}
	_ = w.session.Close(ctx) // the answer is there, or another error says more
	<-told
	<-over
}

func cancelled(id int) []byte {
	return encode(nil, "notifications/cancelled", map[string]any{"requestId": id, "reason": "nobody waits for it any more"})
}
