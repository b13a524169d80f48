package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// State is what a snapshot holds of a run.
type State struct {
	First, At time.Time // of the first and the last event
	Cursor    int64     // cloud events up to here were offered
	Started   *event.RunStarted
	Attempts  Attempts // what attempts without an answer have started outside
	View      *view.Builder
	Machine   *machine.Machine
}

// stateForm is the first byte of a snapshot.
const stateForm = 1

var errState = errors.New("snapshot is damaged")

// Append writes the state in the form of snapshots.
func (s *State) Append(dst []byte) []byte {
	dst = append(dst, stateForm)
	dst = binary.AppendVarint(dst, s.At.UnixMicro())
	dst = binary.AppendVarint(dst, s.Cursor)
	notes := make([]event.Event, 0, len(s.Attempts))
	for i := range s.Attempts {
		notes = append(notes, event.Event{At: s.At, Body: &s.Attempts[i]})
	}
	first := event.Append(nil, []event.Event{{At: s.First, Body: s.Started}}, nil)
	for _, part := range [][]byte{first, event.Append(nil, notes, nil), s.View.Encode(nil), s.Machine.Snapshot()} {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// ReadState reads what Append wrote, for a run of the program.
func ReadState(p *program.Program, b []byte) (*State, error) {
	bad := fmt.Errorf("%w: %w", errState, journal.ErrCorrupt)
	if len(b) < 2 || b[0] != stateForm {
		return nil, bad
	}
	b = b[1:]
	numbers := [2]int64{}
	for i := range numbers {
		v, n := binary.Varint(b)
		if n <= 0 {
			return nil, bad
		}
		numbers[i], b = v, b[n:]
	}
	var parts [4][]byte
	for i := range parts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, bad
		}
		parts[i], b = b[n:n+int(size)], b[n+int(size):]
	}
	s := &State{At: time.UnixMicro(numbers[0]).UTC(), Cursor: numbers[1]}
	first, err := event.Decode(parts[0], nil)
	if err != nil || len(first) != 1 {
		return nil, bad
	}
	started, ok := first[0].Body.(*event.RunStarted)
	if !ok {
		return nil, bad
	}
	s.Started, s.First = started, first[0].At
	notes, err := event.Decode(parts[1], nil)
	if err != nil {
		return nil, bad
	}
	for _, ev := range notes {
		if a, ok := ev.Body.(*event.AttemptStarted); ok {
			s.Attempts = append(s.Attempts, *a)
		}
	}
	if s.View, err = view.Decode(parts[2]); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	if s.Machine, err = machine.Restore(p, parts[3]); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	return s, nil
}
