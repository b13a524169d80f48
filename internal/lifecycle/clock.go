package lifecycle

import (
	"context"
	"time"
)

// Clock tells the time. The zero Clock is the system's; under testing/synctest
// that is the bubble's. Shift moves it, for tests of clocks that jump.
type Clock struct {
	Shift func() time.Duration
}

// Now is the current time, UTC, in whole microseconds as journals keep it.
func (c Clock) Now() time.Time {
	t := time.Now()
	if c.Shift != nil {
		t = t.Add(c.Shift())
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Monotonic is a reading for measuring durations; it never goes back.
func (c Clock) Monotonic() time.Time { return time.Now() }

// Since is how long ago a reading of Monotonic was.
func (c Clock) Since(t time.Time) time.Duration { return time.Since(t) }

// NewTimer returns a timer that sends once after d.
func (c Clock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// NewTicker returns a ticker that sends every d.
func (c Clock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// AfterFunc calls f on its own goroutine after d, unless the timer is stopped before.
func (c Clock) AfterFunc(d time.Duration, f func()) *time.Timer { return time.AfterFunc(d, f) }

// Sleep waits for d or for the end of ctx, whose cause it returns.
func (c Clock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
