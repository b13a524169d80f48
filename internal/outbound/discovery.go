package outbound

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// authority is where a policy's tokens come from.
type authority struct {
	token  *url.URL
	issuer string // of oidc
}

// audience is whom a client's assertion is for: the issuer where it is known.
func (a *authority) audience() string {
	if a.issuer != "" {
		return a.issuer
	}
	return a.token.String()
}

const wellKnown = "/.well-known/openid-configuration"

// authorityOf finds where p's tokens come from: said by the policy (DSL 163),
// or by the authority (DSL 165).
func (c *Client) authorityOf(ctx context.Context, p *policy) (*authority, error) {
	if p.Scheme == "oidc" {
		return c.discover(ctx, p)
	}
	where := p.TokenEndpoint
	if u, err := url.Parse(where); err != nil || !u.IsAbs() {
		// Relative to the authority with its path: below a realm, a tenant.
		where = p.Authority + "/" + strings.TrimLeft(where, "/")
	}
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, configuration("authentication.oauth2.endpoints.token is no path, and no URI of http or https")
	}
	return &authority{token: u}, nil
}

// discover asks the authority by OpenID Connect Discovery 1.0.
func (c *Client) discover(ctx context.Context, p *policy) (*authority, error) {
	issuer := strings.TrimRight(strings.TrimSuffix(p.Authority, wellKnown), "/")
	u, err := url.Parse(issuer + wellKnown)
	if err != nil {
		return nil, configuration("authentication.oidc.authority is no URI")
	}
	r, err := c.Do(ctx, &Call{Method: http.MethodGet, URL: u, Header: http.Header{"Accept": {"application/json"}}, Follow: true, limit: maxTokenResponse})
	if err != nil {
		return nil, err
	}
	fail := func(status int, what string) error {
		return &event.Problem{
			Type: event.TypePrefix + event.Communication, Status: status, Title: "Discovery failed",
			Detail: fmt.Sprintf("%s %s; is the authority right, and does it speak OpenID Connect?", Shown(u), what),
		}
	}
	if r.Status != http.StatusOK {
		return nil, fail(r.Status, fmt.Sprintf("answered %d", r.Status))
	}
	document := answerOf(r)
	endpoint, ok := document["token_endpoint"].(string)
	if !ok {
		return nil, fail(500, "answered no document with a token_endpoint")
	}
	a := &authority{}
	a.issuer, _ = document["issuer"].(string)
	// The document must be of who was asked (section 4.3), or one authority
	// could send clients of another to itself.
	if strings.TrimRight(a.issuer, "/") != issuer && !slices.Contains(p.Issuers, a.issuer) {
		return nil, unauthenticated("%s is the document of the issuer %q; if that is right, name it in issuers", Shown(u), head(a.issuer))
	}
	if a.token, err = url.Parse(endpoint); err != nil || a.token.Scheme != "http" && a.token.Scheme != "https" || a.token.Host == "" {
		return nil, fail(500, "answered with a token_endpoint that is no absolute URI")
	}
	if u.Scheme == "https" && a.token.Scheme != "https" {
		return nil, unauthenticated("%s names a token_endpoint without TLS; credentials do not go there", Shown(u))
	}
	return a, nil
}
