package engine

import (
	"log/slog"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// waker finds runs that are due in the store: whose wake time has come, that
// have something in their inbox, or whose process has ended.
type waker struct {
	e     *Engine
	pokes chan struct{}
	over  chan struct{}
	once  sync.Once
	all   sync.WaitGroup
}

const (
	wakePage     = 512
	adoptEvery   = 10 * time.Second
	retryStoreIn = time.Second
)

func (w *waker) start(e *Engine) {
	w.e = e
	w.pokes, w.over = make(chan struct{}, 1), make(chan struct{})
	w.all.Go(w.loop)
}

func (w *waker) halt() {
	w.once.Do(func() { close(w.over) })
	w.all.Wait()
}

// poke makes the waker look soon.
func (w *waker) poke() {
	select {
	case w.pokes <- struct{}{}:
	default:
	}
}

func (w *waker) loop() {
	clock := w.e.o.Clock
	timer := clock.NewTimer(0)
	defer timer.Stop()
	var adopted time.Time
	for {
		select {
		case <-w.over:
			return
		case <-w.pokes:
		case <-w.e.o.Store.Changed():
		case <-timer.C:
		}
		wait := longSleep
		if w.e.o.Adopt {
			wait = adoptEvery
			if now := clock.Monotonic(); adopted.IsZero() || now.Sub(adopted) >= adoptEvery {
				w.adopt()
				adopted = now
			}
		}
		timer.Reset(min(wait, w.due()))
	}
}

// due wakes the runs whose time has come and returns how long until the next.
func (w *waker) due() time.Duration {
	e := w.e
	for {
		now := e.o.Clock.Now()
		ids, next, err := e.o.Store.Due(e.ctx, now, e.o.Adopt, wakePage)
		if err != nil {
			if e.Err() == nil && e.running() == nil {
				e.o.Logger.Warn("due runs cannot be read", errAttr(err))
			}
			return retryStoreIn
		}
		if len(ids) > 0 && !w.wake(ids) {
			return longSleep
		}
		if len(ids) < wakePage {
			if next.IsZero() || next.Equal(journal.NoWake) {
				return longSleep
			}
			return max(0, next.Sub(e.o.Clock.Now()))
		}
	}
}

// wake makes runs live, or look into their inbox when they are, and waits until
// their wake times are cleared, so that they are not found again. False: stopping.
func (w *waker) wake(ids []event.RunID) bool {
	var group sync.WaitGroup
	for _, id := range ids {
		group.Add(1)
		sent := w.e.shard(id).send(message{kind: msgCall, call: func(s *shard) { s.due(id, &group) }})
		if !sent {
			group.Done()
		}
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-w.over:
		return false
	}
}

// due takes up one run that the store says is due.
func (s *shard) due(id event.RunID, group *sync.WaitGroup) {
	r := s.runs[id]
	switch {
	case s.stopping:
		group.Done()
	case r == nil:
		r = s.newLoading(id)
		r.load = &loaded{group: group}
		s.e.read(id)
	case r.present() && r.end == nil && r.load == nil:
		r.load = &loaded{group: group}
		r.wakes = true
		s.touch(r)
	default:
		group.Done()
	}
}

// adopt takes over the runs of servers that have ended.
func (w *waker) adopt() {
	e := w.e
	for {
		runs, err := e.o.Store.Abandoned(e.ctx, wakePage)
		if err != nil {
			if e.Err() == nil && e.running() == nil {
				e.o.Logger.Warn("runs of ended processes cannot be read", errAttr(err))
			}
			return
		}
		var mine []event.RunID
		for _, a := range runs {
			if a.Embedded {
				continue
			}
			if err := e.o.Store.Claim(e.ctx, a.ID); err != nil {
				continue // another server was faster
			}
			mine = append(mine, a.ID)
		}
		if len(mine) > 0 {
			e.o.Logger.Info("runs taken over", slog.Int("runs", len(mine)))
		}
		if len(mine) == 0 || !w.wake(mine) || len(runs) < wakePage {
			return
		}
	}
}
