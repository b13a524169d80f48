package link_test

import (
	"bytes"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/secret"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// git runs git in dir as a person would, apart from this machine's own configuration.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repositoryOf makes a repository with a catalogue: v1 is a tag, main has more.
func repositoryOf(t *testing.T) (parent string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine")
	}
	parent = t.TempDir()
	work := filepath.Join(parent, "work")
	write(t, work, map[string]string{
		"functions/greet/1.0.0/function.yaml": "call: file:../../log/1.0.0/function.yaml\nwith: {m: '${ .name }'}\n",
		"functions/log/1.0.0/function.yaml":   "set: {logged: '${ .m }'}\n",
		"schemas/in.json":                     `{"type": "object"}`,
	})
	git(t, work, "init", "-q")
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "one")
	git(t, work, "tag", "v1")
	write(t, work, map[string]string{"functions/log/1.0.0/function.yaml": "set: {logged: later}\n", "functions/log/2.0.0/function.yaml": "set: {x: 2}\n"})
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "two")
	git(t, parent, "clone", "-q", "--bare", "work", "catalogue.git")
	return parent
}

func catalogue(endpoint, call string) string {
	return head + "use: {secrets: [token], catalogs: {own: {endpoint: " + endpoint + "}}}\ndo: [{a: {call: '" + call + "'}}]\n"
}

// DSL 198, D23: a catalogue in a git repository; @ref names a branch, a tag or a
// commit, and what a function names itself is of the same commit.
func TestGit(t *testing.T) {
	t.Parallel()
	parent := repositoryOf(t)
	bare := "git+file://" + filepath.Join(parent, "catalogue.git")
	v1, head := git(t, filepath.Join(parent, "work"), "rev-parse", "v1"), git(t, filepath.Join(parent, "work"), "rev-parse", "main")
	cache := t.TempDir()
	for ref, want := range map[string]string{"": head, "@v1": v1, "@main": head, "@" + v1: v1} {
		def, said := linked(t, linker(t, link.Options{Cache: cache}), "", catalogue("'"+bare+ref+"'", "greet:1.0.0@own"))
		if said != "" || len(def.Linked) != 2 {
			t.Errorf("%q: %d attached: %s", ref, len(def.Linked), said)
			continue
		}
		if uri := bare + "@" + want + "#functions/log/1.0.0/function.yaml"; def.Linked[1].URI != uri {
			t.Errorf("%q: %s; want %s", ref, def.Linked[1].URI, uri)
		}
		if later := strings.Contains(string(def.Linked[1].Content), "later"); later != (want == head) {
			t.Errorf("%q: the function is of another commit: %s", ref, def.Linked[1].Content)
		}
	}
	l := linker(t, link.Options{Cache: cache})
	for endpoint, want := range map[string]string{
		bare + "@v9":                  "git: couldn't find remote ref v9; what follows the @ is a branch, a tag or a commit of the repository (link/missing)",
		bare + "@--upload-x":          `"--upload-x" is no name of a branch, tag or commit`,
		bare + ".gone":                "does not appear to be a git repository",
		bare + "#other":               "has no file other/functions/greet/1.0.0/function.yaml at its head; the catalogue own has no functions",
		"git+ssh://127.0.0.1:1/x.git": "link/unreachable",
	} {
		if _, said := linked(t, l, "", catalogue("'"+endpoint+"'", "greet:1.0.0@own")); !strings.Contains(said, want) {
			t.Errorf("%s: %s", endpoint, said)
		}
	}
	if _, said := linked(t, l, "", catalogue("'"+bare+"'", "log:3.0.0@own")); !strings.Contains(said, "the catalogue own has log in version 1.0.0, 2.0.0") {
		t.Error(said)
	}
	offline := linker(t, link.Options{Cache: cache, Offline: true})
	if def, said := linked(t, offline, "", catalogue("'"+bare+"@v1'", "greet:1.0.0@own")); said != "" || len(def.Linked) != 2 {
		t.Errorf("offline: %s", said)
	}
	if _, said := linked(t, linker(t, link.Options{Git: filepath.Join(parent, "no-git")}), "", catalogue("'"+bare+"'", "greet:1.0.0@own")); !strings.Contains(said, "there is no git on this machine") {
		t.Errorf("without git: %s", said)
	}
}

// Processes that share a cache do not stand in each other's way.
func TestGitIsShared(t *testing.T) {
	t.Parallel()
	parent := repositoryOf(t)
	bare, cache := "git+file://"+filepath.Join(parent, "catalogue.git"), t.TempDir()
	said := make([]string, 8)
	var all sync.WaitGroup
	for i := range said {
		def, _ := workflow.Decode([]byte(catalogue("'"+bare+"'", "greet:1.0.0@own")))
		l := linker(t, link.Options{Cache: cache})
		all.Go(func() {
			for _, f := range l.Link(t.Context(), def, "") {
				said[i] += f.Format("w.yaml")
			}
		})
	}
	all.Wait()
	if s := strings.Join(said, ""); s != "" {
		t.Error(s)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "git", "*")); len(left) > 0 {
		t.Errorf("repositories are left: %v", left)
	}
}

// A private repository over HTTP: the credentials reach git by its environment.
func TestGitOverHTTP(t *testing.T) {
	t.Parallel()
	parent := repositoryOf(t)
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	handler := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"), Root: "/", Stderr: &bytes.Buffer{},
		Env: []string{"GIT_PROJECT_ROOT=" + parent, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	if _, err := os.Stat(handler.Path); err != nil {
		t.Skip("this git cannot serve over HTTP")
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/hang.git/info/refs":
			<-r.Context().Done()
		case r.URL.Path == "/bad.git/info/refs":
			w.WriteHeader(http.StatusBadGateway)
		case r.Header.Get("Authorization") != "Bearer t0k":
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
		default:
			handler.ServeHTTP(w, r)
		}
	})
	secrets := secret.NewResolver(secret.Map{"token": "t0k"})
	l := linker(t, link.Options{Cache: t.TempDir(), Secrets: secrets, Patience: time.Minute})
	auth := ", authentication: {bearer: {use: token}}}"
	def, said := linked(t, l, "", catalogue("{uri: '"+url+"/catalogue.git@v1'"+auth, "greet:1.0.0@own"))
	if said != "" || len(def.Linked) != 2 || !strings.HasPrefix(def.Linked[1].URI, url+"/catalogue.git@") {
		t.Errorf("%d attached: %s", len(def.Linked), said)
	}
	for endpoint, want := range map[string]string{
		"'" + url + "/catalogue.git'":                "give the endpoint an authentication that may read it (link/refused)",
		"{uri: '" + url + "/gone.git'" + auth:        "(link/missing)",
		"{uri: 'git+ssh://127.0.0.1:1/x.git'" + auth: "over ssh the keys of this machine's user are asked",
		"'" + url + "/bad.git'":                      "(link/unreachable)",
	} {
		if _, said := linked(t, l, "", catalogue(endpoint, "greet:1.0.0@own")); !strings.Contains(said, want) || strings.Contains(said, "t0k") {
			t.Errorf("%s: %s", endpoint, said)
		}
	}
	short := linker(t, link.Options{Cache: t.TempDir(), Patience: 300 * time.Millisecond})
	if _, said := linked(t, short, "", catalogue("'"+url+"/hang.git'", "greet:1.0.0@own")); !strings.Contains(said, "did not answer within 300ms (link/unreachable)") {
		t.Errorf("a server that hangs: %s", said)
	}
}
