package link_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/secret"
)

// DSL 84, 201: the bound is on documents, not on how often they are named.
func TestOneDocumentOften(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"f.yaml": "set: {x: 1}\n"})
	var tasks strings.Builder
	for i := range 300 {
		fmt.Fprintf(&tasks, "  - t%d: {call: 'file:f.yaml'}\n", i)
	}
	def, said := linked(t, linker(t, link.Options{}), dir, head+"do:\n"+tasks.String())
	if said != "" || len(def.Linked) != 1 {
		t.Errorf("%d attached: %s", len(def.Linked), said)
	}
}

// The egress rules hold for git too, which connects by itself.
func TestGitEgress(t *testing.T) {
	t.Parallel()
	repositoryOf(t)
	var asked atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	})
	port := url[strings.LastIndexByte(url, ':'):]
	for host, rules := range map[string]outbound.Config{
		"127.0.0.1": {Deny: []string{"127.0.0.0/8"}},
		"localhost": {Deny: []string{"127.0.0.0/8", "::1"}},
		"LOCALHOST": {Deny: []string{"localhost"}},
		"[::1]":     {Allow: []string{"example.com"}},
	} {
		for _, scheme := range []string{"git+http://", "http://", "git+ssh://"} {
			_, said := linked(t, linker(t, link.Options{Outbound: rules}), "", catalogue("'"+scheme+host+port+"/x.git'", "greet:1.0.0@own"))
			if !strings.Contains(said, "by the egress rules of this Downbeat; who runs it can change them (link/refused)") {
				t.Errorf("%s%s: %s", scheme, host, said)
			}
		}
	}
	if asked.Load() > 0 {
		t.Errorf("the server was asked %d times", asked.Load())
	}
	allowed := linker(t, link.Options{Outbound: outbound.Config{Allow: []string{"127.0.0.1"}, Deny: []string{"10.0.0.0/8"}}})
	if _, said := linked(t, allowed, "", catalogue("'"+url+"/x.git'", "greet:1.0.0@own")); !strings.Contains(said, "(link/missing)") || asked.Load() == 0 {
		t.Errorf("allowed: %s", said)
	}
	for _, uri := range []string{"git+ssh:host/x.git", "git+http:x.git", "git+https://%zz:s3cret@host/x.git"} {
		if _, said := linked(t, allowed, "", catalogue("'"+uri+"'", "greet:1.0.0@own")); !strings.Contains(said, "(link/uri)") || strings.Contains(strings.ReplaceAll(said, uri, ""), "s3cret") {
			t.Errorf("%s: %s", uri, said)
		}
	}
}

// Where a repository is says its address: a redirect takes no credentials elsewhere.
func TestGitRedirect(t *testing.T) {
	t.Parallel()
	repositoryOf(t)
	var leaked atomic.Value
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = w.Write([]byte("001e# service=git-upload-pack\n0000" + "000eversion 2\n" + "000cls-refs\n" + "000afetch\n" + "0000"))
	})
	other = strings.Replace(other, "127.0.0.1", "localhost", 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+r.URL.RequestURI(), http.StatusFound)
	})
	l := linker(t, link.Options{Secrets: secret.NewResolver(secret.Map{"token": "t0k"})})
	_, said := linked(t, l, "", catalogue("{uri: '"+url+"/x.git', authentication: {bearer: {use: token}}}", "greet:1.0.0@own"))
	if got := leaked.Load(); got != nil {
		t.Errorf("the other server got %v", got)
	}
	if !strings.Contains(said, "it redirects; name the address that it leads to (link/refused)") {
		t.Error(said)
	}
}

// What git is started with can be read by others, and its helpers are not ours:
// neither has a secret that it does not need.
func TestGitIsToldNoSecrets(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the program is a script of sh")
	}
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	program := filepath.Join(dir, "git")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"args: $*\" >>'"+said+"'\nenv >>'"+said+"'\ncase \"$*\" in *fetch*) exit 1;; esac\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := linker(t, link.Options{Git: program, Environ: append(os.Environ(), "DOWNBEAT_SECRET_OTHER=0ther", "GIT_DIR=/elsewhere", "KEPT=1")})
	linked(t, l, "", catalogue("'https://ada:pa55%20word@127.0.0.1:1/x.git'", "greet:1.0.0@own"))
	b, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	// ada:pa55 word
	if !strings.Contains(text, "=Authorization: Basic YWRhOnBhNTUgd29yZA==\n") || !strings.Contains(text, "KEPT=1") {
		t.Errorf("git was not told who asks:\n%s", text)
	}
	for _, secret := range []string{"pa55", "0ther", "/elsewhere"} {
		if strings.Contains(text, secret) {
			t.Errorf("git was told %s", secret)
		}
	}
}

// What a server repeats of a token is not shown.
func TestServerRepeatsToken(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"title": "no %[1]s", "detail": "the header %[1]s is not good"}`, r.Header.Get("Authorization"))
	})
	l := linker(t, link.Options{Secrets: secret.NewResolver(secret.Map{"token": "t0k"})})
	_, said := linked(t, l, "", catalogue("{uri: '"+url+"', authentication: {bearer: {use: token}}}", "greet:1.0.0@own"))
	if !strings.Contains(said, "answered 403: the header Bearer ***") || strings.Contains(said, "t0k") {
		t.Error(said)
	}
}

// A git that talks without end is not listened to for ever.
func TestGitTalks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a script of sh")
	}
	program := filepath.Join(t.TempDir(), "git")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncase \"$*\" in *fetch*) yes 'remote: hello' | head -c 60000000 >&2; exit 1;; esac\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, said := linked(t, linker(t, link.Options{Git: program, Patience: time.Minute}), "", catalogue("'https://127.0.0.1:1/x.git'", "greet:1.0.0@own"))
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 30 || !strings.Contains(said, "remote: hello") {
		t.Errorf("%d MiB were taken: %s", n, said)
	}
}

// DSL 180, D23: a document from elsewhere gets no secret that the workflow does
// not list, however it asks.
func TestUnlistedSecrets(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			got.Store(a)
		}
		if r.URL.Path == "/schema.json" {
			_, _ = w.Write([]byte(`{"type": "object"}`))
			return
		}
		_, _ = fmt.Fprintf(w, "input: {schema: {resource: {endpoint: {uri: 'http://%s/schema.json', authentication: %s}}}}\nset: {x: 1}\n", r.Host, r.URL.Query().Get("auth"))
	})
	l := linker(t, link.Options{Secrets: secret.NewResolver(secret.Map{"token": "t0k", "other": "0ther"})})
	for auth, want := range map[string]string{
		"{bearer: {use: other}}":                             `its authentication reads the secret "other", which use.secrets does not list`,
		"{bearer: {token: '${ $secrets.other }'}}":           `its authentication reads the secret "other", which use.secrets does not list`,
		"{basic: {use: other}}":                              "use.secrets does not list",
		"{bearer: {token: '${ $secrets[\"oth\"+\"er\"] }'}}": "",
	} {
		_, said := linked(t, l, "", head+"use: {secrets: [token]}\ndo: [{a: {call: '"+url+"/f.yaml?auth="+strings.NewReplacer(" ", "%20", "+", "%2B", "'", "%27", "{", "%7B", "}", "%7D", `"`, "%22").Replace(auth)+"'}}]\n")
		if !strings.Contains(said, want) {
			t.Errorf("%s: %s", auth, said)
		}
	}
	if a, _ := got.Load().(string); strings.Contains(a, "0ther") || strings.Contains(a, "MHRoZXI") {
		t.Errorf("the server got %s", a)
	}
}
