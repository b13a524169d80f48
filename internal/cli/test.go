package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
	"github.com/downbeat-dev/downbeat/internal/yamledit"
)

// testFlags are the flags of test.
type testFlags struct {
	nodeFlags

	update, coverage, watch bool
	run, format             string
	pattern                 *regexp.Regexp
}

func (a *app) testCommand() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test FILE|DIR...",
		Short: "Play the tests of workflows: mocked tasks, virtual time",
		Long: `Play test files (*.test.yaml): each case runs its workflow with the given input,
under a clock of its own and with mocks in the place of every call and process.
Nothing is ever called for real, and a wait of thirty days takes no time.

Of a directory all test files in it are played. The exit code is 0 when all cases
pass and the coverage is as high as the files ask for, 1 when not, and 2 for test
files or workflows that are wrong.`,
		Example: `  downbeat test examples
  downbeat test order.test.yaml --run 'refund.*' --coverage
  downbeat test order.test.yaml --update
  downbeat test . -o junit > report.xml`,
		Args: args(1, -1, "the FILE"),
		// -o has a form here that other commands do not have.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd.InheritedFlags()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.test(cmd.Context(), args, &f)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.update, "update", false, "show how the expectations would have to be, and rewrite them in the files")
	fl.BoolVar(&f.coverage, "coverage", false, "list the places of the workflows that no case reached")
	fl.BoolVar(&f.watch, "watch", false, "play again whenever a file changes, until Ctrl-C")
	f.addOffline(fl)
	fl.StringVar(&f.run, "run", "", "play only the cases whose name matches the regular expression `PATTERN`")
	fl.StringVarP(&f.format, "output", "o", "text", "how results are printed: text, json or junit")
	return cmd
}

func (a *app) test(ctx context.Context, args []string, f *testFlags) error {
	switch f.format {
	case "text", "json", "junit":
	default:
		return usage("", "-o %s: there are text, json and junit", f.format)
	}
	if f.watch && f.format != "text" {
		return usage("", "--watch prints text only")
	}
	pattern, err := regexp.Compile(f.run)
	if err != nil {
		return usage("", "--run %s is no regular expression: %w", f.run, err)
	}
	f.pattern = pattern
	if f.watch {
		return a.watchTests(ctx, args, f)
	}
	files, err := testFiles(args)
	if err != nil {
		return err
	}
	var list []*testFile
	for _, file := range files {
		list = append(list, a.playFile(ctx, file, f))
		if a.stopped {
			return &exit{code: exitInterrupted}
		}
	}
	if f.update {
		for _, t := range list {
			if err := a.updateTest(ctx, t, f); err != nil {
				return err
			}
		}
	}
	return a.reportTests(list, f)
}

// testFile is one test file and how it went.
type testFile struct {
	file     string
	source   []byte
	suite    *rehearse.Suite
	play     *rehearse.Rehearsal
	findings []report.Findings // of the test file, or of a workflow
	results  []*rehearse.Result
	coverage []rehearse.Coverage
	took     time.Duration
	watched  []string // files whose change matters
	err      error
	partly   bool // not every case was played
}

// invalid reports that the file could not be played.
func (t *testFile) invalid() bool {
	return t.err != nil || slices.ContainsFunc(t.findings, func(f report.Findings) bool { return f.Count(workflow.SeverityError) > 0 })
}

// low is the coverage that misses the minimum, or nil.
func (t *testFile) low() *rehearse.Coverage {
	if t.suite == nil || t.suite.Minimum == nil || t.partly {
		return nil
	}
	for i := range t.coverage {
		if c := &t.coverage[i]; c.Root && c.Percent() < *t.suite.Minimum {
			return c
		}
	}
	return nil
}

func (t *testFile) failed() int {
	n := 0
	for _, r := range t.results {
		if !r.Passed() {
			n++
		}
	}
	return n
}

// playFile reads a test file with its workflows, and plays its cases.
func (a *app) playFile(ctx context.Context, file string, f *testFlags) *testFile {
	t := &testFile{file: file, watched: []string{file}}
	begun := a.clock.Monotonic()
	defer func() { t.took = a.clock.Since(begun) }()
	if t.source, t.err = os.ReadFile(file); t.err != nil {
		return t
	}
	suite, list := rehearse.Decode(t.source)
	t.findings = append(t.findings, report.Findings{File: file, Source: t.source, List: list})
	if suite == nil {
		return t
	}
	t.suite = suite
	root, ok := a.testWorkflow(ctx, t, f)
	if !ok {
		return t
	}
	others := a.testChildren(ctx, t, f)
	r, list := rehearse.Link(suite, root, others, program.Options{Functions: functionsOf(append(others, root))})
	t.findings = append(t.findings, report.Findings{File: file, Source: t.source, List: list})
	if r == nil {
		return t
	}
	t.play = r
	for _, c := range suite.Cases {
		if !f.pattern.MatchString(c.Name) {
			t.partly = true
			continue
		}
		t.results = append(t.results, r.Play(c))
	}
	if len(t.results) > 0 {
		t.coverage = r.Coverage()
	}
	return t
}

// testWorkflow reads the workflow that a test file is for.
func (a *app) testWorkflow(ctx context.Context, t *testFile, f *testFlags) (rehearse.Definition, bool) {
	file := filepath.Join(filepath.Dir(t.file), filepath.FromSlash(t.suite.Workflow.Text))
	t.watched = append(t.watched, file)
	src, err := a.readFile(file)
	if err != nil {
		t.findings = append(t.findings, report.Findings{File: t.file, Source: t.source, List: []workflow.Finding{{
			Pos: t.suite.Workflow.Pos, Rule: "test/workflow", Message: fmt.Sprintf("the workflow cannot be read: %v", err),
			Allowed: "the file is named relative to the test file",
		}}})
		return rehearse.Definition{}, false
	}
	def, list := a.check(ctx, file, src, f.nodeFlags)
	t.watch(file, def)
	list = slices.DeleteFunc(list, func(f workflow.Finding) bool { return f.Severity != workflow.SeverityError })
	t.findings = append(t.findings, report.Findings{File: file, Source: src, List: list})
	return rehearse.Definition{File: file, Workflow: def}, def != nil && len(list) == 0
}

// watch notes the files that were attached to a workflow.
func (t *testFile) watch(file string, def *workflow.Definition) {
	if def == nil {
		return
	}
	for _, x := range def.Linked {
		if strings.HasPrefix(x.URI, "file:") {
			t.watched = append(t.watched, link.File(directoryOf(file), x.URI))
		}
	}
}

// testChildren reads the workflows that the one under test may start. Those
// that are invalid are left out: a case that starts one says that it is missing.
func (a *app) testChildren(ctx context.Context, t *testFile, f *testFlags) (out []rehearse.Definition) {
	if t.suite.Workflows.Text == "" {
		return nil
	}
	dir := filepath.Join(filepath.Dir(t.file), filepath.FromSlash(t.suite.Workflows.Text))
	t.watched = append(t.watched, dir)
	files, err := forms.Expand([]string{dir})
	if info, statErr := os.Stat(dir); err == nil && (statErr != nil || !info.IsDir()) {
		err = fmt.Errorf("%s is no directory", dir)
	}
	if err != nil {
		t.findings = append(t.findings, report.Findings{File: t.file, Source: t.source, List: []workflow.Finding{{
			Pos: t.suite.Workflows.Pos, Rule: "test/workflow", Message: fmt.Sprintf("the workflows cannot be read: %v", err),
			Allowed: "the directory is named relative to the test file",
		}}})
		return nil
	}
	for _, file := range files {
		t.watched = append(t.watched, file)
		src, err := a.readFile(file)
		if err != nil {
			continue
		}
		if def, list := a.check(ctx, file, src, f.nodeFlags); def != nil && !source.HasErrors(list) {
			t.watch(file, def)
			out = append(out, rehearse.Definition{File: file, Workflow: def})
		}
	}
	return out
}

// functionsOf are the functions of the default catalogue that definitions call.
// The check has made sure that they exist.
func functionsOf(list []rehearse.Definition) []string {
	var names []string
	for _, d := range list {
		for t := range d.Workflow.Tasks() {
			if t.Kind == workflow.CallTask && t.Call != nil {
				name, _, _ := strings.Cut(t.Call.Name, "@")
				name, _, _ = strings.Cut(name, ":")
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func isTestFile(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".test.yaml") || strings.HasSuffix(name, ".test.yml") || strings.HasSuffix(name, ".test.json")
}

// testFiles replaces directories by the test files in them.
func testFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, usage(nearFile(arg), "read the tests: %w", err)
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != arg && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
				return filepath.SkipDir
			case !d.IsDir() && isTestFile(d.Name()):
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, usage("", "read directory: %w", err)
		}
		if len(files) == before {
			return nil, usage("the name of a test file ends in .test.yaml", "directory %s holds no test file", arg)
		}
	}
	return files, nil
}

// nearFile says which file of the same directory was probably meant.
func nearFile(file string) string {
	var names []string
	entries, _ := os.ReadDir(filepath.Dir(file))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if near := source.Nearest(filepath.Base(file), names); near != "" {
		return fmt.Sprintf("did you mean %s?", filepath.Join(filepath.Dir(file), near))
	}
	return ""
}

// updateTest shows how the expectations of a file would have to be, and writes them.
func (a *app) updateTest(ctx context.Context, t *testFile, f *testFlags) error {
	if t.play == nil || t.failed() == 0 {
		return nil
	}
	src, left, err := t.play.Update(t.results)
	if err != nil {
		return fmt.Errorf("update %s: %w", t.file, err)
	}
	for _, l := range left {
		_, _ = fmt.Fprintf(a.err, "%s: not updated: %s\n", t.file, l)
	}
	if string(src) == string(t.source) {
		return nil
	}
	p := a.term.Style
	_, _ = fmt.Fprintf(a.err, "%s\n", p.Bold(t.file))
	for _, line := range yamledit.LineDiff(string(t.source), string(src)) {
		switch line[0] {
		case '-':
			line = p.Bad(line)
		case '+':
			line = p.Good(line)
		case '@':
			line = p.Dim(line)
		}
		_, _ = fmt.Fprintln(a.err, line)
	}
	info, err := os.Stat(t.file)
	if err != nil {
		return fmt.Errorf("update %s: %w", t.file, err)
	}
	if err := os.WriteFile(t.file, src, info.Mode().Perm()); err != nil {
		return fmt.Errorf("update %s: %w", t.file, err)
	}
	again := a.playFile(ctx, t.file, &testFlags{nodeFlags: f.nodeFlags, pattern: regexp.MustCompile(onlyNames(t.results))})
	again.partly = t.partly
	*t = *again
	return nil
}

// onlyNames matches the names of the results' cases.
func onlyNames(results []*rehearse.Result) string {
	names := make([]string, len(results))
	for i, r := range results {
		names[i] = regexp.QuoteMeta(r.Case.Name)
	}
	return "^(?:" + strings.Join(names, "|") + ")$"
}

// pollEvery is how often watch looks at the files.
const pollEvery = 300 * time.Millisecond

// watchTests plays the files again whenever one changes.
func (a *app) watchTests(ctx context.Context, args []string, f *testFlags) error {
	ticker := a.clock.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		files, err := testFiles(args)
		if err != nil {
			return err
		}
		var list []*testFile
		watched := slices.Clone(args)
		for _, file := range files {
			t := a.playFile(ctx, file, f)
			if f.update {
				if err := a.updateTest(ctx, t, f); err != nil {
					return err
				}
			}
			if a.stopped {
				return nil
			}
			list = append(list, t)
			watched = append(watched, t.watched...)
		}
		seen := modified(watched)
		_ = a.reportTests(list, f) // its exit code matters to nobody here
		_, _ = fmt.Fprintf(a.err, "%s\n", a.term.Style.Dim(fmt.Sprintf("watching %s", progress.Plural(len(files), "test file"))))
		for modified(watched) == seen {
			select {
			case <-ticker.C:
			case <-a.signals:
				return nil
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// modified is a text that changes when one of the files does.
func modified(files []string) string {
	var b strings.Builder
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			b.WriteString(f + " gone\n")
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", f, info.ModTime().UnixNano(), info.Size())
	}
	return b.String()
}
