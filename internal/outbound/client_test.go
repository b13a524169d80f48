package outbound_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, c outbound.Config) *outbound.Client {
	t.Helper()
	client, err := outbound.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func serveTLS(t *testing.T, configure func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if configure != nil {
		configure(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *outbound.Client, uri string) (*outbound.Response, error) {
	t.Helper()
	return do(t, c, &outbound.Call{Method: "GET"}, uri)
}

func do(t *testing.T, c *outbound.Client, call *outbound.Call, uri string) (*outbound.Response, error) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	call.URL = u
	return c.Do(t.Context(), call)
}

func problem(t *testing.T, err error, family string, status int, detail string) {
	t.Helper()
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		t.Fatalf("got %T %v; want a problem", err, err)
	}
	if p.Type != event.TypePrefix+family || p.Status != status || !strings.Contains(p.Detail, detail) {
		t.Errorf("got %s/%d %q; want %s/%d with %q", p.Type, p.Status, p.Detail, family, status, detail)
	}
}

func authority(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, func(s *httptest.Server) { s.EnableHTTP2 = true })
	_, err := get(t, newClient(t, outbound.Config{}), s.URL)
	problem(t, err, event.Communication, 500, "authority that is not trusted here")
	for _, c := range []outbound.Config{{Authorities: authority(s)}, {Insecure: true}} {
		r, err := get(t, newClient(t, c), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff("HTTP/2.0", string(r.Body)); d != "" {
			t.Error(d)
		}
	}
	trusting := newClient(t, outbound.Config{Authorities: authority(s)})
	_, err = get(t, trusting, strings.Replace(s.URL, "127.0.0.1", "localhost", 1))
	problem(t, err, event.Communication, 500, "is not for localhost but for example.com")
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err = get(t, trusting, strings.Replace(plain.URL, "http:", "https:", 1))
	problem(t, err, event.Communication, 500, "does not speak TLS; is http: meant?")
	if _, err := outbound.New(outbound.Config{Authorities: []byte("none")}); err == nil {
		t.Error("authorities that are none were taken")
	}
}

func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC))
	s := serveTLS(t, func(s *httptest.Server) { s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	_, err := get(t, newClient(t, outbound.Config{Authorities: root}), s.URL)
	problem(t, err, event.Communication, 500, "valid from 2020-01-01 to 2020-01-02 only")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, time.Now().Add(time.Hour))
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	s := serveTLS(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	})
	_, err = get(t, newClient(t, outbound.Config{Authorities: authority(s)}), s.URL)
	problem(t, err, event.Communication, 500, "refused the TLS connection")
	if _, err := get(t, newClient(t, outbound.Config{Authorities: authority(s), Certificates: []tls.Certificate{cert}}), s.URL); err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// DSL 67
func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	c := newClient(t, outbound.Config{DialTimeout: 5 * time.Second})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = get(t, c, "http://u:hunter2@"+closed+"/p?token=hunter2")
	problem(t, err, event.Communication, 500, "GET http://"+closed+"/p?…: connection refused by "+closed+": nothing listens there")
	for answer, want := range map[string]string{
		"": "closed the connection without an answer",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort": "ended its response too early",
		"SSH-2.0-OpenSSH_9.6\r\n":                           "malformed HTTP",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}()
		_, err = get(t, c, "http://"+l.Addr().String())
		problem(t, err, event.Communication, 500, want)
		_ = l.Close()
		<-ended
	}
}

func TestNoSuchHost(t *testing.T) {
	t.Parallel()
	_, err := get(t, newClient(t, outbound.Config{DialTimeout: 2 * time.Second}), "http://no-such-host.invalid/")
	p, ok := errors.AsType[*event.Problem](err)
	if !ok || p.Status != 500 {
		t.Fatalf("got %v", err)
	}
	// Which of these it is depends on the resolver of the machine.
	if !strings.Contains(p.Detail, "no host named no-such-host.invalid") && !strings.Contains(p.Detail, "looked up") && !strings.Contains(p.Detail, "timed out") {
		t.Errorf("got %q", p.Detail)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
	})
	for _, path := range []string{"/", "/body"} {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-begun
			cancel(cause)
		}()
		u, err := url.Parse(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newClient(t, outbound.Config{}).Do(ctx, &outbound.Call{Method: "GET", URL: u}); !errors.Is(err, cause) {
			t.Errorf("%s: got %v; want the cause", path, err)
		}
	}
}

func TestResponseLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, 1000))
		case "/known":
			w.Header().Set("Content-Length", "1001")
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}
	})
	c := newClient(t, outbound.Config{MaxResponse: 1000})
	if r, err := get(t, c, s.URL+"/exact"); err != nil || len(r.Body) != 1000 {
		t.Errorf("got %v", err)
	}
	for _, path := range []string{"/known", "/endless"} {
		_, err := get(t, c, s.URL+path)
		problem(t, err, event.Communication, 500, "more than 1000 bytes")
	}
	if _, err := do(t, c, &outbound.Call{Method: "HEAD"}, s.URL+"/known"); err != nil {
		t.Errorf("HEAD has no body: %v", err)
	}
}

func TestEgress(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, strings.Replace("http://"+r.Host+"/", "127.0.0.1", "localhost", 1), http.StatusFound)
		}
	})
	local := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		allow, deny []string
		uri         string
		ok          bool
	}{
		{nil, nil, s.URL, true},
		{nil, []string{"127.0.0.0/8", "::1"}, s.URL, false},
		{nil, []string{"127.0.0.1", "::1"}, local, false}, // the name resolves to what is denied
		{nil, []string{"10.0.0.0/8", "example.com"}, s.URL, true},
		{nil, []string{"LocalHost"}, local, false},
		{nil, []string{"*.example.com"}, local, true},
		{[]string{"localhost"}, nil, local, true},
		{[]string{"localhost"}, nil, s.URL, false},
		{[]string{"127.0.0.0/8", "::1/128"}, nil, local, true},
		{[]string{"example.com"}, nil, local, false},
		{[]string{"localhost"}, []string{"127.0.0.0/8", "::1"}, local, false}, // deny wins
		{nil, []string{"localhost"}, s.URL + "/redirect", false},              // each hop is checked
		{nil, []string{"127.0.0.0/8"}, strings.Replace(s.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), false},
	} {
		_, err := do(t, newClient(t, outbound.Config{Allow: c.allow, Deny: c.deny}), &outbound.Call{Method: "GET", Follow: true}, c.uri)
		if c.ok && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if !c.ok {
			problem(t, err, event.Forbidden, 403, "egress rules")
		}
	}
	for _, bad := range []string{"", "*", "a/b", "http://x", "1.2.3.0/99"} {
		if _, err := outbound.New(outbound.Config{Deny: []string{bad}}); err == nil {
			t.Errorf("rule %q was taken", bad)
		}
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "by proxy: "+r.URL.String()) })
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The proxy's own address is not subject to the rules, the host that is called is.
	c := newClient(t, outbound.Config{Proxy: http.ProxyURL(via), Deny: []string{"127.0.0.0/8", "*.denied.example", "10.0.0.0/8"}})
	r, err := get(t, c, "http://service.example/x")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("by proxy: http://service.example/x", string(r.Body)); d != "" {
		t.Error(d)
	}
	for _, uri := range []string{"http://a.denied.example/", "http://10.1.2.3/"} {
		_, err = get(t, c, uri)
		problem(t, err, event.Forbidden, 403, "egress rules")
	}
	// A proxy that is not there is not taken for the server.
	gone := newClient(t, outbound.Config{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})})
	for _, uri := range []string{"http://service.example/", "https://service.example/"} {
		_, err = get(t, gone, uri)
		problem(t, err, event.Communication, 500, "the proxy (HTTP_PROXY, HTTPS_PROXY) could not be reached")
	}
}

// A body is sent again when the server asks for credentials, or redirects.
func TestBodyIsReplayed(t *testing.T) {
	t.Parallel()
	var bodies []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		switch {
		case r.URL.Path == "/":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth"`)
			w.WriteHeader(401)
		}
	})
	call := &outbound.Call{
		Method: "POST", Body: bytes.Repeat([]byte("x"), 100), Follow: true,
		Authentication: map[string]any{"digest": map[string]any{"username": "u", "password": "p"}},
	}
	r, err := do(t, newClient(t, outbound.Config{}), call, s.URL)
	if err != nil || r.Status != 200 {
		t.Fatalf("%v %v", r, err)
	}
	want := strings.Repeat("x", 100)
	if d := cmp.Diff([]string{want, want, want}, bodies); d != "" {
		t.Error(d)
	}
}

// Credentials of a policy go to the origin that was called and nowhere else.
func TestPolicyStaysAtItsOrigin(t *testing.T) {
	t.Parallel()
	var got []string
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, "other "+r.Header.Get("Authorization"))
	})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/":
			http.Redirect(w, r, "/same", http.StatusFound)
		case "/same":
			http.Redirect(w, r, other.URL, http.StatusFound) // another port is another origin
		}
	})
	call := &outbound.Call{Method: "GET", Follow: true, Authentication: map[string]any{"bearer": map[string]any{"token": "t"}}}
	r, err := do(t, newClient(t, outbound.Config{}), call, s.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/ Bearer t", "/same Bearer t", "other "}, got); d != "" {
		t.Error(d)
	}
	if r.Sent.Get("Authorization") != "" || r.URL.String() != other.URL {
		t.Errorf("sent %v to %s", r.Sent, r.URL)
	}
}

func ExampleShown() {
	u, _ := url.Parse("https://user:password@example.com/path?token=secret#part")
	fmt.Println(outbound.Shown(u))
	// Output: https://example.com/path?…
}
