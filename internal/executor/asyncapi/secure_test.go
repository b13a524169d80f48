package asyncapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/asyncapi"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// authority is an authority of its own, with a certificate for 127.0.0.1.
type authority struct {
	ca              []byte // PEM
	root, cert, key string // files
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
		return path
	}
	must(os.Chmod(dir, 0o755)) // the servers run as other users
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	must(err)
	a := &authority{root: file("root.pem", "CERTIFICATE", der)}
	a.ca, err = os.ReadFile(a.root)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err = x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey)
	must(err)
	a.cert = file("cert.pem", "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	must(err)
	a.key = file("key.pem", "PRIVATE KEY", der)
	return a
}

func (a *authority) config(t *testing.T) *tls.Config {
	t.Helper()
	c, err := tls.LoadX509KeyPair(a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
}

// secured checks that the user gets in by TLS, and nobody else.
func (a *authority) secured(t *testing.T, document, user, password string) {
	t.Helper()
	client, err := outbound.New(outbound.Config{Authorities: a.ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	trusting := asyncapi.New(client, "1.2.3")
	as := func(password string) object {
		return call(document, "message", object{"payload": 1}, "authentication", object{"basic": object{"username": user, "password": password}})
	}
	if _, err := trusting.Execute(t.Context(), request(t, as(password))); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	_, err = trusting.Execute(t.Context(), request(t, as("wrong")))
	if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Authentication || p.Status != 401 || !strings.Contains(p.Detail, "refused the user, the password or the token") {
		t.Errorf("with a wrong password: %v", p)
	}
	subscription := call(document, "subscription", object{"consume": object{"amount": 1, "for": "PT20S"}}, "authentication", object{"basic": object{"username": user, "password": "wrong"}})
	_, err = trusting.Execute(t.Context(), request(t, subscription))
	if p := executortest.CheckProblem(t, err); p.Status != 401 {
		t.Errorf("receiving with a wrong password: %v", p)
	}
	_, err = newExecutor(t).Execute(t.Context(), request(t, as(password)))
	if p := executortest.CheckProblem(t, err); p.Type != event.TypePrefix+event.Communication || !strings.Contains(p.Detail, "certificate") {
		t.Errorf("without trust: %v", p)
	}
}

func TestSecureMQTT(t *testing.T) {
	a := newAuthority(t)
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, []byte("ann:"+mosquittoPassword(t, "p")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := mosquitto(t, "allow_anonymous false", "password_file "+passwords, "certfile "+a.cert, "keyfile "+a.key)
	for _, protocol := range []string{"secure-mqtt", "mqtts", "mqtts, protocolVersion: '5'"} {
		t.Run(protocol, func(t *testing.T) { a.secured(t, talk(t, protocol, address, "", "qos: 1"), "ann", "p") })
	}
}

func TestSecureRedis(t *testing.T) {
	a := newAuthority(t)
	address := broker(t, "redis-server", func(port, dir string) []string {
		file := filepath.Join(dir, "redis.conf")
		text := "port 0\ntls-port " + port + "\nbind 127.0.0.1\nsave \"\"\ndir " + dir + "\ntls-cert-file " + a.cert + "\ntls-key-file " + a.key +
			"\ntls-ca-cert-file " + a.root + "\ntls-auth-clients no\nuser default off\nuser ann on >p ~* &greetings +@all\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file}
	})
	a.secured(t, write(t, "rediss", address, "greetings", ""), "ann", "p")
	client, err := outbound.New(outbound.Config{Authorities: a.ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	other := call(write(t, "rediss", address, "other", ""), "message", object{"payload": 1}, "authentication", object{"basic": object{"username": "ann", "password": "p"}})
	_, err = asyncapi.New(client, "1").Execute(t.Context(), request(t, other))
	if p := executortest.CheckProblem(t, err); p.Status != 403 {
		t.Errorf("another channel: %v", p)
	}
}

func TestSecureNATS(t *testing.T) {
	a := newAuthority(t)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, Username: "ann", Password: "p", TLSConfig: a.config(t), TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10e9) {
		t.Fatal("NATS does not start")
	}
	a.secured(t, write(t, "nats", "tls://"+s.Addr().String(), "greetings", ""), "ann", "p")
}

func TestSecureKafka(t *testing.T) {
	a := newAuthority(t)
	c, err := kfake.NewCluster(kfake.Ports(0), kfake.SeedTopics(1, "greetings"), kfake.TLS(a.config(t)), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "p"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	// This broker hangs up at a wrong password; Apache's says so.
	c.ControlKey(kmsg.SASLAuthenticate.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		q, ok := r.(*kmsg.SASLAuthenticateRequest)
		if !ok || !strings.Contains(string(q.SASLAuthBytes), "wrong") {
			return nil, nil, false
		}
		out := q.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		out.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return out, nil, true
	})
	a.secured(t, write(t, "kafka-secure", c.ListenAddrs()[0], "greetings", ""), "ann", "p")
}
