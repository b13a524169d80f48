package container_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/container"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// daemon is a Docker engine of the test's own, which can be killed and started again.
type daemon struct {
	dir  string
	args []string
	cmd  *exec.Cmd
	over chan struct{}
}

// newDaemon starts an engine in a network of its own: as it starts, it takes the
// bridge of another one away.
func newDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	if os.Getenv("DOWNBEAT_DOCKER") == "" {
		t.Skip("NO CONTAINER ENGINE: set DOWNBEAT_DOCKER, see .ci/components/docker")
	}
	for _, program := range []string{"dockerd", "unshare"} {
		if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
			t.Skip("an engine that can be restarted needs dockerd, unshare and root")
		}
	}
	dir, err := os.MkdirTemp("", "engine") //nolint:usetesting // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir, args: append([]string{
		"--host", "unix://" + dir + "/sock", "--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/pid",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=1",
	}, args...)}
	d.start(t)
	t.Cleanup(func() {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		<-d.over
		for exec.Command("umount", "-l", dir+"/data").Run() == nil { // one that was killed leaves it mounted
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *daemon) host() string { return "unix://" + d.dir + "/sock" }

// start returns when the engine listens.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.cmd = exec.Command("unshare", append([]string{"--net", "dockerd"}, d.args...)...)
	said, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan bool, 1)
	d.over = make(chan struct{})
	go func() {
		defer close(d.over)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if strings.Contains(lines.Text(), "API listen on") {
				listens <- true
			}
		}
		_ = d.cmd.Wait()
		close(listens)
	}()
	if !<-listens {
		t.Fatal("dockerd has ended")
	}
}

// crash kills the engine, which has no time for anything.
func (d *daemon) crash(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.over
	// Its own containerd dies with it; where nobody buries the dead, both pids look alive.
	_ = os.Remove(filepath.Join(d.dir, "pid"))
	_ = os.Remove(filepath.Join(d.dir, "exec", "containerd", "containerd.pid"))
}

// engine is the daemon with the image of the tests.
func (d *daemon) engine(t *testing.T) *engine {
	t.Helper()
	from, err := client.New(client.WithHost(os.Getenv("DOWNBEAT_DOCKER")))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	saved, err := from.ImageSave(t.Context(), []string{image})
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	e := newEngine(t, d.host(), container.Config{})
	loaded, err := e.client.ImageLoad(t.Context(), saved)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, loaded); err != nil {
		t.Fatal(err)
	}
	_ = loaded.Close()
	return e
}

// The daemon crashes and comes back, and its containers with it have ended: the
// fault says so.
func TestDaemonRestarts(t *testing.T) {
	d := newDaemon(t)
	e := d.engine(t)
	r, log := e.request(t, object{"command": "echo up; sleep 600"})
	up := watching(r, log, "up")
	done := make(chan error, 1)
	go func() {
		_, err := e.Execute(t.Context(), r)
		done <- err
	}()
	<-up.seen
	d.crash(t)
	d.start(t)
	p := executortest.CheckProblem(t, <-done)
	if p.Type != event.TypePrefix+event.Runtime || !strings.Contains(p.Detail, "the engine went away and came back meanwhile, which ends containers") {
		t.Errorf("got %s: %s", p.Title, p.Detail)
	}
	if left := e.all(t); len(left) != 0 {
		t.Errorf("there are %v", left)
	}
	e.wants(t, object{"command": "echo again"}, "again")
}

// The daemon crashes and comes back, and keeps its containers (live-restore):
// the task goes on as if nothing had happened.
func TestDaemonRestartsAlone(t *testing.T) {
	d := newDaemon(t, "--live-restore")
	e := d.engine(t)
	volumes, wait, open := gate(t)
	r, log := e.request(t, object{"command": "echo up; " + wait + "; echo end", "volumes": volumes})
	up := watching(r, log, "up")
	done := make(chan error, 1)
	var output any
	go func() {
		result, err := e.Execute(t.Context(), r)
		output = result.Output
		done <- err
	}()
	<-up.seen
	d.crash(t)
	d.start(t)
	open()
	if err := <-done; err != nil || output != "up\nend" {
		t.Errorf("got %q, %v", output, err)
	}
	if left := e.all(t); len(left) != 0 {
		t.Errorf("there are %v", left)
	}
}
