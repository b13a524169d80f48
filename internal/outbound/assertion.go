package outbound

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// assertionLife is how long a JWT of ours is good: it is used at once.
const assertionLife = time.Minute

// assertion is the JWT by which a client says who it is (RFC 7523): signed
// with its secret or key, or ready-made.
func (p *policy) assertion(a *authority, now time.Time) (string, error) {
	if p.ClientMethod == "private_key_jwt" && !strings.Contains(p.Assertion, "-----BEGIN") {
		if strings.Count(p.Assertion, ".") != 2 {
			return "", configuration("client.assertion must be a signed JWT, or a private key in PEM form")
		}
		return p.Assertion, nil
	}
	id := make([]byte, 18)
	_, _ = rand.Read(id) // it never fails (Go 1.24)
	claims := value.JSON(map[string]any{
		"iss": p.ClientID, "sub": p.ClientID, "aud": a.audience(), "jti": base64.RawURLEncoding.EncodeToString(id),
		"iat": int(now.Unix()), "nbf": int(now.Unix()), "exp": int(now.Add(assertionLife).Unix()),
	})
	if p.ClientMethod == "client_secret_jwt" {
		return sign("HS256", p.KeyID, claims, func(b []byte) ([]byte, error) {
			mac := hmac.New(sha256.New, []byte(p.ClientSecret))
			mac.Write(b)
			return mac.Sum(nil), nil
		})
	}
	key, err := privateKey(p.Assertion)
	if err != nil {
		return "", configuration("client.assertion: %v", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return sign("RS256", p.KeyID, claims, func(b []byte) ([]byte, error) {
			digest := sha256.Sum256(b)
			return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		})
	case *ecdsa.PrivateKey:
		return signEC(key, p.KeyID, claims)
	case ed25519.PrivateKey:
		return sign("EdDSA", p.KeyID, claims, func(b []byte) ([]byte, error) { return ed25519.Sign(key, b), nil })
	}
	return "", configuration("client.assertion: keys of type %T cannot sign; RSA, EC and Ed25519 can", key)
}

func signEC(key *ecdsa.PrivateKey, kid string, claims []byte) (string, error) {
	size := (key.Curve.Params().BitSize + 7) / 8
	algorithm := map[int]string{32: "ES256", 48: "ES384", 66: "ES512"}[size]
	if algorithm == "" {
		return "", configuration("client.assertion: keys of the curve %s cannot sign; P-256, P-384 and P-521 can", key.Curve.Params().Name)
	}
	return sign(algorithm, kid, claims, func(b []byte) ([]byte, error) {
		var digest []byte
		switch size {
		case 32:
			d := sha256.Sum256(b)
			digest = d[:]
		case 48:
			d := sha512.Sum384(b)
			digest = d[:]
		default:
			d := sha512.Sum512(b)
			digest = d[:]
		}
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, fmt.Errorf("sign the client's assertion: %w", err)
		}
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
		return out, nil
	})
}

func sign(algorithm, kid string, claims []byte, signature func([]byte) ([]byte, error)) (string, error) {
	header := map[string]any{"alg": algorithm, "typ": "JWT"}
	if kid != "" {
		header["kid"] = kid
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode(value.JSON(header)) + "." + encode(claims)
	s, err := signature([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + encode(s), nil
}

// privateKey reads a key in PEM form. Errors do not repeat it.
func privateKey(text string) (any, error) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("it holds no private key in PEM form")
		}
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			return key, unreadable(err)
		case "RSA PRIVATE KEY":
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			return key, unreadable(err)
		case "EC PRIVATE KEY":
			key, err := x509.ParseECPrivateKey(block.Bytes)
			return key, unreadable(err)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted; store it without a passphrase, secrets are sealed anyway")
		}
	}
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return errors.New("the private key cannot be read")
}

// claimsOf reads the claims of a JWT without believing them; nil when the
// token is none.
func claimsOf(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	v, err := value.Decode(b)
	if err != nil {
		return nil
	}
	m, _ := v.(map[string]any)
	return m
}
