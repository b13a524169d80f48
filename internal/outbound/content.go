package outbound

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// media is a media type as far as it matters here.
type media struct{ name, charset string }

func mediaOf(contentType string) media {
	name, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		// What stands before a broken parameter is still good.
		name, _, _ = strings.Cut(contentType, ";")
		name = strings.ToLower(strings.TrimSpace(name))
	}
	return media{name, strings.ToLower(parameters["charset"])}
}

func (m media) json() bool {
	return m.name == "application/json" || m.name == "text/json" || strings.HasSuffix(m.name, "+json")
}

func (m media) lines() bool {
	switch m.name {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines", "application/x-jsonlines", "application/jsonlines":
		return true
	}
	return false
}

func (m media) form() bool { return m.name == "application/x-www-form-urlencoded" }

func (m media) textual() bool {
	switch m.name {
	case "application/xml", "application/yaml", "application/x-yaml", "application/javascript", "application/graphql", "application/toml", "application/sql":
		return true
	}
	return strings.HasPrefix(m.name, "text/") || strings.HasSuffix(m.name, "+xml") || strings.HasSuffix(m.name, "+yaml") || m.json() || m.lines() || m.form()
}

// text decodes bytes by the charset; what is not valid is replaced.
func (m media) text(b []byte) string {
	switch m.charset {
	case "iso-8859-1", "latin1", "us-ascii", "windows-1252":
		if !utf8.Valid(b) {
			var s strings.Builder
			for _, c := range b {
				s.WriteRune(rune(c))
			}
			return s.String()
		}
	}
	return strings.ToValidUTF8(string(bytes.TrimPrefix(b, bom)), "\ufffd")
}

var bom = []byte("\xef\xbb\xbf")

// EncodeBody makes the body of a request, DSL 62, for the Content-Type that its
// author set, which may be none. ContentType is what goes into the header
// unless the author set one.
func EncodeBody(body any, authored string) (b []byte, contentType string, err error) {
	m := mediaOf(authored)
	text, isText := body.(string)
	switch {
	case body == nil:
		return nil, "", nil
	case authored == "" && isText:
		return []byte(text), "text/plain; charset=utf-8", nil
	case authored == "" || m.json():
		return value.JSON(body), "application/json", nil
	case isText:
		return []byte(text), "", nil
	case m.form():
		fields, ok := body.(map[string]any)
		if !ok {
			return nil, "", configuration("body: a form is an object, not of type %s", value.TypeName(body))
		}
		form := url.Values{}
		for name, v := range fields {
			for _, s := range Texts(v) {
				form.Add(name, s)
			}
		}
		return []byte(form.Encode()), "", nil
	case m.lines():
		if items, ok := body.([]any); ok {
			for _, x := range items {
				b = append(value.Append(b, x), '\n')
			}
			return b, "", nil
		}
	}
	switch body.(type) {
	case map[string]any, []any:
		return nil, "", configuration("body: the Content-Type is %s, so the body must be text, not of type %s; leave the header out to send JSON", m.name, value.TypeName(body))
	}
	return []byte(scalarText(body)), "", nil
}

// decode makes a value of the body of a response, DSL 63.
func decode(b []byte, contentType string) (any, error) {
	m := mediaOf(contentType)
	switch {
	case len(b) == 0:
		return nil, nil
	case m.json():
		b = bytes.TrimPrefix(b, bom)
		if len(bytes.TrimSpace(b)) == 0 {
			return nil, nil
		}
		v, err := value.Decode(b)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", m.name, err)
		}
		return v, nil
	case m.lines():
		items := []any{}
		for i, line := range bytes.Split(b, []byte{'\n'}) {
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			v, err := value.Decode(line)
			if err != nil {
				return nil, fmt.Errorf("read line %d of %s: %w", i+1, m.name, err)
			}
			items = append(items, v)
		}
		return items, nil
	case m.textual():
		return m.text(b), nil
	case m.name == "" && utf8.Valid(b):
		return string(b), nil
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// problemDetails takes title and detail out of RFC 9457 problem details.
func problemDetails(b []byte) (title, detail string) {
	v, err := value.Decode(b)
	if err != nil {
		return "", ""
	}
	m, _ := v.(map[string]any)
	title, _ = m["title"].(string)
	detail, _ = m["detail"].(string)
	return title, detail
}

// head is the beginning of a body as errors show it.
func head(text string) string {
	const most = 2 << 10
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Texts is a value as it is sent in headers and queries: an array repeats, null is left out.
func Texts(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, scalarText(x))
		}
		return all
	}
	return []string{scalarText(v)}
}

// scalarText is a scalar as it goes into a header or query, others as JSON.
func scalarText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return string(value.JSON(v))
}

// Headers makes headers of what an author wrote: a map of texts, lists repeat.
func Headers(authored map[string]any) (http.Header, error) {
	h := http.Header{}
	for name, v := range authored {
		if !IsToken(name) {
			return nil, configuration("headers: %q is no name of a header", name)
		}
		for _, text := range Texts(v) {
			text = strings.TrimSpace(text)
			if strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
				return nil, configuration("headers: the value of %s holds a line break or another control character", name)
			}
			h.Add(name, text)
		}
	}
	return h, nil
}

// IsToken reports whether s is a token of HTTP: the name of a method or header.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
