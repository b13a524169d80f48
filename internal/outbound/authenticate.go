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
	challenged(ctx context.Context, h http.Header) (bool, error)
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
		return nil, configuration("authentication must be an object with exactly one of basic, bearer, digest, oauth2, oidc")
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
			return c.newOAuth(ctx, call, scheme, settings)
		}
		return nil, configuration("authentication by %q is not known; known are basic, bearer, digest, oauth2, oidc", scheme)
	}
	return nil, nil // not reached: the policy has one entry
}

// resolve gives the settings of a scheme: those written inline, or the keys of
// the secret that `use` names (DSL 155).
func resolve(ctx context.Context, secrets Secrets, scheme string, settings any, keys ...string) (map[string]string, error) {
	want := strings.Join(keys, " and ")
	m, where, err := inlineOrSecret(ctx, secrets, "authentication."+scheme, settings, want)
	if err != nil {
		return nil, err
	}
	if text, plain := m[""].(string); plain && len(keys) == 1 {
		m = map[string]any{keys[0]: text}
	} else if plain {
		return nil, configuration("%s must be an object with %s", where, want)
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

// inlineOrSecret gives the settings and where they stand. Those of a secret
// that is mere text are under the key "".
func inlineOrSecret(ctx context.Context, secrets Secrets, where string, settings any, want string) (map[string]any, string, error) {
	m, ok := settings.(map[string]any)
	if !ok {
		return nil, where, configuration("%s must be an object with %s, or with use: the name of a secret", where, want)
	}
	use, there := m["use"]
	if !there {
		return m, where, nil
	}
	name, ok := use.(string)
	if !ok {
		return nil, where, configuration("%s.use must be the name of a secret", where)
	}
	if secrets == nil {
		return nil, where, configuration("%s.use: there are no secrets here", where)
	}
	v, err := secrets.Secret(ctx, name)
	if err != nil {
		return nil, where, err
	}
	where = fmt.Sprintf("the secret %q", name)
	if text, ok := v.(string); ok {
		return map[string]any{"": text}, where, nil
	}
	if m, ok = v.(map[string]any); !ok {
		return nil, where, configuration("%s must be an object with %s", where, want)
	}
	return m, where, nil
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

func (f fixed) challenged(context.Context, http.Header) (bool, error) { return false, nil }

func (f fixed) authorization() *event.Authorization {
	return &event.Authorization{Scheme: f.scheme, Parameter: f.parameter}
}
