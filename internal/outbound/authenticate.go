package outbound

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// authenticator puts credentials into requests. It belongs to one call.
type authenticator interface {
	authorize(r *http.Request)
	// challenged takes the headers of a 401; true when it is worth another try.
	challenged(h http.Header) bool
	// authorization is what $authorization shows (DSL 166).
	authorization() *event.Authorization
}

// authenticator resolves the policy of a call; nil when it has none.
func (c *Client) authenticator(ctx context.Context, call *Call) (authenticator, error) {
	if call.Authentication == nil {
		return nil, nil // none is no mistake
	}
	policy, ok := call.Authentication.(map[string]any)
	if !ok || len(policy) != 1 {
		return nil, configuration("authentication must be an object with exactly one of basic, bearer, digest")
	}
	for scheme, settings := range policy {
		switch scheme {
		case "basic":
			s, err := resolve(ctx, call.Secrets, scheme, settings, "username", "password")
			if err != nil {
				return nil, err
			}
			credentials := base64.StdEncoding.EncodeToString([]byte(s["username"] + ":" + s["password"]))
			return fixed{"Basic", credentials}, nil
		case "bearer":
			s, err := resolve(ctx, call.Secrets, scheme, settings, "token")
			if err != nil {
				return nil, err
			}
			return fixed{"Bearer", strings.TrimSpace(s["token"])}, nil
		case "digest":
			s, err := resolve(ctx, call.Secrets, scheme, settings, "username", "password")
			if err != nil {
				return nil, err
			}
			return &digest{username: s["username"], password: s["password"], nonces: &c.nonces, origin: originOf(call.URL)}, nil
		case "use":
			return nil, configuration("authentication %v: there is no such policy; use.authentications must have it", settings)
		case "oauth2", "oidc":
			return nil, configuration("authentication by %s is not supported by this release; get the token with a task of its own, and use bearer", scheme)
		}
		return nil, configuration("authentication by %q is not known; known are basic, bearer, digest", scheme)
	}
	return nil, nil // not reached: the policy has one entry
}

// resolve gives the settings of a scheme: those written inline, or the keys of
// the secret that `use` names (DSL 155).
func resolve(ctx context.Context, secrets Secrets, scheme string, settings any, keys ...string) (map[string]string, error) {
	where := "authentication." + scheme
	m, ok := settings.(map[string]any)
	if !ok {
		return nil, configuration("%s must be an object with %s, or with use: the name of a secret", where, strings.Join(keys, " and "))
	}
	if use, there := m["use"]; there {
		name, ok := use.(string)
		if !ok {
			return nil, configuration("%s.use must be the name of a secret", where)
		}
		if secrets == nil {
			return nil, configuration("%s.use: there are no secrets here", where)
		}
		v, err := secrets.Secret(ctx, name)
		if err != nil {
			return nil, err
		}
		where = fmt.Sprintf("the secret %q", name)
		if m, ok = v.(map[string]any); !ok {
			text, isText := v.(string)
			if !isText || len(keys) != 1 {
				return nil, configuration("%s must be an object with %s", where, strings.Join(keys, " and "))
			}
			m = map[string]any{keys[0]: text}
		}
	}
	out := map[string]string{}
	for _, k := range keys {
		text, ok := scalar(m[k])
		if !ok {
			return nil, configuration("%s has no %s; it has [%s]", where, k, strings.Join(slices.Sorted(maps.Keys(m)), ", "))
		}
		out[k] = text
	}
	return out, nil
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case nil, bool, map[string]any, []any:
		return "", false
	}
	b, err := json.Marshal(v) // a number, as YAML takes a PIN for one
	return string(b), err == nil
}

// fixed is an authorization that needs no answer of the server.
type fixed struct{ scheme, parameter string }

func (f fixed) authorize(r *http.Request) { r.Header.Set("Authorization", f.scheme+" "+f.parameter) }

func (f fixed) challenged(http.Header) bool { return false }

func (f fixed) authorization() *event.Authorization {
	return &event.Authorization{Scheme: f.scheme, Parameter: f.parameter}
}
