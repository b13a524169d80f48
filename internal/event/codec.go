package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// The form of a journal row, for ever:
//
//	row    = format byte 1, event …
//	event  = kind (varint), length (varint), time (zigzag varint), field …
//	field  = number<<3 | wire (varint), content
//
// The time of the first event is in microseconds since 1970, that of each
// further one relative to the event before. A field with its zero value is left
// out, fields stand in the order of their numbers, keys of maps are sorted: the
// same events always give the same bytes. Whoever reads skips fields that it
// does not know, so fields can be added; a number is never used again.
const format1 = 1

// The wire types. Readers can skip any of them.
const (
	wireVarint  = 0
	wireFixed64 = 1 // not written yet
	wireBytes   = 2 // length (varint), bytes
	wireDigest  = 3 // as wireBytes: SHA-256 of a value that is kept elsewhere
	wireFixed32 = 5 // not written yet
)

// MaxInline is the size of the largest JSON value that stays within its event.
const MaxInline = 64 << 10

// Externals collects values that are too large to stay in a journal row; they
// are stored once by digest, before the row that names them.
type Externals struct {
	Values []External // each digest once, in the order of appearance
}

// External is one value outside a journal row.
type External struct {
	Digest string // "sha256:" and 64 hexadecimal digits
	Data   []byte
}

// Digest is the name under which a value outside a journal row is kept.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return digestName(sum[:])
}

func digestName(sum []byte) string {
	b := make([]byte, 0, 7+2*sha256.Size)
	return string(hex.AppendEncode(append(b, "sha256:"...), sum))
}

func (x *Externals) put(data []byte) (sum [sha256.Size]byte) {
	sum = sha256.Sum256(data)
	name := digestName(sum[:])
	if !slices.ContainsFunc(x.Values, func(v External) bool { return v.Digest == name }) {
		x.Values = append(x.Values, External{name, data})
	}
	return sum
}

// Append appends the encoded events to dst. Values over MaxInline go to ext
// and leave their digest; with a nil ext they stay within.
func Append(dst []byte, events []Event, ext *Externals) []byte {
	w := writer{b: append(dst, format1), ext: ext}
	var before int64
	for i := range events {
		e := &events[i]
		at := e.At.UnixMicro()
		w.uvarint(uint64(e.Body.kind()))
		mark := w.begin()
		w.varint(at - before)
		before = at
		w.body(e.Body)
		w.end(mark)
	}
	return w.b
}

// writer appends fields to b.
type writer struct {
	b   []byte
	ext *Externals
}

func (w *writer) uvarint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) varint(n int64)   { w.b = binary.AppendVarint(w.b, n) }

// begin leaves a byte for a length; end puts the length there, and moves what
// was written since when it needs more than that byte.
func (w *writer) begin() int {
	w.b = append(w.b, 0)
	return len(w.b)
}

func (w *writer) end(mark int) {
	n := len(w.b) - mark
	if n < 0x80 {
		w.b[mark-1] = byte(n)
		return
	}
	var room [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(room[:], uint64(n))
	w.b = append(w.b, room[1:size]...)
	copy(w.b[mark+size-1:], w.b[mark:mark+n])
	copy(w.b[mark-1:], room[:size])
}

func (w *writer) tag(field, wire uint64) { w.uvarint(field<<3 | wire) }

func (w *writer) uint(field uint64, n uint64) {
	if n != 0 {
		w.tag(field, wireVarint)
		w.uvarint(n)
	}
}

// int writes a signed number zigzag, as all fields of type int are.
func (w *writer) int(field uint64, n int64) {
	if n != 0 {
		w.tag(field, wireVarint)
		w.varint(n)
	}
}

func (w *writer) bool(field uint64, v bool) {
	if v {
		w.uint(field, 1)
	}
}

func (w *writer) string(field uint64, s string) {
	if s != "" {
		w.element(field, s)
	}
}

// element is string for members of a list, where an empty one counts.
func (w *writer) element(field uint64, s string) {
	w.tag(field, wireBytes)
	w.uvarint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bytes(field uint64, b []byte) {
	if len(b) > 0 {
		w.tag(field, wireBytes)
		w.uvarint(uint64(len(b)))
		w.b = append(w.b, b...)
	}
}

func (w *writer) run(field uint64, id RunID) {
	if !id.IsZero() {
		w.bytes(field, id[:])
	}
}

func (w *writer) raw(field uint64, r *value.Raw) {
	if r.IsZero() {
		return
	}
	b := r.JSON()
	if len(b) > MaxInline && w.ext != nil {
		sum := w.ext.put(b)
		w.tag(field, wireDigest)
		w.uvarint(uint64(len(sum)))
		w.b = append(w.b, sum[:]...)
		return
	}
	w.tag(field, wireBytes)
	w.uvarint(uint64(len(b)))
	w.b = append(w.b, b...)
}

func (w *writer) problem(field uint64, p *Problem) {
	if p == nil {
		return
	}
	w.tag(field, wireBytes)
	mark := w.begin()
	w.string(1, p.Type)
	w.int(2, int64(p.Status))
	w.string(3, p.Title)
	w.string(4, p.Detail)
	w.string(5, p.Instance)
	if len(p.More) > 0 {
		more := value.FromAny(p.More)
		w.raw(6, &more)
	}
	w.end(mark)
}

func (w *writer) labels(field uint64, m map[string]string) {
	if len(m) == 0 {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.tag(field, wireBytes)
		mark := w.begin()
		w.string(1, k)
		w.string(2, m[k])
		w.end(mark)
	}
}

// body writes the fields of one event. Numbers are for ever.
func (w *writer) body(body Body) {
	switch b := body.(type) {
	case *RunStarted:
		w.started(b)
	case *TaskCompleted:
		w.attempt(b.Activation, b.Attempt)
		w.raw(3, &b.Output)
		if b.Authorization != nil {
			w.tag(4, wireBytes)
			mark := w.begin()
			w.string(1, b.Authorization.Scheme)
			w.string(2, b.Authorization.Parameter)
			w.end(mark)
		}
	case *TaskFailed:
		w.attempt(b.Activation, b.Attempt)
		w.problem(3, &b.Error)
	case *TaskCancelled:
		w.attempt(b.Activation, b.Attempt)
		w.bool(3, b.Unknown)
	case *AttemptStarted:
		w.attempt(b.Activation, b.Attempt)
		w.raw(3, &b.Handle)
	case *TimerFired:
		w.string(1, b.Timer)
	case *CloudEventReceived:
		w.int(1, b.Sequence)
		w.raw(2, &b.Event)
		w.string(3, string(b.Listener))
	case *ChildEnded:
		w.attempt(b.Activation, b.Attempt)
		w.run(3, b.Child)
		w.uint(4, uint64(b.Status))
		w.raw(5, &b.Output)
		w.problem(6, b.Error)
	case *SecretsResolved:
		w.secrets(b)
	case *CancelRequested:
		w.string(1, b.By)
		w.string(2, b.Reason)
	case *SuspendRequested:
		w.string(1, b.By)
		w.string(2, b.Reason)
	case *ResumeRequested:
		w.string(1, b.By)
	case *EvaluationStopped:
		w.uint(1, b.Ordinal)
		w.string(2, b.Reason)
	case *Sliced:
		w.int(1, int64(b.Slices))
	case *RunEnded:
		w.uint(1, uint64(b.Status))
		w.raw(2, &b.Output)
		w.problem(3, b.Error)
		w.bytes(4, b.Tasks)
	case *RunReopened:
		w.string(1, b.Definition)
		w.bytes(2, b.State)
		w.string(3, b.By)
		w.run(4, b.Child)
		w.bytes(5, b.Tasks)
	case *RunForked:
		w.tag(1, wireBytes)
		mark := w.begin()
		w.started(&b.Start)
		w.end(mark)
		w.run(2, b.From)
		w.int(3, b.Sequence)
		w.bytes(4, b.State)
		w.bytes(5, b.Tasks)
	}
}

func (w *writer) attempt(a Activation, attempt int) {
	w.string(1, string(a))
	w.int(2, int64(attempt))
}

func (w *writer) started(b *RunStarted) {
	w.run(1, b.Run)
	w.uint(2, uint64(b.Revision))
	w.string(3, b.Definition)
	w.string(4, b.Namespace)
	w.string(5, b.Name)
	w.string(6, b.Version)
	for i := range b.Definitions {
		d := &b.Definitions[i]
		w.tag(7, wireBytes)
		mark := w.begin()
		w.string(1, d.Name)
		w.string(2, d.ID)
		w.string(3, d.Digest)
		w.end(mark)
	}
	w.raw(8, &b.Input)
	w.string(9, b.Trigger)
	if p := b.Parent; p != nil {
		w.tag(10, wireBytes)
		mark := w.begin()
		w.run(1, p.Run)
		w.string(2, string(p.Activation))
		w.int(3, int64(p.Attempt))
		w.bool(4, p.Await)
		w.end(mark)
	}
	w.int(11, int64(b.Depth))
	w.labels(12, b.Labels)
	w.string(13, b.Runtime)
	w.string(14, b.Directory)
}

func (w *writer) secrets(b *SecretsResolved) {
	for i := range b.Secrets {
		s := &b.Secrets[i]
		w.tag(1, wireBytes)
		mark := w.begin()
		w.string(1, s.Name)
		w.string(2, s.Version)
		w.raw(3, &s.Value)
		w.end(mark)
	}
	for _, name := range b.Missing {
		w.element(2, name)
	}
}
