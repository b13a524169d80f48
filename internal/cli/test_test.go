package cli

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
)

// guide writes the files of the example in docs/guide/testing.md.
func guide(t *testing.T) (dir, shown string) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	blocks := regexp.MustCompile("(?s)```(?:yaml|console)?\n(.*?)```").FindAllStringSubmatch(string(src), 3)
	write(t, dir, "order.yaml", blocks[0][1])
	write(t, dir, "order.test.yaml", blocks[1][1])
	return dir, strings.TrimPrefix(blocks[2][1], "$ downbeat test order.test.yaml\n")
}

func TestGuideToTestingIsTrue(t *testing.T) {
	t.Parallel()
	dir, shown := guide(t)
	code, stdout, stderr := command(t, dir, "test", dir)
	stdout = strings.ReplaceAll(stdout, dir+string(filepath.Separator), "")
	if diff := cmp.Diff(shown, stdout); code != 0 || diff != "" {
		t.Errorf("code %d, stderr %s\n%s", code, stderr, diff)
	}
}

const broken = `workflow: order.yaml
coverage:
  minimum: 90
cases:
  - name: small
    input: {amount: 40}
    mocks:
      - {task: card, output: {id: r-1}}
    expect:
      # what the customer sees
      output:
        paid: false   # money
        receipt: r-1  # from the service
      path: [size, done]
      duration: PT5S
  - name: bare
    input: {amount: 1}
    mocks:
      - {task: card, error: {type: timeout}}

  # the end
`

func TestUpdateRewritesExpectationsAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	dir, _ := guide(t)
	file := write(t, dir, "broken.test.yaml", broken)
	code, stdout, _ := command(t, dir, "test", file)
	for _, want := range []string{
		"broken.test.yaml:12:9: output differs", ".paid: want false, got true", "- /do/3/done", "duration: want PT5S, got PT0S",
		"coverage of", "less than the minimum of 90%", "order.yaml:11:5: /do/1/approval: never: the task is entered", "0 passed, 2 failed, 1 coverage too low",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if code != 1 {
		t.Errorf("code %d", code)
	}
	_, stdout, stderr := command(t, dir, "test", file, "--update")
	want := strings.NewReplacer("paid: false ", "paid: true ", "[size, done]", "[size, charge, card, done]", "PT5S", "PT0S").Replace(broken)
	want = strings.Replace(want, "error: {type: timeout}}\n", "error: {type: timeout}}\n    expect:\n      status: faulted\n      error: {status: 408, type: timeout}\n", 1)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("stdout %s\nstderr %s\n%s", stdout, stderr, diff)
	}
	if !strings.Contains(stderr, "-         paid: false   # money\n") || !strings.Contains(stdout, "2 passed, 1 coverage too low") {
		t.Errorf("stdout %s\nstderr %s", stdout, stderr)
	}
}

func TestTestResultsForPrograms(t *testing.T) {
	t.Parallel()
	dir, _ := guide(t)
	write(t, dir, "broken.test.yaml", broken)
	write(t, dir, "wrong.test.yaml", "workflow: nowhere.yaml\ncases: [{name: x}]\n")
	code, stdout, stderr := command(t, dir, "test", dir, "-o", "json")
	var out struct {
		Passed, Failed int
		Files          []struct {
			File   string
			Passed bool
			Cases  []struct {
				Name     string
				Failures []struct{ Line int }
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &out); err != nil || code != 2 || out.Passed != 4 || out.Failed != 2 || len(out.Files) != 3 || out.Files[0].Cases[0].Failures[0].Line != 12 {
		t.Errorf("code %d, %v, %+v\n%s", code, err, out, stderr)
	}
	_, stdout, _ = command(t, dir, "test", dir, "-o", "junit")
	var suites report.JUnit
	if err := xml.Unmarshal([]byte(stdout), &suites); err != nil || suites.Tests != 8 || suites.Failures != 3 || suites.Errors != 1 {
		t.Errorf("%v: %+v", err, suites)
	}
}

func TestTestIsUsedWrongly(t *testing.T) {
	t.Parallel()
	dir, _ := guide(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"test"}, 2, "the FILE is missing"},
		{[]string{"test", filepath.Join(dir, "order.tst.yaml")}, 2, "did you mean"},
		{[]string{"test", t.TempDir()}, 2, "holds no test file"},
		{[]string{"test", dir, "-o", "xml"}, 2, "there are text, json and junit"},
		{[]string{"test", dir, "--run", "("}, 2, "no regular expression"},
		{[]string{"test", dir, "--run", "nothing"}, 2, "no case matches"},
		{[]string{"test", dir, "--watch", "-o", "json"}, 2, "prints text only"},
	} {
		code, _, stderr := command(t, dir, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: code %d, %s", c.args, code, stderr)
		}
	}
	code, stdout, _ := command(t, dir, "test", dir, "--run", "small")
	if code != 0 || !strings.Contains(stdout, "1 passed\n") {
		t.Errorf("code %d: %s", code, stdout)
	}
}

// A watched file is played again when it changes.
func TestWatchPlaysAgain(t *testing.T) {
	t.Parallel()
	dir, _ := guide(t)
	watchAndWrite(t, dir, "order.test.yaml", "workflow: order.yaml\ncases:\n  - {name: other, input: {amount: 2000}, expect: {status: waiting}}\n", "4 passed", "1 failed")
}

// So is a function that the workflow takes from a file (DSL 84).
func TestWatchSeesAttachedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "w.yaml", "document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\ndo: [{a: {call: 'file:f.yaml'}}]\n")
	write(t, dir, "f.yaml", "set: {x: 1}\n")
	write(t, dir, "w.test.yaml", "workflow: w.yaml\ncases: [{name: one, expect: {output: {x: 1}}}]\n")
	watchAndWrite(t, dir, "f.yaml", "set: {x: 21}\n", "1 passed", "1 failed")
}

// watchAndWrite changes a file while the tests of dir are watched, and wants
// these words in what is printed.
func watchAndWrite(t *testing.T, dir, file, text string, wants ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		signals := make(chan os.Signal, 1)
		a := &app{
			in: strings.NewReader(""), out: &out, err: &strings.Builder{}, env: func(string) string { return "" },
			clock: lifecycle.Clock{}, signals: signals, term: progress.Terminal{},
		}
		over := make(chan int)
		go func() { over <- a.main(t.Context(), []string{"test", dir, "--watch"}) }()
		synctest.Wait()
		write(t, dir, file, text)
		time.Sleep(2 * pollEvery)
		synctest.Wait()
		signals <- os.Interrupt
		if code := <-over; code != 0 {
			t.Errorf("code %d: %s", code, out.String())
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in %s", want, out.String())
			}
		}
	})
}
