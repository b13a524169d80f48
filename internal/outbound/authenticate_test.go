package outbound

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
)

type vault map[string]any

func (v vault) Secret(_ context.Context, name string) (any, error) {
	if s, ok := v[name]; ok {
		return s, nil
	}
	return nil, &event.Problem{Status: 403, Title: "Secret not found", Detail: name}
}

// DSL 154, DSL 155, DSL 156, DSL 157, DSL 166
func TestFixedAuthorization(t *testing.T) {
	t.Parallel()
	secrets := vault{"login": map[string]any{"username": "u", "password": 123}, "token": "tok\n", "map": map[string]any{"token": "inner"}, "half": map[string]any{"username": "u"}}
	c := &Client{}
	u := &url.URL{Scheme: "http", Host: "h"}
	type m = map[string]any
	for _, x := range []struct {
		policy any
		want   event.Authorization
	}{
		{m{"basic": m{"username": "Aladdin", "password": "open sesame"}}, event.Authorization{Scheme: "Basic", Parameter: "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}},
		{m{"basic": m{"use": "login"}}, event.Authorization{Scheme: "Basic", Parameter: "dToxMjM="}},
		{m{"bearer": m{"token": "abc"}}, event.Authorization{Scheme: "Bearer", Parameter: "abc"}},
		{m{"bearer": m{"use": "token"}}, event.Authorization{Scheme: "Bearer", Parameter: "tok"}},
		{m{"bearer": m{"use": "map"}}, event.Authorization{Scheme: "Bearer", Parameter: "inner"}},
	} {
		a, err := c.authenticator(t.Context(), &Call{URL: u, Authentication: x.policy, Secrets: secrets})
		if err != nil {
			t.Errorf("%v: %v", x.policy, err)
			continue
		}
		if d := cmp.Diff(&x.want, a.authorization()); d != "" {
			t.Errorf("%v: %s", x.policy, d)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://h/", nil)
		a.authorize(r)
		if d := cmp.Diff(x.want.Scheme+" "+x.want.Parameter, r.Header.Get("Authorization")); d != "" {
			t.Error(d)
		}
	}
	for want, policy := range map[string]any{
		"exactly one of":                      m{"basic": m{}, "bearer": m{}},
		"authentication must be an object":    "basic",
		"basic must be an object":             m{"basic": "x"},
		"use must be the name":                m{"basic": m{"use": 1}},
		`the secret "half" has no password`:   m{"basic": m{"use": "half"}},
		`the secret "token" must be an obje`:  m{"basic": m{"use": "token"}},
		"no such policy":                      m{"use": "other"},
		"authentication.oidc has no author":   m{"oidc": m{}},
		`"kerberos" is not known`:             m{"kerberos": m{}},
		"Secret not found: gone":              m{"digest": m{"use": "gone"}},
		"authentication.digest has no userna": m{"digest": m{"password": "hunter2"}},
	} {
		_, err := c.authenticator(t.Context(), &Call{URL: u, Authentication: policy, Secrets: secrets})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: got %v; want %q", policy, err, want)
		}
	}
}

// DSL 158: the examples of RFC 7616, section 3.9, and of RFC 2069.
func TestDigestExamples(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		challenge                           string
		user, password, uri, cnonce, answer string
	}{
		{
			`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"Mufasa", "Circle of Life", "/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
			`username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", response="8ca523f5e9506fed4657c9700eebdbec", algorithm=MD5, qop=auth, nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
		},
		{
			`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"Mufasa", "Circle of Life", "/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
			`username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
		},
		{
			`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"Mufasa", "CircleOfLife", "/dir/index.html", "unused",
			`username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
		},
	} {
		all := parseChallenges([]string{x.challenge})
		if len(all) != 1 {
			t.Fatalf("%d challenges in %s", len(all), x.challenge)
		}
		if d := cmp.Diff(x.answer, all[0].answer(x.user, x.password, "GET", x.uri, x.cnonce, 1)); d != "" {
			t.Error(d)
		}
	}
}

func TestParseChallenges(t *testing.T) {
	t.Parallel()
	got := parseChallenges([]string{
		`Basic realm="a, b", Digest realm="q\"uoted\", x", nonce="1", algorithm=md5-sess, qop="auth-int,auth", userhash=true, charset=UTF-8, Negotiate, digest  realm="two",nonce="2"`,
		`Newauth realm="apps", type=1, title="Login to \"apps\"", nonce="no"`, "", "Digest", "nonsense=1",
	})
	want := []challenge{
		{realm: `q"uoted", x`, nonce: "1", algorithm: "md5-sess", qop: true, userhash: true, utf8: true},
		{realm: "two", nonce: "2"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(challenge{})); d != "" {
		t.Error(d)
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"Digest", " ", ",", `"`, `\`, "=", "nonce", "qop", "auth", "realm"})).Draw(t, "parts")
		for _, c := range parseChallenges([]string{strings.Join(parts, "")}) {
			if c.hash() != nil {
				c.answer("u", "p", "GET", "/", "c", 1)
			}
		}
	})
}

// digestServer checks credentials as RFC 7616 tells servers to.
func digestServer(t *testing.T, challenges func(nonce string) []string, secret func(string) string) (*httptest.Server, *[]string) {
	t.Helper()
	var log []string
	nonce, count, seen := "n1", 0, map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := r.Header.Get("Authorization")
		if strings.HasPrefix(a, "Digest ") {
			f := map[string]string{}
			for _, p := range splitList(strings.TrimPrefix(a, "Digest ")) {
				k, v, _ := strings.Cut(p, "=")
				f[k] = unquote(v)
			}
			h := (&challenge{algorithm: f["algorithm"], nonce: "x"}).hash()
			ha1 := secret(f["algorithm"])
			if strings.HasSuffix(f["algorithm"], "-sess") {
				ha1 = h(ha1 + ":" + f["nonce"] + ":" + f["cnonce"])
			}
			want := h(ha1 + ":" + f["nonce"] + ":" + f["nc"] + ":" + f["cnonce"] + ":auth:" + h(r.Method+":"+r.RequestURI))
			key := f["nonce"] + f["nc"]
			if f["response"] == want && f["uri"] == r.RequestURI && f["nonce"] == nonce && !seen[key] {
				seen[key] = true
				log = append(log, "ok "+f["algorithm"]+" "+f["nc"])
				return
			}
			count++
			nonce = fmt.Sprintf("n%d", count+1)
		}
		log = append(log, "401")
		for _, c := range challenges(nonce) {
			w.Header().Add("WWW-Authenticate", c)
		}
		w.WriteHeader(401)
	}))
	t.Cleanup(s.Close)
	return s, &log
}

// DSL 158
func TestDigestExchange(t *testing.T) {
	t.Parallel()
	s, log := digestServer(t, func(nonce string) []string {
		return []string{`Digest realm="r", nonce="` + nonce + `", qop="auth", algorithm=MD5`, `Digest realm="r", nonce="` + nonce + `", qop="auth", algorithm=SHA-256-sess, Basic realm="x"`}
	}, func(algorithm string) string {
		return (&challenge{algorithm: algorithm, nonce: "x"}).hash()("u:r:p")
	})
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	u, err := url.Parse(s.URL + "/path?q=a%20b")
	if err != nil {
		t.Fatal(err)
	}
	call := func(password string, want int) *Response {
		t.Helper()
		r, err := c.Do(t.Context(), &Call{Method: "GET", URL: u, Authentication: map[string]any{"digest": map[string]any{"username": "u", "password": password}}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != want {
			t.Errorf("status %d; want %d", r.Status, want)
		}
		return r
	}
	r := call("p", 200)
	if r.Authorization.Scheme != "Digest" || !strings.Contains(r.Authorization.Parameter, `username="u"`) || r.Sent.Get("Authorization") != "Digest ***" {
		t.Errorf("authorization %v, sent %v", r.Authorization, r.Sent)
	}
	call("p", 200)     // the nonce is used again, and counted
	call("wrong", 401) // and then the server gives another
	call("p", 200)
	want := []string{"401", "ok SHA-256-sess 00000001", "ok SHA-256-sess 00000002", "401", "401", "401", "ok SHA-256-sess 00000001"}
	if d := cmp.Diff(want, *log); d != "" {
		t.Error(d)
	}
}

func TestDigestRefusesWhatItCannot(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", r.URL.Query().Get("c"))
		w.WriteHeader(401)
	}))
	t.Cleanup(s.Close)
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	for _, challenge := range []string{"", "Basic realm=x", `Digest nonce="1", qop="auth-int"`, `Digest nonce="1", algorithm=SHA3`, `Digest realm="x"`} {
		u, err := url.Parse(s.URL + "?c=" + url.QueryEscape(challenge))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(t.Context(), &Call{Method: "GET", URL: u, Authentication: map[string]any{"digest": map[string]any{"username": "u", "password": "p"}}})
		if err != nil || r.Status != 401 || r.Authorization != nil {
			t.Errorf("%q: %v, %v", challenge, r, err)
		}
	}
}

func TestUserhash(t *testing.T) {
	t.Parallel()
	c := challenge{realm: "api@example.org", nonce: "n", algorithm: "SHA-512-256", qop: true, userhash: true, utf8: true}
	if got := c.answer("Jäsøn Doe", "Secret, or not?", "GET", "/doe.json", "c", 1); !strings.Contains(got, `username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"`) || !strings.HasSuffix(got, ", userhash=true") {
		t.Errorf("got %s", got)
	}
	c.userhash = false
	if got := c.answer("Jäsøn Doe", "x", "GET", "/", "c", 1); !strings.HasPrefix(got, "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, ") {
		t.Errorf("got %s", got)
	}
}
