package outbound

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// maxTokenResponse bounds what an authority may answer.
const maxTokenResponse = 1 << 20

// renew gets a token. What the authority gives in the place of a stored refresh
// token is kept, before the token is used.
func (c *Client) renew(ctx context.Context, p *policy, refresh string) (t *token, err error) {
	if c.store == nil || p.Grant != grantRefresh && p.Grant != grantCode {
		return c.obtain(ctx, p, refresh)
	}
	err = c.store.Renew(ctx, p.name(), func(current string) (next string, err error) {
		if t, err = c.obtain(ctx, p, cmp.Or(current, refresh)); err != nil {
			return "", err
		}
		if t.refresh == p.RefreshToken {
			return "", nil // the policy has it
		}
		return t.refresh, nil
	})
	if _, ok := errors.AsType[*event.Problem](err); err == nil || ok || ctx.Err() != nil {
		return t, err
	}
	problem := &event.Problem{Type: event.TypePrefix + event.Runtime, Status: 500, Title: "Refresh token not at hand", Detail: err.Error()}
	if t != nil {
		problem.Title = "Refresh token not kept"
		problem.Detail = fmt.Sprintf("%s gave another refresh token in the place of the one used, which cannot be kept: %v", p.Authority, err)
	}
	return nil, problem
}

// obtain gets a token from the authority of p. A refresh token that came with
// the last one is tried first, where the grant is one that it stands for.
func (c *Client) obtain(ctx context.Context, p *policy, refresh string) (*token, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.tokenTimeout, &event.Problem{
		Type: event.TypePrefix + event.Communication, Status: 500, Title: "No token",
		Detail: fmt.Sprintf("the authority %s did not answer within %v", p.Authority, c.tokenTimeout),
	})
	defer cancel()
	a, err := c.authorityOf(ctx, p)
	if err != nil {
		return nil, err
	}
	if refresh != "" && refresh != p.RefreshToken && p.Grant != grantClient {
		t, err := c.requestToken(ctx, p, a, grantRefresh, refresh)
		if err == nil || ctx.Err() != nil {
			return t, err
		}
	}
	return c.requestToken(ctx, p, a, p.Grant, p.RefreshToken)
}

// requestToken asks for a token by one grant, RFC 6749.
func (c *Client) requestToken(ctx context.Context, p *policy, a *authority, grant, refresh string) (*token, error) {
	form, header := url.Values{}, http.Header{}
	switch grant {
	case grantCode, grantRefresh:
		form.Set("grant_type", grantRefresh)
		form.Set("refresh_token", refresh)
	case grantPassword:
		form.Set("grant_type", grant)
		form.Set("username", p.Username)
		form.Set("password", p.Password)
	case grantExchange:
		form.Set("grant_type", grant)
		form.Set("subject_token", p.Subject.Token)
		form.Set("subject_token_type", p.Subject.Type)
		if p.Actor.Token != "" {
			form.Set("actor_token", p.Actor.Token)
			form.Set("actor_token_type", p.Actor.Type)
		}
	default:
		form.Set("grant_type", grant)
	}
	if len(p.Scopes) > 0 {
		form.Set("scope", strings.Join(p.Scopes, " "))
	}
	if len(p.Audiences) > 0 {
		form["audience"] = p.Audiences
	}
	if err := c.identifyClient(p, a, form, header); err != nil {
		return nil, err
	}
	body := []byte(form.Encode())
	if p.Encoding == "application/json" {
		object := map[string]any{}
		for k, v := range form {
			object[k] = v[0]
			if len(v) > 1 {
				object[k] = value.Normalize(v)
			}
		}
		body = value.JSON(object)
	}
	header.Set("Content-Type", p.Encoding)
	header.Set("Accept", "application/json")
	response, err := c.Do(ctx, &Call{Method: http.MethodPost, URL: a.token, Header: header, Body: body, limit: maxTokenResponse})
	if err != nil {
		return nil, err
	}
	t, err := c.readToken(p, a, grant, response)
	if err == nil && t.refresh == "" && form.Has("refresh_token") {
		t.refresh = refresh // it goes on being good
	}
	return t, err
}

// identifyClient puts into the request who asks, DSL 161.
func (c *Client) identifyClient(p *policy, a *authority, form url.Values, header http.Header) error {
	switch p.ClientMethod {
	case "client_secret_basic":
		// Both are form-encoded first (RFC 6749, section 2.3.1).
		pair := url.QueryEscape(p.ClientID) + ":" + url.QueryEscape(p.ClientSecret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	case "client_secret_jwt", "private_key_jwt":
		assertion, err := p.assertion(a, c.tokens.clock.Now())
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	case "client_secret_post":
		if p.ClientSecret != "" {
			form.Set("client_secret", p.ClientSecret)
		}
	}
	if p.ClientID != "" {
		form.Set("client_id", p.ClientID)
	}
	return nil
}

// readToken reads what the authority answered.
func (c *Client) readToken(p *policy, a *authority, grant string, r *Response) (*token, error) {
	answer := answerOf(r)
	if code, ok := answer["error"].(string); ok && r.Status < 500 {
		return nil, refusedToken(p, a, grant, code, answer)
	}
	if r.Status < 200 || r.Status > 299 {
		return nil, noToken(p, a, r)
	}
	t := &token{}
	var ok bool
	if t.value, ok = answer["access_token"].(string); !ok || t.value == "" || strings.IndexFunc(t.value, notVisible) >= 0 {
		return nil, misunderstood(a, "it holds no access_token that is a string")
	}
	if kind, there := answer["token_type"]; there {
		name, ok := kind.(string)
		if !ok || !strings.EqualFold(name, "bearer") && !strings.EqualFold(name, "N_A") {
			return nil, misunderstood(a, fmt.Sprintf("its token_type is %.40s; only Bearer is known", value.JSON(kind)))
		}
	}
	t.refresh, _ = answer["refresh_token"].(string)
	now := c.tokens.clock.Now()
	seconds, known := secondsOf(answer["expires_in"])
	if answer["expires_in"] != nil && !known {
		return nil, misunderstood(a, "its expires_in is no number of seconds")
	}
	claims := claimsOf(t.value)
	if exp, ok := secondsOf(claims["exp"]); ok && !known {
		seconds, known = exp-float64(now.Unix()), true
		if seconds <= 0 {
			return nil, unauthenticated("the token that %s gave ended %.0f seconds ago; does its clock agree with the one of this machine?", a.token.Host, -seconds)
		}
	}
	t.lives(now, time.Duration(min(max(seconds, 0), 365*24*3600)*float64(time.Second)), known)
	return t, p.checkClaims(a, claims)
}

func notVisible(r rune) bool { return r <= ' ' || r > '~' }

// answerOf reads JSON, or the form that some old authorities send.
func answerOf(r *Response) map[string]any {
	if mediaOf(r.Header.Get("Content-Type")).form() {
		m := map[string]any{}
		if form, err := url.ParseQuery(string(r.Body)); err == nil {
			for k, v := range form {
				m[k] = v[0]
			}
		}
		return m
	}
	v, err := value.Decode(r.Body)
	if err != nil {
		return nil
	}
	m, _ := v.(map[string]any)
	return m
}

// secondsOf reads a number; some authorities send it as a string.
func secondsOf(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v)
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil && !math.IsNaN(f)
	}
	return 0, false
}

func misunderstood(a *authority, what string) *event.Problem {
	return &event.Problem{
		Type: event.TypePrefix + event.Communication, Status: 500, Title: "Token response not understood",
		Detail: fmt.Sprintf("%s answered a request for a token, but %s", Shown(a.token), what),
	}
}

// noToken is for answers that are no errors of OAuth: outages, wrong addresses.
func noToken(p *policy, a *authority, r *Response) *event.Problem {
	problem := &event.Problem{
		Type: event.TypePrefix + event.Communication, Status: r.Status, Title: "No token",
		Detail: fmt.Sprintf("%s answered a request for a token with %d", Shown(a.token), r.Status),
	}
	switch {
	case r.Status >= 300 && r.Status < 400:
		problem.Detail += "; requests for tokens are not sent on to where a redirect points"
	case r.Status == http.StatusNotFound && p.Scheme == "oauth2":
		problem.Detail += "; is that the right place? The path beneath the authority is endpoints.token, by default /oauth2/token"
	}
	if after := r.Header.Get("Retry-After"); after != "" {
		problem.More = map[string]any{"retryAfter": after}
	}
	return problem
}

// refusedToken is for errors of RFC 6749, section 5.2. What the authority says
// is shown, without the secrets that it may repeat.
func refusedToken(p *policy, a *authority, grant, code string, answer map[string]any) *event.Problem {
	detail := fmt.Sprintf("%s gave no token: %s", Shown(a.token), head(code))
	if more, ok := answer["error_description"].(string); ok && more != "" {
		detail += ", " + head(more)
	}
	for _, secret := range []string{p.ClientSecret, p.Password, p.Assertion, p.RefreshToken, p.Subject.Token, p.Actor.Token} {
		if secret != "" {
			detail = strings.ReplaceAll(detail, secret, "***")
		}
	}
	switch code {
	case "invalid_client":
		detail += "; look at client.id, client.secret and client.authentication, which is " + p.ClientMethod
	case "invalid_grant":
		switch grant {
		case grantRefresh, grantCode:
			detail += "; the refresh token has ended or was revoked: sign in again and store the new one"
		case grantPassword:
			detail += "; look at username and password"
		case grantExchange:
			detail += "; look at the subject's token, which may have ended"
		}
	case "invalid_scope":
		detail += "; the scopes asked for are [" + strings.Join(p.Scopes, " ") + "]"
	case "unauthorized_client", "unsupported_grant_type":
		detail += "; the grant asked for is " + grant
	}
	return unauthenticated("%s", strings.ToValidUTF8(detail, "\ufffd"))
}

// checkClaims checks who gave a token and for whom, where it is a JWT that
// says so (DSL 164). Whether it is genuine is for its receiver to find out.
func (p *policy) checkClaims(a *authority, claims map[string]any) error {
	if iss, ok := claims["iss"].(string); ok && len(p.Issuers) > 0 && !slices.Contains(p.Issuers, iss) {
		return unauthenticated("the token that %s gave is by the issuer %s; issuers allows [%s]", a.token.Host, head(iss), strings.Join(p.Issuers, ", "))
	}
	var audiences []string
	for _, x := range Texts(claims["aud"]) {
		if slices.Contains(p.Audiences, x) {
			return nil
		}
		audiences = append(audiences, x)
	}
	if len(audiences) > 0 && len(p.Audiences) > 0 {
		return unauthenticated("the token that %s gave is for [%s], not for [%s]", a.token.Host, head(strings.Join(audiences, ", ")), strings.Join(p.Audiences, ", "))
	}
	return nil
}
