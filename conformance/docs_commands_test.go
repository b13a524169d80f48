//go:build unix

package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDocsCommands runs every command of the README, the guide and the examples'
// pages, in order, in one shell a page, and compares the output that is shown.
//
// A page says what the test needs in the words that its reader needs:
//   - "`name.yaml`:" at the end of the line before a block: the file of that name;
//   - ```sh: commands; ```console: commands after "$ ", with what they print;
//   - ```json after ```sh: what its last command gives on stdout, or one that it left in the background;
//   - "# exit code 1" behind a command that is meant to fail;
//   - <!-- not run: REASON --> before a block that cannot run in a test;
//   - <!-- needs: PROGRAM --> before a block that wants more than a shell and Go.
//
// In shown output ids, times and durations stand for any others, and … for
// whatever else differs. The id of a run in a command is the one of the same
// place in this test's output; RUN is the newest run; /tmp/ is a directory of the page's own.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	shims := shimDir(t)
	var pages []string
	for _, glob := range []string{"../README.md", "../docs/*.md", "../docs/guide/*.md", "../examples/README.md", "../examples/*/README.md"} {
		found, err := filepath.Glob(glob)
		if err != nil || len(found) == 0 {
			t.Fatalf("no pages like %s: %v", glob, err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		name := strings.TrimPrefix(page, "../")
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			blocks, err := fences(string(src))
			if err != nil {
				t.Fatalf("%s:%v", name, err)
			}
			if slices.ContainsFunc(blocks, func(b fence) bool { return b.lang == "sh" || b.lang == "console" }) {
				runPage(t, name, shims, blocks)
			}
		})
	}
}

// runPage goes through the blocks of one page.
func runPage(t *testing.T, name, shims string, blocks []fence) {
	t.Helper()
	if strings.Contains(name, "examples/") {
		lockPorts(t, name) // the stand-ins of the examples listen where their pages say
	}
	s := startShell(t, shims)
	for i, b := range blocks {
		where := fmt.Sprintf("%s:%d", name, b.line)
		missing := func(tool string) bool { _, err := exec.LookPath(tool); return err != nil }
		switch {
		case b.notRun != "":
			t.Logf("%s: not run: %s", where, b.notRun)
			continue
		case b.file != "":
			s.write(b.file, b.text)
			continue
		case b.lang != "sh" && b.lang != "console":
			continue
		case b.needs != "" && missing(b.needs):
			if environ("CI") == "true" {
				t.Fatalf("%s: needs %s", where, b.needs)
			}
			t.Skipf("%s: the rest of the page is not run: there is no %s here", where, b.needs)
		}
		var outs []string
		for _, c := range b.commands() {
			outs = append(outs, s.run(fmt.Sprintf("%s:%d", name, b.line+c.line), c, b.lang == "console"))
		}
		if i+1 < len(blocks) && b.lang == "sh" && blocks[i+1].lang == "json" && blocks[i+1].file == "" {
			sameJSON(t, where, outs, blocks[i+1].text)
		}
	}
}

// sameJSON wants one of the outputs, which may still be written, to be the JSON that the page shows.
func sameJSON(t *testing.T, where string, outs []string, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: the JSON that the page shows: %v", where, err)
	}
	var last []byte
	for range 1200 {
		for _, out := range slices.Backward(outs) {
			var g any
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if json.Unmarshal(b, &g) == nil && reflect.DeepEqual(g, w) {
				return
			}
			if len(b) > 0 && json.Valid(b) {
				last = b
			}
		}
		if last != nil {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("%s: the commands gave\n%s\nthe page shows\n%s", where, last, want)
}

// fence is one fenced block of a page, and what the text before it says of it.
type fence struct {
	lang, text          string
	line                int // of the opening fence
	file, notRun, needs string
}

var (
	named   = regexp.MustCompile("`([\\w./-]+\\.\\w+)`:$")
	comment = regexp.MustCompile(`^<!-- (not run|needs): (.+) -->$`)
	known   = []string{"sh", "console", "yaml", "json", "jsonl", "text", "js", "python", "go", "proto", "mermaid", "diff"}
)

// fences are the blocks of a page; a block without a known language is an
// error, so that no command hides in one.
func fences(page string) ([]fence, error) {
	var all []fence
	var open *fence
	before := ""
	n := 0
	for line := range strings.Lines(page) {
		n++
		bare := strings.TrimSpace(line)
		switch {
		case open != nil && bare == "```":
			all, open, before = append(all, *open), nil, ""
		case open != nil:
			open.text += line
		case strings.HasPrefix(bare, "```"):
			open = &fence{lang: strings.TrimPrefix(bare, "```"), line: n}
			if !slices.Contains(known, open.lang) {
				return nil, fmt.Errorf("%d: the block's language is %q; it must be one of %s (text, when it is nothing to run)", n, open.lang, strings.Join(known, ", "))
			}
			if m := named.FindStringSubmatch(before); m != nil {
				open.file = m[1]
			}
			if m := comment.FindStringSubmatch(before); m != nil && m[1] == "needs" {
				open.needs = m[2]
			} else if m != nil {
				open.notRun = m[2]
			}
		case bare != "":
			before = bare
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%d: the block has no end", open.line)
	}
	return all, nil
}

// command is one command of a block, with the output that the page shows.
type command struct {
	text  string
	shown []string
	line  int // within the block, from 1
	code  int
}

var (
	exitCode = regexp.MustCompile(`# exit code (\d+)`)
	hereDoc  = regexp.MustCompile(`<<-?\s*['"]?(\w+)`)
)

// commands splits a block: in a console block a command stands after "$ ", its
// further lines after "> "; in a sh block a command ends where the shell finds it complete.
func (b fence) commands() []command {
	var list []command
	add := func(text string, line int) {
		c := command{text: text, line: line}
		if m := exitCode.FindStringSubmatch(text); m != nil {
			_, _ = fmt.Sscan(m[1], &c.code)
		}
		list = append(list, c)
	}
	n, part, from := 0, "", 0
	for line := range strings.Lines(b.text) {
		n++
		line = strings.TrimRight(line, "\n")
		if b.lang == "console" {
			if text, ok := strings.CutPrefix(line, "$ "); ok {
				add(text, n)
			} else if text, ok := strings.CutPrefix(line, "> "); ok && len(list) > 0 && len(list[len(list)-1].shown) == 0 {
				list[len(list)-1].text += "\n" + text
			} else if len(list) > 0 {
				c := &list[len(list)-1]
				c.shown = append(c.shown, line)
			}
			continue
		}
		if part == "" {
			if text := strings.TrimSpace(line); text == "" || text[0] == '#' {
				continue
			}
			from = n
		}
		part += line + "\n"
		if complete(part) {
			add(strings.TrimRight(part, "\n"), from)
			part = ""
		}
	}
	if part != "" {
		add(part, from) // the shell will say what is missing
	}
	return list
}

func complete(text string) bool {
	if strings.HasSuffix(strings.TrimRight(text, "\n"), `\`) {
		return false
	}
	if m := hereDoc.FindStringSubmatch(text); m != nil && !regexp.MustCompile(`(?m)^\s*`+m[1]+`$`).MatchString(text) {
		return false
	}
	return exec.Command("sh", "-n", "-c", text).Run() == nil
}

// shimDir holds a `go` that builds and runs packages of the repository from
// any directory: the reader stands in the repository, the test must not write there.
func shimDir(t *testing.T) string {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := `#!/bin/sh
case "$1 $2" in
"build -o") exec '` + real + `' -C '` + root + `' build -o "$PWD/$3" "$4" ;;
"run ./"*) pkg=$2; shift 2; exe='` + dir + `'/$(echo "$pkg" | tr ./ __)
	'` + real + `' -C '` + root + `' build -o "$exe.$$" "$pkg" && exec "$exe.$$" "$@" ;;
esac
exec '` + real + `' "$@"
`
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lockPorts keeps other test processes of this machine from the same ports.
func lockPorts(t *testing.T, page string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "downbeat-"+strings.ReplaceAll(page, "/", "-")+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = f.Close() })
}

// TestDocsFences holds the reading of pages to a small one.
func TestDocsFences(t *testing.T) {
	t.Parallel()
	blocks, err := fences("Save `a.yaml`:\n\n```yaml\na: 1\n```\n\n<!-- not run: wants a cluster -->\n```sh\nkubectl \\\n  get\n\n# x\ncat <<E\ny\nE\nfalse # exit code 1\n```\n\n```console\n$ a\n> b\nout\n$ c\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	if blocks[0].file != "a.yaml" || blocks[1].notRun != "wants a cluster" || blocks[1].line != 8 {
		t.Errorf("%+v", blocks)
	}
	want := []command{{text: "kubectl \\\n  get", line: 1}, {text: "cat <<E\ny\nE", line: 5}, {text: "false # exit code 1", line: 8, code: 1}}
	if got := blocks[1].commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	want = []command{{text: "a\nb", line: 1, shown: []string{"out"}}, {text: "c", line: 4}}
	if got := blocks[2].commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if _, err := fences("```\ndownbeat run x\n```\n"); err == nil {
		t.Error("a block without a language passed")
	}
}

// copyExamples puts the examples where the shell stands.
func copyExamples(t *testing.T, dir string) {
	t.Helper()
	from := filepath.Join(root, "examples")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, "examples", rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm()|0o200)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sameOutput compares what a page shows with what was printed, and pairs the ids of both.
func sameOutput(shown []string, printed string) (ids map[string]string, same bool) {
	for len(shown) > 0 && strings.TrimSpace(shown[len(shown)-1]) == "" {
		shown = shown[:len(shown)-1]
	}
	var pattern, text strings.Builder
	var theirs []string
	pattern.WriteString("^")
	for _, line := range shown {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		line = regexp.QuoteMeta(plain(line))
		theirs = append(theirs, uuid.FindAllString(line, -1)...)
		line = uuid.ReplaceAllLiteralString(line, "("+uuid.String()+")")
		pattern.WriteString(strings.ReplaceAll(line, "…", ".*") + `\n`)
	}
	for line := range strings.Lines(printed) {
		text.WriteString(plain(line) + "\n")
	}
	m := regexp.MustCompile(pattern.String() + "$").FindStringSubmatch(text.String())
	if m == nil {
		return nil, false
	}
	ids = map[string]string{}
	for i, id := range theirs {
		ids[id] = m[i+1]
	}
	return ids, true
}

var (
	uuid   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	clock  = regexp.MustCompile(`\b\d\d:\d\d:\d\d(\.\d+)?`)
	date   = regexp.MustCompile(`\b20\d\d-\d\d-\d\d`)
	lasted = regexp.MustCompile(`\b\d+(\.\d+)?(ms|s)\b|\b\d+m\d+s\b`)
	spaces = regexp.MustCompile(`\s+`)
)

// plain is a line without what differs from one time to the next.
func plain(line string) string {
	for re, with := range map[*regexp.Regexp]string{clock: "TIME", date: "DATE", lasted: "TOOK"} {
		line = re.ReplaceAllString(line, with)
	}
	return strings.TrimRight(spaces.ReplaceAllString(line, " "), " ")
}
