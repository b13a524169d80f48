package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Dial connects for a protocol that is not HTTP, by the egress rules and
// without a proxy. Address is host:port.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, configuration("%q is no address; it must be like example.com:1234", address)
	}
	if c.rules.deny.hasName(host) {
		return nil, refused(host, "is denied")
	}
	return c.transport.DialContext(ctx, network, address)
}

// Permits checks a host by the egress rules for a program that connects by
// itself: by its name, and by the addresses that it has now. What only a proxy
// can resolve is known by its name alone.
func (c *Client) Permits(ctx context.Context, host string) error {
	r := c.rules
	if r.allow.empty() && r.deny.empty() {
		return nil
	}
	if r.deny.hasName(host) {
		return refused(host, "is denied")
	}
	var resolver net.Resolver
	addresses, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return r.checkAddress(host, netip.Addr{})
	}
	for _, a := range addresses {
		if err := r.checkAddress(host, a); err != nil {
			return err
		}
	}
	return nil
}

// TLS gives the settings for connections that others encrypt: the authorities
// to trust and the certificates to show.
func (c *Client) TLS() *tls.Config { return c.transport.TLSClientConfig.Clone() }

// HTTP is the client's transport for protocols that begin with a request of
// HTTP, as WebSocket does; the egress rules hold for it.
func (c *Client) HTTP() http.RoundTripper { return &hop{client: c} }

// Login is an authentication policy as resolved for a protocol that is not HTTP.
type Login struct{ authenticator authenticator }

// Login resolves an authentication policy for a protocol that is not HTTP.
func (c *Client) Login(ctx context.Context, policy any, secrets Secrets, where *url.URL) (*Login, error) {
	a, err := c.authenticator(ctx, &Call{URL: where, Authentication: policy, Secrets: secrets})
	if err != nil {
		return nil, err
	}
	if _, ok := a.(*digest); ok {
		return nil, configuration("authentication by digest is of HTTP alone; %s takes basic, bearer, oauth2 or oidc", where.Scheme)
	}
	return &Login{a}, nil
}

// Authorization is what the policy gives: of basic the base64 of user:password,
// of bearer, oauth2 and oidc a token; nil without a policy.
func (l *Login) Authorization() *event.Authorization {
	if l.authenticator == nil {
		return nil
	}
	return l.authenticator.authorization()
}

// Refused says that the server did not take the authorization. It is true when
// there is another one now, as after a token that was revoked.
func (l *Login) Refused(ctx context.Context) (bool, error) {
	if l.authenticator == nil {
		return false, nil
	}
	return l.authenticator.challenged(ctx, nil)
}

// Authorize resolves an authentication policy, of which only the first
// authorization is wanted.
func (c *Client) Authorize(ctx context.Context, policy any, secrets Secrets, where *url.URL) (*event.Authorization, error) {
	l, err := c.Login(ctx, policy, secrets, where)
	if err != nil {
		return nil, err
	}
	return l.Authorization(), nil
}

// Explain says in plain words why a connection to an address failed.
func Explain(err error, address string) string {
	return explain(err, &url.URL{Host: address})
}

// DecodeBody makes a value of the body of a message by its media type: of JSON
// the value, text as it is, the rest in base64.
func DecodeBody(b []byte, contentType string) (any, error) { return decode(b, contentType) }
