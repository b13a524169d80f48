package lifecycle

import "sync"

// Crew is a few goroutines that do what they are given, in the order in which
// it comes: for work that blocks and must not hold up who asks for it.
type Crew struct {
	mu    sync.Mutex
	cond  sync.Cond
	queue []func()
	over  bool
	all   sync.WaitGroup
}

// NewCrew returns a crew of n, at work until Halt.
func NewCrew(n int) *Crew {
	c := &Crew{}
	c.cond.L = &c.mu
	for range n {
		c.all.Go(c.work)
	}
	return c
}

// Do has f done soon; not when Halt comes first.
func (c *Crew) Do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, f)
	c.cond.Signal()
}

// Halt ends the crew after what is being done; what was not begun is dropped.
func (c *Crew) Halt() {
	c.mu.Lock()
	c.over = true
	c.cond.Broadcast()
	c.mu.Unlock()
	c.all.Wait()
}

func (c *Crew) work() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.over {
			c.cond.Wait()
		}
		if c.over {
			c.mu.Unlock()
			return
		}
		f := c.queue[0]
		c.queue[0] = nil
		if c.queue = c.queue[1:]; len(c.queue) == 0 {
			c.queue = nil
		}
		c.mu.Unlock()
		f()
	}
}
