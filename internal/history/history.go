// Package history reads what journals hold: it opens encrypted rows, decodes
// events, shows runs from what is committed, and knows the form of snapshots.
// The engine and the use cases read runs by it.
package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/definitions"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Sealer encrypts what is stored of runs that hold secrets. The additional data binds it to its run.
type Sealer interface {
	Seal(dst, plain, ad []byte) []byte
	Open(dst, sealed, ad []byte) ([]byte, error)
}

// ErrNoKey says that there is no key to encrypt with.
var ErrNoKey = errors.New("there is no key to encrypt with")

// sealedForm is the first byte of rows, snapshots and facts that are
// encrypted. The codec's own first byte is its version, from 1.
const sealedForm = 0

// History reads runs. It is safe for concurrent use.
type History struct {
	store       journal.Store
	reader      journal.Reader
	sealer      func() (Sealer, error)
	definitions *definitions.Cache
}

// New returns a History. The sealer is asked for when it is first needed; nil: there is no key.
func New(s journal.Store, r journal.Reader, sealer func() (Sealer, error)) *History {
	if sealer == nil {
		sealer = func() (Sealer, error) { return nil, ErrNoKey }
	}
	return &History{store: s, reader: r, sealer: sync.OnceValues(sealer)}
}

// Use gives the History the definitions that it shows runs of. Call it before anything else.
func (h *History) Use(c *definitions.Cache) { h.definitions = c }

// Seals says why rows cannot be encrypted; nil: they can.
func (h *History) Seals() error {
	_, err := h.sealer()
	return err
}

// Seal encrypts what is to be stored of a run.
func (h *History) Seal(id event.RunID, plain []byte) []byte {
	sealer, err := h.sealer()
	if err != nil {
		// Every sealed definition was refused without a key, so there was one a moment ago.
		panic(fmt.Sprintf("seal a row of run %s: %v", id, err))
	}
	return sealer.Seal([]byte{sealedForm}, plain, id[:])
}

// open returns the plain form of what was stored of a run.
func (h *History) open(id event.RunID, data []byte) ([]byte, error) {
	if len(data) == 0 || data[0] != sealedForm {
		return data, nil
	}
	sealer, err := h.sealer()
	if err != nil {
		return nil, fmt.Errorf("the row is encrypted: %w", err)
	}
	plain, err := sealer.Open(nil, data[1:], id[:])
	if err != nil {
		return nil, fmt.Errorf("decrypt (is the key of this data directory the one it was written with?): %w", err)
	}
	return plain, nil
}

// Decode reads the events of a journal row or inbox fact.
func (h *History) Decode(ctx context.Context, id event.RunID, data []byte) ([]event.Event, error) {
	plain, err := h.open(id, data)
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	events, err := event.Decode(plain, func(digest string) ([]byte, error) { return h.store.Payload(ctx, digest) })
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	return events, nil
}

// Last are the events of the last journal row of a run.
func (h *History) Last(ctx context.Context, id event.RunID) ([]event.Event, error) {
	rec, err := h.store.Load(ctx, id) // rows since the last snapshot: few
	if err != nil {
		return nil, fmt.Errorf("read journal of run %s: %w", id, err)
	}
	if len(rec.Rows) == 0 {
		return nil, fmt.Errorf("read journal of run %s: it is empty: %w", id, journal.ErrNotFound)
	}
	return h.Decode(ctx, id, rec.Rows[len(rec.Rows)-1].Data)
}

// Outcome reads how an ended run ended.
func (h *History) Outcome(ctx context.Context, id event.RunID) (*event.RunEnded, error) {
	events, err := h.Last(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, ev := range slices.Backward(events) {
		if end, ok := ev.Body.(*event.RunEnded); ok {
			return end, nil
		}
	}
	return nil, fmt.Errorf("run %s has ended but its journal does not say how: %w", id, journal.ErrCorrupt)
}

// Record is a stored run, decoded.
type Record struct {
	*journal.Record
	Definition *definitions.Definition
	Events     [][]event.Event // of Rows
	State      []byte          // of the snapshot, opened
}

// Load reads and decodes a run.
func (h *History) Load(ctx context.Context, id event.RunID) (*Record, error) {
	stored, err := h.store.Load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load run %s: %w", id, err)
	}
	rec := &Record{Record: stored}
	for i := range stored.Rows {
		events, err := h.Decode(ctx, id, stored.Rows[i].Data)
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", stored.Rows[i].Sequence, err)
		}
		rec.Events = append(rec.Events, events)
	}
	rec.beginAtReopening()
	if stored.Snapshot != nil {
		if rec.State, err = h.open(id, stored.Snapshot.State); err != nil {
			return nil, fmt.Errorf("snapshot of run %s: %w", id, err)
		}
	}
	if rec.Definition, err = h.definitions.Read(ctx, stored.Run.Digest); err != nil {
		return nil, fmt.Errorf("load run %s: %w", id, err)
	}
	return rec, nil
}
