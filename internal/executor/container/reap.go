package container

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// reapInterval is how often leftovers are looked for, at least.
const reapInterval = time.Minute

// Reap removes what is left over, until ctx is done: containers whose time of
// `eventually` has come, those that could not be removed when their task was
// cancelled, and those of runs that have ended without them, as after a crash.
// It touches the containers of its own data directory only. Without an engine
// it does nothing.
func (e *Executor) Reap(ctx context.Context) {
	if !e.eager {
		select {
		case <-ctx.Done():
		case <-e.met:
		}
	}
	for ctx.Err() == nil {
		next := reapInterval
		if engine, err := e.connect(ctx); err == nil {
			if due, err := e.sweep(ctx, engine, true); err == nil && due > 0 {
				next = min(next, due)
			}
		}
		wait(ctx, max(next, time.Second))
	}
}

// sweep removes the containers whose time has come, and thoroughly also those
// that are left over. It tells how long until the next; 0 when there is none.
func (e *Executor) sweep(ctx context.Context, engine *client.Client, thoroughly bool) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	label := labelRemoveAfter
	if thoroughly {
		label = labelRun
	}
	list, err := engine.ContainerList(limited, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", label)})
	if err != nil {
		return 0, err
	}
	timed := map[string]time.Duration{}
	for _, c := range list.Items {
		switch after, due := removeAfter(c.Labels); {
		case c.Labels[labelNode] != e.node:
		case thoroughly && e.leftOver(limited, c.Labels, c.State):
			t := &task{e: e, engine: engine, id: c.ID, grace: e.grace}
			_ = t.discard(limited) // the next look tries again
		case due && c.State != container.StateRunning && c.State != container.StateCreated:
			timed[c.ID] = after
		}
	}
	if thoroughly {
		e.removeDoomed(limited, engine)
	}
	if len(timed) == 0 {
		return 0, nil
	}
	return e.removeDue(limited, engine, timed)
}

// leftOver reports whether a container belongs to a run that has ended without
// it, and will not end by itself to anybody's knowledge.
func (e *Executor) leftOver(ctx context.Context, labels map[string]string, state container.ContainerState) bool {
	if e.over == nil || labels[labelDetached] != "" || state == container.StateExited || state == container.StateDead || state == container.StateRemoving || state == "stopped" {
		return false
	}
	return e.over(ctx, labels[labelRun])
}

// removeDoomed tries again to remove what could not be removed.
func (e *Executor) removeDoomed(ctx context.Context, engine *client.Client) {
	e.mu.Lock()
	doomed := slices.Collect(maps.Keys(e.doomed))
	e.mu.Unlock()
	for _, id := range doomed {
		t := &task{e: e, engine: engine, id: id, grace: e.grace}
		if t.discard(ctx) == nil {
			e.mu.Lock()
			delete(e.doomed, id)
			e.mu.Unlock()
		}
	}
}

// removeDue removes those of the ended containers whose time has come.
func (e *Executor) removeDue(ctx context.Context, engine *client.Client, timed map[string]time.Duration) (time.Duration, error) {
	// The engine's clock, for its containers' ends are told by it.
	info, err := engine.Info(ctx, client.InfoOptions{})
	if err != nil {
		return 0, err
	}
	now, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime)
	if err != nil {
		return 0, err
	}
	var next time.Duration
	for id, after := range timed {
		t := &task{e: e, engine: engine, id: id}
		state, err := t.inspect(ctx)
		if err != nil || !hasEnded(state) {
			continue
		}
		ended, err := time.Parse(time.RFC3339Nano, state.FinishedAt)
		if err != nil {
			continue
		}
		switch left := ended.Add(after).Sub(now); {
		case left > 0 && (next == 0 || left < next):
			next = left
		case left <= 0 && t.remove(ctx) != nil:
			e.doom(id)
		}
	}
	return next, nil
}
