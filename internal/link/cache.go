package link

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

// Bounds of the cache.
const (
	maxCached      = 64 << 20
	maxCachedNames = 2000
	leftGit        = 24 * time.Hour // a repository of a linking that does not go on any more
)

// cache keeps documents by their digest, and for each URI which one was there
// last. It only ever helps: what goes wrong with it is as if it held nothing.
// Several processes may use one; files appear whole or not at all.
type cache struct {
	dir   string
	clock lifecycle.Clock
	mu    sync.Mutex
	wrote bool
}

// entry is what was last at a URI.
type entry struct {
	URI     string    `json:"uri"` // where the document was in the end
	Digest  string    `json:"digest"`
	At      time.Time `json:"at"`
	content []byte
}

func (c *cache) names() string     { return filepath.Join(c.dir, "names") }
func (c *cache) documents() string { return filepath.Join(c.dir, "documents") }

// repositories is where linkings fetch repositories into, each its own.
func (c *cache) repositories() string { return filepath.Join(c.dir, "git") }

func (c *cache) nameFile(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.names(), hex.EncodeToString(sum[:])+".json")
}

func (c *cache) documentFile(digest string) string {
	return filepath.Join(c.documents(), strings.TrimPrefix(digest, "sha256:"))
}

func (c *cache) put(key, uri string, content []byte) {
	if c.dir == "" {
		return
	}
	e := entry{URI: uri, Digest: bundle.Digest(content), At: c.clock.Now()}
	b, err := json.Marshal(e)
	if err != nil {
		return
	}
	if file := c.documentFile(e.Digest); !exists(file) && writeFile(file, content) != nil {
		return
	}
	_ = writeFile(c.nameFile(key), b) // without it the document is fetched again
	c.mu.Lock()
	c.wrote = true
	c.mu.Unlock()
}

func (c *cache) get(key string) (e entry, ok bool) {
	if c.dir == "" {
		return e, false
	}
	b, err := os.ReadFile(c.nameFile(key))
	if err != nil || json.Unmarshal(b, &e) != nil {
		return e, false
	}
	e.content, err = os.ReadFile(c.documentFile(e.Digest))
	return e, err == nil && bundle.Digest(e.content) == e.Digest // a damaged file is none
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// writeFile writes a file so that readers see all of it or nothing.
func writeFile(file string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is nobody's
	}
	return err
}

// tidy removes the oldest names, and documents that no name stands for.
func (c *cache) tidy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wrote {
		return
	}
	c.wrote = false
	type named struct {
		file string
		entry
		size int64
	}
	var all []named
	files, _ := os.ReadDir(c.names())
	for _, f := range files {
		n := named{file: filepath.Join(c.names(), f.Name())}
		b, err := os.ReadFile(n.file)
		if err != nil || json.Unmarshal(b, &n.entry) != nil {
			continue
		}
		if info, err := os.Stat(c.documentFile(n.Digest)); err == nil {
			n.size = info.Size()
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b named) int { return b.At.Compare(a.At) })
	kept, total := map[string]bool{}, int64(0)
	for i, n := range all {
		if total += n.size; i >= maxCachedNames || total > maxCached {
			_ = os.Remove(n.file) // tried again next time
			continue
		}
		kept[strings.TrimPrefix(n.Digest, "sha256:")] = true
	}
	c.tidyRepositories()
	documents, _ := os.ReadDir(c.documents())
	for _, f := range documents {
		info, err := f.Info()
		// Another process may be about to name a young one.
		if err == nil && !kept[f.Name()] && c.clock.Now().Sub(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(c.documents(), f.Name()))
		}
	}
}

// tidyRepositories removes those of linkings that were killed.
func (c *cache) tidyRepositories() {
	dirs, _ := os.ReadDir(c.repositories())
	for _, d := range dirs {
		if info, err := d.Info(); err == nil && c.clock.Now().Sub(info.ModTime()) > leftGit {
			_ = os.RemoveAll(filepath.Join(c.repositories(), d.Name())) // tried again next time
		}
	}
}
