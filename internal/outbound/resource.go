package outbound

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// ResourceCall asks for an external resource of a definition, DSL 201.
type ResourceCall struct {
	// URI is an http or https address, a file: URI, or a path.
	URI string
	// Directory is where relative paths start.
	Directory      string
	Authentication any
	Secrets        Secrets
	UserAgent      string
}

// Resource is an external resource: the document of an API, a schema, a script.
type Resource struct {
	Bytes  []byte
	Digest [sha256.Size]byte
	URL    *url.URL // where it was in the end, after redirects
}

// fresh is how long a resource is taken as unchanged without asking.
const fresh = 30 * time.Second

// maxResources bounds what is kept, in bytes.
const maxResources = 64 << 20

// resources keeps what was read over HTTP, to ask only whether it changed.
type resources struct {
	mu   sync.Mutex
	by   map[string]*kept
	size int
}

type kept struct {
	*Resource
	tag, modified string
	until         time.Time // until then nobody is asked
}

// Resource reads a resource. Those over HTTP are kept: for half a minute as
// they are, then as long as the server says that they have not changed; with
// authentication the server is always asked.
func (c *Client) Resource(ctx context.Context, r *ResourceCall) (*Resource, error) {
	u, err := url.Parse(strings.TrimSpace(r.URI))
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https"):
		if u.Host == "" {
			return nil, configuration("the resource %q names no host", Shown(u))
		}
		return c.fetch(ctx, r, u)
	case err == nil && len(u.Scheme) > 1 && u.Scheme != "file": // one letter is a drive of Windows
		return nil, configuration("the resource has the scheme %q; http, https and file are known", u.Scheme)
	}
	return c.readFile(r.URI, r.Directory)
}

func (c *Client) fetch(ctx context.Context, r *ResourceCall, u *url.URL) (*Resource, error) {
	key := u.String()
	if r.Authentication != nil {
		// What one may read, others may not: each policy has its own copy.
		digest := sha256.Sum256(value.JSON(value.Normalize(r.Authentication)))
		key += " " + string(digest[:])
	}
	k := c.resources.get(key)
	if k != nil && c.tokens.clock.Now().Before(k.until) {
		return k.Resource, nil
	}
	call := &Call{Method: http.MethodGet, URL: u, Header: http.Header{}, Authentication: r.Authentication, Secrets: r.Secrets, Follow: true}
	if r.UserAgent != "" {
		call.Header.Set("User-Agent", r.UserAgent)
	}
	if k != nil && k.tag != "" {
		call.Header.Set("If-None-Match", k.tag)
	} else if k != nil && k.modified != "" {
		call.Header.Set("If-Modified-Since", k.modified)
	}
	response, err := c.Do(ctx, call)
	if err != nil {
		return nil, err
	}
	next := &kept{tag: response.Header.Get("ETag"), modified: response.Header.Get("Last-Modified")}
	switch {
	case response.Status == http.StatusNotModified && k != nil:
		*next = *k
	case response.Status < 200 || response.Status > 299:
		return nil, statusProblem(call, response)
	default:
		next.Resource = &Resource{Bytes: response.Body, Digest: sha256.Sum256(response.Body), URL: response.URL}
	}
	control := response.Header.Get("Cache-Control")
	next.until = time.Time{}
	if r.Authentication == nil && !strings.Contains(control, "no-cache") && !strings.Contains(control, "max-age=0") {
		next.until = c.tokens.clock.Now().Add(fresh)
	}
	if !strings.Contains(control, "no-store") {
		c.resources.put(key, next)
	}
	return next.Resource, nil
}

func (r *resources) get(key string) *kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[key]
}

func (r *resources) put(key string, k *kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = map[string]*kept{}
	}
	if old := r.by[key]; old != nil {
		r.size -= len(old.Bytes)
		delete(r.by, key)
	}
	for other, o := range r.by {
		if r.size+len(k.Bytes) <= maxResources && len(r.by) < maxTokens {
			break
		}
		r.size -= len(o.Bytes)
		delete(r.by, other)
	}
	r.by[key] = k
	r.size += len(k.Bytes)
}

// readFile reads a path or a file: URI, relative to the definition.
func (c *Client) readFile(text, directory string) (*Resource, error) {
	path := text
	if u, err := url.Parse(text); err == nil && u.Scheme == "file" {
		switch {
		case u.Opaque != "":
			path = u.Opaque
		case u.Host == "." || u.Host == "..":
			path = u.Host + u.Path
		case u.Host != "" && u.Host != "localhost":
			return nil, configuration("the resource %q names the machine %q; a file: URI has three slashes: file:///path", text, u.Host)
		default:
			path = u.Path
		}
	}
	if path = filepath.FromSlash(path); !filepath.IsAbs(path) {
		path = filepath.Join(directory, path)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, configuration("there is no file %s; relative paths start at the directory of the definition", path)
	}
	if err != nil {
		return nil, configuration("the resource cannot be read: %v", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, c.maxResponse+1))
	if err != nil {
		return nil, configuration("the resource cannot be read: %v", err)
	}
	if int64(len(b)) > c.maxResponse {
		return nil, configuration("the file %s has more than %d bytes, which is the limit", path, c.maxResponse)
	}
	return &Resource{Bytes: b, Digest: sha256.Sum256(b), URL: &url.URL{Scheme: "file", Path: filepath.ToSlash(path)}}, nil
}

// String names the resource for errors.
func (r *Resource) String() string {
	if r.URL.Scheme == "file" {
		return r.URL.Path
	}
	return Shown(r.URL)
}
