package reference_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/reference"
	"github.com/downbeat-dev/downbeat/internal/server"
)

var update = flag.Bool("update", false, "rewrite docs/reference/functions.md")

// TestPageIsWhatTheExecutorsSay keeps docs/reference/functions.md equal to the schemas.
func TestPageIsWhatTheExecutorsSay(t *testing.T) {
	page := reference.Page(server.Kinds())
	file := filepath.Join("..", "..", "docs", "reference", "functions.md")
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(have)); diff != "" {
		t.Errorf("docs/reference/functions.md is out of date; run go test ./internal/reference -update\n%s", diff)
	}
}

// Every argument of every function says what it is: the reference has no empty row.
func TestEveryArgumentIsDescribed(t *testing.T) {
	for line := range strings.Lines(reference.Page(server.Kinds())) {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(strings.TrimSpace(line), "|  |") {
			t.Errorf("no description: %s", line)
		}
	}
}

func TestShow(t *testing.T) {
	var b bytes.Buffer
	if err := reference.Show(&b, reference.Map); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"map:1.0.0\n", "  in  (any, required)\n", "  onError  (fail, continue)\n", "Default: 10."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
