//go:build linux || darwin

package process_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// TestMain also plays a Downbeat that is killed while a program of its runs.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DOWNBEAT_TEST_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	os.Exit(m.Run())
}

// victim runs the command of the file "command" and journals its handle in the
// file "handle". With a file "stay" it never comes back from journaling.
func victim(dir string) {
	command, err := os.ReadFile(filepath.Join(dir, "command"))
	if err != nil {
		panic(err)
	}
	r := &executor.Request{
		Kind: "shell", Arguments: object{"command": string(command)}, IdempotencyKey: "victim " + dir, Attempt: 1, Directory: dir, Log: new(executortest.Log),
		Bind: func(ctx context.Context, handle any) error {
			file := filepath.Join(dir, "handle")
			if err := os.WriteFile(file+"~", value.JSON(handle), 0o600); err != nil {
				return err
			}
			if err := os.Rename(file+"~", file); err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(dir, "stay")); err == nil {
				<-ctx.Done()
			}
			return nil
		},
	}
	_, _ = newExecutor().Execute(context.Background(), r)
}

// kill9 runs a victim until the file `until` is there, kills it, and returns
// the handle that it journaled.
func kill9(t *testing.T, dir, command, until string) any {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("no gate on this system")
	}
	if err := os.WriteFile(filepath.Join(dir, "command"), []byte(command), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DOWNBEAT_TEST_VICTIM="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-appears(t, filepath.Join(dir, until))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b, err := os.ReadFile(filepath.Join(dir, "handle"))
	if err != nil {
		t.Fatal(err)
	}
	handle, err := value.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

func readPID(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestRecoverEndsSurvivor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	handle := kill9(t, dir, `trap "" TERM; (trap "" TERM; sleep 1000) & echo $! > pid; mv pid ready; while :; do sleep 0.1; done`, "ready")
	pid := readPID(t, filepath.Join(dir, "ready"))
	if !alive(pid) {
		t.Fatal("nothing survived; the test shows nothing")
	}
	e := process.New(process.Config{Grace: 100 * time.Millisecond})
	// Another process that only has the pid is left alone.
	for _, wrong := range []object{{"boot": "another boot"}, {"start": 1}} {
		h, _ := value.Copy(handle).(object)
		maps.Copy(h, wrong)
		if err := e.Recover(t.Context(), h); err != nil || !alive(pid) {
			t.Fatalf("Recover with %v: %v, alive %v; want nothing done", wrong, err, alive(pid))
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := e.Recover(t.Context(), handle); err != nil {
			t.Fatal(err)
		}
	}
	if m, _ := handle.(object); alive(pid) || alive(string(value.JSON(m["pid"]))) {
		t.Error("a survivor lives")
	}
}

func TestRecoverEndsOrphansOfTheGroup(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("orphans are told by their environment, which only Linux shows")
	}
	dir := t.TempDir()
	handle := kill9(t, dir, `sleep 1000 & echo $! > pid; mv pid ready; while :; do sleep 0.1; done`, "ready")
	pid := readPID(t, filepath.Join(dir, "ready"))
	m, _ := handle.(object)
	leader, _ := m["pid"].(int)
	if err := syscall.Kill(leader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for alive(string(value.JSON(leader))) {
		time.Sleep(time.Millisecond)
	}
	if !alive(pid) {
		t.Fatal("nothing survived; the test shows nothing")
	}
	if err := newExecutor().Recover(t.Context(), handle); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the orphan lives")
	}
}

// When Downbeat dies before the identity is durable, the program never runs.
func TestGateStaysShut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stay"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	handle := kill9(t, dir, "touch effect", "handle")
	m, _ := handle.(object)
	pid := string(value.JSON(m["pid"]))
	for alive(pid) {
		time.Sleep(time.Millisecond)
	}
	if _, err := os.Stat(filepath.Join(dir, "effect")); err == nil {
		t.Error("the program ran")
	}
	if err := newExecutor().Recover(t.Context(), handle); err != nil {
		t.Error(err)
	}
}

func TestRecoverRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, h := range []any{nil, "x", object{}, object{"boot": "b", "pid": 1, "start": 0, "group": 1, "key": ""}, object{"boot": "b", "pid": -5, "start": 0, "group": 5, "key": ""}} {
		if err := newExecutor().Recover(t.Context(), h); err == nil {
			t.Errorf("%v: no error", h)
		}
	}
}

func BenchmarkShell(b *testing.B) {
	e := newExecutor()
	r, _ := executortest.Request(b, "shell", object{"command": "true"})
	for b.Loop() {
		if _, err := e.Execute(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
