package outbound

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// token is an access token with what is needed to renew it.
type token struct {
	value   string
	refresh string    // "" when the authority gave none
	expires time.Time // zero: nobody knows
	renew   time.Time // from then on it is not handed out any more; zero: never handed out again
}

// renewBefore is how long before its end a token is renewed.
const renewBefore = 30 * time.Second

// unknownLife is how long a token is kept whose end nobody tells.
const unknownLife = time.Hour

// lives sets when the token ends.
func (t *token) lives(now time.Time, life time.Duration, known bool) {
	if !known {
		t.renew = now.Add(unknownLife)
		return
	}
	t.expires = now.Add(life)
	if life > 0 {
		t.renew = t.expires.Add(-min(renewBefore, life/2))
	}
}

// tokens keeps tokens, each under the digest of its policy.
type tokens struct {
	clock lifecycle.Clock
	mu    sync.Mutex
	by    map[[sha256.Size]byte]*tokenEntry
}

// maxTokens bounds the cache: policies with data in them could be many.
const maxTokens = 1000

type tokenEntry struct {
	token   *token
	refresh string // outlives the token that it came with
	flight  *flight
}

// flight is one request for a token, on behalf of all that wait for it.
type flight struct {
	done      chan struct{}
	token     *token
	err       error
	abandoned bool // the task that asked was cancelled: that says nothing to the others
}

// get returns the token under key, and whether it was there already; when it
// is not, or about to end, fetch gets another one, once for all who want it.
func (t *tokens) get(ctx context.Context, key [sha256.Size]byte, fetch func(ctx context.Context, refresh string) (*token, error)) (*token, bool, error) {
	for {
		t.mu.Lock()
		e := t.entry(key)
		if e.token != nil && t.clock.Now().Before(e.token.renew) {
			defer t.mu.Unlock()
			return e.token, true, nil
		}
		f := e.flight
		if f == nil {
			f = &flight{done: make(chan struct{})}
			e.flight = f
			t.mu.Unlock()
			return t.lead(ctx, e, f, fetch)
		}
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		case <-f.done:
		}
		if !f.abandoned {
			return f.token, false, f.err
		}
	}
}

// lead makes the request of a flight.
func (t *tokens) lead(ctx context.Context, e *tokenEntry, f *flight, fetch func(ctx context.Context, refresh string) (*token, error)) (*token, bool, error) {
	landed := false
	defer func() { // also when fetch panics: the others must not wait for ever
		t.mu.Lock()
		defer t.mu.Unlock()
		e.flight = nil
		f.abandoned = !landed || f.err != nil && ctx.Err() != nil
		if f.err == nil && f.token != nil {
			e.token = f.token
			if f.token.refresh != "" {
				e.refresh = f.token.refresh
			}
		}
		close(f.done)
	}()
	t.mu.Lock()
	refresh, old := e.refresh, e.token
	t.mu.Unlock()
	f.token, f.err = fetch(ctx, refresh)
	if f.err != nil && ctx.Err() == nil && old != nil && t.clock.Now().Before(old.expires) {
		f.token, f.err = old, nil // it is still good for a moment; the next call tries again
	}
	landed = true
	return f.token, false, f.err
}

// entry returns the entry of key, new if need be. The caller holds mu.
func (t *tokens) entry(key [sha256.Size]byte) *tokenEntry {
	e := t.by[key]
	if e != nil {
		return e
	}
	if t.by == nil {
		t.by = map[[sha256.Size]byte]*tokenEntry{}
	}
	if len(t.by) >= maxTokens {
		t.shrink()
	}
	e = &tokenEntry{}
	t.by[key] = e
	return e
}

// shrink makes room: tokens that have ended go first, then any.
func (t *tokens) shrink() {
	now := t.clock.Now()
	for key, e := range t.by {
		if e.flight == nil && (e.token == nil || !now.Before(e.token.renew)) {
			delete(t.by, key)
		}
	}
	for key, e := range t.by {
		if len(t.by) <= maxTokens/2 {
			return
		}
		if e.flight == nil {
			delete(t.by, key)
		}
	}
}

// drop forgets a token that was refused, unless another took its place.
func (t *tokens) drop(key [sha256.Size]byte, refused *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.by[key]; e != nil && e.token == refused {
		e.token = nil
	}
}
