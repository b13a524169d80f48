package event

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/downbeat-dev/downbeat/internal/value"
)

var (
	errShort   = errors.New("cut off")
	errVarint  = errors.New("malformed number")
	errWire    = errors.New("wrong wire type")
	errTooBig  = errors.New("number out of range")
	errResolve = errors.New("a value is kept elsewhere and nobody can fetch it")
)

// Decode reads what Append wrote. The events share memory with b, which nobody
// may change afterwards. resolve fetches values that are kept elsewhere; it may
// be nil where there are none. Malformed bytes are an error.
func Decode(b []byte, resolve func(digest string) ([]byte, error)) ([]Event, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("decode events: %w", errShort)
	}
	if b[0] != format1 {
		return nil, fmt.Errorf("decode events: format %d is not known; a newer Downbeat wrote this journal", b[0])
	}
	r := reader{b: b[1:], resolve: resolve}
	var events []Event
	var before int64
	for r.err == nil && len(r.b) > 0 {
		k := r.uvarint()
		body := r.sub(r.bytes())
		before += body.varint()
		e := Event{At: time.UnixMicro(before).UTC(), Body: body.body(kind(min(k, math.MaxUint8)))}
		r.fail(body.err)
		if r.err == nil && e.Body == nil {
			return nil, fmt.Errorf("decode event %d: kind %d is not known; a newer Downbeat wrote this journal", len(events)+1, k)
		}
		events = append(events, e)
	}
	if r.err != nil {
		return nil, fmt.Errorf("decode event %d: %w", max(1, len(events)), r.err)
	}
	return events, nil
}

// reader takes fields from the front of b; the first error sticks and
// everything after it is zero.
type reader struct {
	b       []byte
	resolve func(string) ([]byte, error)
	err     error

	field, wire uint64
}

func (r *reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
		r.b = nil
	}
}

func (r *reader) sub(b []byte) *reader { return &reader{b: b, resolve: r.resolve} }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errVarint)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errVarint)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes takes a length and that many bytes.
func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// next goes to the next field; false at the end or after an error.
func (r *reader) next() bool {
	if r.err != nil || len(r.b) == 0 {
		return false
	}
	tag := r.uvarint()
	r.field, r.wire = tag>>3, tag&7
	if r.err == nil && r.field == 0 {
		r.fail(errors.New("field number 0"))
	}
	return r.err == nil
}

// skip passes over a field that this release does not know.
func (r *reader) skip() {
	switch r.wire {
	case wireVarint:
		r.uvarint()
	case wireBytes, wireDigest:
		r.bytes()
	case wireFixed64:
		r.drop(8)
	case wireFixed32:
		r.drop(4)
	default:
		r.fail(errWire)
	}
}

func (r *reader) drop(n int) {
	if len(r.b) < n {
		r.fail(errShort)
		return
	}
	r.b = r.b[n:]
}

func (r *reader) want(wire uint64) bool {
	if r.wire != wire {
		r.fail(errWire)
	}
	return r.err == nil
}

func (r *reader) uint(limit uint64) uint64 {
	if !r.want(wireVarint) {
		return 0
	}
	n := r.uvarint()
	if n > limit {
		r.fail(errTooBig)
		return 0
	}
	return n
}

func (r *reader) int64() int64 {
	if !r.want(wireVarint) {
		return 0
	}
	return r.varint()
}

func (r *reader) int() int {
	n := r.int64()
	if n > math.MaxInt32 || n < math.MinInt32 {
		r.fail(errTooBig)
		return 0
	}
	return int(n)
}

func (r *reader) bool() bool { return r.uint(1) == 1 }

func (r *reader) status() Status { return Status(r.uint(uint64(Completed))) }

func (r *reader) blob() []byte {
	if !r.want(wireBytes) {
		return nil
	}
	return r.bytes()
}

func (r *reader) string() string { return string(r.blob()) }

func (r *reader) message() *reader { return r.sub(r.blob()) }

func (r *reader) run() (id RunID) {
	b := r.blob()
	if r.err == nil && len(b) != len(id) {
		r.fail(fmt.Errorf("a run id has %d bytes, not %d", len(id), len(b)))
		return id
	}
	copy(id[:], b)
	return id
}

func (r *reader) raw() value.Raw {
	if r.wire != wireDigest {
		b := r.blob()
		if r.err != nil {
			return value.Raw{}
		}
		return value.FromJSON(b)
	}
	sum := r.bytes()
	switch {
	case r.err != nil:
		return value.Raw{}
	case len(sum) != sha256.Size:
		r.fail(fmt.Errorf("a digest has %d bytes, not %d", sha256.Size, len(sum)))
		return value.Raw{}
	case r.resolve == nil:
		r.fail(errResolve)
		return value.Raw{}
	}
	b, err := r.resolve(digestName(sum))
	if err != nil {
		r.fail(fmt.Errorf("fetch value %s: %w", digestName(sum), err))
		return value.Raw{}
	}
	return value.FromJSON(b)
}

func (r *reader) problem() *Problem {
	m := r.message()
	p := new(Problem)
	for m.next() {
		switch m.field {
		case 1:
			p.Type = m.string()
		case 2:
			p.Status = m.int()
		case 3:
			p.Title = m.string()
		case 4:
			p.Detail = m.string()
		case 5:
			p.Instance = m.string()
		case 6:
			more := m.raw()
			v, err := more.Any()
			if err != nil {
				m.fail(err)
				continue
			}
			p.More, _ = v.(map[string]any)
		default:
			m.skip()
		}
	}
	r.fail(m.err)
	return p
}

// body reads the fields of one event; nil for a kind that is not known.
func (r *reader) body(k kind) Body {
	switch k {
	case kindRunStarted:
		return r.started()
	case kindTaskCompleted:
		return r.completed()
	case kindTaskFailed:
		return r.failed()
	case kindTaskCancelled:
		return r.cancelled()
	case kindAttemptStarted:
		return r.attemptStarted()
	case kindTimerFired:
		return r.timer()
	case kindCloudEventReceived:
		return r.cloudEvent()
	case kindChildEnded:
		return r.child()
	case kindSecretsResolved:
		return r.secrets()
	case kindCancelRequested:
		by, reason := r.act()
		return &CancelRequested{By: by, Reason: reason}
	case kindSuspendRequested:
		by, reason := r.act()
		return &SuspendRequested{By: by, Reason: reason}
	case kindResumeRequested:
		by, _ := r.act()
		return &ResumeRequested{By: by}
	case kindEvaluationStopped:
		return r.stopped()
	case kindSliced:
		return r.sliced()
	case kindRunEnded:
		return r.ended()
	case kindRunReopened:
		return r.reopened()
	case kindRunForked:
		return r.forked()
	}
	return nil
}
