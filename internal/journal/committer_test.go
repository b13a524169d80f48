package journal_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// gate is a store whose Commit can be held and told to refuse runs.
type gate struct {
	journal.Store
	hold   chan struct{}
	sizes  []int
	refuse map[event.RunID]error
}

func (g *gate) Commit(_ context.Context, b *journal.Batch) error {
	if g.hold != nil {
		<-g.hold
	}
	for _, r := range b.Appends {
		if err := g.refuse[r.Run]; err != nil {
			return err
		}
	}
	for i := range b.Starts {
		b.Starts[i].Existed = b.Starts[i].Priority == 7
	}
	g.sizes = append(g.sizes, len(b.Appends))
	return nil
}

func request(run byte, q *journal.Queue, size int) *journal.Request {
	return &journal.Request{
		Batch: journal.Batch{Appends: []journal.Row{{Run: event.RunID{run}, Sequence: 1, Data: make([]byte, size)}}},
		Queue: q,
	}
}

func start(t *testing.T, s journal.Store) (c *journal.Committer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c = journal.NewCommitter(s)
	over := make(chan struct{})
	go func() {
		c.Run(ctx)
		close(over)
	}()
	return c, func() { cancel(); <-over }
}

func TestCommitterJoinsWhatPilesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{hold: make(chan struct{})}
		c, stop := start(t, g)
		q := journal.NewQueue()
		c.Submit(request(1, q, 1)) // goes out alone, at once
		synctest.Wait()
		for i := range byte(5) {
			c.Submit(request(i+2, q, 1))
		}
		c.Submit(request(9, q, 1<<20), request(10, q, 1)) // too big for one transaction with the others
		close(g.hold)
		synctest.Wait()
		if diff := cmp.Diff([]int{1, 5, 1, 1}, g.sizes); diff != "" {
			t.Errorf("sizes of the transactions (-want +got):\n%s", diff)
		}
		var order []byte
		for _, r := range q.Take(nil) {
			order = append(order, r.Batch.Appends[0].Run[0])
		}
		if diff := cmp.Diff([]byte{1, 2, 3, 4, 5, 6, 9, 10}, order); diff != "" {
			t.Errorf("order of completion (-want +got):\n%s", diff)
		}
		stop()
	})
}

func TestCommitterIsolatesTheOneThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{hold: make(chan struct{}), refuse: map[event.RunID]error{{3}: journal.ErrNotOwner}}
		c, stop := start(t, g)
		q := journal.NewQueue()
		var rs []*journal.Request
		for i := range byte(8) {
			rs = append(rs, request(i, q, 1))
		}
		rs[5].Batch.Starts = []journal.StartRow{{Priority: 7}}
		rs[6].Batch.Starts = []journal.StartRow{{Priority: 1}}
		c.Submit(rs...)
		close(g.hold)
		synctest.Wait()
		for i, r := range q.Take(nil) {
			if i == 3 != errors.Is(r.Err, journal.ErrNotOwner) {
				t.Errorf("request %d: %v", i, r.Err)
			}
		}
		if !rs[5].Batch.Starts[0].Existed || rs[6].Batch.Starts[0].Existed {
			t.Error("the answers did not reach the requests that they belong to")
		}
		stop()
	})
}

func TestCommitterDrainsAndThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{hold: make(chan struct{})}
		c, stop := start(t, g)
		q := journal.NewQueue()
		c.Submit(request(1, q, 1))
		synctest.Wait()
		c.Submit(request(2, q, 1))
		close(g.hold)
		stop()
		for _, r := range q.Take(nil) {
			if r.Err != nil {
				t.Errorf("submitted before the end: %v", r.Err)
			}
		}
		if diff := cmp.Diff([]int{1, 1}, g.sizes); diff != "" {
			t.Error(diff)
		}
		var got error
		c.Submit(&journal.Request{Done: func(r *journal.Request) { got = r.Err }})
		if !errors.Is(got, journal.ErrClosed) {
			t.Errorf("submitted after the end: %v", got)
		}
	})
}

func BenchmarkCommitter(b *testing.B) {
	g := &gate{}
	c := journal.NewCommitter(g)
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan struct{})
	go func() { c.Run(ctx); close(over) }()
	q := journal.NewQueue()
	for i := range 256 {
		c.Submit(request(byte(i), q, 300))
	}
	b.ReportAllocs()
	var rs []*journal.Request
	for n := 0; n < b.N; {
		<-q.Wake()
		rs = q.Take(rs[:0])
		n += len(rs)
		c.Submit(rs...)
		g.sizes = g.sizes[:0]
	}
	cancel()
	<-over
}
