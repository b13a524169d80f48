package engine

import (
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// encode writes events for the run's journal: large values apart, or, when the
// run holds secrets, everything in place and encrypted.
func (r *run) encode(b *journal.Batch, dst []byte, events []event.Event) []byte {
	if r.def.Sealed {
		return r.s.e.Seal(r.id, event.Append(nil, events, nil))
	}
	var ext event.Externals
	dst = event.Append(dst, events, &ext)
	for _, v := range ext.Values {
		b.Payloads = append(b.Payloads, journal.Payload{Digest: v.Digest, Data: v.Data, Run: r.id})
	}
	return dst
}

// encodeFor writes events for another run's inbox.
func (r *run) encodeFor(to event.RunID, events []event.Event) []byte {
	data := event.Append(nil, events, nil)
	if r.def.Sealed {
		return r.s.e.Seal(to, data)
	}
	return data
}
