// Command services stands in for the three services of the example: stock,
// payment and courier. It honours Idempotency-Key, and shows what took effect
// under /effects.
//
//	go run ./examples/api-composition/services [-addr 127.0.0.1:8099] [-flaky 1] [-broken courier]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8099", "address to listen on")
	flaky := flag.Int("flaky", 1, "how many requests the courier refuses with 503 before it works")
	broken := flag.String("broken", "", "service that always fails: stock, payment or courier")
	flag.Parse()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *addr) //nolint:forbidigo // the process itself is the context
	if err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Print("listening on http://" + l.Addr().String())
	s := &http.Server{Handler: handler(*flaky, *broken), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(s.Serve(l))
}

// desk is what the services remember.
type desk struct {
	mu      sync.Mutex
	flaky   int
	broken  string
	answers map[string]map[string]any // by idempotency key
	orders  map[string]map[string]any // by service and order
	effects []string
}

func handler(flaky int, broken string) http.Handler {
	d := &desk{flaky: flaky, broken: broken, answers: map[string]map[string]any{}, orders: map[string]map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{service}", d.post)
	mux.HandleFunc("DELETE /{service}/{order}", d.remove)
	mux.HandleFunc("GET /effects", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		write(w, http.StatusOK, d.effects)
	})
	return mux
}

func (d *desk) post(w http.ResponseWriter, r *http.Request) {
	service := r.PathValue("service")
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		problem(w, http.StatusBadRequest, "the body is no JSON object")
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if service == d.broken {
		problem(w, http.StatusConflict, "the "+service+" service is closed today")
		return
	}
	if service == "courier" && d.flaky > 0 {
		d.flaky--
		problem(w, http.StatusServiceUnavailable, "all couriers are out, try again")
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if answer, done := d.answers[key]; done && key != "" {
		write(w, http.StatusOK, answer)
		return
	}
	order, _ := body["order"].(string)
	answer := map[string]any{"order": order}
	switch service {
	case "stock":
		answer["shelf"] = "B7"
	case "payment":
		answer["receipt"] = "r-" + order
	case "courier":
		answer["arrives"] = "2026-09-01"
	default:
		problem(w, http.StatusNotFound, "there is no service "+service)
		return
	}
	d.answers[key] = answer
	d.orders[service+"/"+order] = answer
	d.effects = append(d.effects, "POST "+service+" "+order)
	write(w, http.StatusOK, answer)
}

func (d *desk) remove(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := r.PathValue("service") + "/" + r.PathValue("order")
	if _, there := d.orders[name]; there {
		delete(d.orders, name)
		d.effects = append(d.effects, "DELETE "+r.PathValue("service")+" "+r.PathValue("order"))
	}
	w.WriteHeader(http.StatusNoContent)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
