package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// started counts the containers of the pipeline that the engine has started since then.
func started(t *testing.T, host string, since time.Time) int {
	t.Helper()
	socket := strings.TrimPrefix(host, "unix://")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	filters := url.QueryEscape(`{"type":["container"],"event":["start"],"label":["downbeat.workflow=examples/container-pipeline:1.0.0"]}`)
	now := time.Now()
	resp, err := client.Get(fmt.Sprintf("http://engine/v1.41/events?since=%d.%09d&until=%d.%09d&filters=%s", since.Unix(), since.Nanosecond(), now.Unix(), now.Nanosecond(), filters))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return strings.Count(b.String(), `"Action":"start"`)
}

// TestContainerPipeline runs the pipeline by a real engine, killed while its second container runs.
// DSL 133-135: command, environment, volumes, lifetime and pullPolicy of containers.
func TestContainerPipeline(t *testing.T) {
	t.Parallel()
	e := example{
		name: "container-pipeline",
		want: `{"cents":42400,"countries":3,"digest":"ff3af9a57fd7","release":"sales-2026-08.tar.gz","rows":6}`,
	}
	e.readmeShows(t)
	engine := environ("DOWNBEAT_DOCKER")
	if engine == "" {
		t.Skip("NO CONTAINER ENGINE: set DOWNBEAT_DOCKER, see .ci/components/docker; the example is not run")
	}
	releases := t.TempDir()
	e.env = []string{"DOCKER_HOST=" + engine}
	e.args = []string{
		"container-pipeline/workflow.yaml", "--set", "month=2026-08", "--set", "sales=" + filepath.Join(root, "examples/container-pipeline/sales"),
		"--set", "releases=" + releases, "--set", "image=localhost/downbeat-busybox:latest",
	}
	since := time.Now()
	if got := e.killedWhen(t, t.TempDir(), func() bool { return started(t, engine, since) == 2 }); got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	if n := started(t, engine, since); n != 7 {
		t.Errorf("%d containers were started, want 7: fetch, transform, three tests, package, clean", n)
	}
	e.args[2] = "month=2026-09"
	e.faults(t, "exit code 1: Germany")
	if n := started(t, engine, since); n != 13 {
		t.Errorf("%d containers were started, want 13: package was not", n)
	}
	if files, err := os.ReadDir(releases); err != nil || len(files) != 1 || files[0].Name() != "sales-2026-08.tar.gz" {
		t.Errorf("released is %v, %v", files, err)
	}
	e.args[len(e.args)-1] = "image=evil.example/busybox"
	e.faults(t, "evil.example")
}
