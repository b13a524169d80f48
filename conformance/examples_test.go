package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is one use in examples/, and what it must give.
type example struct {
	name  string
	args  []string // after `downbeat run`
	path  string   // directory before PATH
	env   []string // more variables
	event string   // file of a cloud event that it waits for
	want  string
}

// examples are all of them; services is where the stand-ins listen.
func examples(services string) []example {
	return []example{
		{name: "hello", args: []string{"hello.yaml", "--set", "name=Ada"}, want: `{"from":"hello","message":"Hello, Ada!"}`},
		{
			name: "fleet-health", args: []string{"fleet-health/workflow.yaml", "--input", "@fleet-health/fleet.yaml"}, path: "fleet-health/bin",
			want: `{"checked":5,"full":[{"host":"db-1","used":96}],"healthy":["web-1","web-2","build-1"],"unreachable":["old-1"]}`,
		},
		{
			name: "api-composition", args: []string{"api-composition/workflow.yaml", "--set", "order=o-7", "--set", "services=" + services},
			want: `{"arrives":"2026-09-01","order":"o-7","receipt":"r-o-7","shelf":"B7","status":"accepted"}`,
		},
		{
			name: "credit-approval", args: []string{"credit-approval/workflow.yaml"}, event: "credit-approval/approved.json",
			want: `{"amount":12000,"application":"A-100","by":"Grace","decision":"approved"}`,
		},
		{name: "function-catalogue", args: []string{"function-catalogue/workflow.yaml"}, want: `{"checked":1,"low":[]}`},
	}
}

// services starts the stand-ins of api-composition and returns where they listen.
func services(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "services"), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// effects are what took effect at the services, in their order.
func effects(t *testing.T, url string) []string {
	t.Helper()
	resp, err := http.Get(url + "/effects")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var list []string
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

// downbeat is a command on a data directory.
func (e example) downbeat(t *testing.T, data string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "downbeat"), append(args, "--data", data)...)
	cmd.Dir = filepath.Join(root, "examples")
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "DOWNBEAT_CONFIG=", "XDG_CONFIG_HOME="+data)
	cmd.Env = append(cmd.Env, e.env...)
	if e.path != "" {
		cmd.Env = append(cmd.Env, "PATH="+filepath.Join(root, "examples", e.path)+string(os.PathListSeparator)+environ("PATH"))
	}
	return cmd
}

// answer runs a command that must end well and returns its stdout.
func (e example) answer(t *testing.T, data string, args ...string) string {
	t.Helper()
	cmd := e.downbeat(t, data, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("downbeat %v: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// sendWhenItWaits sends the example's event as soon as a run waits for it.
func (e example) sendWhenItWaits(t *testing.T, data string) {
	t.Helper()
	for range 400 {
		if strings.Contains(e.answer(t, data, "runs", "list", "-o", "json"), `"status":"waiting"`) {
			e.answer(t, data, "events", "send", e.event)
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Error("the run never waited")
}

// TestExamples runs every example as its README says.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, e := range examples(services(t)) {
		t.Run(e.name, func(t *testing.T) {
			data := t.TempDir()
			cmd := e.downbeat(t, data, append([]string{"run"}, e.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if e.event != "" {
				e.sendWhenItWaits(t, data)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			if got := strings.TrimSpace(stdout.String()); got != e.want {
				t.Errorf("got  %s\nwant %s\n%s", got, e.want, stderr.Bytes())
			}
		})
	}
}

// TestExamplesSurviveAKill kills the process of every example at several
// instants; whatever was acknowledged is resumed and gives the same answer.
func TestExamplesSurviveAKill(t *testing.T) {
	t.Parallel()
	delays := []time.Duration{8, 14, 20, 30, 60}
	if testing.Short() {
		delays = delays[2:3]
	}
	for _, delay := range delays {
		url := services(t)
		for _, e := range examples(url) {
			e.killAndResume(t, delay*time.Millisecond)
		}
		// However often a request was repeated, it took effect once.
		done := effects(t, url)
		slices.Sort(done)
		if unique := slices.Compact(slices.Clone(done)); len(unique) != len(done) {
			t.Errorf("an effect happened twice: %v", done)
		}
	}
}

func (e example) killAndResume(t *testing.T, delay time.Duration) {
	t.Helper()
	data := t.TempDir()
	cmd := e.downbeat(t, data, append([]string{"run", "-q"}, e.args...)...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay)
	_ = cmd.Process.Kill()
	err := cmd.Wait()
	if err == nil {
		if got := strings.TrimSpace(stdout.String()); got != e.want {
			t.Errorf("%s, not killed: got %s, want %s", e.name, got, e.want)
		}
		return
	}
	if _, killed := errors.AsType[*exec.ExitError](err); !killed {
		t.Fatal(err)
	}
	var list struct {
		Runs []struct {
			ID, Status  string
			Interrupted bool
		}
	}
	if err := json.Unmarshal([]byte(e.answer(t, data, "runs", "list", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Runs) == 0 {
		return // killed before the start was acknowledged
	}
	r := list.Runs[0]
	if r.Status == "completed" {
		return // killed after the end
	}
	if !r.Interrupted {
		t.Fatalf("%s after %s: the run is %s and not interrupted", e.name, delay, r.Status)
	}
	if e.event != "" {
		e.answer(t, data, "events", "send", e.event)
	}
	if got := e.answer(t, data, "runs", "resume", "-q"); got != e.want {
		t.Errorf("%s, resumed after a kill at %s: got %s, want %s", e.name, delay, got, e.want)
	}
}

// TestCompensation: a service that refuses has what the others did undone.
func TestCompensation(t *testing.T) {
	t.Parallel()
	url := services(t, "-broken", "payment", "-flaky", "0")
	e := examples(url)[2]
	out := e.answer(t, t.TempDir(), append([]string{"run", "-q"}, e.args...)...)
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got["status"] != "rejected" || got["order"] != "o-7" || !strings.Contains(fmt.Sprint(got["reason"]), "closed today") {
		t.Errorf("got %s", out)
	}
	left := map[string]bool{}
	for _, effect := range effects(t, url) {
		verb, what, _ := strings.Cut(effect, " ")
		left[what] = verb == "POST"
	}
	for what, there := range left {
		if there {
			t.Errorf("%s was not undone", what)
		}
	}
}

// TestReadmesShowWhatIsTrue compares the JSON block of each example's README with what the example gives.
func TestReadmesShowWhatIsTrue(t *testing.T) {
	t.Parallel()
	for _, e := range examples("")[1:] {
		f, err := os.Open(filepath.Join(root, "examples", e.name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		src, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), "```json\n"+e.want+"\n```") {
			t.Errorf("the README of %s does not show %s", e.name, e.want)
		}
	}
}
