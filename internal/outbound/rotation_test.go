package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// kept is a store of tokens.
type kept struct {
	tokens map[string]string
	fails  error
}

func (k *kept) Renew(_ context.Context, name string, renew func(string) (string, error)) error {
	next, err := renew(k.tokens[name])
	if err == nil {
		err = k.fails
	}
	if err != nil {
		return err
	}
	if k.tokens[name] = next; next == "" {
		delete(k.tokens, name)
	}
	return nil
}

// DSL 160: the refresh token that took the place of the stored one outlives the
// process; the policy's is tried again when that one is refused, and kept
// nowhere when it is the good one.
func TestRotatedTokenIsKept(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	store := &kept{tokens: map[string]string{}}
	good := "r0"
	rotates := true
	l.answer = func(n int, form url.Values) any {
		if form.Get("refresh_token") != good {
			return object{"error": "invalid_grant"}
		}
		answer := object{"access_token": fmt.Sprintf("t%d", n), "expires_in": 300}
		if rotates {
			good = fmt.Sprintf("r%d", n)
			answer["refresh_token"] = good
		}
		return answer
	}
	works := func(token string, want ...string) {
		t.Helper()
		l.client.CloseIdleConnections()
		l.client = newClient(t, outbound.Config{Tokens: store}) // another process
		r, err := l.call(t, object{"oauth2": object{"use": "policy"}})
		if err != nil || r.Authorization.Parameter != token {
			t.Fatalf("got %v, %v; want %s", r, err, token)
		}
		if d := cmp.Diff(want, slices.Collect(maps.Values(store.tokens))); d != "" {
			t.Error(d)
		}
	}
	works("t1", "r1")
	works("t2", "r2")
	rotates = false
	works("t3", "r2")
	good = "r0" // a person signed in anew and got, say, the same again
	works("t5")
	store.fails, rotates = errors.New("no space"), true
	_, err := newCall(t, store, l)
	problem(t, err, event.Runtime, 500, "cannot be kept: no space")
	store.fails = nil
	_, err = newCall(t, store, l) // r0 is used up, and what came for it is lost
	problem(t, err, event.Authentication, 401, "sign in again")
}

func newCall(t *testing.T, store outbound.TokenStore, l *login) (*outbound.Response, error) {
	t.Helper()
	l.client.CloseIdleConnections()
	l.client = newClient(t, outbound.Config{Tokens: store})
	return l.call(t, object{"oauth2": object{"use": "policy"}})
}

// masking is what a worker gives for secrets: it is told what logs must not show.
type masking struct {
	secrets
	told *[]any
}

func (m masking) Mask(v any) { *m.told = append(*m.told, v) }

// Tokens are no secrets of the workflow, and are hidden like those; a service
// that repeats one is not quoted.
func TestTokensAreMasked(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	l.answer = func(int, url.Values) any { return object{"access_token": "t0ken", "expires_in": 300} }
	mask := masking{secrets{}, new([]any)}
	if _, err := do(t, l.client, &outbound.Call{Method: "GET", Authentication: l.policy(nil), Secrets: mask}, l.URL+"/api"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{"t0ken"}, *mask.told); d != "" {
		t.Error(d)
	}
	echo := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(403)
		_, _ = fmt.Fprintf(w, `{"title":"no","detail":"not with %s"}`, r.Header.Get("Authorization"))
	})
	u, _ := url.Parse(echo.URL)
	_, _, err := l.client.Exchange(t.Context(), &outbound.Call{Method: "GET", URL: u, Authentication: l.policy(nil), Secrets: mask}, "content")
	problem(t, err, event.Communication, 403, "not with Bearer ***")
	if p, _ := errors.AsType[*event.Problem](err); strings.Contains(fmt.Sprint(p.Detail, p.More), "t0ken") {
		t.Errorf("got %v", p)
	}
}
