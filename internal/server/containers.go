package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// containers is the executor of containers, which tells those of this data
// directory from those of others on the same engine.
func (n *Node) containers(c *Config) *container.Executor {
	return container.New(container.Config{
		Environment: c.Environ, Grace: c.Grace, Node: nodeLabel(c.DataDir), Over: n.over, Eager: c.Mode == Serving,
	})
}

// nodeLabel names a data directory of this machine.
func nodeLabel(dir string) string {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	host, _ := os.Hostname() // without a name the directory alone must do
	sum := sha256.Sum256([]byte(host + "\x00" + dir))
	return hex.EncodeToString(sum[:8])
}

// over reports that a run of this data directory has ended. One that is not
// known may be somebody else's.
func (n *Node) over(ctx context.Context, run string) bool {
	id, err := event.ParseRunID(run)
	if err != nil {
		return false
	}
	row, err := n.store.Run(ctx, id)
	return err == nil && row.Status.Ended()
}

// reaper removes the containers that are left over while nobody else does.
type reaper struct {
	containers *container.Executor

	once sync.Once
	stop context.CancelCauseFunc
	done sync.WaitGroup
}

var _ lifecycle.Service = (*reaper)(nil)

// Start begins to look for what is left over.
func (r *reaper) Start(ctx context.Context) error {
	r.once.Do(func() {
		ctx, r.stop = context.WithCancelCause(context.WithoutCancel(ctx))
		r.done.Go(func() { r.containers.Reap(ctx) })
	})
	return nil
}

// Stop ends it.
func (r *reaper) Stop(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop(lifecycle.ErrStopping)
	over := make(chan struct{})
	go func() {
		r.done.Wait()
		close(over)
	}()
	select {
	case <-over:
		r.containers.CloseIdleConnections()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop removing containers: %w", context.Cause(ctx))
	}
}
