//go:build unix

package asyncapi_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbit starts RabbitMQ on ports of its own; skips without it.
func rabbit(t *testing.T) string {
	t.Helper()
	program := "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if !exists(program) {
		if os.Getenv("CI") == "true" {
			t.Fatal("RabbitMQ is not installed")
		}
		t.Skip("RabbitMQ is not installed: the test did not run")
	}
	ports := []string{}
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
		_ = l.Close()
	}
	dir := t.TempDir()
	c := exec.Command(program)
	c.Env = append(os.Environ(), "HOME="+dir, "RABBITMQ_NODENAME=test"+ports[0]+"@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT="+ports[0],
		"RABBITMQ_DIST_PORT="+ports[1], "ERL_EPMD_PORT="+ports[2], "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"), "RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
		_ = exec.Command("epmd", "-port", ports[2], "-kill").Run() // the daemon that Erlang leaves
	})
	address := "127.0.0.1:" + ports[0]
	for range 300 {
		if conn, err := amqp.Dial("amqp://guest:guest@" + address); err == nil {
			_ = conn.Close()
			return address
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("RabbitMQ does not start")
	return ""
}

// DSL 73-77 over AMQP 0-9-1, the real server.
func TestAMQP(t *testing.T) {
	document := write(t, "amqp", rabbit(t), "greetings", "amqp: {is: queue, queue: {durable: true}}")
	behave(t, document, true, true)
	hangs(t, document)
}
