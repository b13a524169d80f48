package engine

import (
	"context"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// sealedForm is the first byte of rows, snapshots and facts that are
// encrypted. The codec's own first byte is its version, from 1.
const sealedForm = 0

// encode writes events for the run's journal: large values apart, or, when the
// run holds secrets, everything in place and encrypted.
func (r *run) encode(b *journal.Batch, dst []byte, events []event.Event) []byte {
	if r.def.sealed {
		return r.s.e.seal(r.id, event.Append(nil, events, nil))
	}
	var ext event.Externals
	dst = event.Append(dst, events, &ext)
	for _, v := range ext.Values {
		b.Payloads = append(b.Payloads, journal.Payload{Digest: v.Digest, Data: v.Data, Run: r.id})
	}
	return dst
}

// encodeFor writes events for another run's inbox.
func (d *definition) encodeFor(to event.RunID, events []event.Event) []byte {
	data := event.Append(nil, events, nil)
	if d.sealed {
		return d.e.seal(to, data)
	}
	return data
}

func (e *Engine) seal(id event.RunID, plain []byte) []byte {
	sealer, err := e.sealer()
	if err != nil {
		// Every sealed definition was refused without a key, so there was one a moment ago.
		panic(fmt.Sprintf("seal a row of run %s: %v", id, err))
	}
	return sealer.Seal([]byte{sealedForm}, plain, id[:])
}

// unseal returns the plain form of what the engine stored of a run.
func (e *Engine) unseal(id event.RunID, data []byte) ([]byte, error) {
	if len(data) == 0 || data[0] != sealedForm {
		return data, nil
	}
	sealer, err := e.sealer()
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
func (e *Engine) Decode(ctx context.Context, id event.RunID, data []byte) ([]event.Event, error) {
	plain, err := e.unseal(id, data)
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	events, err := event.Decode(plain, func(digest string) ([]byte, error) { return e.o.Store.Payload(ctx, digest) })
	if err != nil {
		return nil, fmt.Errorf("read events of run %s: %w", id, err)
	}
	return events, nil
}

// LastEvents are the events of the last journal row of a run.
func (e *Engine) LastEvents(ctx context.Context, id event.RunID) ([]event.Event, error) {
	rec, err := e.o.Store.Load(ctx, id) // rows since the last snapshot: few
	if err != nil {
		return nil, fmt.Errorf("read journal of run %s: %w", id, err)
	}
	if len(rec.Rows) == 0 {
		return nil, fmt.Errorf("read journal of run %s: it is empty: %w", id, journal.ErrNotFound)
	}
	return e.Decode(ctx, id, rec.Rows[len(rec.Rows)-1].Data)
}
