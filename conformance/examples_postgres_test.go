package conformance_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// postgres is a server of its own for one test.
type postgres struct {
	dir  string // readable by the user postgres
	bin  string
	port int
}

// startPostgres makes and starts a server; the superuser's password is "lotus".
func startPostgres(t *testing.T) *postgres {
	t.Helper()
	p := &postgres{bin: postgresBin(t)}
	dir, err := os.MkdirTemp("", "downbeat-postgres-") //nolint:usetesting // that one only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	p.dir = dir
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("lotus\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // which a server refuses to be
		u, err := user.Lookup("postgres")
		if err != nil {
			lacks(t, "user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		for _, f := range []string{dir, filepath.Join(dir, "password")} {
			if err := os.Chown(f, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	p.as(t, `"$1/initdb" -D "$2/data" --auth=scram-sha-256 --username=postgres --pwfile="$2/password" --no-sync`)
	t.Cleanup(func() { p.as(t, `"$1/pg_ctl" -D "$2/data" -m immediate -w stop`) })
	p.as(t, `"$1/pg_ctl" -D "$2/data" -l "$2/log" -w -o "-p $3 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start`)
	return p
}

func postgresBin(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the example wants the programs of Linux")
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	file, err := exec.LookPath("initdb")
	if err != nil {
		lacks(t, "PostgreSQL (.ci/components/postgres installs it)")
	}
	return filepath.Dir(file)
}

// as runs a command of the server as the user that it belongs to.
func (p *postgres) as(t *testing.T, command string) {
	t.Helper()
	args := []string{"sh", "-c", command, "sh", p.bin, p.dir, strconv.Itoa(p.port)}
	if os.Geteuid() == 0 {
		args = append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) // also when the test is over
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		t.Fatalf("%s: %v\n%s%s", command, err, out, log)
	}
}

// sql runs statements as the superuser.
func (p *postgres) sql(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.bin, "psql"), append([]string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "postgres"}, args...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD=lotus")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestDatabaseBackup makes backups of a real database: one is killed while its
// copy is questioned, one is of a database that fails its check, and one finds no server.
func TestDatabaseBackup(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	p.sql(t, "-f", filepath.Join(root, "examples/database-backup/shop.sql"))
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	if err := os.WriteFile(passwords, []byte("*:*:*:backup:rosebud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	backups := filepath.Join(dir, "backups")
	if err := os.Mkdir(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC()
	for days := range 3 {
		name := "shop-" + today.AddDate(0, 0, -days-1).Format("20060102") + "T003000Z.dump"
		if err := os.WriteFile(filepath.Join(backups, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, err := filepath.Rel(filepath.Join(root, "examples"), p.bin)
	if err != nil {
		t.Fatal(err)
	}
	backup := func(check string) example {
		uri := "postgresql://backup@127.0.0.1:" + strconv.Itoa(p.port) + "/%s?passfile=" + passwords
		checks, _ := json.Marshal([]map[string]string{{"name": "orders", "sql": check}})
		return example{name: "database-backup", path: path, args: []string{
			"database-backup/workflow.yaml", "--input", "@database-backup/shop.yaml", "--set", "directory=" + backups, "--set", "pause=PT0.05S", "--set", "keep=" + `{"days":2,"weeks":0}`,
			"--set", "database=" + fmt.Sprintf(uri, "shop"), "--set", "scratch=" + fmt.Sprintf(uri, "postgres"), "--set", "checks=" + string(checks),
		}}
	}
	files := func(pattern string) []string {
		list, _ := filepath.Glob(filepath.Join(backups, pattern))
		return list
	}

	// A check that takes two seconds gives time to kill.
	got := backup("SELECT count(*) = 1000 FROM orders, pg_sleep(2)").killedWhen(t, t.TempDir(), func() bool {
		return len(files("*.dump")) == 4 && p.sql(t, "-c", `SELECT count(*) FROM pg_database WHERE datname LIKE 'verify%'`) == "1"
	})
	var out struct {
		File                        string
		Bytes, Tables, Checks, Kept int
		Removed                     []string
	}
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if out.Tables != 2 || out.Checks != 1 || out.Kept != 2 || len(out.Removed) != 2 || out.Bytes == 0 || len(files("*.dump")) != 2 || len(files("*.sha256")) != 1 {
		t.Errorf("got %s, and there is %v", got, files("*"))
	}
	// What is there can be restored by hand.
	p.sql(t, "-c", "CREATE DATABASE again")
	restore := exec.CommandContext(t.Context(), filepath.Join(p.bin, "pg_restore"), "--exit-on-error", "--no-owner", "--no-privileges", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "postgres", "-d", "again", filepath.Join(backups, out.File))
	restore.Env = append(os.Environ(), "PGPASSWORD=lotus")
	if text, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if n := p.sql(t, "-d", "again", "-c", "SELECT count(*) FROM orders"); n != "1000" {
		t.Errorf("%s orders were restored, want 1000", n)
	}

	// A dump that fails its check is put aside, and no other goes.
	backup("SELECT count(*) > 1000 FROM orders").faults(t, `shop: A check failed: orders: the copy says "f"`)
	if len(files("*.dump")) != 2 || len(files("*.bad")) != 1 || len(files("*.partial")) != 0 {
		t.Errorf("there is %v", files("*"))
	}
	// No copy stays behind, whatever happened.
	if left := p.sql(t, "-c", `SELECT datname FROM pg_database WHERE datname LIKE 'verify%'`); left != "" {
		t.Errorf("%s is left", left)
	}

	lost := backup("SELECT true")
	for i, a := range lost.args {
		lost.args[i] = strings.ReplaceAll(a, ":"+strconv.Itoa(p.port)+"/", ":1/")
	}
	lost.faults(t, "There is no backup")
}
