package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// callTimeout bounds the calls of the engine that should take no time.
const callTimeout = time.Minute

// connect gives the client of the engine; it looks for one until it has found it.
func (e *Executor) connect(ctx context.Context) (*client.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.engine != nil {
		return e.engine, nil
	}
	hosts, chosen := e.hosts()
	var tried []string
	for _, host := range hosts {
		if path, ok := strings.CutPrefix(host, "unix://"); ok && !chosen {
			if _, err := os.Stat(path); err != nil {
				tried = append(tried, path)
				continue
			}
		}
		c, err := e.dial(ctx, host)
		if err == nil {
			e.engine = c
			close(e.met)
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", host, err))
	}
	if chosen {
		return nil, problem("No container engine", "the engine does not answer: %s; is it running, and may this user reach it?", strings.Join(tried, "; "))
	}
	return nil, problem("No container engine", "neither Docker nor Podman answers; looked at %s; start one, or set DOCKER_HOST", strings.Join(tried, ", "))
}

// hosts are the addresses to try; chosen says that the user named the one.
func (e *Executor) hosts() (hosts []string, chosen bool) {
	for _, name := range []string{"DOCKER_HOST", "CONTAINER_HOST"} {
		if host := e.environment[name]; host != "" {
			return []string{host}, true
		}
	}
	if runtime.GOOS == "windows" {
		return []string{client.DefaultDockerHost, "npipe:////./pipe/podman-machine-default"}, false
	}
	sockets := []string{"/var/run/docker.sock"}
	if dir := e.environment["XDG_RUNTIME_DIR"]; dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman", "podman.sock"))
	}
	if home := e.environment["HOME"]; home != "" {
		sockets = append(sockets, filepath.Join(home, ".docker", "run", "docker.sock"), filepath.Join(home, ".docker", "desktop", "docker.sock"))
	}
	for _, path := range append(sockets, "/run/podman/podman.sock") {
		hosts = append(hosts, "unix://"+path)
	}
	return hosts, false
}

// dial makes the client of one address and negotiates the version of the API.
func (e *Executor) dial(ctx context.Context, host string) (*client.Client, error) {
	if strings.HasPrefix(host, "ssh://") {
		return nil, fmt.Errorf("an engine behind ssh is not reached directly: forward its socket with ssh -L")
	}
	options := []client.Opt{client.WithHost(host), client.WithUserAgent("downbeat")}
	if dir := e.environment["DOCKER_CERT_PATH"]; dir != "" && strings.HasPrefix(host, "tcp://") {
		options = append(options, client.WithTLSClientConfig(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")))
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if _, err := c.Ping(limited, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		_ = c.Close() // nothing of it was used
		return nil, err
	}
	return c, nil
}

// CloseIdleConnections closes the connections that nobody uses.
func (e *Executor) CloseIdleConnections() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.engine != nil {
		_ = e.engine.Close() // it only closes what is idle; the client stays usable
	}
}

// away reports that the engine could not be asked: it has not refused.
func away(err error) bool {
	switch {
	case err == nil, errdefs.IsNotFound(err), errdefs.IsConflict(err), errdefs.IsInvalidArgument(err),
		errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err), errdefs.IsNotImplemented(err):
		return false
	}
	return true
}

// disconnected reports that the engine went away before it had answered.
func disconnected(err error) bool {
	return err != nil && (client.IsErrConnectionFailed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// explained is an error of the engine as users see it.
func explained(title, doing string, err error) *event.Problem {
	if disconnected(err) {
		return problem("Container engine not reachable", "%s: %v", doing, err)
	}
	return problem(title, "%s: %s", doing, strings.TrimPrefix(err.Error(), "Error response from daemon: "))
}

func variables(environment []string) map[string]string {
	m := make(map[string]string, len(environment))
	for _, kv := range environment {
		if name, v, ok := strings.Cut(kv, "="); ok {
			m[name] = v
		}
	}
	return m
}
