// Package outbound is what all callers of other systems over HTTP share: one
// pool of connections, TLS, proxies, egress rules, authentication, redirects
// and limits of responses. Everything that goes wrong is an *event.Problem in
// plain words.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// Config is the configuration of a Client; the zero Config is a good one.
type Config struct {
	// Authorities are certificates (PEM) to trust beside the system's.
	Authorities []byte
	// Certificates are what we show to servers that ask who we are (mutual TLS).
	Certificates []tls.Certificate
	// Insecure accepts any certificate. For tests of people who know why.
	Insecure bool
	// Proxy chooses the proxy of a request; nil: by the environment (HTTPS_PROXY …).
	Proxy func(*http.Request) (*url.URL, error)
	// Deny and Allow hold host names ("example.com", "*.example.com"), addresses
	// and networks ("10.0.0.0/8"). What Deny names is refused; when Allow is not
	// empty, all that it does not name is refused too. Addresses are compared
	// after the name was resolved. A proxy's own address is not checked.
	Deny, Allow []string
	// MaxResponse is how many bytes a response may have; 0 is 16 MiB.
	MaxResponse int64
	// DialTimeout is how long connecting may take, TLS included; 0 is 30 s.
	DialTimeout time.Duration
	// MaxIdle is how many unused connections are kept for each host; 0 is 32.
	MaxIdle int
	// Clock tells when tokens end.
	Clock lifecycle.Clock
	// Tokens keeps refresh tokens that took the place of those in a policy; nil
	// keeps them in memory alone.
	Tokens TokenStore
}

// TokenStore keeps what an authority gave in the place of a refresh token that
// can be used only once: without it a new process would have a dead one.
type TokenStore interface {
	// Renew calls renew with what is kept under a name, "" when nothing is, and
	// keeps what it gives, nothing when that is "". Nobody else, other processes
	// included, renews under this name meanwhile. An error of renew is returned
	// as it is, and what was kept stays.
	Renew(ctx context.Context, name string, renew func(current string) (next string, err error)) error
}

// Client calls other systems. It may be used by several goroutines.
type Client struct {
	transport    *http.Transport
	rules        *rules
	nonces       nonces
	tokens       tokens
	store        TokenStore
	resources    resources
	maxResponse  int64
	tokenTimeout time.Duration // how long an authority has to give a token
}

// Secrets resolves secrets by name, at each call.
type Secrets interface {
	Secret(ctx context.Context, name string) (any, error)
}

// Call is one request.
type Call struct {
	Method string
	URL    *url.URL
	Header http.Header
	Body   []byte // nil: none
	// Authentication is a policy of the DSL as evaluated.
	Authentication any
	Secrets        Secrets
	// Follow follows redirects, at most 10; else a redirect is the response.
	Follow bool

	limit int64 // of the response; 0: the client's
}

// Response is the answer, read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// Method, URL and Sent (headers) are those of the last request, after
	// redirects; the value of Authorization is masked.
	Method string
	URL    *url.URL
	Sent   http.Header
	// Authorization is what the authentication policy gave; nil without one.
	Authorization *event.Authorization
}

const (
	defaultMaxResponse = 16 << 20
	defaultDialTimeout = 30 * time.Second
	defaultMaxIdle     = 32
	tokenTimeout       = 30 * time.Second
	maxRedirects       = 10
)

// New makes a Client. Its connections stay open for reuse until they are idle
// for long, or CloseIdleConnections.
func New(c Config) (*Client, error) {
	rules, err := newRules(c.Allow, c.Deny)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: c.Certificates, InsecureSkipVerify: c.Insecure} //nolint:gosec // the user asked for it
	if len(c.Authorities) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(c.Authorities) {
			return nil, errors.New("outbound: the authorities to trust hold no certificate in PEM form")
		}
		config.RootCAs = pool
	}
	if rules.proxy = c.Proxy; rules.proxy == nil {
		rules.proxy = http.ProxyFromEnvironment
	}
	dialTimeout := orDefault(c.DialTimeout, defaultDialTimeout)
	client := &Client{
		rules:        rules,
		maxResponse:  orDefault(c.MaxResponse, defaultMaxResponse),
		tokens:       tokens{clock: c.Clock},
		store:        c.Tokens,
		tokenTimeout: tokenTimeout,
		transport: &http.Transport{
			Proxy:                  rules.chooseProxy,
			DialContext:            rules.dialer(dialTimeout),
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    dialTimeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1000,
			MaxIdleConnsPerHost:    orDefault(c.MaxIdle, defaultMaxIdle),
			IdleConnTimeout:        90 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 1 << 20,
		},
	}
	return client, nil
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// CloseIdleConnections closes the connections that nobody uses.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Do makes the call and reads the response. Any status is a response; the
// error is an *event.Problem, or the cause of the context's end.
func (c *Client) Do(ctx context.Context, call *Call) (*Response, error) {
	response, err := c.do(ctx, call)
	if err != nil {
		return nil, failure(ctx, call, err)
	}
	return response, nil
}

// failure is what a caller gets to see of an error: the cause of the context's
// end, or a problem.
func failure(ctx context.Context, call *Call, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p, ok := errors.AsType[*event.Problem](err); ok {
		return p
	}
	return &event.Problem{
		Type:   event.TypePrefix + event.Communication,
		Status: 500,
		Title:  "Communication failed",
		Detail: fmt.Sprintf("%s %s: %s", call.Method, Shown(call.URL), explain(err, call.URL)),
	}
}

func (c *Client) do(ctx context.Context, call *Call) (*Response, error) {
	response, hop, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read to its end, or is too long
	b, err := c.read(call, response)
	if err != nil {
		return nil, err
	}
	r := &Response{
		Status: response.StatusCode, Header: response.Header, Body: b,
		Method: response.Request.Method, URL: response.Request.URL, Sent: masked(hop.sent),
	}
	if hop.authenticator != nil {
		r.Authorization = hop.authenticator.authorization()
	}
	return r, nil
}

// send makes the call and returns with the headers of the response.
func (c *Client) send(ctx context.Context, call *Call) (*http.Response, *hop, error) {
	method, err := c.authenticator(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	var body io.Reader
	if call.Body != nil {
		body = bytes.NewReader(call.Body) // a reader that can be rewound for redirects and challenges
	}
	request, err := http.NewRequestWithContext(ctx, call.Method, call.URL.String(), body)
	if err != nil {
		return nil, nil, configuration("%s %s is no request: %v", call.Method, Shown(call.URL), err)
	}
	if call.Header != nil {
		request.Header = call.Header.Clone()
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	hop := &hop{client: c, origin: originOf(call.URL), authenticator: method}
	h := http.Client{Transport: hop, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		return checkRedirect(call, next, via)
	}}
	response, err := h.Do(request)
	return response, hop, err
}

func (c *Client) read(call *Call, response *http.Response) ([]byte, error) {
	limit := orDefault(call.limit, c.maxResponse)
	if response.ContentLength <= limit || call.Method == http.MethodHead {
		b, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
		if err != nil {
			return nil, fmt.Errorf("read the response: %w", err)
		}
		if int64(len(b)) <= limit {
			return b, nil
		}
	}
	return nil, &event.Problem{
		Type:   event.TypePrefix + event.Communication,
		Status: 500,
		Title:  "Response too large",
		Detail: fmt.Sprintf("%s %s answered with more than %d bytes, which is the limit; ask for less, or by pages", call.Method, Shown(call.URL), limit),
	}
}

// checkRedirect decides on a redirect, D31.
func checkRedirect(call *Call, next *http.Request, via []*http.Request) error {
	if !call.Follow {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		status := http.StatusFound
		if next.Response != nil {
			status = next.Response.StatusCode
		}
		return &event.Problem{
			Type:   event.TypePrefix + event.Communication,
			Status: status,
			Title:  "Too many redirects",
			Detail: fmt.Sprintf("%s %s was redirected more than %d times, last to %s", call.Method, Shown(call.URL), maxRedirects, Shown(next.URL)),
		}
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		// What was meant for an encrypted connection does not go over a plain one.
		next.Header.Del("Authorization")
		next.Header.Del("Cookie")
	}
	return nil
}

// hop is the transport of one call: it checks each request of it against the
// egress rules and authenticates those to the origin that was called.
type hop struct {
	client        *Client
	origin        string
	authenticator authenticator
	sent          http.Header
}

// RoundTrip sends one request; twice when the server challenges it.
func (h *hop) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := h.client.rules.checkRequest(r); err != nil {
		return nil, err
	}
	if h.authenticator == nil || originOf(r.URL) != h.origin {
		h.sent = r.Header
		return h.client.transport.RoundTrip(r)
	}
	again := false
	for {
		try := r.Clone(r.Context())
		if again && r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, fmt.Errorf("send the body again: %w", err)
			}
			try.Body = body
		}
		h.authenticator.authorize(try)
		h.sent = try.Header
		response, err := h.client.transport.RoundTrip(try)
		if err != nil {
			return nil, err
		}
		response.Request = r // as http.Client expects
		if again || response.StatusCode != http.StatusUnauthorized {
			return response, nil
		}
		if again, err = h.authenticator.challenged(r.Context(), response.Header); err == nil && !again {
			return response, nil
		}
		// Read what little there is, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, response.Body, 64<<10) // only a courtesy
		_ = response.Body.Close()                          // nobody wants it
		if err != nil {
			return nil, err
		}
	}
}

// masked hides the credentials in headers that are to be shown.
func masked(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for i, v := range h[name] {
			scheme, _, ok := strings.Cut(v, " ")
			if !ok {
				scheme = ""
			}
			h[name][i] = strings.TrimSpace(scheme + " ***")
		}
	}
	return h
}

func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// Shown is a URL as errors show it: without credentials, and without the
// values of its query, where tokens may be.
func Shown(u *url.URL) string {
	v := *u
	v.User = nil
	query := v.RawQuery != ""
	v.RawQuery, v.Fragment, v.RawFragment = "", "", ""
	if query {
		return v.String() + "?…"
	}
	return v.String()
}

func configuration(format string, args ...any) *event.Problem {
	return &event.Problem{Type: event.TypePrefix + event.Configuration, Status: 400, Title: "Invalid request", Detail: fmt.Sprintf(format, args...)}
}
