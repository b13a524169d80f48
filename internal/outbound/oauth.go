package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// The grants of the DSL (DSL 160).
const (
	grantCode     = "authorization_code"
	grantClient   = "client_credentials"
	grantPassword = "password"
	grantRefresh  = "refresh_token"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

var (
	grants        = []string{grantCode, grantClient, grantPassword, grantRefresh, grantExchange}
	clientMethods = []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"}
	encodings     = []string{"application/x-www-form-urlencoded", "application/json"}
)

// grantToken is a token that goes into a token exchange (RFC 8693).
type grantToken struct{ Token, Type string }

// policy is a policy of oauth2 or oidc as evaluated: all that decides which
// token it gives, so that its digest names the token in the cache. Its fields
// are exported for that digest alone.
type policy struct {
	Scheme        string // oauth2 or oidc
	Authority     string // without a slash at its end
	TokenEndpoint string // of oauth2: a path beneath the authority, or absolute
	Grant         string
	ClientID      string
	ClientSecret  string
	Assertion     string // a JWT, or the private key (PEM) to sign one with
	KeyID         string
	ClientMethod  string
	Encoding      string
	Issuers       []string
	Scopes        []string
	Audiences     []string
	Username      string
	Password      string
	Subject       grantToken
	Actor         grantToken
	RefreshToken  string // from a secret, or the subject of a grant that needs one
}

func (p *policy) key() [sha256.Size]byte {
	b, _ := json.Marshal(p) //nolint:gosec // for a digest; of strings alone it cannot fail
	return sha256.Sum256(b)
}

// name is the name of what is kept for the policy.
func (p *policy) name() string {
	key := p.key()
	return hex.EncodeToString(key[:16])
}

// settings reads the settings of a policy; the first mistake stays in err.
type settings struct {
	where string
	m     map[string]any
	err   *error
}

func (s settings) fail(format string, args ...any) {
	if *s.err == nil {
		*s.err = configuration("%s", s.where+fmt.Sprintf(format, args...))
	}
}

func (s settings) text(key string) string {
	v := s.m[key]
	text, ok := scalar(v)
	if !ok && v != nil {
		s.fail(".%s must be a string, not of type %s", key, value.TypeName(v))
	}
	return text
}

func (s settings) word(key string, fallback string, allowed []string) string {
	text := s.text(key)
	if text == "" {
		return fallback
	}
	if !slices.Contains(allowed, text) {
		s.fail(".%s is %q; it must be one of %s", key, text, strings.Join(allowed, ", "))
	}
	return text
}

// texts reads a list; a string is one with spaces between, as OAuth has it.
func (s settings) texts(key string) []string {
	switch v := s.m[key].(type) {
	case nil:
		return nil
	case string:
		return strings.Fields(v)
	case []any:
		var all []string
		for _, x := range v {
			text, ok := x.(string)
			if !ok {
				s.fail(".%s must hold strings, not one of type %s", key, value.TypeName(x))
			}
			all = append(all, text)
		}
		return all
	default:
		s.fail(".%s must be an array of strings, not of type %s", key, value.TypeName(v))
		return nil
	}
}

func (s settings) object(key string) settings {
	inner := settings{where: s.where + "." + key, err: s.err}
	if v := s.m[key]; v != nil {
		var ok bool
		if inner.m, ok = v.(map[string]any); !ok {
			s.fail(".%s must be an object, not of type %s", key, value.TypeName(v))
		}
	}
	return inner
}

func (s settings) token(key string) grantToken {
	inner := s.object(key)
	t := grantToken{strings.TrimSpace(inner.text("token")), inner.text("type")}
	if t.Type != "" && !strings.Contains(t.Type, ":") {
		t.Type = "urn:ietf:params:oauth:token-type:" + t.Type // the short name is enough
	}
	return t
}

// readPolicy reads the settings of oauth2 or oidc, DSL 159-165.
func readPolicy(scheme, where string, m map[string]any) (*policy, error) {
	var err error
	s := settings{where: where, m: m, err: &err}
	client := s.object("client")
	p := &policy{
		Scheme:        scheme,
		Authority:     strings.TrimRight(strings.TrimSpace(s.text("authority")), "/"),
		TokenEndpoint: s.object("endpoints").text("token"),
		Grant:         s.word("grant", "", grants),
		ClientID:      client.text("id"),
		ClientSecret:  client.text("secret"),
		Assertion:     strings.TrimSpace(client.text("assertion")),
		KeyID:         client.text("keyId"),
		ClientMethod:  client.word("authentication", "client_secret_post", clientMethods),
		Encoding:      s.object("request").word("encoding", encodings[0], encodings),
		Issuers:       s.texts("issuers"),
		Scopes:        s.texts("scopes"),
		Audiences:     s.texts("audiences"),
		Username:      s.text("username"),
		Password:      s.text("password"),
		Subject:       s.token("subject"),
		Actor:         s.token("actor"),
		RefreshToken:  strings.TrimSpace(s.text("refreshToken")),
	}
	if p.TokenEndpoint == "" {
		p.TokenEndpoint = "/oauth2/token"
	}
	if p.RefreshToken == "" && (p.Grant == grantRefresh || p.Grant == grantCode) {
		p.RefreshToken = p.Subject.Token
	}
	if err == nil {
		err = p.check(where)
	}
	return p, err
}

// check finds what is missing.
func (p *policy) check(where string) error {
	u, err := url.Parse(p.Authority)
	switch {
	case p.Authority == "":
		return configuration("%s has no authority: the URI of who gives tokens", where)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return configuration("%s.authority must be an absolute URI like https://login.example.com", where)
	case p.Grant == "":
		return configuration("%s has no grant; it must be one of %s", where, strings.Join(grants, ", "))
	case p.ClientMethod != "none" && p.ClientID == "":
		return configuration("%s has no client.id; set client.authentication to none where the authority wants no client", where)
	case strings.HasPrefix(p.ClientMethod, "client_secret_") && p.ClientMethod != "client_secret_post" && p.ClientSecret == "":
		return configuration("%s has no client.secret, which client.authentication %s needs", where, p.ClientMethod)
	case p.ClientMethod == "private_key_jwt" && p.Assertion == "":
		return configuration("%s has no client.assertion, which private_key_jwt needs: a signed JWT, or the private key in PEM form to sign one with", where)
	case p.Grant == grantPassword && (p.Username == "" || p.Password == ""):
		return configuration("%s has no username and password, which the grant password needs", where)
	case p.Grant == grantExchange && (p.Subject.Token == "" || p.Subject.Type == ""):
		return configuration("%s has no subject with token and type, which token exchange needs", where)
	case p.Actor.Token != "" && p.Actor.Type == "":
		return configuration("%s.actor has no type", where)
	case p.Grant == grantRefresh && p.RefreshToken == "":
		return configuration("%s has no refresh token; put it into subject.token, or as refreshToken into the secret that holds the policy", where)
	case p.Grant == grantCode && p.RefreshToken == "":
		return unauthenticated("%s: the grant authorization_code needs a person who signs in, which a run cannot do; sign in once elsewhere and store the refresh token: as refreshToken in a secret that holds the policy (%s: {use: <secret>}), or in subject.token", where, p.Scheme)
	}
	return nil
}

// unauthenticated is an error of the standard's type authentication.
func unauthenticated(format string, args ...any) *event.Problem {
	return &event.Problem{Type: event.TypePrefix + event.Authentication, Status: 401, Title: "Authentication failed", Detail: fmt.Sprintf(format, args...)}
}

// oauth is authentication by a token of an authority: oauth2 and oidc.
type oauth struct {
	client *Client
	policy *policy
	mask   func(v any) // is told every token, so that no log shows it
	token  *token
	cached bool // the token was there before this call
}

// newOAuth gets the token, from the cache or from the authority.
func (c *Client) newOAuth(ctx context.Context, call *Call, scheme string, with any) (authenticator, error) {
	m, where, err := inlineOrSecret(ctx, call.Secrets, "authentication."+scheme, with, "the settings of "+scheme)
	if err != nil {
		return nil, err
	}
	p, err := readPolicy(scheme, where, m)
	if err != nil {
		return nil, err
	}
	o := &oauth{client: c, policy: p, mask: func(any) {}}
	if m, ok := call.Secrets.(interface{ Mask(v any) }); ok {
		o.mask = m.Mask
	}
	return o, o.get(ctx)
}

func (o *oauth) get(ctx context.Context) (err error) {
	o.token, o.cached, err = o.client.tokens.get(ctx, o.policy.key(), func(ctx context.Context, refresh string) (*token, error) {
		return o.client.renew(ctx, o.policy, refresh)
	})
	if err == nil {
		o.mask(o.token.value)
	}
	return err
}

func (o *oauth) authorize(r *http.Request) {
	r.Header.Set("Authorization", "Bearer "+o.token.value)
}

// challenged drops the token that was refused. One that was revoked since it
// was cached is worth another try; one that is new is not.
func (o *oauth) challenged(ctx context.Context, _ http.Header) (bool, error) {
	o.client.tokens.drop(o.policy.key(), o.token)
	if !o.cached {
		return false, nil
	}
	return true, o.get(ctx)
}

func (o *oauth) authorization() *event.Authorization {
	return &event.Authorization{Scheme: "Bearer", Parameter: o.token.value}
}
