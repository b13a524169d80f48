package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var building sync.Mutex

// standIn starts a program of examples/ and returns the first line that it
// prints, without the words before an address.
func standIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	file := filepath.Join(bin, strings.ReplaceAll(dir, "/", "-"))
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	building.Lock()
	if _, err := os.Stat(file); err != nil {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./examples/"+dir)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			building.Unlock()
			t.Fatalf("build %s: %v\n%s", dir, err, out)
		}
	}
	building.Unlock()
	cmd := exec.CommandContext(t.Context(), file, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = r.Close()
	})
	_ = w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("%s printed nothing: %v", dir, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// needs skips the test when the machine lacks a program: never in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			lacks(t, p)
		}
	}
}

func lacks(t *testing.T, what string) {
	t.Helper()
	if environ("CI") == "true" {
		t.Fatalf("this machine has no %s", what)
	}
	t.Skipf("SKIPPED: this machine has no %s; the example is not run", what)
}

// run runs the example on a new data directory and compares the output.
func (e example) run(t *testing.T) {
	t.Helper()
	if got := e.answer(t, t.TempDir(), append([]string{"run", "-q"}, e.args...)...); got != e.want {
		t.Errorf("%s: got  %s\nwant %s", e.name, got, e.want)
	}
}

// killedWhen runs the example, kills the process as soon as when holds, goes on
// with the run, and returns its output.
func (e example) killedWhen(t *testing.T, data string, when func() bool) string {
	t.Helper()
	cmd := e.downbeat(t, data, append([]string{"run", "-q"}, e.args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !when(); {
		select {
		case err := <-ended:
			t.Fatalf("%s ended before it could be killed: %v\n%s%s", e.name, err, stdout.Bytes(), stderr.Bytes())
		case <-tick.C:
			if time.Now().After(deadline) {
				t.Fatalf("%s never came to where it is to be killed\n%s", e.name, stderr.Bytes())
			}
		}
	}
	_ = cmd.Process.Kill()
	if _, killed := errors.AsType[*exec.ExitError](<-ended); !killed {
		t.Fatalf("%s was not killed: %s", e.name, stdout.Bytes())
	}
	if list := e.answer(t, data, "runs", "list", "-o", "json"); !strings.Contains(list, `"interrupted":true`) {
		t.Fatalf("%s is not interrupted: %s", e.name, list)
	}
	if e.event != "" {
		e.answer(t, data, "events", "send", e.event)
	}
	return e.answer(t, data, "runs", "resume", "-q")
}

// completed tells whether a task of the only run has ended well.
func (e example) completed(t *testing.T, data, task string) bool {
	t.Helper()
	var list struct{ Runs []struct{ ID string } }
	if err := json.Unmarshal([]byte(e.answer(t, data, "runs", "list", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Runs) == 0 {
		return false
	}
	var run struct {
		Tasks []struct{ Name, Status string }
	}
	if err := json.Unmarshal([]byte(e.answer(t, data, "runs", "get", list.Runs[0].ID, "-o", "json")), &run); err != nil {
		t.Fatal(err)
	}
	for _, k := range run.Tasks {
		if k.Name == task && k.Status == "completed" {
			return true
		}
	}
	return false
}

// same compares effects without regard to their order.
func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("effects are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func incidentTriage(tools string, more ...string) example {
	return example{
		name: "incident-triage", args: append([]string{"incident-triage/workflow.yaml", "--input", "@incident-triage/alert.yaml", "--set", "tools=" + tools}, more...),
		want: `{"action":"rolled back to 2.7.3","cause":"deployment","incident":"INC-4711","service":"checkout","status":"repaired"}`,
	}
}

// DSL 104, D24: branches that may fail inside, functions that read the caller's context.
func TestIncidentTriage(t *testing.T) {
	t.Parallel()
	e := incidentTriage(standIn(t, "incident-triage/services", "-addr", "127.0.0.1:0"), "--set", "pause=PT0.05S")
	e.run(t)

	// Killed after the repair, before anybody knows whether it helped.
	url := standIn(t, "incident-triage/services", "-addr", "127.0.0.1:0")
	e = incidentTriage(url, "--set", "pause=PT2S")
	got := e.killedWhen(t, t.TempDir(), func() bool { return slices.Contains(effects(t, url), "deployed checkout 2.7.3") })
	if got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	same(t, effects(t, url), "deployed checkout 2.7.3", "said INC-4711: checkout: deployment; rolled back to 2.7.3; repaired")
}

// DSL 127, D41: an event about this incident, accepted while no process was there.
func TestIncidentTriageByAPerson(t *testing.T) {
	t.Parallel()
	// Killed while it waits for somebody, who acknowledges meanwhile.
	url := standIn(t, "incident-triage/services", "-addr", "127.0.0.1:0")
	e := incidentTriage(url, "--set", "alert.id=INC-4712", "--set", "alert.service=search")
	e.event = "incident-triage/acknowledged.json"
	got := e.killedWhen(t, t.TempDir(), func() bool { return slices.Contains(effects(t, url), "paged primary") })
	if want := `{"action":"none","by":"Ada","cause":"unknown","incident":"INC-4712","service":"search","status":"with a person"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	same(t, effects(t, url), "paged primary", "said INC-4712: search: unknown; none; with a person")
}

func billingRun(services, reminders string) example {
	return example{
		name: "billing-run", args: []string{
			"billing-run/workflow.yaml", "--set", "period=2026-08", "--set", "services=" + services, "--set", "pause=PT0.05S", "--set", "reminders=" + reminders,
		},
		want: `{"collected":5200,"customers":8,"failed":[{"customer":"c-5","why":"Not Found"}],"period":"2026-08","suspended":["c-4"]}`,
	}
}

// DSL 60, DSL 99, D16, D36: headers by the author, a loop that ends early, retries within a time, map with onError: continue.
func TestBillingRun(t *testing.T) {
	t.Parallel()
	url := standIn(t, "billing-run/services", "-addr", "127.0.0.1:0")
	e := billingRun(url, `["PT0.1S","PT0.2S","PT2S"]`)
	got := e.killedWhen(t, t.TempDir(), func() bool { return slices.Contains(effects(t, url), "/mails 2026-08-c-4/reminder-3 202") })
	if got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	once := []string{
		"/charges 2026-08-c-1/0 201",
		"/charges 2026-08-c-3/0 402", "/mails 2026-08-c-3/reminder-1 202", "/charges 2026-08-c-3/1 402", "/mails 2026-08-c-3/reminder-2 202", "/charges 2026-08-c-3/2 201",
		"/charges 2026-08-c-4/0 402", "/mails 2026-08-c-4/reminder-1 202", "/charges 2026-08-c-4/1 402", "/mails 2026-08-c-4/reminder-2 202", "/charges 2026-08-c-4/2 402",
		"/mails 2026-08-c-4/reminder-3 202", "/charges 2026-08-c-4/3 402", "/suspensions 2026-08-c-4/suspension 201",
		"/charges 2026-08-c-5/0 404", "/charges 2026-08-c-6/0 201", "/charges 2026-08-c-7/0 201", "/charges 2026-08-c-8/0 201",
	}
	same(t, effects(t, url), once...)
	// The same month once more, by a run that knows nothing of the other: nobody pays twice.
	billingRun(url, `["PT0S","PT0S","PT0S"]`).run(t)
	same(t, effects(t, url), once...)
}

func certificateSweep(servers string) example {
	return example{
		name: "certificate-sweep", args: []string{"certificate-sweep/workflow.yaml", "--input", servers, "--set", "pause=PT0.3S"},
		want: `{"checked":7,"expired":[{"days":-2,"server":"old.example"}],"fine":1,"soon":[{"days":20,"server":"mail.example"}],"unreachable":["gone.example"],` +
			`"untrusted":[{"server":"www.example","why":"hostname mismatch"},{"server":"lab.example","why":"self-signed certificate"}],"urgent":[{"days":3,"server":"api.example"}]}`,
	}
}

// DSL 138, D27, D28: a script with stdin, a program that fails, arguments of a shell.
func TestCertificateSweep(t *testing.T) {
	t.Parallel()
	needs(t, "sh", "openssl", "python3")
	e := certificateSweep(standIn(t, "certificate-sweep/servers"))
	e.run(t)
	// Killed when some servers have answered, and one has not.
	data := t.TempDir()
	e.args = append(e.args, "--set", "pause=PT1S")
	if got := e.killedWhen(t, data, func() bool { return e.completed(t, data, "certificate") }); got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
}

func buildDeploy(repository, directory, ref string) example {
	return example{
		name: "build-deploy", args: []string{
			"build-deploy/workflow.yaml", "--set", "repository=" + repository, "--set", "directory=" + directory, "--set", "ref=" + ref, "--set", "pause=PT0.05S",
		},
		want: `{"previous":null,"release":"e4ad97989273","removed":[],"status":"deployed","version":"v1"}`,
	}
}

// DSL 91, D5, D9: errors of one's own, a branch that faults, a raise that is skipped.
func TestBuildDeploy(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the example wants the mv of Linux")
	}
	needs(t, "sh", "git", "go")
	dir := t.TempDir()
	repository, srv := filepath.Join(dir, "shop.git"), filepath.Join(dir, "srv")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(root, "examples/build-deploy/sample.sh"), repository).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	version := func() string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(srv, "current/app"), "-version").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	// A first release that does not work leaves nothing in place.
	e := buildDeploy(repository, srv, "v4")
	e.faults(t, "c0a7b7ab3428 exit code 1: stat prices.txt: no such file or directory; there is no release to go back to; taken away")
	if _, err := os.Lstat(filepath.Join(srv, "current")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is still a release in place: %v", err)
	}

	buildDeploy(repository, srv, "v1").run(t)
	// Killed while it is proved.
	e = buildDeploy(repository, srv, "v2")
	got := e.killedWhen(t, t.TempDir(), func() bool {
		checkouts, _ := filepath.Glob(filepath.Join(srv, "builds/fb27f9deb9b6*/main.go"))
		return len(checkouts) > 0
	})
	if want := `{"previous":"e4ad97989273","release":"fb27f9deb9b6","removed":[],"status":"deployed","version":"v2"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.want = `{"release":"fb27f9deb9b6","status":"unchanged"}`
	e.run(t)

	buildDeploy(repository, srv, "v3").faults(t, "three cost 33, want 30")
	buildDeploy(repository, srv, "v4").faults(t, "rolled back to fb27f9deb9b6, which works")
	buildDeploy(repository, srv, "v5").faults(t, "has no branch and no tag v5")
	if got := version(); got != "v2" {
		t.Errorf("in place is %s, want v2", got)
	}
}

// faults runs the example, which must fault and say why.
func (e example) faults(t *testing.T, why string) {
	t.Helper()
	out, err := e.downbeat(t, t.TempDir(), append([]string{"run", "-q"}, e.args...)...).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), why) {
		t.Errorf("%s: %v; want exit code 1 and %q\n%s", e.name, err, why, out)
	}
}

// TestTestsOfExamples plays the test file of every example: all cases pass and reach every branch.
// DSL 112, DSL 171-173: catch.then of a repair that does not help; the input of a run that an event started.
func TestTestsOfExamples(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob(filepath.Join(root, "examples/*/workflow.yaml"))
	if err != nil || len(dirs) < 13 {
		t.Fatalf("examples: %v %v", dirs, err)
	}
	for _, d := range dirs {
		d = filepath.Dir(d)
		src, err := os.ReadFile(filepath.Join(d, "workflow.test.yaml"))
		if err != nil {
			t.Error(err)
		}
		if !bytes.Contains(src, []byte("\ncoverage: {minimum: 100}\n")) {
			t.Errorf("%s does not ask for full coverage", d)
		}
		if !bytes.Contains(src, []byte("crash: every")) {
			t.Errorf("%s has no case with crashes", d)
		}
	}
	e := example{}
	if out, err := e.downbeat(t, t.TempDir(), "test", ".", "--coverage").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestExamplesAreValid: no example has an error or a warning; hints tell what this version does not act on.
func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	var list struct {
		Files []struct {
			File     string
			Findings []struct{ Severity, Message string }
		}
	}
	if err := json.Unmarshal([]byte(example{}.answer(t, t.TempDir(), "validate", ".", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Files) < 15 {
		t.Errorf("only %d files", len(list.Files))
	}
	for _, f := range list.Files {
		for _, x := range f.Findings {
			if x.Severity != "hint" {
				t.Errorf("%s: %s: %s", f.File, x.Severity, x.Message)
			}
		}
	}
}

// TestMoreReadmesShowWhatIsTrue compares the JSON block of each README with what the example gives.
func TestMoreReadmesShowWhatIsTrue(t *testing.T) {
	t.Parallel()
	for _, e := range []example{incidentTriage(""), billingRun("", ""), certificateSweep(""), buildDeploy("", "", "")} {
		src, err := os.ReadFile(filepath.Join(root, "examples", e.name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), fmt.Sprintf("```json\n%s\n```", e.want)) {
			t.Errorf("the README of %s does not show %s", e.name, e.want)
		}
	}
}
