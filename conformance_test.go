package downbeat_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/conformance.md")

// notYet names the lines of the language that Downbeat refuses so far, and as
// what. `validate` says so as *unsupported*; `run` ends with code 2 before anything starts.
var notYet = map[string]string{}

var cited = regexp.MustCompile(`\bDSL ((?:\d+(?:[-–]\d+)?(?:, ?| and )?)+)|\b(D\d{1,2}[a-d]?)\b`)

// TestEveryLineOfTheLanguageHasATest reads docs/dsl-lines.txt and the citations
// in all tests, and holds docs/conformance.md to what it finds.
func TestEveryLineOfTheLanguageHasATest(t *testing.T) {
	where := citations(t)
	waits := map[string]string{}
	for what, lines := range notYet {
		for n := range strings.FieldsSeq(lines) {
			waits[n] = what
		}
	}
	src, err := os.ReadFile("docs/dsl-lines.txt")
	if err != nil {
		t.Fatal(err)
	}
	var doc bytes.Buffer
	doc.WriteString("# Conformance\n\nEvery line of the language, the tests that hold Downbeat to it, and what is not carried out yet.\n" +
		"Made from the tests by `go test -run TestEveryLine . -update`. The numbers are Downbeat's own; `D` marks a decision where the specification leaves room.\n\n" +
		"| no | line | status | tests |\n| --- | --- | --- | --- |\n")
	for line := range strings.Lines(string(src)) {
		n, title, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			continue
		}
		files := where[n]
		status := "tested"
		switch what, later := waits[n]; {
		case later:
			status = "not yet: " + what
		case len(files) == 0:
			status = "no test"
			t.Errorf("line %s of the language (%s) is cited by no test", n, title)
		}
		more := ""
		if len(files) > 4 {
			more = fmt.Sprintf(" and %d more", len(files)-4)
			files = files[:4]
		}
		fmt.Fprintf(&doc, "| %s | %s | %s | %s%s |\n", n, title, status, strings.Join(files, ", "), more)
	}
	if *update {
		if err := os.WriteFile("docs/conformance.md", doc.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile("docs/conformance.md")
	if err != nil || !bytes.Equal(have, doc.Bytes()) {
		t.Errorf("docs/conformance.md is not what the tests say; run go test -run TestEveryLine . -update (%v)", err)
	}
}

// citations maps each number to the test files that cite it, sorted.
func citations(t *testing.T) map[string][]string {
	t.Helper()
	where := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if d.IsDir() {
			if path != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "dist" {
				return filepath.SkipDir
			}
			return nil
		}
		isTest := strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testdata/") || strings.HasPrefix(path, "conformance/")
		if !isTest || path == "conformance_test.go" || strings.Contains(path, "/fuzz/") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range cited.FindAllStringSubmatch(string(src), -1) {
			for _, n := range numbers(m[1], m[2]) {
				if !slices.Contains(where[n], path) {
					where[n] = append(where[n], path)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range where {
		slices.Sort(files)
	}
	return where
}

// numbers expands "22, 24-26 and 30" or one decision.
func numbers(lines, decision string) []string {
	if decision != "" {
		return []string{decision}
	}
	var out []string
	for _, part := range regexp.MustCompile(`\d+(?:[-–]\d+)?`).FindAllString(lines, -1) {
		var from, to int
		if n, _ := fmt.Sscanf(strings.ReplaceAll(part, "–", "-"), "%d-%d", &from, &to); n < 2 {
			to = from
		}
		for i := from; i <= min(to, from+60); i++ {
			out = append(out, fmt.Sprint(i))
		}
	}
	return out
}
