// Package lifecycle says how long-lived parts of Downbeat start and stop, and
// owns the clock: it is the only package that asks for the time.
//
// Whoever owns goroutines implements [Service] and is put in a [Group], which
// starts its members in order and stops them in the opposite order.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrStopping is the cause of contexts that end because their owner stops:
// the work is not cancelled but goes on later, elsewhere or after a restart.
var ErrStopping = errors.New("stopping")

// Service is a part with goroutines of its own. Start returns when it is ready,
// Stop when all is over; both may be called twice, and Stop before Start.
type Service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Group is services that live together.
type Group struct {
	mu      sync.Mutex
	members []named
	started int
}

type named struct {
	name    string
	service Service
}

var _ Service = (*Group)(nil)

// Add puts a service at the end of the group. Call it before Start.
func (g *Group) Add(name string, s Service) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = append(g.members, named{name, s})
}

// Start starts the members in order. When one fails, those before it are stopped.
func (g *Group) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.started < len(g.members) {
		m := g.members[g.started]
		if err := m.service.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", m.name, err), g.stop(ctx))
		}
		g.started++
	}
	return nil
}

// Stop stops the started members in the opposite order and reports every failure.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stop(ctx)
}

func (g *Group) stop(ctx context.Context) error {
	var errs []error
	for ; g.started > 0; g.started-- {
		m := g.members[g.started-1]
		if err := m.service.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", m.name, err))
		}
	}
	return errors.Join(errs...)
}
