package journal

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// A Request is one caller's part of a transaction. The caller fills Batch,
// sets Done or Queue, submits it, and leaves it alone until it is handed back;
// then it may be used again. Whoever owns a request keeps it (in the run, say),
// so that submitting allocates nothing.
type Request struct {
	// Batch is what to store. Its slices are read until the request is over;
	// Commit's answers (StartRow.Existed, CloudEvent.Known, …) are set in them.
	Batch Batch
	// Done is called on the committer's goroutine when the request is over; it
	// must not block. It may submit.
	Done func(r *Request)
	// Queue, used when Done is nil, receives the request when it is over.
	Queue *Queue
	// Tag is the caller's own: the run that asks, for instance.
	Tag any
	// Err is the outcome: nil means that everything in Batch is durable.
	Err error
}

// Bounds of one transaction, so that the write lock is held for 20 ms at most:
// what is beyond them waits for the next one.
const (
	maxItems = 2048
	maxBytes = 1 << 20
)

// Committer joins what its callers submit into transactions: a request goes out
// at once when nothing else is under way, otherwise with everything that has
// piled up while the last commit ran. It starts no goroutine: its owner calls Run.
type Committer struct {
	store Store

	mu      sync.Mutex
	wake    sync.Cond
	pending []*Request
	closed  bool

	batch Batch
	taken []*Request
	rest  []*Request

	accepted chan struct{}
}

// NewCommitter returns a committer for a store.
func NewCommitter(s Store) *Committer {
	c := &Committer{store: s, accepted: make(chan struct{}, 1)}
	c.wake.L = &c.mu
	return c
}

// Submit queues requests. Those of one caller are stored in the order in which
// it submits them. After Run has returned they end with ErrClosed, at once and
// on the caller's goroutine.
func (c *Committer) Submit(rs ...*Request) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		complete(rs, ErrClosed)
		return
	}
	idle := len(c.pending) == 0
	c.pending = append(c.pending, rs...)
	c.mu.Unlock()
	if idle {
		c.wake.Signal()
	}
}

// Pending returns how many requests wait for the next transaction.
func (c *Committer) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// Accepted returns a channel that receives when cloud events were stored. One
// goroutine may wait for it.
func (c *Committer) Accepted() <-chan struct{} { return c.accepted }

// Run commits until ctx is done, then commits what was submitted before and
// returns. Call it once.
func (c *Committer) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.wake.Signal()
	})
	defer stop()
	// A transaction that has begun is finished even when the owner stops.
	steady := context.WithoutCancel(ctx)
	for c.take() {
		for len(c.rest) > 0 {
			n := c.fit()
			c.commit(steady, c.rest[:n])
			c.rest = c.rest[n:]
		}
		clear(c.taken)
	}
}

// take waits for requests and moves all of them to c.rest; false at the end.
func (c *Committer) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) == 0 {
		if c.closed {
			return false
		}
		c.wake.Wait()
	}
	c.taken, c.pending = c.pending, c.taken[:0]
	c.rest = c.taken
	return true
}

// fit counts the requests at the front of c.rest that fit into one transaction.
func (c *Committer) fit() int {
	items, bytes := 0, 0
	for n, r := range c.rest {
		i, b := r.Batch.size()
		items, bytes = items+i, bytes+b
		if n > 0 && (items > maxItems || bytes > maxBytes) {
			return n
		}
	}
	return len(c.rest)
}

// commit stores requests as one transaction. One that cannot be stored (its
// run belongs to somebody else, say) must not take the others with it, so
// after such an error the halves are tried by themselves.
func (c *Committer) commit(ctx context.Context, rs []*Request) {
	var err error
	if len(rs) == 1 {
		err = c.store.Commit(ctx, &rs[0].Batch)
	} else {
		c.batch.reset()
		for _, r := range rs {
			c.batch.add(&r.Batch)
		}
		err = c.store.Commit(ctx, &c.batch)
		if err == nil {
			c.answer(rs)
		}
	}
	if err != nil && len(rs) > 1 && !hopeless(err) {
		half := len(rs) / 2
		c.commit(ctx, rs[:half])
		c.commit(ctx, rs[half:])
		return
	}
	if err == nil {
		c.announce(rs)
	}
	complete(rs, err)
}

// hopeless tells errors of the store from errors of one request.
func hopeless(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, ErrFull) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrBusy)
}

// answer copies what Commit said about rows back to the requests they came from.
func (c *Committer) answer(rs []*Request) {
	var starts, events, inbox int
	for _, r := range rs {
		starts += copy(r.Batch.Starts, c.batch.Starts[starts:])
		events += copy(r.Batch.Events, c.batch.Events[events:])
		inbox += copy(r.Batch.Inbox, c.batch.Inbox[inbox:])
	}
}

// announce says that there are cloud events, if there are.
func (c *Committer) announce(rs []*Request) {
	if !slices.ContainsFunc(rs, func(r *Request) bool { return len(r.Batch.Events) > 0 }) {
		return
	}
	select {
	case c.accepted <- struct{}{}:
	default:
	}
}

func complete(rs []*Request, err error) {
	for i := 0; i < len(rs); {
		r := rs[i]
		if r.Done != nil || r.Queue == nil {
			r.Err = err
			if r.Done != nil {
				r.Done(r)
			}
			i++
			continue
		}
		// Neighbours of one queue cost one lock.
		q, end := r.Queue, i+1
		r.Err = err
		for end < len(rs) && rs[end].Done == nil && rs[end].Queue == q {
			rs[end].Err = err
			end++
		}
		q.put(rs[i:end])
		i = end
	}
}

// Queue collects requests that are over, for one goroutine that takes them
// when it likes.
type Queue struct {
	mu   sync.Mutex
	over []*Request
	wake chan struct{}
}

// NewQueue returns an empty queue.
func NewQueue() *Queue { return &Queue{wake: make(chan struct{}, 1)} }

// Wake returns a channel that receives when requests are there to be taken.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Take appends all requests that are over to dst, in the order of their commits.
func (q *Queue) Take(dst []*Request) []*Request {
	q.mu.Lock()
	dst = append(dst, q.over...)
	clear(q.over)
	q.over = q.over[:0]
	q.mu.Unlock()
	return dst
}

func (q *Queue) put(rs []*Request) {
	q.mu.Lock()
	q.over = append(q.over, rs...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
