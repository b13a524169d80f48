package link_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// DSL 199: of GitHub and GitLab the raw content is read where a page is named;
// @ref behind a repository or a function is a tag (D23).
func TestRawContent(t *testing.T) {
	t.Parallel()
	const raw, sha = "https://raw.githubusercontent.com/", "0123456789abcdef0123456789abcdef01234567"
	for uri, want := range map[string]string{
		// The example of the specification's text.
		"https://github.com/serverlessworkflow/catalog/tree/main/functions/log/1.0.0/function.yaml": raw + "serverlessworkflow/catalog/refs/heads/main/functions/log/1.0.0/function.yaml",
		"https://github.com/serverlessworkflow/catalog/functions/log/0.5.2/function.yaml":           raw + "serverlessworkflow/catalog/HEAD/functions/log/0.5.2/function.yaml",
		"https://github.com/o/r@v1.0/functions/log/0.5.2/function.yaml":                             raw + "o/r/refs/tags/v1.0/functions/log/0.5.2/function.yaml",
		"https://github.com/o/r/tree/" + sha + "/functions/f/1.0.0/function.yaml":                   raw + "o/r/" + sha + "/functions/f/1.0.0/function.yaml",
		"https://github.com/o/r/blob/main/f.json":                                                   raw + "o/r/refs/heads/main/f.json",
		"https://github.com/myorg/functions/validateEmailAddress@v1.0.0":                            raw + "myorg/functions/refs/tags/v1.0.0/validateEmailAddress/function.yaml",
		"https://github.com/o/r": raw + "o/r/HEAD/function.yaml",
		"https://gitlab.com/g/s/p/-/tree/main/functions/f/1.0.0/function.yaml": "https://gitlab.com/g/s/p/-/raw/main/functions/f/1.0.0/function.yaml",
		"https://git.example.com/g/p/-/blob/v2/f.yml":                          "https://git.example.com/g/p/-/raw/v2/f.yml",
		"https://gitlab.com/g/s/p/functions/f/1.0.0/function.yaml":             "https://gitlab.com/g/s/p/-/raw/HEAD/functions/f/1.0.0/function.yaml",
		"https://gitlab.com/g/p@v3/functions/f/1.0.0/function.yaml":            "https://gitlab.com/g/p/-/raw/v3/functions/f/1.0.0/function.yaml",
		"https://gitlab.com/g/p/-/raw/main/f.yaml":                             "https://gitlab.com/g/p/-/raw/main/f.yaml",
		"https://gitlab.com/g/p":                                               "https://gitlab.com/g/p/-/raw/HEAD/function.yaml",
		"https://example.com/github.com/f":                                     "https://example.com/github.com/f",
		"https://github.com/":                                                  "https://github.com/",
	} {
		if got := link.RawURIs(bundle.Function, uri)[0]; got != want {
			t.Errorf("%s:\n got %s\nwant %s", uri, got, want)
		}
	}
	if diff := cmp.Diff([]string{raw + "o/r/refs/heads/v1/s.py", raw + "o/r/refs/tags/v1/s.py", raw + "o/r/v1/s.py"}, link.RawURIs(bundle.Script, "https://github.com/o/r/tree/v1/s.py")); diff != "" {
		t.Error(diff)
	}
}

// hosts is a server that is every host of names, and the configuration that leads there.
func hosts(t *testing.T, h http.HandlerFunc, names ...string) outbound.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	})
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	return outbound.Config{
		Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Proxy:       func(*http.Request) (*url.URL, error) { return u, nil },
	}
}

// The catalogue of the specification's own example, authentication included.
func TestGitHubCatalogue(t *testing.T) {
	t.Parallel()
	var asked []string
	config := hosts(t, func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		asked = append(asked, r.Host+r.URL.Path+" "+user)
		switch r.URL.Path {
		case "/serverlessworkflow/catalog/HEAD/functions/log/0.5.2/function.yaml":
			_, _ = io.WriteString(w, "set: {message: '${ .message }'}\n")
		case "/serverlessworkflow/catalog/refs/tags/v3/functions/log/0.5.2/function.yaml":
			_, _ = io.WriteString(w, "set: {tag: v3}\n")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}, "raw.githubusercontent.com")
	l := linker(t, link.Options{Outbound: config})
	endpoint := "{uri: 'https://github.com/serverlessworkflow/catalog', authentication: {basic: {username: user, password: '012345'}}}"
	def, said := linked(t, l, "", catalogue(endpoint, "log:0.5.2@own"))
	if said != "" || len(def.Linked) != 1 || def.Linked[0].URI != "https://raw.githubusercontent.com/serverlessworkflow/catalog/HEAD/functions/log/0.5.2/function.yaml" {
		t.Errorf("%+v: %s", def.Linked, said)
	}
	def, said = linked(t, l, "", catalogue("'https://github.com/serverlessworkflow/catalog/tree/v3'", "log:0.5.2@own"))
	if said != "" || len(def.Linked) != 1 || !strings.Contains(def.Linked[0].URI, "refs/tags/v3") {
		t.Errorf("%+v: %s", def.Linked, said)
	}
	want := []string{
		"raw.githubusercontent.com/serverlessworkflow/catalog/HEAD/functions/log/0.5.2/function.yaml user",
		"raw.githubusercontent.com/serverlessworkflow/catalog/refs/heads/v3/functions/log/0.5.2/function.yaml ",
		"raw.githubusercontent.com/serverlessworkflow/catalog/refs/tags/v3/functions/log/0.5.2/function.yaml ",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}
