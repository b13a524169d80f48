package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is one fenced block of a page.
var block = regexp.MustCompile("(?s)```(yaml|json|sh)\n(.*?)```")

// TestGuideExamples runs every complete document of the guide with the built
// binary: it must be valid, and give the JSON block that follows it, if one does.
func TestGuideExamples(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := block.FindAllSubmatchIndex(src, -1)
		for i, m := range found {
			kind, text := string(src[m[2]:m[3]]), src[m[4]:m[5]]
			if kind != "yaml" || !bytes.HasPrefix(text, []byte("document:")) {
				continue
			}
			line := 1 + bytes.Count(src[:m[0]], []byte("\n"))
			var want string
			if i+1 < len(found) && string(src[found[i+1][2]:found[i+1][3]]) == "json" && !bytes.Contains(src[m[1]:found[i+1][0]], []byte("```")) {
				want = string(src[found[i+1][4]:found[i+1][5]])
			}
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(page), line), func(t *testing.T) {
				t.Parallel()
				runBlock(t, text, want)
			})
		}
	}
}

func runBlock(t *testing.T, text []byte, want string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "workflow.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	downbeat := filepath.Join(bin, "downbeat")
	if out, err := exec.CommandContext(t.Context(), downbeat, "validate", file).CombinedOutput(); err != nil {
		t.Fatalf("validate: %v\n%s", err, out)
	}
	if want == "" {
		return
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), downbeat, "run", file, "--data", filepath.Join(dir, "data"))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("run: %v\n%s", err, stderr.String())
	}
	var got, expected any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("output is not JSON: %v\n%s", err, stdout.String())
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatalf("the page's JSON: %v", err)
	}
	if !reflect.DeepEqual(got, expected) {
		t.Errorf("got %s want %s", strings.TrimSpace(stdout.String()), want)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	symbols = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestDocsLinks follows every link from one page to another, to its heading
// too; and each page of the guide must be reached from docs/README.md.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md", "../examples/*.md", "../examples/*/*.md"} {
		pages, err := filepath.Glob(glob)
		if err != nil || len(pages) == 0 {
			t.Fatalf("no pages like %s: %v", glob, err)
		}
		for _, page := range pages {
			src, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			if dir, name := filepath.Split(page); filepath.Base(dir) == "guide" && !bytes.Contains(index, []byte("(guide/"+name+")")) {
				t.Errorf("docs/README.md does not lead to %s", page)
			}
			for _, m := range link.FindAllSubmatch(fenced.ReplaceAll(src, nil), -1) {
				if to := string(m[1]); !strings.Contains(to, "://") && !leads(page, to) {
					t.Errorf("%s: the link to %s leads nowhere", page, to)
				}
			}
		}
	}
}

// leads reports whether a link of a page leads to a file, and to a heading in it.
func leads(page, to string) bool {
	file, anchor, _ := strings.Cut(to, "#")
	if file == "" {
		file = filepath.Base(page)
	}
	path := filepath.Join(filepath.Dir(page), file)
	if anchor == "" {
		_, err := os.Stat(path)
		return err == nil
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for _, m := range heading.FindAllStringSubmatch(string(fenced.ReplaceAll(src, nil)), -1) {
		if strings.ReplaceAll(strings.ToLower(symbols.ReplaceAllString(m[1], "")), " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestGuidePicture holds the picture of the first workflow to what the program draws.
func TestGuidePicture(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../docs/guide/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(src), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	file := filepath.Join(t.TempDir(), "disk.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), filepath.Join(bin, "downbeat"), "graph", file, "-o", "svg").Output()
	if err != nil {
		t.Fatal(err)
	}
	const picture = "../docs/guide/pictures/disk.svg"
	if environ("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(picture, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(picture); err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s is not what downbeat draws; run UPDATE_SCRIPTS=1 go test ./conformance -run TestGuidePicture (%v)", picture, err)
	}
}

// TestSettingsPage holds the keys of docs/reference/settings.md to the schema: a
// row for every setting of a document and of a task, and none for what is none.
func TestSettingsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/reference/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "downbeat"), "schema").Output()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(out, &schema); err != nil {
		t.Fatal(err)
	}
	_, document, _ := strings.Cut(string(page), "\n## On the document\n")
	document, task, _ := strings.Cut(document, "\n## On a task\n")
	for def, section := range map[string]string{"documentSettings": document, "taskSettings": task} {
		var rows []string
		for line := range strings.Lines(section) {
			if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), " | "); ok && strings.HasPrefix(line, "| `") {
				rows = append(rows, strings.Split(strings.TrimSuffix(first, "`"), "`, `")...)
			}
		}
		slices.Sort(rows)
		if want := slices.Sorted(maps.Keys(schema.Defs[def].Properties)); !slices.Equal(want, rows) || len(want) == 0 {
			t.Errorf("settings.md has rows for %v; the schema's %s are %v", rows, def, want)
		}
	}
}
