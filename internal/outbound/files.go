package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Files names what a Config takes from files in PEM form; "" is none.
type Files struct {
	// Authorities are certificates to trust beside the system's.
	Authorities string
	// Certificate is what we show to servers that ask who we are (mutual TLS),
	// with the certificates between it and its authority after it. Key is its
	// private key; "" when that is in the same file.
	Certificate, Key string
}

// Read reads the files into a copy of c. Its errors name the file and what it
// should hold.
func (f Files) Read(c Config) (Config, error) {
	if f.Authorities != "" {
		b, err := readAuthorities(f.Authorities)
		if err != nil {
			return c, err
		}
		c.Authorities = append(bytes.Clone(c.Authorities), b...)
	}
	if f.Certificate == "" {
		if f.Key != "" {
			return c, fmt.Errorf("client key %s: there is no certificate for it; name that too", f.Key)
		}
		return c, nil
	}
	pair, err := readPair(f.Certificate, f.Key)
	if err != nil {
		return c, err
	}
	c.Certificates = append(slices.Clip(c.Certificates), pair)
	return c, nil
}

func readAuthorities(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authorities to trust: %w", err)
	}
	blocks := blocksOf(b)
	n := 0
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("authorities to trust: certificate %d of %s cannot be read: %w", n+1, file, err)
		}
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("authorities to trust: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)%s", file, holds(blocks, b))
	}
	return append(b, '\n'), nil
}

func readPair(certificate, key string) (tls.Certificate, error) {
	if key == "" {
		key = certificate
	}
	c, err := os.ReadFile(certificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client certificate: %w", err)
	}
	k, err := os.ReadFile(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client key: %w", err)
	}
	if blocks := blocksOf(c); !has(blocks, "CERTIFICATE") {
		return tls.Certificate{}, fmt.Errorf("client certificate: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)%s", certificate, holds(blocks, c))
	}
	blocks := blocksOf(k)
	for _, block := range blocks {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return tls.Certificate{}, fmt.Errorf("client key: %s is protected by a passphrase, which nobody is there to enter; remove it with `openssl pkey -in %s -out FILE` and guard the file by its permissions", key, key)
		}
	}
	if !has(blocks, "PRIVATE KEY") {
		hint := ""
		if key == certificate {
			hint = "; name the file of the key too"
		}
		return tls.Certificate{}, fmt.Errorf("client key: %s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)%s%s", key, holds(blocks, k), hint)
	}
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client certificate %s with key %s: %w", certificate, key, plainly(err))
	}
	return pair, nil
}

// plainly says what the commonest mistake is without words of the library.
func plainly(err error) error {
	if strings.Contains(err.Error(), "does not match") {
		return errors.New("the key is not that of the certificate (the first one, when the file holds several)")
	}
	return err
}

func blocksOf(b []byte) []*pem.Block {
	var all []*pem.Block
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return all
		}
		all, b = append(all, block), rest
	}
}

// has tells whether there is a block of the type, or of a kind of it ("RSA PRIVATE KEY").
func has(blocks []*pem.Block, kind string) bool {
	for _, block := range blocks {
		if block.Type == kind || strings.HasSuffix(block.Type, " "+kind) {
			return true
		}
	}
	return false
}

// holds says what a file has instead.
func holds(blocks []*pem.Block, b []byte) string {
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return "; it is empty"
	case len(blocks) > 0:
		return "; it holds " + strings.ToLower(blocks[0].Type)
	case bytes.HasPrefix(b, []byte{0x30}):
		return "; it looks like DER or PKCS #12, which openssl turns into PEM"
	}
	return ""
}
