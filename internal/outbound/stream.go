package outbound

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Stream is an answer that is read while it comes.
type Stream struct {
	Status int
	Header http.Header
	// Body gives an *event.Problem, or the cause of the context's end, when it
	// breaks. It has the limit of any response.
	Body io.Reader
	// Authorization is what the authentication policy gave; nil without one.
	Authorization *event.Authorization

	body io.Closer
}

// Stream makes the call and returns as soon as the answer begins. The caller
// closes the stream.
func (c *Client) Stream(ctx context.Context, call *Call) (*Stream, error) {
	response, hop, err := c.send(ctx, call) //nolint:bodyclose // the stream has it, and its Close
	if err != nil {
		return nil, failure(ctx, call, err)
	}
	left := orDefault(call.limit, c.maxResponse)
	s := &Stream{
		Status: response.StatusCode, Header: response.Header, body: response.Body,
		Body: &streamBody{ctx: ctx, call: call, from: response.Body, left: left, limit: left},
	}
	if hop.authenticator != nil {
		s.Authorization = hop.authenticator.authorization()
	}
	return s, nil
}

// Close ends the stream.
func (s *Stream) Close() { _ = s.body.Close() } // nobody wants the rest

// IsEvents reports that the body is a stream of server-sent events.
func (s *Stream) IsEvents() bool {
	return mediaOf(s.Header.Get("Content-Type")).name == "text/event-stream"
}

type streamBody struct {
	ctx         context.Context // of the call that this is the answer of
	call        *Call
	from        io.Reader
	left, limit int64
}

// Read reads what has come.
func (b *streamBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &event.Problem{
			Type: event.TypePrefix + event.Communication, Status: 500, Title: "Response too large",
			Detail: fmt.Sprintf("%s %s answered with more than %d bytes, which is the limit", b.call.Method, Shown(b.call.URL), b.limit),
		}
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = failure(b.ctx, b.call, err)
	}
	return n, err
}

// Event is one server-sent event.
type Event struct {
	Name, ID string
	Data     []byte
}

// Events reads server-sent events, none longer than most bytes. An event
// that the end of the stream cuts short is left out, as the standard wants.
func Events(r io.Reader, most int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4<<10), most)
		var e Event
		first, there := true, false
		for lines.Scan() {
			line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
			if first {
				line, first = bytes.TrimPrefix(line, []byte("\ufeff")), false
			}
			if len(line) == 0 {
				if there && !yield(e, nil) {
					return
				}
				e, there = Event{ID: e.ID}, false
				continue
			}
			field, v, _ := bytes.Cut(line, []byte(":"))
			v = bytes.TrimPrefix(v, []byte(" "))
			switch string(field) {
			case "data":
				if there {
					e.Data = append(e.Data, '\n')
				}
				if len(e.Data)+len(v) > most {
					yield(Event{}, bufio.ErrTooLong)
					return
				}
				e.Data, there = append(e.Data, v...), true
			case "event":
				e.Name = string(v)
			case "id":
				e.ID = string(v)
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, err)
		}
	}
}
