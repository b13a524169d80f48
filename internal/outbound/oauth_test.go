package outbound_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

type secrets map[string]any

func (s secrets) Secret(_ context.Context, name string) (any, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return nil, &event.Problem{Type: event.TypePrefix + event.Forbidden, Status: 403, Title: "Secret not found"}
}

// login is an authority and, at /api, a service that takes the last token it gave.
type login struct {
	*httptest.Server
	client *outbound.Client
	ahead  atomic.Int64 // of the clock, in nanoseconds

	mu       sync.Mutex
	answer   func(n int, form url.Values) any // of the n-th request for a token
	requests []url.Values
	headers  []http.Header
	valid    string
	calls    int // of the service
}

func newLogin(t *testing.T) *login {
	t.Helper()
	l := &login{answer: func(n int, _ url.Values) any {
		return object{"access_token": fmt.Sprintf("t%d", n), "token_type": "bearer", "expires_in": 300}
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/realm/oauth2/token", l.token)
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls++
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer "+l.valid {
			w.WriteHeader(401)
		}
		_, _ = fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), body)
	})
	l.Server = httptest.NewServer(mux)
	l.client = newClient(t, outbound.Config{Clock: lifecycle.Clock{Shift: func() time.Duration { return time.Duration(l.ahead.Load()) }}})
	t.Cleanup(func() {
		l.client.CloseIdleConnections()
		l.Close()
	})
	return l
}

func (l *login) token(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(b))
	if r.Header.Get("Content-Type") == "application/json" {
		form = url.Values{"json": {string(b)}}
	}
	l.mu.Lock()
	l.requests, l.headers = append(l.requests, form), append(l.headers, r.Header)
	answer := l.answer
	n := len(l.requests)
	l.mu.Unlock()
	switch v := answer(n, form).(type) {
	case func(http.ResponseWriter, *http.Request):
		v(w, r)
	case object:
		l.mu.Lock()
		l.valid, _ = v["access_token"].(string)
		l.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if v["error"] != nil {
			w.WriteHeader(400)
		}
		_ = json.NewEncoder(w).Encode(v)
	}
}

// policy is an oauth2 policy with what more says instead.
func (l *login) policy(more object) object {
	p := object{
		"authority": l.URL + "/realm/", "grant": "client_credentials",
		"client": object{"id": "me", "secret": "hush-hush"}, "scopes": []any{"read", "write"}, "audiences": []any{"api"},
	}
	maps.Copy(p, more)
	return object{"oauth2": p}
}

func (l *login) call(t *testing.T, policy any) (*outbound.Response, error) {
	t.Helper()
	return do(t, l.client, &outbound.Call{
		Method: "POST", Body: []byte("body"), Authentication: policy,
		Secrets: secrets{"policy": l.policy(object{"refreshToken": "r0", "grant": "authorization_code"})["oauth2"], "text": "x"},
	}, l.URL+"/api")
}

// DSL 159, DSL 160, DSL 161, DSL 162, DSL 163, DSL 164, DSL 166
func TestOAuthRequests(t *testing.T) {
	t.Parallel()
	exchange := "urn:ietf:params:oauth:grant-type:token-exchange"
	for name, x := range map[string]struct {
		policy object
		want   url.Values
	}{
		"client_credentials, post": {object{}, url.Values{"grant_type": {"client_credentials"}, "client_id": {"me"}, "client_secret": {"hush-hush"}}},
		"basic":                    {object{"client": object{"id": "m e", "secret": "a:b", "authentication": "client_secret_basic"}}, url.Values{"grant_type": {"client_credentials"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("m+e:a%3Ab"))}}},
		"none":                     {object{"client": object{"id": "me", "authentication": "none"}}, url.Values{"grant_type": {"client_credentials"}, "client_id": {"me"}}},
		"password":                 {object{"grant": "password", "username": "u", "password": "p"}, url.Values{"grant_type": {"password"}, "username": {"u"}, "password": {"p"}, "client_id": {"me"}, "client_secret": {"hush-hush"}}},
		"refresh_token":            {object{"grant": "refresh_token", "subject": object{"token": "r0", "type": "refresh_token"}}, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r0"}, "client_id": {"me"}, "client_secret": {"hush-hush"}}},
		"token exchange": {
			object{"grant": exchange, "subject": object{"token": "s", "type": "jwt"}, "actor": object{"token": "a", "type": "urn:x"}},
			url.Values{"grant_type": {exchange}, "subject_token": {"s"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "actor_token": {"a"}, "actor_token_type": {"urn:x"}, "client_id": {"me"}, "client_secret": {"hush-hush"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogin(t)
			r, err := l.call(t, l.policy(x.policy))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff("200 Bearer t1 body", fmt.Sprint(r.Status, " ", string(r.Body))); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(&event.Authorization{Scheme: "Bearer", Parameter: "t1"}, r.Authorization); d != "" {
				t.Error(d)
			}
			got := l.requests[0]
			if a := l.headers[0].Get("Authorization"); a != "" {
				got.Set("Authorization", a)
			}
			x.want.Set("scope", "read write")
			x.want.Set("audience", "api")
			if d := cmp.Diff(x.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// DSL 155: a policy in a secret; a stored token stands for the person.
func TestStoredToken(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	l.answer = func(n int, form url.Values) any {
		// Each answer makes another refresh token the good one.
		if form.Get("refresh_token") != fmt.Sprintf("r%d", n-1) {
			return object{"error": "invalid_grant"}
		}
		return object{"access_token": fmt.Sprintf("t%d", n), "refresh_token": fmt.Sprintf("r%d", n), "expires_in": "300"}
	}
	for n := 1; n <= 3; n++ {
		r, err := l.call(t, object{"oauth2": object{"use": "policy"}})
		if err != nil || r.Authorization.Parameter != fmt.Sprintf("t%d", n) {
			t.Fatalf("call %d: %v %v", n, r, err)
		}
		l.ahead.Add(int64(400 * time.Second))
	}
	_, err := l.call(t, object{"oauth2": object{"use": "text"}})
	problem(t, err, event.Configuration, 400, "has no authority")
	_, err = l.call(t, object{"oauth2": object{"use": "gone"}})
	problem(t, err, event.Forbidden, 403, "")
}

// DSL 162
func TestJSONTokenRequest(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	if _, err := l.call(t, l.policy(object{"request": object{"encoding": "application/json"}, "audiences": []any{"a", "b"}})); err != nil {
		t.Fatal(err)
	}
	want := `{"audience":["a","b"],"client_id":"me","client_secret":"hush-hush","grant_type":"client_credentials","scope":"read write"}`
	if d := cmp.Diff(want, l.requests[0].Get("json")); d != "" {
		t.Error(d)
	}
}

func pemOf(t *testing.T, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// DSL 161: a client that signs.
func TestClientAssertions(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	pkcs8PEM := pemOf(t, "PRIVATE KEY", pkcs8, err)
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	ecPEM := pemOf(t, "EC PRIVATE KEY", ecDER, err)
	digest := func(s string) []byte { d := sha256.Sum256([]byte(s)); return d[:] }
	for name, x := range map[string]struct {
		client object
		check  func(text string, signature []byte) bool
	}{
		"HS256": {object{"id": "me", "secret": "hush-hush", "authentication": "client_secret_jwt"}, func(text string, signature []byte) bool {
			mac := hmac.New(sha256.New, []byte("hush-hush"))
			mac.Write([]byte(text))
			return hmac.Equal(mac.Sum(nil), signature)
		}},
		"RS256": {object{"id": "me", "assertion": pkcs8PEM, "authentication": "private_key_jwt"}, func(text string, signature []byte) bool {
			return rsa.VerifyPKCS1v15(&rsaKey.PublicKey, crypto.SHA256, digest(text), signature) == nil
		}},
		"ES256": {object{"id": "me", "assertion": ecPEM, "authentication": "private_key_jwt", "keyId": "k1"}, func(text string, signature []byte) bool {
			return len(signature) == 64 && ecdsa.Verify(&ecKey.PublicKey, digest(text), new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogin(t)
			if _, err := l.call(t, l.policy(object{"client": x.client})); err != nil {
				t.Fatal(err)
			}
			form := l.requests[0]
			if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || form.Has("client_secret") {
				t.Errorf("got %v", form)
			}
			parts := strings.Split(form.Get("client_assertion"), ".")
			signature, err := base64.RawURLEncoding.DecodeString(parts[2])
			if err != nil || !x.check(parts[0]+"."+parts[1], signature) {
				t.Errorf("the signature is wrong: %v", err)
			}
			head, _ := base64.RawURLEncoding.DecodeString(parts[0])
			if !strings.Contains(string(head), `"alg":"`+name+`"`) || (name == "ES256") != strings.Contains(string(head), `"kid":"k1"`) {
				t.Errorf("header %s", head)
			}
			var claims struct {
				Iss, Sub, Aud, Jti string
				Exp, Iat           int64
			}
			payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
			if err := json.Unmarshal(payload, &claims); err != nil {
				t.Fatal(err)
			}
			if claims.Iss != "me" || claims.Sub != "me" || claims.Aud != l.URL+"/realm/oauth2/token" || len(claims.Jti) < 20 || claims.Exp != claims.Iat+60 {
				t.Errorf("claims %s", payload)
			}
		})
	}
	l := newLogin(t)
	ready := "eyJhbGciOiJIUzI1NiJ9.e30.x"
	if _, err := l.call(t, l.policy(object{"client": object{"id": "me", "assertion": ready, "authentication": "private_key_jwt"}})); err != nil || l.requests[0].Get("client_assertion") != ready {
		t.Errorf("a ready-made JWT: %v, %v", err, l.requests)
	}
	for want, assertion := range map[string]string{
		"a signed JWT, or a private key": "nonsense", "cannot be read": "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----",
		"is encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGk=\n-----END ENCRYPTED PRIVATE KEY-----", "no private key in PEM": "-----BEGIN",
	} {
		_, err := l.call(t, l.policy(object{"client": object{"id": "me", "assertion": assertion, "authentication": "private_key_jwt"}}))
		problem(t, err, event.Configuration, 400, want)
	}
}

// A token is asked for once, kept, and renewed before it ends.
func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	want := func(tokenWanted string) {
		t.Helper()
		r, err := l.call(t, l.policy(nil))
		if err != nil || r.Status != 200 || r.Authorization.Parameter != tokenWanted {
			t.Errorf("got %v, %v; want %s", r, err, tokenWanted)
		}
	}
	want("t1")
	l.ahead.Store(int64(260 * time.Second))
	want("t1")
	l.ahead.Store(int64(271 * time.Second))
	want("t2")

	// A renewal that fails leaves the old token, as long as it is good.
	l.mu.Lock()
	good := l.answer
	l.answer = func(int, url.Values) any {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	}
	l.mu.Unlock()
	l.ahead.Store(int64(271*time.Second + 280*time.Second))
	want("t2")
	l.ahead.Store(int64(271*time.Second + 301*time.Second))
	_, err := l.call(t, l.policy(nil))
	problem(t, err, event.Communication, 503, "answered a request for a token with 503")
	l.mu.Lock()
	l.answer = good
	l.mu.Unlock()
	want("t5")

	// Another policy has another token.
	if r, err := l.call(t, l.policy(object{"scopes": "read"})); err != nil || r.Authorization.Parameter != "t6" {
		t.Errorf("got %v, %v", r, err)
	}
}

// A token that was revoked is dropped once, and the call made again once.
func TestRevokedToken(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	if _, err := l.call(t, l.policy(nil)); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.valid = "another"
	l.mu.Unlock()
	r, err := l.call(t, l.policy(nil))
	if err != nil || r.Status != 200 || string(r.Body) != "Bearer t2 body" || r.Authorization.Parameter != "t2" {
		t.Errorf("got %v, %v", r, err)
	}
	// A new token that is refused at once says: not allowed.
	l.mu.Lock()
	l.answer = func(n int, _ url.Values) any {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"access_token":"bad%d"}`, n)
		}
	}
	l.valid = "none"
	before, asked := l.calls, len(l.requests)
	l.mu.Unlock()
	r, err = l.call(t, l.policy(nil)) // t2 is refused, then bad3
	if err != nil || r.Status != 401 || l.calls != before+2 || len(l.requests) != asked+1 {
		t.Errorf("got %v, %v after %d calls, %d requests", r, err, l.calls-before, len(l.requests)-asked)
	}
	// A token that is new is not tried twice.
	l.ahead.Store(int64(2 * time.Hour))
	r, err = l.call(t, l.policy(nil))
	if err != nil || r.Status != 401 || l.calls != before+3 {
		t.Errorf("got %v, %v after %d calls", r, err, l.calls-before)
	}
}

// Many tasks that need the same token make one request; one of them that is
// cancelled does not spoil it for the others.
func TestOneRequestForMany(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	l.answer = func(n int, _ url.Values) any {
		if n == 1 {
			close(arrived)
			<-release
		}
		return object{"access_token": fmt.Sprintf("t%d", n), "expires_in": 300}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan error)
	u, err := url.Parse(l.URL + "/api")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := l.client.Do(ctx, &outbound.Call{Method: "GET", URL: u, Authentication: l.policy(nil)})
		first <- err
	}()
	<-arrived
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r, err := l.client.Do(t.Context(), &outbound.Call{Method: "GET", URL: u, Authentication: l.policy(nil)})
			if err != nil || r.Authorization.Parameter != "t2" {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
	stop := errors.New("stop")
	cancel(stop)
	if err := <-first; !errors.Is(err, stop) {
		t.Errorf("the first ended with %v", err)
	}
	close(release)
	all.Wait()
	if len(l.requests) != 2 {
		t.Errorf("%d requests", len(l.requests))
	}
}

func jwt(claims object) string {
	b, _ := json.Marshal(claims)
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

func raw(status int, body string) func(int, url.Values) any {
	return func(int, url.Values) any {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
}

func given(answer object) func(int, url.Values) any {
	return func(int, url.Values) any { return answer }
}

// Bad answers of an authority are faults of the right kind, in plain words,
// without secrets.
func TestBadAuthorities(t *testing.T) {
	t.Parallel()
	for want, x := range map[string]struct {
		family string
		status int
		answer func(int, url.Values) any
		policy object
	}{
		"invalid_client, no ***; look at client.id": {event.Authentication, 401, given(object{"error": "invalid_client", "error_description": "no hush-hush"}), nil},
		"the grant asked for is client_credentials": {event.Authentication, 401, given(object{"error": "unauthorized_client"}), nil},
		"scopes asked for are [read write]":         {event.Authentication, 401, given(object{"error": "invalid_scope"}), nil},
		"sign in again and store the new one":       {event.Authentication, 401, given(object{"error": "invalid_grant"}), object{"grant": "refresh_token", "subject": object{"token": "r"}}},
		"look at username and password":             {event.Authentication, 401, given(object{"error": "invalid_grant"}), object{"grant": "password", "username": "u", "password": "p"}},
		"slow_down":                                 {event.Authentication, 401, raw(200, `{"error":"slow_down"}`), nil},
		"endpoints.token, by default /oauth2/token": {event.Communication, 404, raw(404, "not here"), nil},
		"with 302; requests for tokens":             {event.Communication, 302, raw(302, ""), nil},
		"with 502":                                  {event.Communication, 502, raw(502, `{"error":"server_error"}`), nil},
		"no access_token that is a string":          {event.Communication, 500, given(object{"access_token": 5}), nil},
		"it holds no access_token":                  {event.Communication, 500, raw(200, "<html>"), nil},
		"holds no access_token that":                {event.Communication, 500, given(object{"access_token": "a\r\nX: y"}), nil},
		`token_type is "DPoP"`:                      {event.Communication, 500, given(object{"access_token": "a", "token_type": "DPoP"}), nil},
		`token_type is 7`:                           {event.Communication, 500, given(object{"access_token": "a", "token_type": 7}), nil},
		"expires_in is no number":                   {event.Communication, 500, given(object{"access_token": "a", "expires_in": "soon"}), nil},
		"more than 1048576 bytes":                   {event.Communication, 500, raw(200, strings.Repeat("x", 2<<20)), nil},
		"is for [x, y], not for [api]":              {event.Authentication, 401, given(object{"access_token": jwt(object{"aud": []any{"x", "y"}})}), nil},
		"issuers allows [https://good]":             {event.Authentication, 401, given(object{"access_token": jwt(object{"iss": "https://bad"})}), object{"issuers": []any{"https://good"}}},
		"does its clock agree":                      {event.Authentication, 401, given(object{"access_token": jwt(object{"exp": 1})}), nil},
		"closed the connection without an answer": {event.Communication, 500, func(int, url.Values) any {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, nil},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			l := newLogin(t)
			l.answer = x.answer
			_, err := l.call(t, l.policy(x.policy))
			problem(t, err, x.family, x.status, want)
			if strings.Contains(err.Error(), "hush-hush") || l.calls != 0 {
				t.Errorf("%v after %d calls", err, l.calls)
			}
		})
	}
	for want, answer := range map[string]object{
		"a": {"access_token": "a", "expires_in": 0}, "b": {"access_token": "b", "expires_in": 1e300}, "c": {"access_token": "c", "expires_in": -5, "token_type": "BEARER"},
		jwt(object{"aud": "api", "exp": 1e11}): {"access_token": jwt(object{"aud": "api", "exp": 1e11})},
	} {
		l := newLogin(t)
		l.answer = given(answer)
		if r, err := l.call(t, l.policy(nil)); err != nil || r.Status != 200 || r.Authorization.Parameter != want {
			t.Errorf("%v gave %v, %v", answer, r, err)
		}
	}
}

// An authority that hangs: the task's own end, or ours.
func TestHangingAuthority(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	quit := make(chan struct{})
	t.Cleanup(func() { close(quit) })
	arrived := make(chan struct{}, 2)
	l.answer = func(int, url.Values) any {
		return func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-quit }
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(stop) }()
	u, err := url.Parse(l.URL + "/api")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.Do(ctx, &outbound.Call{Method: "GET", URL: u, Authentication: l.policy(nil)}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	outbound.SetTokenTimeout(l.client, 20*time.Millisecond)
	_, err = l.call(t, l.policy(nil))
	problem(t, err, event.Communication, 500, "did not answer within 20ms")
}

// DSL 159, DSL 160, DSL 161
func TestBadPolicies(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	for want, more := range map[string]object{
		"has no authority":                             {"authority": nil},
		"authority must be an absolute URI":            {"authority": "login.example.com"},
		"authority must be an absolute":                {"authority": "ldap://x"},
		"has no grant":                                 {"grant": nil},
		`grant is "implicit"; it must be one of`:       {"grant": "implicit"},
		"has no client.id":                             {"client": nil},
		"no client.secret, which client.authenticati":  {"client": object{"id": "a", "authentication": "client_secret_jwt"}},
		"no client.assertion":                          {"client": object{"id": "a", "authentication": "private_key_jwt"}},
		"has no username and password":                 {"grant": "password"},
		"has no subject with token and type":           {"grant": "urn:ietf:params:oauth:grant-type:token-exchange"},
		"actor has no type":                            {"actor": object{"token": "x"}},
		"has no refresh token; put it":                 {"grant": "refresh_token"},
		"client must be an object, not of type string": {"client": "me"},
		"scopes must be an array of strings":           {"scopes": 1},
		"scopes must hold strings":                     {"scopes": []any{1}},
		"username must be a string":                    {"username": []any{}},
		"encoding is \"xml\"":                          {"request": object{"encoding": "xml"}},
		"endpoints.token is no path":                   {"endpoints": object{"token": "ftp://x/y"}},
	} {
		_, err := l.call(t, l.policy(more))
		problem(t, err, event.Configuration, 400, want)
	}
	_, err := l.call(t, l.policy(object{"grant": "authorization_code"}))
	problem(t, err, event.Authentication, 401, "store the refresh token")
	_, err = l.call(t, object{"oauth2": "x"})
	problem(t, err, event.Configuration, 400, "must be an object with the settings of oauth2")
	if len(l.requests)+l.calls != 0 {
		t.Error("something was asked")
	}
}

// DSL 165
func TestDiscovery(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	var document any
	status := 200
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tenant/.well-known/openid-configuration" {
			w.WriteHeader(404)
			return
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(document)
	})
	issuer := s.URL + "/tenant"
	policy := func(authority string, more ...string) object {
		issuers := []any{}
		for _, m := range more {
			issuers = append(issuers, m)
		}
		return object{"oidc": object{"authority": authority, "grant": "client_credentials", "client": object{"id": "me", "secret": "s"}, "issuers": issuers}}
	}
	document = object{"issuer": issuer, "token_endpoint": l.URL + "/realm/oauth2/token"}
	for i, authority := range []string{issuer, issuer + "/", issuer + "/.well-known/openid-configuration"} {
		if r, err := l.call(t, policy(authority)); err != nil || r.Status != 200 {
			t.Errorf("%d: %v, %v", i, r, err)
		}
	}
	for want, x := range map[string]struct {
		family   string
		status   int
		document any
	}{
		"no document with a token_endpoint": {event.Communication, 500, []any{}},
		"document with a token_endpoint;":   {event.Communication, 500, object{"issuer": issuer, "token_endpoint": 1}},
		"that is no absolute URI":           {event.Communication, 500, object{"issuer": issuer, "token_endpoint": "/token"}},
		`of the issuer "https://evil"`:      {event.Authentication, 401, object{"issuer": "https://evil", "token_endpoint": l.URL}},
	} {
		document = x.document
		_, err := l.call(t, policy(issuer, "https://other"))
		problem(t, err, x.family, x.status, want)
	}
	document = object{"issuer": "https://other", "token_endpoint": l.URL + "/realm/oauth2/token"}
	if _, err := l.call(t, policy(issuer, "https://other")); err != nil {
		t.Errorf("an issuer that is named: %v", err)
	}
	status = 503
	_, err := l.call(t, policy(issuer, "x"))
	problem(t, err, event.Communication, 503, "answered 503")
	_, err = l.call(t, policy(s.URL+"/wrong"))
	problem(t, err, event.Communication, 404, "is the authority right")
}
