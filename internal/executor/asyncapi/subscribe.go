package asyncapi

import (
	"context"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// policy is how long a subscription lasts and what it takes.
type policy struct {
	filter, while, until string
	amount               int
	lasts                time.Duration // 0: no limit
	evaluate             func(ctx context.Context, expression string, input any) (any, error)
}

// readPolicy reads a subscription, DSL 76 and 77.
func readPolicy(r *executor.Request, s *subscription) (*policy, error) {
	if s == nil {
		return nil, nil // the call publishes
	}
	c := s.Consume
	p := &policy{filter: s.Filter, while: c.While, until: c.Until, evaluate: r.Evaluate}
	if s.Foreach != nil {
		return nil, invalid("/subscription/foreach is not for who receives: its tasks run after that")
	}
	given := 0
	for _, there := range []bool{c.Amount != nil, c.While != "", c.Until != ""} {
		if there {
			given++
		}
	}
	if given != 1 {
		return nil, invalid("/subscription/consume must have exactly one of amount, while and until")
	}
	for _, e := range []string{s.Filter, c.While, c.Until} {
		if e != "" && r.Evaluate == nil {
			return nil, invalid("/subscription: expressions cannot be evaluated here")
		}
	}
	if n, ok := c.Amount.(int); ok && n > 0 {
		p.amount = n
	} else if c.Amount != nil {
		return nil, invalid("/subscription/consume/amount must be a whole number from 1, not %.40s", value.JSON(value.Normalize(c.Amount)))
	}
	if c.For != nil {
		d, err := value.DurationFromValue(c.For)
		if err != nil || d.Std() <= 0 {
			return nil, invalid("/subscription/consume/for must be a duration above zero, like {seconds: 10} or PT10S")
		}
		p.lasts = d.Std()
	}
	return p, nil
}

// truth evaluates a condition about a message.
func (p *policy) truth(ctx context.Context, condition string, m any) (bool, error) {
	v, err := p.evaluate(ctx, condition, m)
	return v == true, err
}

// ends reports whether the subscription is over after a message.
func (p *policy) ends(ctx context.Context, count int, m any) (bool, error) {
	switch {
	case p.while != "":
		goes, err := p.truth(ctx, p.while, m)
		return !goes, err
	case p.until != "":
		return p.truth(ctx, p.until, m)
	}
	return count >= p.amount, nil
}
