package conformance_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// network is a directory with a workflow that calls what its input names, and
// the files of an authority.
type network struct {
	t   *testing.T
	dir string
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t, t.TempDir()}
	n.write("get.yaml", `document: {dsl: '1.0.3', namespace: test, name: get, version: '1.0.0'}
do:
  - get: {call: http, with: {method: get, endpoint: {uri: '${ .uri }'}}}
`)
	return n
}

func (n *network) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// run runs the binary in the directory; env stands over a bare environment.
func (n *network) run(env []string, args ...string) (code int, stdout, stderr string) {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), filepath.Join(bin, "downbeat"), args...)
	cmd.Dir = n.dir
	cmd.Env = append([]string{"HOME=" + n.dir, "PATH=/usr/bin:/bin", "NO_COLOR=1", "NO_PROXY=none.invalid"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return code, out.String(), errs.String()
}

// says runs a GET of uri and compares exit code and what is printed.
func (n *network) says(code int, text, uri string, env []string, flags ...string) {
	n.t.Helper()
	args := append([]string{"run", "-q", "get.yaml", "--set", "uri=" + uri}, flags...)
	got, stdout, stderr := n.run(env, args...)
	if got != code || !strings.Contains(stdout+stderr, text) {
		n.t.Errorf("%v %v: exit code %d, want %d and %q:\n%s%s", env, flags, got, code, text, stdout, stderr)
	}
}

// certificate writes NAME.pem and NAME.key; without a parent it signs itself.
func (n *network) certificate(name string, ends time.Time, parent *tls.Certificate) tls.Certificate {
	n.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"example.com"}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer, with := c, any(key)
	if parent != nil {
		signer, with = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &key.PublicKey, with)
	if err != nil {
		n.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		n.t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	n.write(name+".pem", string(public))
	n.write(name+".key", string(private))
	pair, err := tls.X509KeyPair(public, private)
	if err != nil {
		n.t.Fatal(err)
	}
	return pair
}

// serveTLS answers with the name of the certificate that the client showed.
func (n *network) serveTLS(ca tls.Certificate, demand tls.ClientAuthType) *httptest.Server {
	n.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, _ = io.WriteString(w, "hello "+who)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{n.certificate("server", time.Now().Add(time.Hour), &ca)}, ClientAuth: demand, ClientCAs: pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	s.StartTLS()
	n.t.Cleanup(s.Close)
	return s
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	ca := n.certificate("ca", time.Now().Add(time.Hour), nil)
	n.certificate("client", time.Now().Add(time.Hour), &ca)
	n.certificate("old", time.Now().Add(-time.Hour), &ca)
	n.certificate("stranger", time.Now().Add(time.Hour), nil)
	n.write("empty.pem", "")
	s := n.serveTLS(ca, tls.RequireAndVerifyClientCert)

	n.says(0, `"hello client"`, s.URL, nil, "--ca", "ca.pem", "--client-cert", "client.pem", "--client-key", "client.key")
	n.says(0, `"hello client"`, s.URL, []string{"DOWNBEAT_CA=ca.pem", "DOWNBEAT_CLIENT_CERT=client.pem", "DOWNBEAT_CLIENT_KEY=client.key"})
	n.write("downbeat.yaml", "ca: ca.pem\nclient_cert: stranger.pem\nclient_key: stranger.key\n")
	n.says(0, `"hello client"`, s.URL, []string{"DOWNBEAT_CONFIG=downbeat.yaml"}, "--client-cert", "client.pem", "--client-key", "client.key")

	n.says(1, "signed by an authority that is not trusted here", s.URL, nil)
	n.says(1, "the server refused the TLS connection", s.URL, nil, "--ca", "ca.pem")
	n.says(1, "the server refused the TLS connection", s.URL, []string{"DOWNBEAT_CONFIG=downbeat.yaml"})
	n.says(1, "client certificate old.pem ended on 20", s.URL, nil, "--ca", "ca.pem", "--client-cert", "old.pem", "--client-key", "old.key")
	n.says(1, "expired", s.URL, nil, "--ca", "ca.pem", "--client-cert", "old.pem", "--client-key", "old.key")

	// A fault is no end: the run goes on with what was missing.
	n.run(nil, "run", "-q", "get.yaml", "--set", "uri="+s.URL, "--data", "again")
	_, list, _ := n.run(nil, "runs", "list", "-o", "json", "--data", "again")
	_, id, _ := strings.Cut(list, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	if code, stdout, stderr := n.run(nil, "runs", "retry", id, "-q", "--data", "again", "--ca", "ca.pem", "--client-cert", "client.pem", "--client-key", "client.key"); code != 0 || !strings.Contains(stdout, "hello client") {
		t.Errorf("retry: exit code %d\n%s%s", code, stdout, stderr)
	}

	for want, flags := range map[string][]string{
		"authorities to trust: open nothing.pem":                               {"--ca", "nothing.pem"},
		"empty.pem holds no certificate in PEM form":                           {"--ca", "empty.pem"},
		"client key client.key: there is no certificate for it; name that too": {"--client-key", "client.key"},
		"client.pem holds no private key in PEM form":                          {"--client-cert", "client.pem"},
		"the key is not that of the certificate":                               {"--client-cert", "client.pem", "--client-key", "old.key"},
		"client certificate: client.key holds no certificate in PEM form":      {"--client-cert", "client.key"},
		"--ca, --client-cert and --client-key (ca, client_cert and client_key": {"--client-cert", "no.pem"},
	} {
		n.says(2, want, s.URL, nil, flags...)
	}
}

// proxy is one that counts what it forwards; everything goes to target.
func (n *network) proxy(target string) (address string, count func() int) {
	n.t.Helper()
	var seen atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Method != http.MethodConnect {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "by the proxy, for "+r.URL.String())
			return
		}
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", target)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connected\r\n\r\n")
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		_, _ = io.Copy(from, to)
	}))
	n.t.Cleanup(s.Close)
	return s.URL, func() int { return int(seen.Swap(0)) }
}

func TestProxy(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	ca := n.certificate("ca", time.Now().Add(time.Hour), nil)
	s := n.serveTLS(ca, tls.NoClientCert)
	proxy, count := n.proxy(s.Listener.Addr().String())
	by := []string{"HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy}

	n.says(0, "by the proxy, for http://example.com/a", "http://example.com/a", by)
	n.says(0, "hello nobody", "https://example.com/", by, "--ca", "ca.pem")
	if got := count(); got != 2 {
		t.Errorf("the proxy saw %d requests, want 2", got)
	}
	// Calls to this machine, and to what NO_PROXY names, go straight.
	n.says(0, "hello nobody", s.URL, by, "--ca", "ca.pem")
	n.says(1, "nowhere.invalid", "http://nowhere.invalid/", append(by, "NO_PROXY=.invalid"))
	if got := count(); got != 0 {
		t.Errorf("the proxy saw %d requests, want none", got)
	}
	n.says(1, "the proxy (HTTP_PROXY, HTTPS_PROXY) could not be reached", "http://example.com/", []string{"HTTP_PROXY=http://127.0.0.1:1"})
}

func TestEgressRules(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(s.Close)
	n.says(0, "", s.URL, []string{"DOWNBEAT_ALLOW=127.0.0.0/8"})
	n.says(1, "127.0.0.1 is denied by the egress rules of this Downbeat", s.URL, []string{"DOWNBEAT_DENY=10.0.0.0/8,127.0.0.1"})
	n.says(1, "127.0.0.1 is not among those allowed", s.URL, []string{"DOWNBEAT_ALLOW=*.example.com"})
	n.write("rules.yaml", "deny: [127.0.0.0/8]\n")
	n.says(1, "localhost is denied", strings.Replace(s.URL, "127.0.0.1", "localhost", 1), []string{"DOWNBEAT_CONFIG=rules.yaml"})
	n.says(2, `egress rule "http://x": want a host name`, s.URL, []string{"DOWNBEAT_DENY=http://x"})
}
