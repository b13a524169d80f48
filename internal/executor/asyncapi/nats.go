package asyncapi

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// natsDialer connects by our rules.
type natsDialer struct {
	ctx  context.Context //nolint:containedctx // the library's interface has none
	link *link
	why  *error // of the last failure, which the library does not tell
}

// Dial connects to a server.
func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.link.client.Dial(d.ctx, network, address)
	*d.why = err
	return c, err
}

func (l *link) nats(ctx context.Context) (*nats.Conn, error) {
	address := l.address("4222")
	var why error
	options := []nats.Option{nats.SetCustomDialer(natsDialer{ctx, l, &why}), nats.NoReconnect(), nats.Name(l.userAgent), nats.IgnoreDiscoveredServers()}
	if l.channel.server.secure {
		options = append(options, nats.Secure(l.tls(address)))
	}
	if user, password := l.credentials(); user != "" {
		options = append(options, nats.UserInfo(user, password))
	} else if password != "" {
		options = append(options, nats.Token(password))
	}
	c, err := nats.Connect("nats://"+address, options...)
	if err != nil && why != nil {
		err = why
	}
	return c, err
}

// subject is the channel's address; slashes are dots there.
func (l *link) subject() (string, error) {
	s := strings.ReplaceAll(l.channel.address, "/", ".")
	if s == "" || strings.ContainsAny(s, " \t\r\n") {
		return "", invalid("the channel %q is no subject of NATS", l.channel.address)
	}
	return s, nil
}

// publishNATS sends the message and waits until the server has it.
func publishNATS(ctx context.Context, l *link, m *message) error {
	subject, err := l.subject()
	if err != nil {
		return err
	}
	c, err := l.nats(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	out := &nats.Msg{Subject: subject, Data: m.body, Header: nats.Header{nats.MsgIdHdr: {l.request.IdempotencyKey}}}
	for name, v := range m.headers {
		out.Header.Set(name, v)
	}
	if m.contentType != "" && out.Header.Get("Content-Type") == "" {
		out.Header.Set("Content-Type", m.contentType)
	}
	if err := c.PublishMsg(out); err != nil {
		return err
	}
	return settled(ctx, c)
}

// settled waits until the server has taken all that was sent.
func settled(ctx context.Context, c *nats.Conn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	if err := c.FlushWithContext(ctx); err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			return errNoAnswer
		}
		return err
	}
	return c.LastError()
}

// answerTimeout is how long a server has to answer what takes it no time.
const answerTimeout = 30 * time.Second

type natsSource struct {
	conn *nats.Conn
	sub  *nats.Subscription
}

func subscribeNATS(ctx context.Context, l *link) (source, error) {
	subject, err := l.subject()
	if err != nil {
		return nil, err
	}
	c, err := l.nats(ctx)
	if err != nil {
		return nil, err
	}
	s := &natsSource{conn: c}
	if queue := stringOf(l.channel.binding("queue")); queue != "" {
		s.sub, err = c.QueueSubscribeSync(subject, queue)
	} else {
		s.sub, err = c.SubscribeSync(subject)
	}
	if err == nil {
		err = settled(ctx, c)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (s *natsSource) receive(ctx context.Context) (*message, error) {
	m, err := s.sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	return &message{body: m.Data, contentType: m.Header.Get("Content-Type"), headers: headersOf(map[string][]string(m.Header))}, nil
}

func (s *natsSource) acknowledge(context.Context) error { return nil }

func (s *natsSource) close() { s.conn.Close() }
