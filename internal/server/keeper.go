package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Retention defaults (docs: 30 days and 100,000 finished runs a workflow).
const (
	keepRuns   = 100_000
	keepFor    = 30 * 24 * time.Hour
	keepEvents = 24 * time.Hour
)

// keeper looks after the size of the store while nothing else does: it moves
// the write-ahead log and, in a server, removes what retention no longer keeps.
type keeper struct {
	store interface {
		journal.Keeper
		journal.Reader
	}
	clock  lifecycle.Clock
	logger *slog.Logger
	dir    string
	prunes bool
	keep   int           // finished runs of a workflow
	age    time.Duration // that finished runs are kept

	asks map[[sha256.Size]byte]workflow.Retention // of definitions that were seen

	once sync.Once
	stop context.CancelCauseFunc
	done sync.WaitGroup
}

var _ lifecycle.Service = (*keeper)(nil)

const (
	checkpointEvery = 2 * time.Second
	pruneEvery      = 10 * time.Minute
	pruneSlice      = 5 * time.Millisecond
	prunePause      = 20 * time.Millisecond
)

// Start begins to keep.
func (k *keeper) Start(ctx context.Context) error {
	k.once.Do(func() {
		ctx, k.stop = context.WithCancelCause(context.WithoutCancel(ctx))
		k.done.Go(func() { k.loop(ctx) })
	})
	return nil
}

// Stop ends the keeping. A process that lived too shortly to prune prunes a
// little now, so that a directory that only `downbeat run` uses is pruned too.
func (k *keeper) Stop(ctx context.Context) error {
	if k.stop == nil {
		return nil
	}
	k.stop(lifecycle.ErrStopping)
	k.done.Wait()
	k.stop = nil
	if !k.prunes {
		n, _, err := k.store.Prune(ctx, k.retention(), pruneSlice)
		if err != nil && !errors.Is(err, journal.ErrClosed) {
			return fmt.Errorf("prune: %w", err)
		}
		if n > 0 {
			k.pruneFiles(ctx)
		}
	}
	return nil
}

func (k *keeper) retention() journal.Retention {
	return journal.Retention{Keep: k.keep, For: k.age, Events: keepEvents, Now: k.clock.Now(), Of: k.asked}
}

// asked is what metadata.downbeat.retention of a definition says.
func (k *keeper) asked(definition []byte) (keep int, age time.Duration) {
	digest := sha256.Sum256(definition)
	r, known := k.asks[digest]
	if !known {
		if def, _ := bundle.Decode(definition); def != nil && def.Downbeat != nil && def.Downbeat.Retention != nil {
			r = *def.Downbeat.Retention
		}
		const most = 1024 // then from the start: they are small, and found again
		if k.asks == nil || len(k.asks) >= most {
			k.asks = make(map[[sha256.Size]byte]workflow.Retention)
		}
		k.asks[digest] = r
	}
	return r.Keep, r.For
}

func (k *keeper) loop(ctx context.Context) {
	pruned := k.clock.Monotonic()
	for k.clock.Sleep(ctx, checkpointEvery) == nil {
		if err := k.store.Checkpoint(ctx); err != nil && ctx.Err() == nil {
			k.logger.WarnContext(ctx, "checkpoint", slog.String("error", err.Error()))
		}
		if k.prunes && k.clock.Since(pruned) >= pruneEvery {
			k.prune(ctx)
			pruned = k.clock.Monotonic()
		}
	}
}

func (k *keeper) prune(ctx context.Context) {
	for {
		n, more, err := k.store.Prune(ctx, k.retention(), pruneSlice)
		if err != nil {
			if ctx.Err() == nil {
				k.logger.WarnContext(ctx, "prune", slog.String("error", err.Error()))
			}
			return
		}
		if n > 0 {
			k.logger.DebugContext(ctx, "pruned", slog.Int("runs", n))
		}
		if !more {
			break
		}
		if k.clock.Sleep(ctx, prunePause) != nil {
			return
		}
	}
	k.pruneFiles(ctx)
}

// pruneFiles removes logs and working directories of runs that are gone.
func (k *keeper) pruneFiles(ctx context.Context) {
	for _, kind := range []string{"logs", "work"} {
		entries, err := os.ReadDir(filepath.Join(k.dir, kind))
		if err != nil {
			continue // there are none
		}
		for _, e := range entries {
			id, err := event.ParseRunID(e.Name())
			if err != nil || ctx.Err() != nil {
				continue
			}
			if _, err := k.store.Run(ctx, id); isGone(err) {
				_ = os.RemoveAll(filepath.Join(k.dir, kind, e.Name())) // tried again at the next pruning
			}
		}
	}
}

func isGone(err error) bool { return errors.Is(err, journal.ErrNotFound) }
