package ctk_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/conformance/ctk"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// kit finds the features beside the repository, or where DOWNBEAT_SPEC says.
func kit(t *testing.T) []string {
	t.Helper()
	spec, _ := os.LookupEnv("DOWNBEAT_SPEC")
	if spec == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for spec == "" && dir != filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				spec = filepath.Join(dir, "..", "shared", "spec")
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	files, err := filepath.Glob(filepath.Join(spec, "ctk", "features", "*.feature"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if ci, _ := os.LookupEnv("CI"); ci == "true" {
			t.Fatalf("the conformance kit is not at %s; set DOWNBEAT_SPEC", spec)
		}
		t.Skipf("SKIPPED: the conformance kit is not at %s; set DOWNBEAT_SPEC to the specification's directory", spec)
	}
	return files
}

// TestCTK runs every scenario of the kit. DSL 33-35, 37, 38, 48, 53, 56, 58, 59,
// 63, 64, 66, 71, 72, 86-89, 91, 92, 95-98, 100, 101, 105, 109, 110, 113-115, 156, 205.
func TestCTK(t *testing.T) {
	h := newHost(t)
	scenarios := 0
	for _, file := range kit(t) {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ctk.Parse(string(src))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, s := range f.Scenarios {
			scenarios++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".feature")+"/"+s.Name, func(t *testing.T) {
				r := &scenario{t: t, h: h, name: s.Name}
				for _, step := range s.Steps {
					r.step(step)
				}
			})
		}
	}
	if scenarios < 21 {
		t.Errorf("only %d scenarios were found", scenarios)
	}
}

// scenario is one scenario under way.
type scenario struct {
	t          *testing.T
	h          *host
	name       string
	definition string
	input      any
	run        *view.Run
	output     any
}

var (
	properties = regexp.MustCompile(`^the workflow output should have properties (.+)$`)
	containing = regexp.MustCompile(`^the workflow output should have an? '([^']+)' property containing (\d+) items?$`)
	withValue  = regexp.MustCompile(`^the workflow output should have an? '([^']+)' property with value:$`)
	runsAt     = regexp.MustCompile(`^(\S+) should run (first|last)$`)
	runsAfter  = regexp.MustCompile(`^(\S+) should run after (\S+)$`)
	quoted     = regexp.MustCompile(`'([^']+)'`)
)

func (s *scenario) step(step ctk.Step) {
	t := s.t
	t.Helper()
	switch text := step.Text; text {
	case "a workflow with definition:":
		s.definition, s.input = step.Doc, map[string]any{}
		return
	case "given the workflow input is:", "the workflow input is:":
		s.input = decode(t, step.Doc)
		return
	case "the workflow is executed":
		s.execute()
		return
	}
	if s.run == nil {
		t.Fatalf("line %d: nothing was executed", step.Line)
	}
	switch text := step.Text; {
	case text == "the workflow should complete":
		s.mustBe(event.Completed)
	case text == "the workflow should complete with output:":
		s.mustBe(event.Completed)
		s.mustEqual("the output", decode(t, step.Doc), s.output)
	case text == "the workflow should fault":
		s.mustBe(event.Faulted)
	case text == "the workflow should fault with error:":
		s.mustBe(event.Faulted)
		got := view.ProblemValue(s.run.Error)
		fields, _ := decode(t, step.Doc).(map[string]any)
		if len(fields) == 0 {
			t.Fatalf("line %d: the expected error is no object", step.Line)
		}
		for k, want := range fields {
			s.mustEqual("the error's "+k, want, got[k])
		}
	case properties.MatchString(text):
		for _, m := range quoted.FindAllStringSubmatch(properties.FindStringSubmatch(text)[1], -1) {
			if _, ok := lookup(s.output, m[1]); !ok {
				t.Errorf("line %d: the output has no property %s: %s", step.Line, m[1], value.JSON(s.output))
			}
		}
	case containing.MatchString(text):
		m := containing.FindStringSubmatch(text)
		want, _ := strconv.Atoi(m[2])
		got, _ := lookup(s.output, m[1])
		if list, ok := got.([]any); !ok || len(list) != want {
			t.Errorf("line %d: property %s is %s, want %d items", step.Line, m[1], value.JSON(got), want)
		}
	case withValue.MatchString(text):
		name := withValue.FindStringSubmatch(text)[1]
		got, _ := lookup(s.output, name)
		s.mustEqual("property "+name, decode(t, step.Doc), got)
	case runsAt.MatchString(text):
		m := runsAt.FindStringSubmatch(text)
		want := map[string]int{"first": 0, "last": len(s.run.Tasks) - 1}[m[2]]
		if got := s.place(m[1]); got != want {
			t.Errorf("line %d: %s runs as number %d, want %s", step.Line, m[1], got, m[2])
		}
	case runsAfter.MatchString(text):
		m := runsAfter.FindStringSubmatch(text)
		if a, b := s.place(m[1]), s.place(m[2]); a <= b || b < 0 {
			t.Errorf("line %d: %s (number %d) does not run after %s (number %d)", step.Line, m[1], a, m[2], b)
		}
	default:
		t.Fatalf("line %d: unknown step %q", step.Line, text)
	}
}

func (s *scenario) execute() {
	run, findings := s.h.run(s.t, s.definition, s.input)
	if run == nil {
		s.t.Fatalf("refused: %v", findings)
	}
	s.run = run
	out, err := run.Output.Any()
	if err != nil {
		s.t.Fatal(err)
	}
	s.output = out
}

func (s *scenario) mustBe(want event.Status) {
	s.t.Helper()
	if s.run.Status != want {
		s.t.Fatalf("the run is %s, want %s: %v", s.run.Status, want, s.run.Error)
	}
}

func (s *scenario) mustEqual(what string, want, got any) {
	s.t.Helper()
	if !value.Equal(want, got) {
		s.t.Errorf("%s: %s", what, cmp.Diff(string(value.JSON(want)), string(value.JSON(got))))
	}
}

// place is where a task stands in the order of entering.
func (s *scenario) place(name string) int {
	return slices.IndexFunc(s.run.Tasks, func(t view.Task) bool { return t.Name == name })
}

func lookup(v any, path string) (any, bool) {
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

func decode(t *testing.T, doc string) any {
	t.Helper()
	n, findings := source.Read([]byte(doc), 1<<20)
	if n == nil || source.HasErrors(findings) {
		t.Fatalf("the kit's text cannot be read: %v", findings)
	}
	return n.Any()
}
