package asyncapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// maxOutput is how many bytes the messages of one subscription may have together, as JSON.
const maxOutput = 15 << 20

var (
	// errEnough ends a subscription whose duration is over.
	errEnough = errors.New("asyncapi: the duration of the subscription is over")
	// errStalled ends the waiting for a message that may not come before others are acknowledged.
	errStalled = errors.New("asyncapi: the server may wait for acknowledgements")
)

// staller is a source whose server sends no more than some messages without an
// acknowledgement.
type staller interface {
	// stalls is after how long without a message that may be the case; 0: it is not.
	stalls() time.Duration
}

// reception is one subscription that is carried out.
type reception struct {
	executor *Executor
	link     *link
	policy   *policy
	source   source
	all      []any // messages so far
	size     int   // of them
	bound    int   // how many of them are durable under this attempt
	parts    bool  // some handle of this attempt is
}

// receive carries out a subscription.
func (e *Executor) receive(ctx context.Context, l *link, p *policy) (_ any, err error) {
	r := &reception{executor: e, link: l, policy: p, all: []any{}}
	if over, err := r.resume(ctx); err != nil || over {
		return r.all, err
	}
	defer func() {
		if err != nil {
			// The server will not send again what it was told is durable.
			e.left.keep(l.request.IdempotencyKey, leftover{messages: r.all[:r.bound]})
		}
	}()
	protocol := protocols[l.channel.server.protocol]
	// Who acknowledges needs the connection longer than who waits for messages.
	connected, release := context.WithCancelCause(ctx)
	defer release(nil)
	connecting, placed := ctx, func() {}
	if p.lasts > 0 && !protocol.joins {
		connecting, placed = context.WithTimeoutCause(ctx, p.lasts, errEnough)
	}
	tooLate := context.AfterFunc(connecting, func() { release(context.Cause(connecting)) })
	r.source, err = protocol.subscribe(connected, l)
	tooLate()
	placed()
	if err != nil {
		if errors.Is(context.Cause(connected), errEnough) && ctx.Err() == nil {
			return nil, executor.NewProblem(event.Communication, 500, "Communication failed", "the %s server %s did not answer within the duration of the subscription", l.channel.server.protocol, l.channel.server.address)
		}
		return nil, l.problem("subscribe to", err)
	}
	defer r.source.close()
	// The duration begins when the subscription is in place: a broker that takes
	// its time to let it in takes none of that.
	waiting := ctx
	if p.lasts > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeoutCause(ctx, p.lasts, errEnough)
		defer cancel()
		if !protocol.keeps {
			context.AfterFunc(waiting, func() { release(errEnough) })
		}
	}
	if err := r.collect(ctx, waiting); err != nil {
		return nil, err
	}
	return r.all, r.settle(ctx, true)
}

// resume begins with what an earlier attempt has received and acknowledged, and
// reports whether that is all.
func (r *reception) resume(ctx context.Context) (over bool, err error) {
	earlier, ok := r.executor.left.take(r.link.request.IdempotencyKey)
	if !ok {
		return false, nil
	}
	r.all = append(r.all, earlier.messages...)
	for _, v := range r.all {
		r.size += value.Size(v)
	}
	if earlier.durable {
		r.bound, r.parts = len(r.all), true
		return earlier.over, nil
	}
	return false, r.bind(ctx, false)
}

// collect receives messages until the policy has enough.
func (r *reception) collect(ctx, waiting context.Context) error {
	if p := r.policy; p.amount > 0 && len(r.all) >= p.amount {
		return nil
	}
	for {
		m, err := r.next(waiting)
		switch {
		case err == nil:
		case errors.Is(err, errStalled):
			if err := r.settle(ctx, false); err != nil {
				return err
			}
			continue
		case errors.Is(context.Cause(waiting), errEnough) && ctx.Err() == nil:
			return nil
		default:
			return r.link.problem("receive from", err)
		}
		v := r.link.decode(m)
		if f := r.policy.filter; f != "" {
			fits, err := r.policy.truth(ctx, f, v)
			if err != nil {
				return err
			}
			if !fits {
				continue
			}
		}
		if r.size += value.Size(v); r.size > maxOutput {
			return executor.NewProblem(event.Communication, 500, "Messages too large", "the messages of the subscription have more than %d bytes together, which is the limit; consume fewer at a time", maxOutput)
		}
		r.all = append(r.all, v)
		if over, err := r.policy.ends(ctx, len(r.all), v); err != nil || over {
			return err
		}
	}
}

// next waits for a message; errStalled: others have to be acknowledged first.
func (r *reception) next(waiting context.Context) (*message, error) {
	s, ok := r.source.(staller)
	if !ok {
		return r.source.receive(waiting)
	}
	patience := s.stalls()
	if patience == 0 {
		return r.source.receive(waiting)
	}
	ctx, cancel := context.WithTimeoutCause(waiting, patience, errStalled)
	defer cancel()
	m, err := r.source.receive(ctx)
	if err != nil && waiting.Err() == nil && errors.Is(context.Cause(ctx), errStalled) {
		return nil, errStalled
	}
	return m, err
}

// bind makes the messages durable that are not yet.
func (r *reception) bind(ctx context.Context, over bool) error {
	handle := object{"key": r.link.request.IdempotencyKey, "messages": slices.Clone(r.all[r.bound:]), "over": over}
	if r.parts {
		handle["continues"] = true
	}
	if err := r.link.request.Bind(ctx, handle); err != nil {
		return err
	}
	r.bound, r.parts = len(r.all), true
	return nil
}

// settle makes durable what was received, and only then acknowledges it.
func (r *reception) settle(ctx context.Context, over bool) error {
	if over || r.bound < len(r.all) {
		if err := r.bind(ctx, over); err != nil {
			return err
		}
	}
	if err := r.source.acknowledge(ctx); err != nil {
		// They are durable here; that the server delivers them again is no loss.
		_, _ = r.link.request.Log.Stream("log").Write([]byte("the messages could not be acknowledged, so they may be delivered again: " + err.Error() + "\n"))
	}
	return nil
}

// leftover is what an attempt has received and acknowledged without an end of
// its own that gave it on.
type leftover struct {
	messages []any
	over     bool // the subscription had ended
	durable  bool // under the attempt that begins with it
}

// leftovers are those by the idempotency key of their task. A task is not
// always tried again, so the oldest are forgotten.
type leftovers struct {
	mu    sync.Mutex
	order []string
	by    map[string]leftover
	bytes int
}

const maxLeftover = 64 << 20

func (l *leftovers) keep(key string, o leftover) {
	if len(o.messages) == 0 && !o.durable {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]leftover{}
	}
	l.drop(key)
	l.by[key] = o
	l.order = append(l.order, key)
	for l.bytes += value.Size(o.messages); l.bytes > maxLeftover && len(l.order) > 1; {
		l.drop(l.order[0])
	}
}

func (l *leftovers) take(key string) (leftover, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.by[key]
	l.drop(key)
	return o, ok
}

// drop forgets a key. The caller holds mu.
func (l *leftovers) drop(key string) {
	if o, ok := l.by[key]; ok {
		l.bytes -= value.Size(o.messages)
		delete(l.by, key)
		l.order = slices.DeleteFunc(l.order, func(k string) bool { return k == key })
	}
}
