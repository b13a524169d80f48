package asyncapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// amqpLink is a connection with one channel of AMQP.
type amqpLink struct {
	conn    *amqp.Connection
	channel *amqp.Channel
	stop    func() bool
}

func (l *link) amqp(ctx context.Context) (*amqpLink, error) {
	address := l.address(map[bool]string{false: "5672", true: "5671"}[l.channel.server.secure])
	conn, err := l.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	// The library's handshake does not end with the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	vhost, err := url.PathUnescape(strings.TrimPrefix(l.channel.server.path, "/"))
	if err != nil || vhost == "" {
		vhost = "/"
	}
	user, password := l.credentials()
	if l.authorization == nil {
		user, password = "guest", "guest"
	}
	c, err := amqp.Open(conn, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}, Vhost: vhost,
		Properties: amqp.Table{"connection_name": l.userAgent}, Heartbeat: answerTimeout,
	})
	if err != nil {
		stop()
		_ = conn.Close() // it was of no use
		return nil, err
	}
	out := &amqpLink{conn: c, stop: stop}
	if out.channel, err = c.Channel(); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (a *amqpLink) close() {
	a.stop()
	_ = a.conn.Close() // nobody waits for it
}

// queue is the name of the queue of a channel; "" when it is an exchange with a routing key.
func (l *link) queue() string {
	if stringOf(l.channel.bindings["is"]) == "routingKey" {
		return ""
	}
	if name := stringOf(objectOf(l.channel.bindings["queue"])["name"]); name != "" {
		return name
	}
	return l.channel.address
}

func (l *link) exchange() string {
	name := stringOf(objectOf(l.channel.bindings["exchange"])["name"])
	if name == "default" {
		return ""
	}
	return name
}

// publishAMQP sends the message and waits until the server has it, and some
// queue too.
func publishAMQP(ctx context.Context, l *link, m *message) error {
	a, err := l.amqp(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	exchange, key := "", l.queue()
	if key == "" {
		exchange, key = l.exchange(), l.channel.address
	} else if a.channel, err = a.declare(l, key); err != nil {
		return err
	}
	if err := a.channel.Confirm(false); err != nil {
		return err
	}
	returned := a.channel.NotifyReturn(make(chan amqp.Return, 1))
	headers := amqp.Table{}
	for name, v := range m.headers {
		headers[name] = v
	}
	confirmation, err := a.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, amqp.Publishing{
		Headers: headers, ContentType: m.contentType, DeliveryMode: amqp.Persistent, Body: m.body,
		MessageId: l.request.IdempotencyKey, CorrelationId: m.correlation,
	})
	if err != nil {
		return err
	}
	ok, err := confirmation.WaitContext(ctx)
	if err != nil {
		return err
	}
	select {
	case r, back := <-returned:
		if back {
			return executor.NewProblem(event.Communication, 404, "No queue", "the amqp server has no queue for %q: %s", key, r.ReplyText)
		}
	default:
	}
	if !ok {
		return errors.New("the server did not take the message")
	}
	return nil
}

// declare makes sure that the queue is there; one that is there is taken as it is.
func (a *amqpLink) declare(l *link, name string) (*amqp.Channel, error) {
	_, err := a.channel.QueueDeclarePassive(name, true, false, false, false, nil)
	if err == nil {
		return a.channel, nil
	}
	if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != amqp.NotFound {
		return nil, err
	}
	c, err := a.conn.Channel() // the refusal has closed the other
	if err != nil {
		return nil, err
	}
	durable, exclusive, vanishes := true, false, false
	q := objectOf(l.channel.bindings["queue"])
	for key, p := range map[string]*bool{"durable": &durable, "exclusive": &exclusive, "autoDelete": &vanishes} {
		if b, ok := q[key].(bool); ok {
			*p = b
		}
	}
	_, err = c.QueueDeclare(name, durable, vanishes, exclusive, false, nil)
	return c, err
}

type amqpSource struct {
	*amqpLink
	deliveries <-chan amqp.Delivery
	prefetch   int
	last       uint64 // delivery tags count from 1
	settled    uint64
}

// maxPrefetch is how many messages the server sends without an acknowledgement.
const maxPrefetch = 256

// stalls implements staller.
func (s *amqpSource) stalls() time.Duration {
	if s.last-s.settled >= uint64(s.prefetch) {
		return time.Millisecond
	}
	return 0
}

func subscribeAMQP(ctx context.Context, l *link) (source, error) {
	a, err := l.amqp(ctx)
	if err != nil {
		return nil, err
	}
	s := &amqpSource{amqpLink: a}
	if err := s.consume(l); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *amqpSource) consume(l *link) (err error) {
	queue := l.queue()
	if queue != "" {
		s.channel, err = s.declare(l, queue)
	} else {
		var q amqp.Queue
		if q, err = s.channel.QueueDeclare("", false, true, true, false, nil); err == nil {
			queue = q.Name
			err = s.channel.QueueBind(queue, l.channel.address, l.exchange(), false, nil)
		}
	}
	if err != nil {
		return err
	}
	if s.prefetch = maxPrefetch; l.wanted > 0 {
		s.prefetch = min(l.wanted, maxPrefetch) // the rest is for others
	}
	if err := s.channel.Qos(s.prefetch, 0, false); err != nil {
		return err
	}
	s.deliveries, err = s.channel.Consume(queue, "", false, false, false, false, nil)
	return err
}

func (s *amqpSource) receive(ctx context.Context) (*message, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case d, ok := <-s.deliveries:
		if !ok {
			return nil, errors.New("the server ended the subscription")
		}
		s.last = d.DeliveryTag
		m := &message{body: d.Body, contentType: d.ContentType, correlation: d.CorrelationId, headers: map[string]string{}}
		for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
			m.headers[name] = fmt.Sprint(d.Headers[name])
		}
		return m, nil
	}
}

func (s *amqpSource) acknowledge(context.Context) error {
	if s.last == s.settled {
		return nil
	}
	s.settled = s.last
	return s.channel.Ack(s.last, true)
}
