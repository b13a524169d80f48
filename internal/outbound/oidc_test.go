package outbound_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// provider is a real OpenID Connect provider (the npm package oidc-provider).
type provider struct {
	Issuer       string `json:"issuer"`
	RefreshToken string `json:"refreshToken"`
}

// startProvider needs node, and what .ci/components/oidc installs.
func startProvider(t *testing.T, keys any) *provider {
	t.Helper()
	if os.Getenv("DOWNBEAT_OIDC_PROVIDER") == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("DOWNBEAT_OIDC_PROVIDER is not set; see .ci/components/oidc")
		}
		t.Skip("NOT TESTED against a real OpenID Connect provider: run .ci/components/oidc and set DOWNBEAT_OIDC_PROVIDER")
	}
	b, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "testdata/provider.mjs")
	node.Env = append(os.Environ(), "CLIENT_KEYS="+string(b))
	if testing.Verbose() {
		node.Stderr = os.Stderr
	}
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = node.Wait() // it was told to end; how it does is all the same
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	p := &provider{}
	if err != nil || json.Unmarshal(line, p) != nil {
		t.Fatalf("the provider did not start: %v %s", err, line)
	}
	return p
}

// ask sends a form to an endpoint of the provider as the client "basic".
func (p *provider) ask(t *testing.T, path string, form url.Values) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("basic", "basic-secret-that-is-long-enough-for-hs256")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// DSL 160, DSL 161, DSL 165, DSL 166: against a real provider, the service
// asks it whether a token is good.
func TestRealProvider(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	rsaPEM := pemOf(t, "PRIVATE KEY", rsaDER, err)
	ecDER, err := x509.MarshalPKCS8PrivateKey(ecKey)
	ecPEM := pemOf(t, "PRIVATE KEY", ecDER, err)
	b64 := base64.RawURLEncoding.EncodeToString
	point, err := ecKey.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p := startProvider(t, []any{
		object{"kty": "RSA", "n": b64(rsaKey.N.Bytes()), "e": "AQAB"},
		object{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
	})
	service := serve(t, func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		answer := p.ask(t, "/token/introspection", url.Values{"token": {token}})
		if !strings.Contains(answer, `"active":true`) {
			w.WriteHeader(401)
		}
		_, _ = io.WriteString(w, answer)
	})
	store := &kept{tokens: map[string]string{}}
	client := newClient(t, outbound.Config{Tokens: store})
	call := func(t *testing.T, policy any) (*outbound.Response, error) {
		t.Helper()
		return do(t, client, &outbound.Call{Method: "GET", Authentication: policy, Secrets: secrets{"person": object{
			"authority": p.Issuer, "grant": "authorization_code", "refreshToken": p.RefreshToken, "client": with("person", "client_secret_post", ""),
		}}}, service.URL)
	}
	for id, c := range map[string]object{
		"basic": with("basic", "client_secret_basic", ""), "post": with("post", "client_secret_post", ""), "hs": with("hs", "client_secret_jwt", ""),
		"rs": with("rs", "private_key_jwt", rsaPEM), "es": with("es", "private_key_jwt", ecPEM),
	} {
		for _, policy := range []object{
			{"oidc": object{"authority": p.Issuer, "grant": "client_credentials", "client": c, "scopes": []any{"read"}}},
			{"oauth2": object{"authority": p.Issuer, "endpoints": object{"token": "/token"}, "grant": "client_credentials", "client": c, "scopes": []any{"read"}}},
		} {
			r, err := call(t, policy)
			if err != nil || r.Status != 200 || !strings.Contains(string(r.Body), `"client_id":"`+id+`"`) || !strings.Contains(string(r.Body), `"scope":"read"`) {
				t.Errorf("%s: %v, %v", id, r, err)
			}
		}
	}
	t.Run("a token of a person", func(t *testing.T) {
		r, err := call(t, object{"oidc": object{"use": "person"}})
		if err != nil || r.Status != 200 || !strings.Contains(string(r.Body), `"sub":"ada"`) {
			t.Errorf("got %v, %v", r, err)
		}
		first := client
		defer func() { client = first }()
		for range 2 { // each time in another process; the provider takes a second use for a theft
			client = newClient(t, outbound.Config{Tokens: store})
			if r, err := call(t, object{"oidc": object{"use": "person"}}); err != nil || r.Status != 200 {
				t.Errorf("got %v, %v", r, err)
			}
		}
		client = newClient(t, outbound.Config{})
		_, err = call(t, object{"oidc": object{"use": "person"}})
		problem(t, err, event.Authentication, 401, "sign in again")
	})
	t.Run("revoked", func(t *testing.T) {
		policy := object{"oidc": object{"authority": p.Issuer, "grant": "client_credentials", "client": with("basic", "client_secret_basic", ""), "scopes": []any{"write"}}}
		first, err := call(t, policy)
		if err != nil {
			t.Fatal(err)
		}
		p.ask(t, "/token/revocation", url.Values{"token": {first.Authorization.Parameter}})
		second, err := call(t, policy)
		if err != nil || second.Status != 200 || second.Authorization.Parameter == first.Authorization.Parameter {
			t.Errorf("got %v, %v", second, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		c := with("basic", "client_secret_basic", "")
		c["secret"] = "wrong"
		_, err := call(t, object{"oidc": object{"authority": p.Issuer, "grant": "client_credentials", "client": c}})
		problem(t, err, event.Authentication, 401, "invalid_client")
	})
}

func with(id, method, assertion string) object {
	return object{"id": id, "authentication": method, "assertion": assertion, "secret": id + "-secret-that-is-long-enough-for-hs256"}
}
