package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
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
