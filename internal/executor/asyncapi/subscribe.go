package asyncapi

import (
	"context"
	"errors"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// maxOutput is how many bytes the messages of one subscription may have together, as JSON.
const maxOutput = 15 << 20

// policy is how long a subscription lasts and what it takes.
type policy struct {
	filter, while, until string
	amount               int
	lasts                time.Duration // 0: no limit
	evaluate             func(ctx context.Context, expression string, input any) (any, error)
}

// errEnough ends a subscription whose duration is over.
var errEnough = errors.New("asyncapi: the duration of the subscription is over")

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

// receive carries out a subscription.
func (e *Executor) receive(ctx context.Context, l *link, p *policy) (any, error) {
	all := []any{}
	if earlier, ok := e.takeRecovered(l.request.IdempotencyKey); ok {
		// An earlier process had ended the subscription, and told the server.
		return append(all, earlier...), nil
	}
	waiting := ctx
	if p.lasts > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeoutCause(ctx, p.lasts, errEnough)
		defer cancel()
	}
	s, err := protocols[l.channel.server.protocol].subscribe(waiting, l)
	if err != nil {
		if errors.Is(context.Cause(waiting), errEnough) && ctx.Err() == nil {
			return nil, executor.NewProblem(event.Communication, 500, "Communication failed", "the %s server %s did not answer within the duration of the subscription", l.channel.server.protocol, l.channel.server.address)
		}
		return nil, l.problem("subscribe to", err)
	}
	defer s.close()
	if all, err = p.collect(ctx, waiting, l, s); err != nil {
		return nil, err
	}
	if err := l.request.Bind(ctx, object{"key": l.request.IdempotencyKey, "messages": all}); err != nil {
		return nil, err
	}
	if err := s.acknowledge(ctx); err != nil {
		// They are durable here; that the server delivers them again is no loss.
		_, _ = l.request.Log.Stream("log").Write([]byte("the messages could not be acknowledged, so they may be delivered again: " + err.Error() + "\n"))
	}
	return all, nil
}

// collect receives messages until the policy has enough.
func (p *policy) collect(ctx, waiting context.Context, l *link, s source) ([]any, error) {
	all, size := []any{}, 0
	for {
		m, err := s.receive(waiting)
		if errors.Is(context.Cause(waiting), errEnough) && err != nil && ctx.Err() == nil {
			return all, nil
		}
		if err != nil {
			return nil, l.problem("receive from", err)
		}
		v := l.decode(m)
		if p.filter != "" {
			fits, err := p.truth(ctx, p.filter, v)
			if err != nil {
				return nil, err
			}
			if !fits {
				continue
			}
		}
		if size += value.Size(v); size > maxOutput {
			return nil, executor.NewProblem(event.Communication, 500, "Messages too large", "the messages of the subscription have more than %d bytes together, which is the limit; consume fewer at a time", maxOutput)
		}
		all = append(all, v)
		if over, err := p.ends(ctx, len(all), v); err != nil || over {
			return all, err
		}
	}
}
