// Command api stands in for an HTTP interface to a database: the few things of
// PostgREST that the example asks for, carried out by psql.
//
//	go run ./examples/etl-databases/api -database postgresql://etl@127.0.0.1:5432/till [-addr 127.0.0.1:8094] [-flaky 1] [-pause 0s]
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8094", "address to listen on")
	database := flag.String("database", "postgresql://etl@127.0.0.1:5432/till", "the database to show")
	flaky := flag.Int64("flaky", 1, "how many requests are refused with 503 before the database answers")
	pause := flag.Duration("pause", 0, "how long an answer takes")
	flag.Parse()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *addr) //nolint:forbidigo // the process itself is the context
	if err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Print("listening on http://" + l.Addr().String())
	a := &api{database: *database, pause: *pause}
	a.flaky.Store(*flaky)
	s := &http.Server{Handler: a, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(s.Serve(l))
}

type api struct {
	database string
	flaky    atomic.Int64
	pause    time.Duration
}

// selections are what may be asked for.
var selections = map[string]string{
	"": "*", "id.min(),id.max(),count()": "min(id), max(id), count(*)",
}

var (
	condition = regexp.MustCompile(`^(id|updated_at)\.(gt|gte|lt|lte)\.("[^"]*"|[^,()"]+)$`)
	operators = map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
)

// ServeHTTP answers GET /orders?select=…&and=(id.gte.1,updated_at.gt."…")&order=id.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	columns, known := selections[q.Get("select")]
	switch {
	case r.Method != http.MethodGet || r.URL.Path != "/orders":
		http.Error(w, `{"message": "only GET /orders is known"}`, http.StatusNotFound)
		return
	case !known:
		http.Error(w, `{"message": "this selection is not known"}`, http.StatusBadRequest)
		return
	case a.flaky.Add(-1) >= 0:
		http.Error(w, `{"message": "no connection is free"}`, http.StatusServiceUnavailable)
		return
	}
	time.Sleep(a.pause) //nolint:forbidigo // this is no part of Downbeat
	args := []string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-d", a.database}
	var where strings.Builder
	if and := strings.TrimSuffix(strings.TrimPrefix(q.Get("and"), "("), ")"); and != "" {
		for i, c := range strings.Split(and, ",") {
			m := condition.FindStringSubmatch(c)
			if m == nil {
				http.Error(w, `{"message": "a condition is not understood"}`, http.StatusBadRequest)
				return
			}
			args = append(args, "-v", fmt.Sprintf("v%d=%s", i, strings.Trim(m[3], `"`)))
			fmt.Fprintf(&where, " AND %s %s :'v%d'", m[1], operators[m[2]], i)
		}
	}
	sql := "SELECT " + columns + " FROM orders WHERE true" + where.String()
	if q.Get("order") == "id" {
		sql += " ORDER BY id"
	}
	cmd := exec.CommandContext(r.Context(), "psql", args...) //nolint:gosec // values are variables of psql, each with a name before it
	cmd.Stdin = strings.NewReader("SELECT coalesce(json_agg(t), '[]') FROM (" + sql + ") t;")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		log.Printf("%v: %s", err, stderr.Bytes())
		http.Error(w, `{"message": "the database failed"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(stdout.Bytes())
}
