package grpc

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// maxOutput is how many bytes a message, and all messages of a stream together, may have.
const maxOutput = 16 << 20

// maxConnections is how many connections are kept that nobody uses.
const maxConnections = 100

// connections are open connections, one for each server.
type connections struct {
	mu sync.Mutex
	by map[target]*connection
}

type connection struct {
	*grpc.ClientConn
	pool *connections
	uses int // calls in progress; guarded by the pool's mu

	mu        sync.Mutex
	failed    error            // why the last try to connect failed
	described map[string]types // what the server says of itself, by service
}

// get returns the connection to a server; the caller releases it.
func (p *connections) get(client *outbound.Client, to target, userAgent string) (*connection, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.by[to]; c != nil {
		c.uses++
		return c, nil
	}
	c := &connection{pool: p, described: map[string]types{}}
	security := insecure.NewCredentials()
	if to.secure {
		security = credentials.NewTLS(client.TLS())
	}
	var err error
	c.ClientConn, err = grpc.NewClient("passthrough:///"+to.address,
		grpc.WithTransportCredentials(security),
		grpc.WithUserAgent(userAgent),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := client.Dial(ctx, "tcp", address)
			c.mu.Lock()
			c.failed = err
			c.mu.Unlock()
			return conn, err
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxOutput), grpc.MaxCallSendMsgSize(4*maxOutput)),
	)
	if err != nil {
		return nil, err
	}
	if len(p.by) >= maxConnections {
		p.drop()
	}
	if p.by == nil {
		p.by = map[target]*connection{}
	}
	p.by[to] = c
	c.uses = 1
	return c, nil
}

// drop closes what nobody uses; the caller holds mu.
func (p *connections) drop() {
	for to, c := range p.by {
		if c.uses == 0 {
			_ = c.Close() // it only says that it was closed before
			delete(p.by, to)
		}
	}
}

func (p *connections) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (c *connection) release() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.uses--
}

// why is the reason that the last try to connect failed; nil when it worked.
func (c *connection) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}
