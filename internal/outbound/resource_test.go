package outbound_test

import (
	"crypto/sha256"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// DSL 201: what was read is kept, asked for again when it may have changed,
// and shown to nobody who could not read it himself.
func TestResource(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	var log []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		log = append(log, strings.TrimSpace(r.RequestURI+" "+r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since")))
		switch r.URL.Path {
		case "/private":
			if r.Header.Get("Authorization") != "Bearer t" {
				w.WriteHeader(403)
				return
			}
			w.Header().Set("ETag", `"p"`)
		case "/never":
			w.Header().Set("Cache-Control", "no-store, no-cache")
			w.Header().Set("ETag", `"n"`)
		case "/dated":
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		case "/from":
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		if r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(304)
			return
		}
		_, _ = io.WriteString(w, "text of "+r.URL.Path)
	})
	c := newClient(t, outbound.Config{Clock: lifecycle.Clock{Shift: func() time.Duration { return time.Duration(ahead.Load()) }}, MaxResponse: 100})
	read := func(path string, authentication any, asked ...string) {
		t.Helper()
		log = nil
		r, err := c.Resource(t.Context(), &outbound.ResourceCall{URI: s.URL + path, Authentication: authentication})
		if err != nil {
			t.Fatal(err)
		}
		if want := "text of " + r.URL.Path; string(r.Bytes) != want || r.Digest != sha256.Sum256([]byte(want)) {
			t.Errorf("%s: got %s", path, r.Bytes)
		}
		if d := cmp.Diff(asked, log); d != "" {
			t.Error(path, d)
		}
	}
	token := object{"bearer": object{"token": "t"}}
	read("/dated", nil, "/dated")
	read("/dated", nil)
	ahead.Store(int64(31 * time.Second))
	read("/dated", nil, "/dated Mon, 02 Jan 2006 15:04:05 GMT")
	read("/dated", nil)
	read("/private", token, "/private")
	read("/private", token, `/private "p"`)
	_, err := c.Resource(t.Context(), &outbound.ResourceCall{URI: s.URL + "/private"})
	problem(t, err, event.Communication, 403, "answered 403")
	read("/never", nil, "/never")
	read("/never", nil, "/never")
	read("/from", nil, "/from", "/to")

	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": "a", "large": strings.Repeat("x", 101)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, uri := range []string{"a.yaml", "./a.yaml", "file:a.yaml", "file://./a.yaml", "file://" + filepath.ToSlash(dir) + "/a.yaml", "file://localhost" + filepath.ToSlash(dir) + "/a.yaml"} {
		r, err := c.Resource(t.Context(), &outbound.ResourceCall{URI: uri, Directory: dir})
		if err != nil || string(r.Bytes) != "a" || r.String() != filepath.ToSlash(filepath.Join(dir, "a.yaml")) {
			t.Errorf("%s: %v, %v", uri, r, err)
		}
	}
	for uri, want := range map[string]string{
		"gone": "there is no file", "large": "more than 100 bytes", "file://host/x": "names the machine", "s3://x/y": `scheme "s3"`, "http:///x": "names no host", ".": "cannot be read",
	} {
		_, err := c.Resource(t.Context(), &outbound.ResourceCall{URI: uri, Directory: dir})
		problem(t, err, event.Configuration, 400, want)
	}
}
