package link

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
)

// repositories reads files of git repositories, by the git of this machine: it
// knows every transport, and the user's keys and proxies. They are of one
// linking and go with it: git does not share a shallow repository between
// processes, and what was read of one is among the documents of the cache.
type repositories struct {
	l  *Linker
	mu sync.Mutex
	by map[string]*repository // by address
}

// repository is what was fetched of one, in a directory of its own.
type repository struct {
	mu   sync.Mutex
	dir  string
	refs map[string]fetched
}

// fetched is a ref, fetched once.
type fetched struct {
	commit string
	err    error
}

// remove removes the repositories.
func (g *repositories) remove() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.by {
		if r.dir != "" {
			_ = os.RemoveAll(r.dir) // the cache removes what is left
		}
	}
	clear(g.by)
}

// grace is how long git has to end after it was told to.
const grace = 3 * time.Second

// read reads the file that a URI names behind its #; the document's own URI
// names the commit, so that what it names itself is of the same commit.
func (g *repositories) read(ctx context.Context, kind, uri string, policy *authentication) (document, error) {
	address, file, _ := strings.Cut(uri, "#")
	file = functionFile(kind, strings.Trim(file, "/"))
	dir, head, err := g.open(ctx, address, policy)
	if err != nil {
		return document{}, err
	}
	where, ref := bundle.Repository(address)
	size, err := g.run(ctx, dir, nil, "cat-file", "-s", head+":"+file)
	if err != nil {
		return document{}, &failure{"missing", fmt.Sprintf("the repository %s has no file %s at %s", shown(where), file, cmp.Or(ref, "its head")), ""}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(size))); err != nil || n > bundle.MaxBytes {
		return document{}, &failure{"size", fmt.Sprintf("the file %s of %s has %d bytes; at most %d are read", file, shown(where), n, bundle.MaxBytes), ""}
	}
	content, err := g.run(ctx, dir, nil, "cat-file", "blob", head+":"+file)
	if err != nil {
		return document{}, err
	}
	return document{content: content, uri: shown(where) + "@" + head + "#" + file}, nil
}

// list is the functions of a catalogue in a repository: name and version of each.
func (g *repositories) list(ctx context.Context, address string, policy *authentication) ([]Function, error) {
	address, below, _ := strings.Cut(address, "#")
	dir, head, err := g.open(ctx, address, policy)
	if err != nil {
		return nil, err
	}
	out, err := g.run(ctx, dir, nil, "ls-tree", "-r", "-z", "--name-only", head)
	if err != nil {
		return nil, err
	}
	return listFiles(strings.Split(string(out), "\x00"), strings.Trim(below, "/")), nil
}

// open fetches a ref, once; a commit that is here already is not asked for.
func (g *repositories) open(ctx context.Context, address string, policy *authentication) (dir, head string, err error) {
	where, ref := bundle.Repository(address)
	if !plainRef.MatchString(ref) {
		return "", "", &failure{"uri", fmt.Sprintf("%q is no name of a branch, tag or commit", ref), ""}
	}
	g.mu.Lock()
	r := g.by[policy.key+where]
	if r == nil {
		r = &repository{refs: map[string]fetched{}}
		g.by[policy.key+where] = r
	}
	g.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	f, known := r.refs[ref]
	if !known {
		if f.commit, f.err = g.fetch(ctx, r, where, ref, policy); ctx.Err() == nil { // the next one may have more time
			r.refs[ref] = f
		}
	}
	return r.dir, f.commit, f.err
}

func (g *repositories) fetch(ctx context.Context, r *repository, where, ref string, policy *authentication) (string, error) {
	if err := g.prepare(ctx, r); err != nil {
		return "", err
	}
	if commit.MatchString(ref) {
		if _, err := g.run(ctx, r.dir, nil, "cat-file", "-e", ref+"^{commit}"); err == nil {
			return ref, nil
		}
	}
	u, err := g.remote(ctx, where)
	if err != nil {
		return "", err
	}
	environment, err := g.credentials(ctx, u, policy)
	if err != nil {
		return "", err
	}
	local := fmt.Sprintf("refs/downbeat/%d", len(r.refs))
	_, err = g.run(ctx, r.dir, environment, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
		"--", target(u), cmp.Or(ref, "HEAD")+":"+local)
	if err != nil {
		return "", err
	}
	out, err := g.run(ctx, r.dir, nil, "rev-parse", "--verify", "--quiet", local+"^{commit}")
	return strings.TrimSpace(string(out)), err
}

var plainRef = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_./+-]*)?$`)

// prepare makes the repository that is fetched into.
func (g *repositories) prepare(ctx context.Context, r *repository) error {
	if r.dir != "" {
		return nil
	}
	base := ""
	if g.l.cache.dir != "" {
		base = g.l.cache.repositories()
		if err := os.MkdirAll(base, 0o700); err != nil {
			return fmt.Errorf("make a directory for git: %w", err)
		}
	}
	dir, err := os.MkdirTemp(base, "downbeat-*")
	if err != nil {
		return fmt.Errorf("make a directory for git: %w", err)
	}
	r.dir = dir
	_, err = g.run(ctx, dir, nil, "init", "--bare", "--quiet", "--template=", ".")
	return err
}

// remote is where git is to connect, when the egress rules let it: it does so by
// itself.
func (g *repositories) remote(ctx context.Context, where string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimPrefix(where, "git+"))
	switch {
	case err != nil || u.Opaque != "" || u.Scheme != "file" && u.Hostname() == "" || u.Scheme == "file" && u.Host != "":
		return nil, &failure{"uri", shown(where) + " is no address of a repository", "write git+https://host/path.git, git+ssh://git@host/path.git, or git+file:///path"}
	case u.Scheme == "file":
		return u, nil
	}
	return u, refused(ctx, g.l.client.Permits(ctx, u.Hostname()))
}

// target is the address for git's command line, which every user of the machine
// can read: without who asks. Over ssh that is a name alone.
func target(u *url.URL) string {
	v := *u
	if v.User = nil; u.Scheme == "ssh" && u.User != nil {
		v.User = url.User(u.User.Username())
	}
	return v.String()
}

// credentials hands git a policy, or what the address says of who asks, by its
// environment.
func (g *repositories) credentials(ctx context.Context, u *url.URL, policy *authentication) ([]string, error) {
	host := u.Scheme + "://" + u.Host
	if u.Scheme != "https" && u.Scheme != "http" {
		if policy.value == nil {
			return nil, nil
		}
		return nil, &failure{"authentication", "an authentication has no effect on " + shown(u.String()), "over ssh the keys of this machine's user are asked"}
	}
	if policy.value != nil {
		header, err := g.l.client.Authorize(ctx, policy.value, policy.secrets, u)
		if err != nil {
			if p, ok := errors.AsType[*event.Problem](err); ok {
				return nil, &failure{"authentication", p.Detail, ""}
			}
			return nil, err
		}
		return g.configured("http."+host+"/.extraHeader", "Authorization: "+header.Scheme+" "+header.Parameter), nil
	}
	if u.User == nil {
		return nil, nil
	}
	name := u.User.Username()
	if password, ok := u.User.Password(); ok {
		return g.configured("http."+host+"/.extraHeader", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+password))), nil
	}
	return g.configured("credential."+host+".username", name), nil
}

// configured is one setting of git, behind those of the environment.
func (g *repositories) configured(key, v string) []string {
	n := 0
	for _, kv := range g.l.o.Environ {
		if count, ok := strings.CutPrefix(kv, "GIT_CONFIG_COUNT="); ok {
			n, _ = strconv.Atoi(count)
		}
	}
	return []string{fmt.Sprintf("GIT_CONFIG_COUNT=%d", n+1), fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, v)}
}

// network tells errors of git that say nothing about the repository.
var network = regexp.MustCompile(`(?i)could not resolve host|couldn't connect|failed to connect|connection (refused|timed out|reset)|operation timed out|network is unreachable|unable to connect|no route to host|the requested url returned error: (5\d\d|429)|early eof`)

var errNoGit = &failure{"git", "there is no git on this machine to read the repository with", "install git, or name the catalogue by https or file"}

// Bounds of what is heard of git; the rest is let go.
const (
	maxSaid   = 64 << 10
	maxAnswer = 16 << 20 // the names of the files of a large repository
)

// bounded keeps the first bytes that are written to it.
type bounded struct {
	kept []byte
	most int
}

// Write takes all, so that who writes goes on.
func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.most-len(b.kept))]...)
	return len(p), nil
}

// run runs git in a repository of the cache. It never asks anybody anything,
// and follows no redirect: credentials would go along, past the egress rules.
func (g *repositories) run(ctx context.Context, dir string, environment []string, args ...string) ([]byte, error) {
	program := g.l.o.Git
	if program == "" {
		var err error
		if program, err = exec.LookPath("git"); err != nil {
			return nil, errNoGit
		}
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", "protocol.ext.allow=never", "-c", "core.hooksPath=" + os.DevNull, "-c", "gc.auto=0", "-c", "http.followRedirects=false"}, args...)...) //nolint:gosec // a URI is behind --, and a ref is checked
	cmd.Dir = dir
	cmd.Env = append(clean(g.l.o.Environ), "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "SSH_ASKPASS=true", "LC_ALL=C", "GIT_DIR="+dir)
	if !strings.Contains(strings.Join(g.l.o.Environ, "\n"), "GIT_SSH") {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	}
	cmd.Env = append(cmd.Env, environment...)
	together(cmd)
	cmd.WaitDelay = grace
	out, problems := bounded{most: maxAnswer}, bounded{most: maxSaid}
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil {
		return out.kept, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoGit
	}
	said := strings.TrimSpace(string(problems.kept))
	if said == "" {
		said = err.Error()
	}
	return nil, g.explain(said)
}

// explain turns what git says into a failure, in one line.
func (g *repositories) explain(said string) error {
	var lines []string
	for line := range strings.SplitSeq(said, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, "fatal: "), "error: "))
		if line != "" && !strings.HasPrefix(line, "hint:") {
			lines = append(lines, line)
		}
	}
	const most = 300
	text := strings.Join(lines, "; ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	f := &failure{"git", "git: " + text, ""}
	switch {
	case network.MatchString(said):
		f.rule = "unreachable"
	case strings.Contains(said, "could not read Username"), strings.Contains(said, "Authentication failed"), strings.Contains(said, "Permission denied"), strings.Contains(said, "returned error: 403"):
		f.rule, f.allowed = "refused", "give the endpoint an authentication that may read it"
	case strings.Contains(said, "returned error: 30"):
		f.rule, f.allowed = "refused", "it redirects; name the address that it leads to"
	case strings.Contains(said, "couldn't find remote ref"):
		f.rule, f.allowed = "missing", "what follows the @ is a branch, a tag or a commit of the repository"
	case strings.Contains(said, "not found"), strings.Contains(said, "does not appear to be a git repository"), strings.Contains(said, "does not exist"):
		f.rule = "missing"
	}
	return f
}

// clean is an environment without what points git at another repository, and
// without the secrets that are none of git's business.
func clean(environ []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "DOWNBEAT_") {
			continue
		}
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_ALTERNATE_OBJECT_DIRECTORIES":
		default:
			out = append(out, kv)
		}
	}
	return out
}
