package container

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// reapInterval is how often containers are looked for that are to be removed
// eventually, at least.
const reapInterval = time.Minute

// Reap removes the containers whose time of `eventually` has come, those of
// earlier processes too, until ctx is done. Without an engine it does nothing.
func (e *Executor) Reap(ctx context.Context) {
	for ctx.Err() == nil {
		next := reapInterval
		if engine, err := e.connect(ctx); err == nil {
			if due, err := e.sweep(ctx, engine); err == nil && due > 0 {
				next = min(next, due)
			}
		}
		wait(ctx, max(next, time.Second))
	}
}

// sweep removes the containers whose time has come. It tells how long until
// the next; 0 when there is none.
func (e *Executor) sweep(ctx context.Context, engine *client.Client) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := engine.ContainerList(limited, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelRemoveAfter)})
	if err != nil || len(list.Items) == 0 {
		return 0, err
	}
	// The engine's clock, for its containers' ends are told by it.
	info, err := engine.Info(limited, client.InfoOptions{})
	if err != nil {
		return 0, err
	}
	now, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime)
	if err != nil {
		return 0, err
	}
	var next time.Duration
	for _, c := range list.Items {
		after, ok := removeAfter(c.Labels)
		if !ok || c.State == container.StateRunning || c.State == container.StateCreated {
			continue
		}
		t := &task{e: e, engine: engine, id: c.ID}
		state, err := t.inspect(limited)
		if err != nil || !hasEnded(state) {
			continue
		}
		ended, err := time.Parse(time.RFC3339Nano, state.FinishedAt)
		if err != nil {
			continue
		}
		if left := ended.Add(after).Sub(now); left <= 0 {
			t.remove(limited)
		} else if next == 0 || left < next {
			next = left
		}
	}
	return next, nil
}
