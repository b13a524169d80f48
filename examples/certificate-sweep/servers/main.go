// Command servers stands in for a fleet of TLS servers on loopback, with
// certificates in all conditions, made anew at each start. It prints the input
// of the workflow and serves until it is ended.
//
//	go run ./examples/certificate-sweep/servers > servers.json
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

func main() {
	log.SetFlags(0)
	if err := serve(os.Stdout); err != nil { //nolint:forbidigo // a program of its own: the input goes to stdout
		log.Fatal(err)
	}
}

const day = 24 * time.Hour

// fleet are the servers: name asked for, name in the certificate, time left,
// and whether the authority has signed it.
var fleet = []struct {
	name, certified string
	left            time.Duration
	signed          bool
}{
	{"shop.example", "shop.example", 200 * day, true},
	{"mail.example", "mail.example", 20 * day, true},
	{"api.example", "api.example", 3 * day, true},
	{"old.example", "old.example", -2 * day, true},
	{"www.example", "elsewhere.example", 90 * day, true},
	{"lab.example", "lab.example", 90 * day, false},
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func serve(out io.Writer) error {
	now := time.Now() //nolint:forbidigo // certificates are about the real time
	ca, root, err := newAuthority(now)
	if err != nil {
		return fmt.Errorf("make an authority: %w", err)
	}
	dir, err := os.MkdirTemp("", "certificate-sweep-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}), 0o600); err != nil {
		return fmt.Errorf("write the authority: %w", err)
	}
	var servers []map[string]any
	for i, f := range fleet {
		// Half a day more, so that a day can begin while nobody looks.
		c, err := ca.issue(int64(i+2), f.certified, now.Add(f.left+day/2), f.signed)
		if err != nil {
			return fmt.Errorf("make a certificate for %s: %w", f.certified, err)
		}
		l, err := listen()
		if err != nil {
			return fmt.Errorf("listen for %s: %w", f.name, err)
		}
		go answer(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}))
		servers = append(servers, server(f.name, l))
	}
	// One that is not there: its port was free a moment ago.
	gone, err := listen()
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	servers = append(servers, server("gone.example", gone))
	_ = gone.Close()
	if err := json.NewEncoder(out).Encode(map[string]any{"servers": servers, "ca": file}); err != nil {
		return fmt.Errorf("print the servers: %w", err)
	}
	select {}
}

func listen() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0") //nolint:forbidigo // the process itself is the context
}

func server(name string, l net.Listener) map[string]any {
	host, port, _ := net.SplitHostPort(l.Addr().String())
	var n int
	_, _ = fmt.Sscan(port, &n)
	return map[string]any{"host": host, "port": n, "name": name}
}

// answer greets each client and hangs up.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, c) // shakes hands, and waits for the client to go
			_ = c.Close()
		}()
	}
}

func newAuthority(now time.Time) (*authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example Authority"}, NotBefore: now.Add(-400 * day), NotAfter: now.Add(400 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	t, err = x509.ParseCertificate(der)
	return &authority{t, key}, der, err
}

// issue makes a certificate; one that is not signed by the authority signs itself.
func (a *authority) issue(serial int64, name string, end time.Time, signed bool) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: end.Add(-300 * day), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parent, signer := a.certificate, a.key
	if !signed {
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
