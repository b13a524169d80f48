//go:build unix

package conformance_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is the one shell of a page: variables, the directory and what runs in
// the background stay from one block to the next, as they do for the reader.
type shell struct {
	t      *testing.T
	dir    string // where the reader stands
	out    string // the output of each command
	script *os.File
	codes  chan string
	n      int
	ids    map[string]string // ids of runs that the page shows, and ours
}

// startShell starts a shell in a directory that looks like the repository. It
// reads commands from a pipe, not from stdin, which commands may read too.
func startShell(t *testing.T, shims string) *shell {
	t.Helper()
	home := t.TempDir()
	s := &shell{t: t, dir: filepath.Join(home, "repository"), out: filepath.Join(home, "output"), codes: make(chan string, 1), ids: map[string]string{}}
	for _, dir := range []string{s.dir, s.out} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	copyExamples(t, s.dir)
	env := goEnv(t)
	// Programs of workflows do not inherit GOCACHE; they find it in their home.
	cache := filepath.Join(home, ".cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.TrimPrefix(env[0], "GOCACHE="), filepath.Join(cache, "go-build")); err != nil {
		t.Fatal(err)
	}
	commands, script, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, codes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.script = script
	cmd := exec.CommandContext(t.Context(), "sh", "/dev/fd/4")
	cmd.Dir = s.dir
	cmd.ExtraFiles = []*os.File{codes, commands}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(env, "PATH="+shims+":"+bin+":"+environ("PATH"), "HOME="+home, "PWD="+s.dir, "NO_COLOR=1", "TZ=UTC",
		"XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "TMPDIR="+s.out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = commands.Close(), codes.Close()
	go func() {
		for lines := bufio.NewScanner(answers); lines.Scan(); {
			s.codes <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it has left in the background
		_ = cmd.Wait()
		_, _ = script.Close(), answers.Close()
	})
	return s
}

// goEnv keeps Go's caches though HOME is another.
func goEnv(t *testing.T) []string {
	t.Helper()
	names := []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS", "GOPROXY"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	values := strings.Split(string(out), "\n")
	for i, name := range names {
		env = append(env, name+"="+values[i])
	}
	return env
}

func (s *shell) write(file, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

var (
	shortID    = regexp.MustCompile(`\b([0-9a-f]{8})-…`)
	background = regexp.MustCompile(`&\s*(#.*)?$`)
	intoFile   = regexp.MustCompile(`[^2]>\s*([\w./-]+)`)
)

// run carries out one command and holds it to its exit code and to what the
// page shows. It returns the file of its stdout.
func (s *shell) run(where string, c command, together bool) string {
	s.t.Helper()
	s.n++
	out, stderr := filepath.Join(s.out, fmt.Sprintf("%d.out", s.n)), filepath.Join(s.out, fmt.Sprintf("%d.err", s.n))
	if together {
		stderr = out
	}
	text := s.ours(c.text)
	if _, err := fmt.Fprintf(s.script, "exec >>'%s' 2>>'%s'\n(exit ${__:-0})\n%s\n__=$?; echo $__ >&3\n", out, stderr, text); err != nil {
		s.t.Fatal(err)
	}
	read := func(path string) string { b, _ := os.ReadFile(path); return string(b) }
	code := ""
	select {
	case code = <-s.codes:
	case <-time.After(5 * time.Minute):
		s.t.Fatalf("%s: %s\ndid not end; it has printed\n%s%s", where, text, read(out), read(stderr))
	}
	if want := fmt.Sprint(c.code); code != want {
		s.t.Fatalf("%s: %s\nended with code %s, want %s, and printed\n%s%s", where, text, code, want, read(out), read(stderr))
	}
	if background.MatchString(text) {
		s.awaitLife(where, text, out, stderr)
	}
	if len(c.shown) > 0 {
		ids, same := sameOutput(c.shown, read(out))
		maps.Copy(s.ids, ids)
		if !same {
			s.t.Errorf("%s: %s\nprinted\n%s\nthe page shows\n%s", where, text, read(out), strings.Join(c.shown, "\n"))
		}
	}
	return out
}

// awaitLife waits, as a reader does, until what was started in the background has said something.
func (s *shell) awaitLife(where, text, out, stderr string) {
	s.t.Helper()
	files := []string{out, stderr}
	if m := intoFile.FindStringSubmatch(text); m != nil {
		files = append(files, filepath.Join(s.dir, m[1]))
	}
	for range 2400 {
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() > 0 {
				return
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("%s: %s\nnever said anything", where, text)
}

// ours puts the ids of this test's runs in the place of those that the page shows.
func (s *shell) ours(text string) string {
	s.t.Helper()
	text = strings.ReplaceAll(text, "/tmp/", s.out+"/")
	text = uuid.ReplaceAllStringFunc(text, func(id string) string {
		if mine, ok := s.ids[id]; ok {
			return mine
		}
		return id
	})
	text = shortID.ReplaceAllStringFunc(text, func(short string) string {
		for id, mine := range s.ids {
			if strings.HasPrefix(id, strings.TrimSuffix(short, "…")) {
				return mine
			}
		}
		return short
	})
	if !regexp.MustCompile(`\bRUN\b`).MatchString(text) {
		return text
	}
	return regexp.MustCompile(`\bRUN\b`).ReplaceAllString(text, s.newest())
}

// newest is the id of the run that was started last.
func (s *shell) newest() string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(bin, "downbeat"), "runs", "list", "-o", "json", "--data", filepath.Join(filepath.Dir(s.dir), "data", "downbeat"))
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("runs list: %v", err)
	}
	var list struct {
		Runs []struct {
			ID string `json:"id"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list.Runs) == 0 {
		s.t.Fatalf("a command names RUN, and there is no run (%v)", err)
	}
	return list.Runs[0].ID
}
