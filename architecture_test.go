package downbeat_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestArchitectureNamesEveryPackage holds the rings of ARCHITECTURE.md to the
// layers: each package stands in one of them, once, and none that is not there.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	src, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rings, _ := strings.Cut(string(src), "## The rings")
	rings, _, _ = strings.Cut(rings, "\n## ")
	var got []string
	for line := range strings.Lines(rings) {
		if !strings.HasPrefix(line, "- ") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z0-9/]+)`").FindAllStringSubmatch(line, -1) {
			got = append(got, m[1])
		}
	}
	want := map[string]bool{}
	for layer := range layers {
		if strings.HasSuffix(layer, "/*") {
			children, err := filepath.Glob(layer)
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range children {
				if info, err := os.Stat(dir); err == nil && info.IsDir() {
					want[strings.TrimPrefix(filepath.ToSlash(dir), "internal/")] = true
				}
			}
		} else if name, ok := strings.CutPrefix(layer, "internal/"); ok {
			want[name] = true
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
		t.Errorf("the rings of ARCHITECTURE.md are not the packages (-there +named):\n%s", diff)
	}
}
