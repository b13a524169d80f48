package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Limit is what a store can do at most on a machine.
type Limit struct {
	CommitsPerSecond      float64 // durable requests
	TransactionsPerSecond float64 // that carried them
}

const (
	measureCallers = 256
	measureRows    = 2
	measureBytes   = 300
	measureRounds  = 16 // requests of one run
)

// MeasureLimit measures durable requests per second of a store of its own in a
// new directory within dir: one committer, 256 callers, each of which waits for
// its request, two rows of 300 bytes in each, everything that has piled up as
// one synced transaction. The log is checkpointed meanwhile, as in a server.
func MeasureLimit(ctx context.Context, dir string, seconds float64) (_ Limit, err error) {
	dir, err = os.MkdirTemp(dir, "measure-")
	if err != nil {
		return Limit{}, fmt.Errorf("measure the limit of the store: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return Limit{}, fmt.Errorf("measure the limit of the store: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	counted := &counting{Store: s}
	c := journal.NewCommitter(counted)
	running, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { c.Run(running) })
	all.Go(func() { s.checkpoints(running) })
	for range 2 { // warm up, then measure
		if err = counted.measure(ctx, c, seconds); err != nil {
			break
		}
		if seconds < 1 {
			break
		}
	}
	stop()
	all.Wait()
	return Limit{float64(counted.requests) / seconds, float64(counted.batches.Load()) / seconds}, err
}

// checkpoints does what a keeper does, until ctx is done.
func (s *Store) checkpoints(ctx context.Context) {
	for ctx.Err() == nil {
		wait, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		<-wait.Done()
		stop()
		_ = s.Checkpoint(ctx) // a commit would fail too
	}
}

// counting counts the transactions of a store.
type counting struct {
	journal.Store
	batches  atomic.Int64
	requests int
	runs     uint64
}

func (c *counting) Commit(ctx context.Context, b *journal.Batch) error {
	c.batches.Add(1)
	return c.Store.Commit(ctx, b)
}

// measure plays all callers on one goroutine, so that it measures the store and not the scheduler.
func (c *counting) measure(ctx context.Context, committer *journal.Committer, seconds float64) error {
	callers := make([]journal.Request, measureCallers)
	rows := make([]journal.Row, measureCallers*measureRows)
	starts := make([]journal.StartRow, measureCallers)
	data := make([]byte, measureBytes)
	_, _ = rand.Read(data)
	q := journal.NewQueue()
	runs := c.runs
	defer func() { c.runs = runs }()
	next := func(i int) {
		r := &callers[i]
		mine := rows[i*measureRows : (i+1)*measureRows]
		r.Batch.Starts = nil
		if mine[0].Sequence == 0 || mine[measureRows-1].Sequence >= measureRounds*measureRows {
			runs++ // ids rise, as those of runs do
			id := event.RunID{8: 0x80}
			binary.BigEndian.PutUint64(id[:], runs)
			starts[i] = journal.StartRow{ID: id, Workflow: "measure/limit:1.0.0", At: time.Unix(1, 0), Status: event.Running, Owned: true}
			r.Batch.Starts = starts[i : i+1]
			for k := range mine {
				mine[k] = journal.Row{Run: id, Sequence: int64(k + 1 - measureRows), At: time.Unix(1, 0), Data: data}
			}
			r.Batch.Appends, r.Queue, r.Tag = mine, q, i
		}
		for k := range mine {
			mine[k].Sequence += measureRows
			mine[k].Hash += 0x9e3779b97f4a7c15
		}
		committer.Submit(r)
	}
	c.requests = 0
	c.batches.Store(0)
	over, cancel := context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
	defer cancel()
	for i := range callers {
		next(i)
	}
	waiting, ending := len(callers), false
	var taken []*journal.Request
	for waiting > 0 {
		<-q.Wake()
		taken = q.Take(taken[:0])
		if !ending {
			c.requests += len(taken)
		}
		ending = ending || over.Err() != nil
		for _, r := range taken {
			if waiting--; r.Err != nil {
				ending = true
				if err := context.Cause(ctx); err == nil {
					return fmt.Errorf("measure the limit of the store: %w", r.Err)
				}
			}
			if i, ok := r.Tag.(int); ok && !ending {
				next(i)
				waiting++
			}
		}
	}
	return context.Cause(ctx)
}
