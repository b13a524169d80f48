package link_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const head = "document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\n"

func linker(t *testing.T, o link.Options) *link.Linker {
	t.Helper()
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	l, err := link.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// linked links a definition and gives it with its findings, one a line.
func linked(t *testing.T, l *link.Linker, dir, src string) (*workflow.Definition, string) {
	t.Helper()
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		t.Fatalf("findings: %v", findings)
	}
	var out []string
	for _, f := range l.Link(t.Context(), def, dir) {
		out = append(out, f.Format("w.yaml"))
	}
	return def, strings.Join(out, "\n")
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// DSL 198, 201, 206, D23: files, with paths relative to the document that names them.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"catalogue/functions/greet/1.0.0/function.yaml": "set: {hello: '${ .name }'}\ninput: {schema: {resource: {endpoint: in.json}}}\n",
		"catalogue/functions/greet/1.0.0/in.json":       `{"type": "object"}`,
		"catalogue/functions/greet/1.1.0/function.yaml": "set: {x: 1}\n",
		"catalogue/functions/other/1.0.0/function.yaml": "set: {x: 1}\n",
		"big.py": strings.Repeat("#", bundle.MaxBytes+1),
		"bad.py": "\xff\xfe\xfd",
	})
	use := head + "use: {catalogs: {own: {endpoint: catalogue}, gone: {endpoint: gone}}}\ndo:\n  - a: "
	def, said := linked(t, linker(t, link.Options{}), dir, use+"{call: 'greet:1.0.0@own'}\n")
	if said != "" || len(def.Linked) != 2 || def.Linked[1].URI != "file:catalogue/functions/greet/1.0.0/in.json" {
		t.Errorf("linked %d: %s", len(def.Linked), said)
	}
	for call, want := range map[string]string{
		"{call: 'greet:2.0.0@own'}":  "w.yaml:4:15: error: the function greet:2.0.0@own cannot be attached: there is no file " + dir + "/catalogue/functions/greet/2.0.0/function.yaml; the catalogue own has greet in version 1.0.0, 1.1.0 (link/missing)",
		"{call: 'gret:1.0.0@own'}":   "w.yaml:4:15: error: the function gret:1.0.0@own cannot be attached: there is no file " + dir + "/catalogue/functions/gret/1.0.0/function.yaml; did you mean greet? the catalogue own has greet, other (link/missing)",
		"{call: 'greet:1.0.0@gone'}": "w.yaml:4:15: error: the function greet:1.0.0@gone cannot be attached: there is no directory " + dir + "/gone, the endpoint of the catalogue gone; relative paths start at the directory of the workflow (link/missing)",
		"{call: 'file:x.yaml'}":      "w.yaml:4:15: error: the function file:x.yaml cannot be attached: there is no file " + dir + "/x.yaml; relative paths start at the directory of the document that names them (link/missing)",
		"{call: 'file:catalogue'}":   "w.yaml:4:15: error: the function file:catalogue cannot be attached: " + dir + "/catalogue is no file; name the file itself (link/file)",
		"{run: {script: {language: python, source: {endpoint: big.py}}}}": "w.yaml:4:61: error: the script file:big.py cannot be attached: the file " + dir + "/big.py has more than 4194304 bytes, which is the limit (link/size)",
		"{run: {script: {language: python, source: {endpoint: bad.py}}}}": "w.yaml:4:61: error: the script file:bad.py (file:bad.py) is no text in UTF-8 (link/encoding)",
	} {
		if _, said := linked(t, linker(t, link.Options{}), dir, use+call+"\n"); said != want {
			t.Error(cmp.Diff(want, said))
		}
	}
}

// DSL 59, 154, 155, 199, 201: a catalogue over HTTP with its authentication, in
// place, by name, and from secrets. What its functions name by relative URIs is
// fetched with the same.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if token := r.Header.Get("Authorization"); token != "Bearer t0k" && (user != "ada" || password != "s3cret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/c/functions/f/1.0.0/function.yaml":
			_, _ = io.WriteString(w, "run: {script: {language: js, source: {endpoint: main.js}}}\n")
		case "/c/functions/f/1.0.0/main.js":
			_, _ = io.WriteString(w, "console.log(1)\n")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	secrets := secret.NewResolver(secret.Map{"token": "t0k", "login": map[string]any{"username": "ada", "password": "s3cret"}})
	l := linker(t, link.Options{Secrets: secrets})
	for _, auth := range []string{
		"{basic: {username: ada, password: s3cret}}", "{use: named}", "{bearer: {token: '${ $secrets.token }'}}", "{basic: {use: login}}",
		`{bearer: {token: '${ $secrets | .["token"] }'}}`,
	} {
		src := head + "use: {secrets: [token, login], authentications: {named: {bearer: {use: token}}}, catalogs: {own: {endpoint: {uri: '" + url + "/c', authentication: " + auth + "}}}}\ndo: [{a: {call: 'f:1.0.0@own'}}]\n"
		def, said := linked(t, l, "", src)
		if said != "" || len(def.Linked) != 2 || string(def.Linked[1].Content) != "console.log(1)\n" {
			t.Errorf("%s: %d attached: %s", auth, len(def.Linked), said)
		}
		if strings.Contains(string(def.Source[len(src):]), "s3cret") || strings.Contains(string(def.Source[len(src):]), "t0k") {
			t.Errorf("%s: a credential is in the attachments", auth)
		}
	}
	for auth, want := range map[string]string{
		"{basic: {username: ada, password: wrong}}":         "answered 401; give the endpoint an authentication that may read it (link/refused)",
		"{bearer: {token: '${ $context.token }'}}":          "its authentication cannot be evaluated before a run",
		"{bearer: {token: '${ $secrets.other }'}}":          `reads the secret "other", which use.secrets does not list`,
		"{bearer: {token: '${ $secrets.gone }'}}":           `there is no secret "gone": put it into the file of --secrets`,
		"{bearer: {token: '${ $secrets.token | error }'}}":  "its authentication cannot be evaluated: ",
		"{bearer: {use: gone}}":                             `there is no secret "gone"`,
		"{digest: {username: ada, password: s3cret}}":       "answered 401",
		"{basic: {username: ada, password: '${ 1 + {} }'}}": "its authentication cannot be evaluated: ",
	} {
		_, said := linked(t, l, "", head+"use: {secrets: [token, login, gone], catalogs: {own: {endpoint: {uri: '"+url+"/c', authentication: "+auth+"}}}}\ndo: [{a: {call: 'f:1.0.0@own'}}]\n")
		if !strings.Contains(said, want) || strings.Contains(said, "t0k") || strings.Contains(auth, "gone") && !strings.HasSuffix(said, " (link/authentication)") {
			t.Errorf("%s: %s", auth, said)
		}
	}
}

// What servers do wrong ends in a finding that says so, in bounded time and memory.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/endless":
			block := make([]byte, 1<<16)
			for range 1 << 14 { // 1 GB
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/html":
			_, _ = io.WriteString(w, "<html><body>Sign in</body></html>")
		case "/yaml":
			_, _ = io.WriteString(w, "set: {x: 1}\nthem: end\nif: [\n")
		case "/typo":
			_, _ = io.WriteString(w, "# a function\nset:\n  x: ${ .a + }\noutptu: {}\n")
		case "/close":
			panic(http.ErrAbortHandler)
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	patient, short := linker(t, link.Options{}), linker(t, link.Options{Patience: 300 * time.Millisecond})
	for path, want := range map[string]string{
		"/hang":    "did not answer within 300ms (link/unreachable)",
		"/circle":  "was redirected more than 10 times",
		"/endless": "answered with more than 4194304 bytes, which is the limit",
		"/html":    url + "/html:1:1: error: ",
		"/yaml":    url + "/yaml:",
		"/typo":    url + `/typo:4:1: error: task "` + url + `/typo" has no property "outptu"; did you mean "output"?`,
		"/close":   "the server closed the connection without an answer (link/unreachable)",
		"/503":     "answered 503 (link/unreachable)",
		"/gone":    "answered 404 (link/missing)",
	} {
		begun := time.Now()
		l := patient
		if path == "/hang" {
			l = short
		}
		def, said := linked(t, l, "", head+"do: [{a: {call: '"+url+path+"'}}]\n")
		if !strings.Contains(said, want) || !strings.Contains(said, ": error: ") {
			t.Errorf("%s: %s", path, said)
		}
		if again, _ := bundle.Decode(def.Source); again != nil && len(def.Linked) > 0 {
			t.Errorf("%s: a broken function was attached and read again", path)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	def, _ := workflow.Decode([]byte(head + "do: [{a: {call: '" + url + "/hang'}}]\n"))
	if f := linker(t, link.Options{}).Link(ctx, def, ""); len(f) != 1 || f[0].Severity != workflow.SeverityError {
		t.Errorf("an interrupted linking said %v", f)
	}
}

// The cache answers when the network does not, and says how old its copy is;
// offline it alone answers. A server that says no is believed.
func TestCache(t *testing.T) {
	t.Parallel()
	var down, gone atomic.Bool
	var asked atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		switch {
		case gone.Load():
			w.WriteHeader(http.StatusNotFound)
		case down.Load():
			w.WriteHeader(http.StatusBadGateway)
		default:
			_, _ = fmt.Fprintf(w, "set: {x: %d}\n", asked.Load())
		}
	})
	var later atomic.Int64
	clock := lifecycle.Clock{Shift: func() time.Duration { return time.Duration(later.Load()) }}
	dir := t.TempDir()
	options := link.Options{Cache: dir, Clock: clock}
	offline, lenient := options, options
	offline.Offline, lenient.Offline, lenient.Lenient = true, true, true
	src := head + "do: [{a: {call: '" + url + "/f.yaml'}}]\n"
	if _, said := linked(t, linker(t, offline), "", src); !strings.Contains(said, "error: the function "+url+"/f.yaml cannot be attached: it is not in the cache, and --offline asks no network") {
		t.Error(said)
	}
	if _, said := linked(t, linker(t, lenient), "", src); !strings.Contains(said, ": warning: ") {
		t.Error(said)
	}
	first, said := linked(t, linker(t, options), "", src)
	if said != "" || asked.Load() != 1 {
		t.Fatal(said, asked.Load())
	}
	down.Store(true)
	later.Store(int64(3 * time.Hour))
	second, said := linked(t, linker(t, options), "", src)
	if second.Digest != first.Digest || !strings.Contains(said, "warning: ") || !strings.Contains(said, "3 hours old, "+bundle.Digest([]byte("set: {x: 1}\n"))) {
		t.Errorf("the network is down: %s", said)
	}
	asked.Store(0)
	third, said := linked(t, linker(t, offline), "", src)
	if said != "" || third.Digest != first.Digest || asked.Load() != 0 {
		t.Errorf("offline, %d asked: %s", asked.Load(), said)
	}
	gone.Store(true)
	if _, said := linked(t, linker(t, options), "", src); !strings.Contains(said, "answered 404") {
		t.Errorf("gone: %s", said)
	}
	// Another's credentials give another copy.
	withAuth := head + "do: [{a: {set: {x: 1}, input: {schema: {resource: {endpoint: {uri: '" + url + "/f.yaml', authentication: {bearer: {token: a}}}}}}}}]\n"
	if _, said := linked(t, linker(t, offline), "", withAuth); !strings.Contains(said, "not in the cache") {
		t.Errorf("another's copy: %s", said)
	}
	// A damaged copy is none.
	files, _ := filepath.Glob(filepath.Join(dir, "documents", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.WriteFile(files[0], []byte("set: {x: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said := linked(t, linker(t, offline), "", src); !strings.Contains(said, "not in the cache") {
		t.Errorf("damaged: %s", said)
	}
}

// The cache is bounded: the oldest names go first.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := `{"uri":"https://h/old","digest":"sha256:00","at":"2001-01-01T00:00:00Z"}`
	for i := range 2000 {
		write(t, dir, map[string]string{fmt.Sprintf("names/%04d.json", i): strings.Replace(old, "2001", fmt.Sprintf("%04d", 1900+i%100), 1)})
	}
	write(t, dir, map[string]string{"documents/orphan": "x"})
	past := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "documents", "orphan"), past, past); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		write(t, dir, map[string]string{fmt.Sprintf("git/%d/HEAD", i): ""})
		if err := os.Chtimes(filepath.Join(dir, "git", strconv.Itoa(i)), past, past); err != nil {
			t.Fatal(err)
		}
	}
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "set: {x: 1}\n") })
	if _, said := linked(t, linker(t, link.Options{Cache: dir}), "", head+"do: [{a: {call: '"+url+"/f.yaml'}}]\n"); said != "" {
		t.Fatal(said)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "git")); len(left) != 0 {
		t.Errorf("%d repositories are left", len(left))
	}
	names, _ := os.ReadDir(filepath.Join(dir, "names"))
	documents, _ := os.ReadDir(filepath.Join(dir, "documents"))
	if len(names) != 2000 || len(documents) != 1 || documents[0].Name() == "orphan" {
		t.Errorf("%d names, documents %v", len(names), documents)
	}
}

// Many documents are fetched side by side, and the result does not depend on who answers first.
func TestManyDocuments(t *testing.T) {
	t.Parallel()
	var at, most atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := at.Add(1)
		defer at.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_, _ = fmt.Fprintf(w, "set: {path: %q}\n", r.URL.Path)
	})
	var tasks strings.Builder
	for i := range 60 {
		fmt.Fprintf(&tasks, "  - t%d: {call: '%s/%d.yaml'}\n", i, url, i%40)
	}
	digests := map[string]bool{}
	for range 3 {
		def, said := linked(t, linker(t, link.Options{}), "", head+"do:\n"+tasks.String())
		if said != "" || len(def.Linked) != 40 {
			t.Fatalf("%d attached: %s", len(def.Linked), said)
		}
		digests[def.Digest] = true
	}
	if len(digests) != 1 || most.Load() > 8 {
		t.Errorf("%d digests, %d at a time", len(digests), most.Load())
	}
}
