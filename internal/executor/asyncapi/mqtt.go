package asyncapi

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// mqttLink is a connection with a server of MQTT. It speaks the protocol by
// itself, with the packets of the Eclipse libraries: their clients acknowledge
// at a time of their own, and here a message must be durable before.
type mqttLink struct {
	wire wire
	conn net.Conn
	keep time.Duration
	till func(time.Duration) time.Time // when a duration from now is over
	stop func() bool
	mu   sync.Mutex // of writing

	in    chan *packet // closed when the connection has ended, with err
	err   error
	over  chan struct{} // closed when nobody reads in any more
	ended sync.WaitGroup
	early []*packet // messages that came before an answer
}

// mqtt connects. A subscription has the session that the server's binding asks
// for; who publishes never takes over a session.
func (l *link) mqtt(ctx context.Context, subscribes bool) (*mqttLink, error) {
	address := l.address(map[bool]string{false: "1883", true: "8883"}[l.channel.server.secure])
	o, err := l.opening(subscribes)
	if err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	m := &mqttLink{wire: wireThree, conn: conn, keep: time.Duration(o.keep) * time.Second, till: deadlines(ctx), in: make(chan *packet, 32), over: make(chan struct{})}
	if l.channel.server.protocol == "mqtt5" {
		m.wire = wireFive
	}
	m.stop = context.AfterFunc(ctx, func() { _ = conn.Close() }) // reads and writes do not end with the context
	m.ended.Go(m.listen)
	answer, err := m.ask(ctx, &packet{kind: packets.CONNECT, opening: o}, packets.CONNACK)
	if err == nil && answer.code == packets.ConnackNotAuthorized {
		err = executor.NewProblem(event.Authentication, 401, "Authentication failed", "the mqtt server %s refused the user, the password or the token: %s", address, answer.reason)
	} else if err == nil && answer.code != 0 {
		err = fmt.Errorf("the server refused the connection: %s", answer.reason)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

const (
	defaultKeep   = 30           // seconds
	defaultExpiry = 24 * 60 * 60 // of a session that is to outlive its connection, version 5
	defaultQoS    = byte(1)      // at least once
)

// opening is what the connection says of itself. A client of 3.1.1 may count on
// 23 letters for its name.
func (l *link) opening(subscribes bool) (*opening, error) {
	o := &opening{client: "downbeat-" + strings.ToLower(rand.Text()[:14]), clean: true, keep: defaultKeep, expiry: defaultExpiry}
	o.user, o.password = l.credentials()
	b := l.channel.server.bindings
	if n, ok := b["keepAlive"].(int); ok && n > 0 && n < 1<<16 {
		o.keep = uint16(n)
	}
	if !subscribes {
		return o, nil
	}
	if id := stringOf(b["clientId"]); id != "" {
		o.client = id
		o.clean = b["cleanSession"] != false
	} else if b["cleanSession"] == false {
		return nil, invalid("the server %q asks for cleanSession: false without a clientId; the messages could not be found again", l.channel.server.name)
	}
	if n, ok := b["sessionExpiryInterval"].(int); ok && n >= 0 && n < 1<<32 {
		o.expiry = uint32(n)
	}
	if will := objectOf(b["lastWill"]); will != nil {
		qos, err := qosOf(will["qos"], 0)
		if err != nil {
			return nil, err
		}
		o.will = &packet{topic: stringOf(will["topic"]), qos: qos, retain: will["retain"] == true, message: message{body: []byte(stringOf(will["message"]))}}
	}
	return o, nil
}

func qosOf(v any, fallback byte) (byte, error) {
	switch n, ok := v.(int); {
	case v == nil:
		return fallback, nil
	case ok && n >= 0 && n <= 2:
		return byte(n), nil
	}
	return 0, invalid("the binding qos of mqtt must be 0, 1 or 2, not %.40s", value.JSON(value.Normalize(v)))
}

// topic is the channel's address.
func (l *link) mqttTopic(filter bool) (string, error) {
	t := l.channel.address
	if t == "" || len(t) >= 1<<16 || strings.ContainsRune(t, 0) || !filter && strings.ContainsAny(t, "+#") {
		return "", invalid("the channel %q is no topic that messages can be published to", t)
	}
	return t, nil
}

// deadlines asks package context for the time of deadlines: executors have no clock.
func deadlines(ctx context.Context) func(time.Duration) time.Time {
	free := context.WithoutCancel(ctx)
	return func(d time.Duration) time.Time {
		ctx, cancel := context.WithTimeout(free, d)
		defer cancel()
		at, _ := ctx.Deadline()
		return at
	}
}

// listen reads until the connection ends. It answers what the protocol itself
// asks, and gives the rest to who waits.
func (m *mqttLink) listen() {
	defer close(m.in)
	r := bufio.NewReader(m.conn)
	for {
		p, err := m.next(r)
		if err == nil && p.kind == packets.DISCONNECT {
			err = fmt.Errorf("the server ended the connection: %s", p.reason)
		}
		if err == nil && p.kind == packets.PUBREL {
			err = m.write(&packet{kind: packets.PUBCOMP, id: p.id})
		}
		if err != nil {
			m.err = err
			return
		}
		select {
		case m.in <- p:
		case <-m.over:
			m.err = net.ErrClosed
			return
		}
	}
}

// next reads a packet. A server that is silent is asked whether it is there.
func (m *mqttLink) next(r *bufio.Reader) (*packet, error) {
	for asked := false; ; asked = true {
		if err := m.conn.SetReadDeadline(m.till(m.keep)); err != nil {
			return nil, err
		}
		_, err := r.Peek(1)
		if err == nil {
			return readPacket(r, m.wire.read)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || asked {
			return nil, err
		}
		if err := m.write(&packet{kind: packets.PINGREQ}); err != nil {
			return nil, err
		}
	}
}

func (m *mqttLink) write(p *packet) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.conn.SetWriteDeadline(m.till(answerTimeout)); err != nil {
		return err
	}
	return m.wire.write(m.conn, p)
}

var errNoAnswer = fmt.Errorf("the server did not answer within %s", answerTimeout)

// ask sends a packet and waits for its answer.
func (m *mqttLink) ask(ctx context.Context, p *packet, kinds ...byte) (*packet, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	if err := m.write(p); err != nil {
		return nil, m.why(err)
	}
	for {
		got, err := m.take(ctx)
		if err != nil {
			return nil, err
		}
		for _, kind := range kinds {
			if got.kind == kind && got.id == p.id {
				return got, nil
			}
		}
		if got.kind == packets.PUBLISH {
			m.early = append(m.early, got)
		}
	}
}

// why ends the connection, and prefers the server's own words to the error of a write.
func (m *mqttLink) why(err error) error {
	_ = m.conn.Close() // a write failed
	for range m.in {   // what else came is of no use
	}
	if errors.Is(m.err, net.ErrClosed) {
		return err
	}
	return m.err
}

func (m *mqttLink) take(ctx context.Context) (*packet, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case p, ok := <-m.in:
		if !ok {
			return nil, m.err
		}
		return p, nil
	}
}

// close says goodbye and waits until nothing is left.
func (m *mqttLink) close() {
	m.stop()
	_ = m.write(&packet{kind: packets.DISCONNECT}) // the connection may have ended
	close(m.over)
	_ = m.conn.Close() // nobody waits for it
	m.ended.Wait()
}

// publishMQTT sends the message and waits until the server has it, which it
// says of QoS 1 and 2 alone.
func publishMQTT(ctx context.Context, l *link, msg *message) error {
	topic, err := l.mqttTopic(false)
	if err != nil {
		return err
	}
	qos, err := qosOf(l.channel.binding("qos"), defaultQoS)
	if err != nil {
		return err
	}
	m, err := l.mqtt(ctx, false)
	if err != nil {
		return err
	}
	defer m.close()
	msg.headers["idempotency-key"] = l.request.IdempotencyKey
	if l.request.Traceparent != "" {
		msg.headers["traceparent"] = l.request.Traceparent
	}
	p := &packet{kind: packets.PUBLISH, topic: topic, qos: qos, retain: l.channel.binding("retain") == true, message: *msg}
	switch qos {
	case 0:
		if err := m.write(p); err != nil {
			return m.why(err)
		}
		_, err := m.ask(ctx, &packet{kind: packets.PINGREQ}, packets.PINGRESP) // it has been read when this is answered
		return err
	case 1:
		p.id = 1
		return refusal(m.ask(ctx, p, packets.PUBACK))
	}
	p.id = 1
	if err := refusal(m.ask(ctx, p, packets.PUBREC)); err != nil {
		return err
	}
	return refusal(m.ask(ctx, &packet{kind: packets.PUBREL, id: 1}, packets.PUBCOMP))
}

// refusal is the error that an answer stands for.
func refusal(p *packet, err error) error {
	switch {
	case err != nil:
		return err
	case p.code == packets.PubackNotAuthorized:
		return executor.NewProblem(event.Forbidden, 403, "Not authorized", "the mqtt server says: %s", p.reason)
	case p.code >= 0x80:
		return fmt.Errorf("the server refused it: %s (0x%x)", p.reason, p.code)
	}
	return nil
}

// mqttSource is a subscription.
type mqttSource struct {
	*mqttLink
	unacknowledged []*packet
}

func subscribeMQTT(ctx context.Context, l *link) (source, error) {
	topic, err := l.mqttTopic(true)
	if err != nil {
		return nil, err
	}
	qos, err := qosOf(l.channel.binding("qos"), defaultQoS)
	if err != nil {
		return nil, err
	}
	m, err := l.mqtt(ctx, true)
	if err != nil {
		return nil, err
	}
	if err := refusal(m.ask(ctx, &packet{kind: packets.SUBSCRIBE, id: 1, topic: topic, qos: qos}, packets.SUBACK)); err != nil {
		m.close()
		return nil, err
	}
	return &mqttSource{mqttLink: m}, nil
}

func (s *mqttSource) receive(ctx context.Context) (*message, error) {
	for {
		var p *packet
		if len(s.early) > 0 {
			p, s.early = s.early[0], s.early[1:]
		} else {
			var err error
			if p, err = s.take(ctx); err != nil {
				return nil, err
			}
		}
		if p.kind != packets.PUBLISH {
			continue
		}
		if p.qos > 0 {
			s.unacknowledged = append(s.unacknowledged, p)
		}
		m := p.message
		if m.headers == nil {
			m.headers = map[string]string{}
		}
		return &m, nil
	}
}

func (s *mqttSource) acknowledge(ctx context.Context) error {
	for _, p := range s.unacknowledged {
		kind := packets.PUBACK
		if p.qos == 2 {
			kind = packets.PUBREC
		}
		if err := s.write(&packet{kind: kind, id: p.id}); err != nil {
			return err
		}
	}
	s.unacknowledged = nil
	_, err := s.ask(ctx, &packet{kind: packets.PINGREQ}, packets.PINGRESP) // the rest has been read when this is answered
	return err
}

// stalls: servers let 10 to 100 messages be unacknowledged; how many, they do
// not say. Fewer is a rare setting, and then it goes on slowly.
func (s *mqttSource) stalls() time.Duration {
	switch n := len(s.unacknowledged); {
	case n == 0:
		return 0
	case n < 10:
		return 10 * time.Second
	}
	return 250 * time.Millisecond
}
