package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// The compact form is stored with ended runs, so it is for ever: a new form
// gets a new first byte, and [Decode] goes on reading the old ones.
//
//	form byte, run status byte, count, dropped count, then for each task:
//	head byte (status in the low 3 bits, then the flags), kind (place in kinds, or 0 and the text),
//	distance to the parent (0: none), reference and activation (each: length shared with that of the
//	task before, the rest), begin (difference to the task before), if ended its duration,
//	and what the flags announce.
const formOne = 1

const (
	flagSkipped byte = 1 << (iota + 3)
	flagUnknown
	flagIteration
	flagError
	flagMore // attempts, total, a name that is not the reference's end
)

// kinds are the kinds of task that cost one byte. Only ever append.
var kinds = [...]string{
	"", "set", "switch", "do", "for", "fork", "try", "raise", "wait", "emit", "listen", "call http", "call noop", "call map",
	"call openapi", "call grpc", "call asyncapi", "call a2a", "call mcp", "run shell", "run script", "run container", "run workflow",
	"call", "run", "foreach",
}

// maxDetail bounds the text of a task's error in the compact form; the run's own error is stored whole.
const maxDetail = 1024

// AppendTasks appends the compact form of the list to dst.
func (b *Builder) AppendTasks(dst []byte) []byte {
	dst = append(dst, formOne, byte(b.status))
	dst = appendCount(dst, len(b.entries))
	dst = appendCount(dst, b.dropped)
	prev := &entry{}
	for i := range b.entries {
		e := &b.entries[i]
		dst = b.appendEntry(dst, i, prev, e)
		prev = e
	}
	return dst
}

// Encode appends the whole state of the Builder to dst, for a snapshot.
func (b *Builder) Encode(dst []byte) []byte { return b.AppendTasks(dst) }

func (b *Builder) appendEntry(dst []byte, i int, prev, e *entry) []byte {
	named := e.name == nameOf(e.reference)
	head := byte(e.status)
	if e.skipped {
		head |= flagSkipped
	}
	if e.unknown {
		head |= flagUnknown
	}
	if e.depth > 0 {
		head |= flagIteration
	}
	if e.err != nil {
		head |= flagError
	}
	more := e.attempts != 1 || e.total != 0 || !named
	if more {
		head |= flagMore
	}
	dst = append(dst, head)
	dst = appendKind(dst, e.kind)
	dist := 0
	if e.parent >= 0 {
		dist = i - int(e.parent)
	}
	dst = appendCount(dst, dist)
	dst = appendShared(dst, prev.reference, e.reference)
	dst = appendShared(dst, string(prev.activation), string(e.activation))
	dst = binary.AppendVarint(dst, e.started-prev.started)
	if e.status.Ended() {
		dst = binary.AppendVarint(dst, e.ended-e.started)
	}
	if more {
		dst = appendCount(dst, int(e.attempts))
		dst = appendCount(dst, int(e.total))
		if named {
			dst = append(dst, 0)
		} else {
			dst = appendCount(dst, len(e.name)+1)
			dst = append(dst, e.name...)
		}
	}
	if e.depth > 0 {
		dst = appendCount(dst, int(e.depth))
		for _, x := range b.ints[e.iteration : int(e.iteration)+int(e.depth)] {
			dst = appendCount(dst, int(x))
		}
	}
	if e.err != nil {
		dst = appendProblem(dst, e.err)
	}
	return dst
}

func appendKind(dst []byte, kind string) []byte {
	for i := 1; i < len(kinds); i++ {
		if kinds[i] == kind {
			return append(dst, byte(i))
		}
	}
	return appendText(append(dst, 0), kind)
}

// appendCount appends a number that is never negative.
func appendCount(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(max(n, 0)))
}

func appendText(dst []byte, s string) []byte {
	return append(appendCount(dst, len(s)), s...)
}

func appendShared(dst []byte, prev, s string) []byte {
	n, most := 0, min(len(prev), len(s))
	for n < most && prev[n] == s[n] {
		n++
	}
	return appendText(appendCount(dst, n), s[n:])
}

func appendProblem(dst []byte, p *event.Problem) []byte {
	detail := p.Detail
	if len(detail) > maxDetail {
		detail = detail[:maxDetail]
	}
	dst = binary.AppendVarint(dst, int64(p.Status))
	for _, s := range [...]string{p.Type, p.Title, detail, p.Instance} {
		dst = appendText(dst, s)
	}
	return dst
}

// DecodeTasks reads what AppendTasks wrote; truncated reports that more tasks
// were entered than the list holds.
func DecodeTasks(data []byte) (tasks []Task, truncated bool, err error) {
	b, err := Decode(data)
	if err != nil {
		return nil, false, err
	}
	return b.Tasks(), b.Truncated(), nil
}

// Decode reads what Encode or AppendTasks wrote.
func Decode(data []byte) (*Builder, error) {
	if len(data) == 0 {
		return New(), nil
	}
	if data[0] != formOne {
		return nil, fmt.Errorf("task list: unknown form %d; it was written by a newer Downbeat", data[0])
	}
	d := decoder{b: data[1:]}
	b := &Builder{status: event.Status(d.byte())}
	n := d.int()
	b.dropped = d.int()
	if n > MaxTasks || n > len(d.b) || b.dropped < 0 {
		return nil, errors.New("task list: too long")
	}
	b.entries = make([]entry, 0, max(n, 4))
	prev := entry{}
	for i := range n {
		e := b.decodeEntry(&d, i, &prev)
		if d.bad {
			return nil, fmt.Errorf("task list: malformed at task %d", i)
		}
		b.entries = append(b.entries, e)
		prev = e
	}
	return b, nil
}

func (b *Builder) decodeEntry(d *decoder, i int, prev *entry) entry {
	head := d.byte()
	e := entry{status: event.Status(head & 7), skipped: head&flagSkipped != 0, unknown: head&flagUnknown != 0, attempts: 1}
	if k := int(d.byte()); k == 0 {
		e.kind = d.text()
	} else if k < len(kinds) {
		e.kind = kinds[k]
	}
	dist := d.int()
	e.parent = narrow(i - dist)
	if dist == 0 {
		e.parent = -1
	} else if dist > i {
		d.bad = true
	}
	e.reference = d.shared(prev.reference)
	e.activation = event.Activation(d.shared(string(prev.activation)))
	e.started = prev.started + d.signed()
	if e.status.Ended() {
		e.ended = e.started + d.signed()
	}
	named := true
	if head&flagMore != 0 {
		e.attempts, e.total = d.int32(), d.int32()
		if n := d.int(); n > 0 {
			e.name, named = d.take(n-1), false
		}
	}
	if named {
		e.name = nameOf(e.reference)
	}
	e.iteration = narrow(len(b.ints))
	if head&flagIteration != 0 {
		n := d.int()
		if n > len(d.b) {
			d.bad = true
			return e
		}
		e.depth = narrow(n)
		for range n {
			b.ints = append(b.ints, d.int32())
		}
	}
	if head&flagError != 0 {
		e.err = &event.Problem{Status: int(d.signed()), Type: d.text(), Title: d.text(), Detail: d.text(), Instance: d.text()}
	}
	return e
}

// decoder reads from b; after the first mistake everything it reads is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) int() int {
	x, n := binary.Uvarint(d.b)
	if n <= 0 || x > math.MaxInt32 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int(x)
}

func (d *decoder) int32() int32 { return narrow(d.int()) }

func (d *decoder) signed() int64 {
	x, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return x
}

func (d *decoder) text() string { return d.take(d.int()) }

func (d *decoder) take(n int) string {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) shared(prev string) string {
	n := d.int()
	if n > len(prev) {
		d.bad, d.b = true, nil
		return ""
	}
	return prev[:n] + d.text()
}
