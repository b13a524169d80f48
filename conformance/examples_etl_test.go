package conformance_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestETLDatabases brings rows from one real database into another: killed
// between its batches, then once more for what has changed, then with too much
// that makes no sense.
// DSL 61, DSL 132: a query of expressions; data by the standard input of a program.
func TestETLDatabases(t *testing.T) {
	t.Parallel()
	p := startPostgres(t)
	p.sql(t, "-f", filepath.Join(root, "examples/etl-databases/databases.sql"))
	path, err := filepath.Rel(filepath.Join(root, "examples"), p.bin)
	if err != nil {
		t.Fatal(err)
	}
	uri := "postgresql://etl:rosebud@127.0.0.1:" + strconv.Itoa(p.port) + "/"
	till := standIn(t, "etl-databases/api", "-addr", "127.0.0.1:0", "-database", uri+"till", "-pause", "100ms")
	e := example{
		name: "etl-databases", path: path, args: []string{"etl-databases/workflow.yaml", "--set", "warehouse=" + uri + "warehouse", "--set", "till=" + till, "--set", "pause=PT0.05S"},
		want: `{"batches":10,"cents":499900,"orders":997,"quarantined":[{"id":100,"reason":"no amount"},{"id":200,"reason":"no customer"},{"id":300,"reason":"no country"}],` +
			`"watermark":"2026-08-31T22:40:00+00:00"}`,
	}
	e.readmeShows(t)
	warehouse := func(sql string) string { return p.sql(t, "-d", "warehouse", "-c", sql) }
	got := e.killedWhen(t, t.TempDir(), func() bool { return warehouse("SELECT count(*) FROM orders") != "0" })
	if got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	if got := warehouse("SELECT count(*), sum(cents), count(DISTINCT load), (SELECT count(*) FROM loads) FROM orders"); got != "997|499900|1|1" {
		t.Errorf("in the warehouse is %s", got)
	}
	if got := warehouse("SELECT source->>'customer' FROM quarantine WHERE reason = 'no country'"); got != "O'Hara, \"Bob\"\n\\." {
		t.Errorf("put aside was %q", got)
	}

	e.want = `{"batches":0,"cents":0,"orders":0,"quarantined":[],"watermark":"2026-08-31T22:40:00+00:00"}`
	e.run(t)
	p.sql(t, "-d", "till", "-c", "UPDATE orders SET cents = '7', updated_at = '2026-09-02T00:00:00Z' WHERE id IN (100, 500)")
	e.want = `{"batches":5,"cents":14,"orders":2,"quarantined":[],"watermark":"2026-09-02T00:00:00+00:00"}`
	e.run(t)
	if got := warehouse("SELECT count(*), sum(cents), (SELECT string_agg(id::text, ' ' ORDER BY id) FROM quarantine), (SELECT count(*) FROM loads) FROM orders"); got != "998|499414|200 300|2" {
		t.Errorf("in the warehouse is %s", got)
	}

	// What the warehouse does not have as it was sent is not taken for loaded.
	p.sql(t, "-d", "till", "-c", "UPDATE orders SET updated_at = '2026-09-03T00:00:00Z' WHERE id = 600")
	warehouse("CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.cents := 0; RETURN NEW; END $$; CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION spoil()")
	e.faults(t, "The warehouse does not have what was sent")
	warehouse("DROP TRIGGER spoil ON orders")
	p.sql(t, "-d", "till", "-c", "UPDATE orders SET cents = 'x', updated_at = '2026-09-04T00:00:00Z' WHERE id = 601")
	e.faults(t, `1 of 2, such as {"id":601,"reason":"no amount"}`)
	if got := warehouse("SELECT max(watermark) AT TIME ZONE 'UTC' FROM loads"); got != "2026-09-02 00:00:00" {
		t.Errorf("the watermark is %s", got)
	}
	// A mistake in the connection is not mended by patience.
	for i, a := range e.args {
		e.args[i] = strings.ReplaceAll(a, "etl:rosebud@", "etl:wrong@")
	}
	e.faults(t, "password authentication failed")
}
