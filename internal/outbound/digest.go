package outbound

import (
	"context"
	"crypto/md5" //nolint:gosec // RFC 7616 has it, and servers ask for it
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// digest is authentication by RFC 7616: SHA-512-256, SHA-256 and MD5, each also
// as -sess, with qop auth or none. The strongest of what the server offers is taken.
type digest struct {
	username, password string
	origin             string
	nonces             *nonces
	used               *nonce // by the last request
	credentials        string
	cnonce             string // set by tests
}

// nonce is a server's challenge with the count of its uses.
type nonce struct {
	challenge
	mu    sync.Mutex
	count int
}

func (n *nonce) next() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	return n.count
}

// nonces remembers challenges, so that later calls need only one request.
type nonces struct {
	mu sync.Mutex
	by map[string]*nonce
}

const maxNonces = 256

func (n *nonces) get(key string) *nonce {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.by[key]
}

func (n *nonces) put(key string, v *nonce) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by == nil || len(n.by) >= maxNonces {
		n.by = map[string]*nonce{}
	}
	n.by[key] = v
}

func (d *digest) key() string { return d.origin + " " + d.username }

// authorize answers the challenge that is known; without one the request goes
// out bare, to get it.
func (d *digest) authorize(r *http.Request) {
	n := d.nonces.get(d.key())
	if n == nil {
		r.Header.Del("Authorization")
		return
	}
	d.used = n
	cnonce := d.cnonce
	if cnonce == "" {
		var b [18]byte
		_, _ = rand.Read(b[:]) // it never fails (Go 1.24)
		cnonce = base64.RawURLEncoding.EncodeToString(b[:])
	}
	d.credentials = n.answer(d.username, d.password, r.Method, r.URL.RequestURI(), cnonce, n.next())
	r.Header.Set("Authorization", "Digest "+d.credentials)
}

// challenged takes a new challenge. After credentials were refused it is worth
// another try only with a nonce that is another: the old one may just be over.
func (d *digest) challenged(_ context.Context, h http.Header) (bool, error) {
	var best *challenge
	for _, c := range parseChallenges(h.Values("WWW-Authenticate")) {
		if c.hash() != nil && (best == nil || c.strength() > best.strength()) {
			best = &c
		}
	}
	if best == nil {
		return false, nil
	}
	if d.used != nil && d.used.nonce == best.nonce {
		return false, nil
	}
	d.nonces.put(d.key(), &nonce{challenge: *best})
	return true, nil
}

func (d *digest) authorization() *event.Authorization {
	if d.credentials == "" {
		return nil
	}
	return &event.Authorization{Scheme: "Digest", Parameter: d.credentials}
}

// challenge is one challenge of scheme Digest.
type challenge struct {
	realm, nonce, opaque, algorithm string
	qop                             bool // auth is offered
	otherQop                        bool // only others are
	userhash, utf8                  bool
}

// hash is the function of the algorithm; nil when it is not known.
func (c *challenge) hash() func(string) string {
	if c.otherQop || c.nonce == "" {
		return nil
	}
	switch strings.TrimSuffix(strings.ToUpper(c.algorithm), "-SESS") {
	case "", "MD5":
		return func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) } //nolint:gosec // see import
	case "SHA-256":
		return func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	case "SHA-512-256":
		return func(s string) string { h := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(h[:]) }
	}
	return nil
}

func (c *challenge) strength() int {
	switch a := strings.ToUpper(c.algorithm); {
	case strings.HasPrefix(a, "SHA-512"):
		return 3
	case strings.HasPrefix(a, "SHA-256"):
		return 2
	}
	return 1
}

// answer makes the credentials for one request.
func (c *challenge) answer(username, password, method, uri, cnonce string, count int) string {
	h := c.hash()
	secret := h(username + ":" + c.realm + ":" + password)
	if strings.HasSuffix(strings.ToUpper(c.algorithm), "-SESS") {
		secret = h(secret + ":" + c.nonce + ":" + cnonce)
	}
	request := h(method + ":" + uri)
	nc := fmt.Sprintf("%08x", count)
	response := h(secret + ":" + c.nonce + ":" + request)
	if c.qop {
		response = h(secret + ":" + c.nonce + ":" + nc + ":" + cnonce + ":auth:" + request)
	}
	var b strings.Builder
	switch {
	case c.userhash:
		b.WriteString(`username="` + h(username+":"+c.realm) + `"`)
	case c.utf8 && !isASCII(username):
		b.WriteString("username*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(username), "+", "%20"))
	default:
		b.WriteString("username=" + quote(username))
	}
	b.WriteString(", realm=" + quote(c.realm) + ", nonce=" + quote(c.nonce) + ", uri=" + quote(uri) + `, response="` + response + `"`)
	if c.algorithm != "" {
		b.WriteString(", algorithm=" + c.algorithm)
	}
	if c.qop {
		b.WriteString(", qop=auth, nc=" + nc)
	}
	if c.qop || strings.HasSuffix(strings.ToUpper(c.algorithm), "-SESS") {
		b.WriteString(", cnonce=" + quote(cnonce))
	}
	if c.opaque != "" {
		b.WriteString(", opaque=" + quote(c.opaque))
	}
	if c.userhash {
		b.WriteString(", userhash=true")
	}
	return b.String()
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 126 || r < 32 }) < 0
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// parseChallenges takes the challenges of scheme Digest out of the values of
// WWW-Authenticate; one value may hold several, of any scheme.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, v := range values {
		var current *challenge
		for _, part := range splitList(v) {
			// "Digest realm=…" begins a challenge, "realm=…" goes on with it.
			word, rest, spaced := strings.Cut(part, " ")
			if !strings.Contains(word, "=") {
				current = nil
				if !strings.EqualFold(word, "Digest") || !spaced {
					continue
				}
				all = append(all, challenge{})
				current = &all[len(all)-1]
				part = rest
			}
			if name, value, ok := strings.Cut(part, "="); ok && current != nil {
				current.set(strings.ToLower(strings.TrimSpace(name)), unquote(strings.TrimSpace(value)))
			}
		}
	}
	return all
}

func (c *challenge) set(name, value string) {
	switch name {
	case "realm":
		c.realm = value
	case "nonce":
		c.nonce = value
	case "opaque":
		c.opaque = value
	case "algorithm":
		c.algorithm = value
	case "qop":
		c.otherQop = true
		for q := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(q), "auth") {
				c.qop, c.otherQop = true, false
			}
		}
	case "userhash":
		c.userhash = strings.EqualFold(value, "true")
	case "charset":
		c.utf8 = strings.EqualFold(value, "UTF-8")
	}
}

// splitList splits at commas that are not inside of quotes.
func splitList(s string) []string {
	var parts []string
	begin, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			parts = append(parts, strings.TrimSpace(s[begin:i]))
			begin = i + 1
		}
	}
	return append(parts, strings.TrimSpace(s[begin:]))
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
