package history

import (
	"context"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Question is what a run wants to know of its inbox and of the cloud events.
type Question struct {
	Listens bool      // it has listeners
	Known   bool      // Cursor is not before the run's start
	Early   bool      // some listener has not been offered what came between the run's start and Cursor (D41)
	Cursor  int64     // events up to here were offered
	Since   time.Time // when the run started
	Types   []string  // that its listeners want; none: all
}

// Answer is what the store says.
type Answer struct {
	Facts  []journal.InboxRow
	Early  []journal.CloudEvent // accepted since the run started, up to the cursor
	Fresh  []journal.CloudEvent // after the cursor
	Cursor int64                // everything up to here is in Fresh, or of no wanted type
	More   bool                 // there are more fresh events
	Asked  bool                 // for cloud events
	Err    error
}

const eventPage = 256

// Ask reads what waits for a run.
func (h *History) Ask(ctx context.Context, id event.RunID, q Question) (a Answer) {
	if a.Facts, a.Err = h.store.Inbox(ctx, id); a.Err != nil || !q.Listens {
		return a
	}
	var begin int64
	if !q.Known || q.Early {
		if begin, a.Err = h.sequenceAt(ctx, q.Since); a.Err != nil {
			return a
		}
	}
	if !q.Known {
		q.Cursor = max(q.Cursor, begin)
	}
	a.Asked, a.Cursor = true, q.Cursor
	if q.Early && begin < q.Cursor {
		if a.Early, a.Err = h.eventsBetween(ctx, begin, q.Cursor, q.Types); a.Err != nil {
			return a
		}
	}
	if a.Fresh, a.Err = h.store.CloudEvents(ctx, q.Cursor, q.Types, eventPage); a.Err != nil {
		return a
	}
	if n := len(a.Fresh); n > 0 {
		a.Cursor = a.Fresh[n-1].Sequence
		a.More = n == eventPage
	}
	return a
}

func (h *History) eventsBetween(ctx context.Context, after, upTo int64, types []string) ([]journal.CloudEvent, error) {
	var out []journal.CloudEvent
	for after < upTo {
		page, err := h.store.CloudEvents(ctx, after, types, eventPage)
		if err != nil || len(page) == 0 {
			return out, err
		}
		for _, ev := range page {
			if ev.Sequence > upTo {
				return out, nil
			}
			out = append(out, ev)
			after = ev.Sequence
		}
	}
	return out, nil
}

// sequenceAt is the sequence before the first cloud event accepted at or after
// a time. Acceptance times rise with the sequence, so halving finds it.
func (h *History) sequenceAt(ctx context.Context, since time.Time) (int64, error) {
	before := func(after int64) (bool, error) { // is the first event beyond after an older one?
		page, err := h.store.CloudEvents(ctx, after, nil, 1)
		return err == nil && len(page) > 0 && page[0].At.Before(since), err
	}
	low, high := int64(0), int64(1)
	older, err := before(0)
	if err != nil || !older {
		return 0, err
	}
	for {
		if older, err = before(high); err != nil {
			return 0, err
		}
		if !older {
			break
		}
		low, high = high, high*2
	}
	for low < high { // before(low) holds or low is 0, before(high) does not
		mid := low + (high-low)/2
		if older, err = before(mid); err != nil {
			return 0, err
		}
		if older {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}
