package outbound_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/outbound"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, time.Now().Add(time.Hour))
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, parts ...[]byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.Join(texts(parts), "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	s := serveTLS(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	})
	ca := write("ca.pem", authority(s))
	certificate, key := write("cert.pem", block("CERTIFICATE", cert.Certificate[0])), write("key.pem", block("PRIVATE KEY", der))
	both := write("both.pem", block("CERTIFICATE", cert.Certificate[0]), block("PRIVATE KEY", der))
	for _, f := range []outbound.Files{{ca, certificate, key}, {ca, both, ""}, {ca, certificate, both}} {
		c, err := f.Read(outbound.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, newClient(t, c), s.URL); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
	c, err := outbound.Files{}.Read(outbound.Config{MaxIdle: 5})
	if d := cmp.Diff(outbound.Config{MaxIdle: 5}, c); d != "" || err != nil {
		t.Error(d, err)
	}

	broken := block("CERTIFICATE", []byte("none"))
	for want, f := range map[string]outbound.Files{
		"authorities to trust: open " + dir + "/none: no such file":                                    {Authorities: dir + "/none"},
		"key.pem holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); it holds private key": {Authorities: key},
		"empty holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); it is empty":            {Authorities: write("empty")},
		"; it looks like DER or PKCS #12":                                                              {Authorities: write("der", cert.Certificate[0])},
		"certificate 2 of " + dir + "/two":                                                             {Authorities: write("two", authority(s), broken)},
		"there is no certificate for it; name that too":                                                {Key: key},
		"client certificate: open":                                                                     {Certificate: dir + "/none"},
		"client key: open":                                                                             {Certificate: certificate, Key: dir + "/none"},
		"; name the file of the key too":                                                               {Certificate: certificate},
		"client certificate: " + key + " holds no certificate":                                         {Certificate: key},
		"is protected by a passphrase":                                                                 {Certificate: certificate, Key: write("locked", block("ENCRYPTED PRIVATE KEY", der))},
		"the key is not that of the certificate":                                                       {Certificate: certificate, Key: write("other", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(other)))},
	} {
		if _, err := f.Read(outbound.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v; want %q", f, err, want)
		}
	}
}

func texts(parts [][]byte) []string {
	var all []string
	for _, p := range parts {
		all = append(all, string(p))
	}
	return all
}
