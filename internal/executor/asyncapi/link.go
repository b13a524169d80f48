package asyncapi

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// protocol is one way to carry messages.
type protocol struct {
	publish   func(ctx context.Context, l *link, m *message) error
	subscribe func(ctx context.Context, l *link) (source, error)
	headers   bool // messages have them
	keeps     bool // the server keeps what is not acknowledged
	joins     bool // subscribing may take its time, and bounds itself
}

// source is a subscription.
type source interface {
	// receive waits for the next message.
	receive(ctx context.Context) (*message, error)
	// acknowledge tells the server that all that was received is durable here.
	acknowledge(ctx context.Context) error
	// close ends the subscription; what was not acknowledged is delivered again.
	close()
}

var protocols = map[string]protocol{
	"http":  {publishHTTP, subscribeHTTP, true, false, false},
	"ws":    {publishSocket, subscribeSocket, false, false, false},
	"nats":  {publishNATS, subscribeNATS, true, false, false},
	"redis": {publishRedis, subscribeRedis, false, false, false},
	"kafka": {publishKafka, subscribeKafka, true, true, true},
	"amqp":  {publishAMQP, subscribeAMQP, true, true, false},
	"mqtt":  {publishMQTT, subscribeMQTT, false, true, false},
	"mqtt5": {publishMQTT, subscribeMQTT, true, true, false},
}

// message is a message as the protocols have it.
type message struct {
	body        []byte
	contentType string
	headers     map[string]string
	correlation string
}

// link is what a protocol needs to know of one call.
type link struct {
	client        *outbound.Client
	userAgent     string
	request       *executor.Request
	channel       *channel
	authorization *event.Authorization
	wanted        int // how many messages the subscription takes at most; 0: unknown
}

// address is host:port of the server.
func (l *link) address(port string) string { return withPort(l.channel.server.address, port) }

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// dial connects to the server, encrypted where it is to be.
func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := l.client.Dial(ctx, "tcp", address)
	if err != nil || !l.channel.server.secure {
		return conn, err
	}
	secured := tls.Client(conn, l.tls(address))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // it was of no use
		return nil, err
	}
	return secured, nil
}

func (l *link) tls(address string) *tls.Config {
	c := l.client.TLS()
	c.ServerName, _, _ = net.SplitHostPort(address)
	c.NextProtos = nil
	return c
}

// credentials are the user and the password; of a token, it is the password.
func (l *link) credentials() (user, password string) {
	if l.authorization == nil {
		return "", ""
	}
	if l.authorization.Scheme != "Basic" {
		return "", l.authorization.Parameter
	}
	b, err := base64.StdEncoding.DecodeString(l.authorization.Parameter)
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(b), ":")
	return user, password
}

// problem says what went wrong with the server.
func (l *link) problem(doing string, err error) error {
	if p, ok := errors.AsType[*event.Problem](err); ok {
		return p
	}
	s := l.channel.server
	switch why := strings.ToValidUTF8(err.Error(), "\ufffd"); {
	case refused(err):
		return executor.NewProblem(event.Authentication, 401, "Authentication failed", "the %s server %s refused the user, the password or the token: %s", s.protocol, s.address, why)
	case forbidden(err):
		return executor.NewProblem(event.Forbidden, 403, "Not authorized", "the %s server %s does not let this user %s %q: %s", s.protocol, s.address, doing, l.channel.address, why)
	}
	return executor.NewProblem(event.Communication, 500, "Communication failed", "%s %q on the %s server %s: %s",
		doing, l.channel.address, s.protocol, s.address, strings.ToValidUTF8(outbound.Explain(err, s.address), "\ufffd"))
}

// encode makes the message to publish, DSL 75.
func (l *link) encode(o *outgoing) (*message, error) {
	body, contentType, err := outbound.EncodeBody(o.Payload, l.channel.contentType)
	if err != nil {
		return nil, err
	}
	if l.channel.contentType != "" {
		contentType = l.channel.contentType
	}
	m := &message{body: body, contentType: contentType, headers: map[string]string{}}
	if len(o.Headers) > 0 && !protocols[l.channel.server.protocol].headers {
		return nil, invalid("/message/headers: messages over %s have no headers", l.channel.server.protocol)
	}
	h, err := outbound.Headers(o.Headers)
	if err != nil {
		return nil, err
	}
	for name := range o.Headers {
		if values := h.Values(name); len(values) > 0 {
			m.headers[name] = strings.Join(values, ", ")
		}
	}
	m.correlation = l.correlation(m, object{"payload": o.Payload, "headers": o.Headers})
	return m, nil
}

// decode makes a value of a message that was received: {payload, headers,
// correlationId} (DSL 76). What is not of its content type is given as text or
// in base64, so that a broken message stops no subscription for ever.
func (l *link) decode(m *message) object {
	contentType := m.contentType
	if contentType == "" {
		contentType = l.channel.contentType
	}
	payload, err := outbound.DecodeBody(m.body, contentType)
	if contentType == "" || err != nil {
		if v, err := value.Decode(m.body); err == nil {
			payload = v
		} else if utf8.Valid(m.body) {
			payload = string(m.body)
		} else {
			payload = base64.StdEncoding.EncodeToString(m.body)
		}
	}
	headers := object{}
	for name, v := range m.headers {
		headers[strings.ToValidUTF8(name, "\ufffd")] = strings.ToValidUTF8(v, "\ufffd")
	}
	out := object{"payload": payload, "headers": headers}
	if id := l.correlation(m, out); id != "" {
		out["correlationId"] = strings.ToValidUTF8(id, "\ufffd")
	}
	return out
}

// correlation is the id where the document says it is, else where the protocol has it.
func (l *link) correlation(m *message, decoded object) string {
	location := l.channel.correlation
	if at, pointer, ok := strings.Cut(strings.TrimPrefix(location, "$message."), "#/"); ok {
		v := decoded["payload"]
		if at == "header" {
			v = decoded["headers"]
		}
		for token := range strings.SplitSeq(pointer, "/") {
			v = objectOf(v)[unescape(token)]
		}
		if text := executor.Text(v); text != "" {
			return text
		}
	}
	if m.correlation != "" {
		return m.correlation
	}
	for name, v := range m.headers {
		switch strings.ToLower(name) {
		case "correlationid", "correlation-id", "x-correlation-id":
			return v
		}
	}
	return ""
}
