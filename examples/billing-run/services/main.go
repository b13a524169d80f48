// Command services stands in for what a billing run needs: the list of
// customers, the payment service and the mails. Like a good payment service it
// remembers the answer for every Idempotency-Key, declined cards too. What took
// effect, and by which key, stands under /effects.
//
//	go run ./examples/billing-run/services [-addr 127.0.0.1:8097] [-customers 8] [-flaky 1]
//
// Of the customers c-1, c-2, … the second has nothing to pay; the card of the
// third works at the third attempt, that of the fourth never; the fifth is
// unknown to the payment service.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8097", "address to listen on")
	customers := flag.Int("customers", 8, "how many customers there are")
	flaky := flag.Int("flaky", 1, "how many charges are refused with 503 before the payment service works")
	flag.Parse()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *addr) //nolint:forbidigo // the process itself is the context
	if err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Print("listening on http://" + l.Addr().String())
	d := &desk{customers: *customers, flaky: *flaky, answers: map[string]answer{}, tries: map[string]int{}}
	s := &http.Server{Handler: d.handler(), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(s.Serve(l))
}

// desk is what the services remember.
type desk struct {
	mu        sync.Mutex
	customers int
	flaky     int
	answers   map[string]answer // by idempotency key
	tries     map[string]int    // charges by customer
	effects   []string
}

type answer struct {
	status int
	body   map[string]any
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /customers", func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]any{}
		for i := range d.customers {
			cents := 1000 + 10*i
			if i == 1 {
				cents = 0
			}
			list = append(list, map[string]any{"id": fmt.Sprintf("c-%d", i+1), "cents": cents})
		}
		write(w, http.StatusOK, list)
	})
	mux.HandleFunc("POST /charges", d.once(d.charge))
	mux.HandleFunc("POST /mails", d.once(func(string, map[string]any) answer { return answer{http.StatusAccepted, map[string]any{}} }))
	mux.HandleFunc("POST /suspensions", d.once(func(string, map[string]any) answer { return answer{http.StatusCreated, map[string]any{}} }))
	mux.HandleFunc("GET /effects", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		write(w, http.StatusOK, d.effects)
	})
	return mux
}

// once answers a key as it was answered before, and refuses requests without one.
func (d *desk) once(do func(customer string, body map[string]any) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || key == "" {
			write(w, http.StatusBadRequest, map[string]any{"title": "a JSON object and an Idempotency-Key are wanted"})
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		a, done := d.answers[key]
		if !done {
			customer, _ := body["customer"].(string)
			a = do(customer, body)
			if a.status == http.StatusServiceUnavailable { // nothing was decided
				write(w, a.status, a.body)
				return
			}
			d.answers[key] = a
			d.effects = append(d.effects, fmt.Sprintf("%s %s %d", r.URL.Path, key, a.status))
		}
		write(w, a.status, a.body)
	}
}

func (d *desk) charge(customer string, body map[string]any) answer {
	if d.flaky > 0 {
		d.flaky--
		return answer{http.StatusServiceUnavailable, map[string]any{"title": "too busy, try again"}}
	}
	d.tries[customer]++
	switch {
	case customer == "c-3" && d.tries[customer] < 3, customer == "c-4":
		return answer{http.StatusPaymentRequired, map[string]any{"title": "card declined"}}
	case customer == "c-5":
		return answer{http.StatusNotFound, map[string]any{"title": "no such customer"}}
	}
	return answer{http.StatusCreated, map[string]any{"charged": body["cents"]}}
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
