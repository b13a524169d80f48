// Command services stands in for what surrounds a shop: a Kafka broker with
// orders, and stock, payment and courier by HTTP. Like good services they
// remember the answer for every Idempotency-Key. What took effect stands under
// /effects, the broker's description under /asyncapi.yaml.
//
//	go run ./examples/order-flow/services [-addr 127.0.0.1:8093] [-kafka 9092] [-flaky 1] [-pause 0s]
//
// The first order is fine; the second cannot be paid, the third is out of
// stock, the courier refuses the fourth, and the fifth is no order at all.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed shop.asyncapi.yaml
var document string

var orders = []string{
	`{"id": "o-1", "item": "lamp", "amount": 2, "cents": 9800}`,
	`{"id": "o-2", "item": "chair", "amount": 1, "cents": 999900}`,
	`{"id": "o-3", "item": "unicorn", "amount": 1, "cents": 100}`,
	`{"id": "o-4", "item": "piano", "amount": 1, "cents": 50000}`,
	`one lamp, please`,
	`{"id": "o-1", "item": "lamp", "amount": 2, "cents": 9800}`,
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8093", "address to listen on")
	kafka := flag.Int("kafka", 9092, "port of the broker; 0 for any")
	flaky := flag.Int("flaky", 1, "how many payments are refused with 503 before they work")
	pause := flag.Duration("pause", 0, "how long an answer takes")
	flag.Parse()
	log.SetFlags(0)
	ctx := context.Background() //nolint:forbidigo // the process itself is the context
	if err := serve(ctx, *addr, *kafka, &desk{flaky: *flaky, pause: *pause, answers: map[string]answer{}}); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, addr string, port int, d *desk) error {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.SeedTopics(1, "orders", "shipped", "rejected"))
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer broker.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.ConsumeTopics("shipped", "rejected"))
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	defer client.Close()
	for _, order := range orders {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte(order)}).FirstErr(); err != nil {
			return fmt.Errorf("place an order: %w", err)
		}
	}
	go d.read(ctx, client)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.Print("listening on http://" + l.Addr().String())
	s := &http.Server{Handler: d.handler(strings.ReplaceAll(document, "127.0.0.1:9092", broker.ListenAddrs()[0])), ReadHeaderTimeout: 5 * time.Second}
	return s.Serve(l)
}

// desk is what the services remember.
type desk struct {
	mu      sync.Mutex
	flaky   int
	pause   time.Duration
	answers map[string]answer // by idempotency key
	effects []string
}

type answer struct {
	status int
	body   map[string]any
}

// read notes the messages about orders; one that comes again is known by its key.
func (d *desk) read(ctx context.Context, client *kgo.Client) {
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			key := ""
			for _, h := range r.Headers {
				if h.Key == "idempotency-key" {
					key = string(h.Value)
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if _, known := d.answers[key]; !known {
				d.answers[key] = answer{}
				d.effects = append(d.effects, fmt.Sprintf("message %s: %s", r.Topic, r.Key))
			}
		})
	}
}

func (d *desk) handler(described string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /asyncapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write([]byte(described))
	})
	mux.HandleFunc("GET /effects", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		write(w, http.StatusOK, append([]string{}, d.effects...))
	})
	mux.HandleFunc("POST /{service}/{order}", d.once(func(service, order string, body map[string]any) answer {
		switch {
		case service == "payment" && d.flaky > 0:
			d.flaky--
			return answer{http.StatusServiceUnavailable, map[string]any{"title": "too busy, try again"}}
		case service == "payment" && order == "o-2":
			return answer{http.StatusPaymentRequired, map[string]any{"title": "card declined"}}
		case service == "stock" && body["item"] == "unicorn":
			return answer{http.StatusConflict, map[string]any{"title": "out of stock"}}
		case service == "courier" && body["item"] == "piano":
			return answer{http.StatusUnprocessableEntity, map[string]any{"title": "too heavy"}}
		}
		return answer{http.StatusCreated, map[string]any{"id": service + "-" + order}}
	}))
	mux.HandleFunc("DELETE /{service}/{order}", d.once(func(string, string, map[string]any) answer {
		return answer{http.StatusOK, map[string]any{}}
	}))
	return mux
}

// once answers a key as it was answered before, and refuses requests without one.
func (d *desk) once(do func(service, order string, body map[string]any) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d.pause) //nolint:forbidigo // this is no part of Downbeat
		key := r.Header.Get("Idempotency-Key")
		if key == "" {
			write(w, http.StatusBadRequest, map[string]any{"title": "an Idempotency-Key is wanted"})
			return
		}
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		d.mu.Lock()
		defer d.mu.Unlock()
		a, done := d.answers[key]
		if !done {
			a = do(r.PathValue("service"), r.PathValue("order"), body)
			if a.status == http.StatusServiceUnavailable { // nothing was decided
				write(w, a.status, a.body)
				return
			}
			d.answers[key] = a
			d.effects = append(d.effects, fmt.Sprintf("%s %s %s %d", r.Method, r.PathValue("service"), r.PathValue("order"), a.status))
		}
		write(w, a.status, a.body)
	}
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
