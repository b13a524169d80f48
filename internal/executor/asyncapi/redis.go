package asyncapi

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// quiet keeps the library from writing to the terminal: what goes wrong is the task's fault.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

// Printf implements the library's logger.
func (silence) Printf(context.Context, string, ...any) {}

func (l *link) redis() (*redis.Client, error) {
	quiet()
	user, password := l.credentials()
	database := 0
	if p := strings.Trim(l.channel.server.path, "/"); p != "" {
		var err error
		if database, err = strconv.Atoi(p); err != nil || database < 0 {
			return nil, invalid("the path of the server %q is %q; for redis it is the number of a database", l.channel.server.name, p)
		}
	}
	return redis.NewClient(&redis.Options{
		Addr: l.address("6379"), Username: user, Password: password, DB: database, Protocol: 2, MaxRetries: -1, DialerRetries: 1,
		DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: 1,
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) { return l.dial(ctx, address) },
	}), nil
}

func publishRedis(ctx context.Context, l *link, m *message) error {
	c, err := l.redis()
	if err != nil {
		return err
	}
	defer c.Close()                                          //nolint:errcheck // the answer has been read
	defer context.AfterFunc(ctx, func() { _ = c.Close() })() // the library waits on
	return c.Publish(ctx, l.channel.address, string(m.body)).Err()
}

type redisSource struct {
	client *redis.Client
	sub    *redis.PubSub
	stop   func() bool
}

func subscribeRedis(ctx context.Context, l *link) (source, error) {
	c, err := l.redis()
	if err != nil {
		return nil, err
	}
	s := &redisSource{client: c, sub: c.Subscribe(ctx, l.channel.address)}
	// The library's reads do not end with the context.
	s.stop = context.AfterFunc(ctx, func() { _ = s.sub.Close() })
	if _, err := s.sub.Receive(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *redisSource) receive(ctx context.Context) (*message, error) {
	m, err := s.sub.ReceiveMessage(context.WithoutCancel(ctx)) // closed at its end
	if err != nil {
		return nil, err
	}
	return &message{body: []byte(m.Payload)}, nil
}

func (s *redisSource) acknowledge(context.Context) error { return nil }

func (s *redisSource) close() {
	s.stop()
	_ = s.sub.Close()    // it may be closed already
	_ = s.client.Close() // and nobody waits for it
}
