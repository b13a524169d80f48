// Command services stands in for what surrounds the service that an alert is
// about: the services themselves, their deployments, the hosts, the pager and
// the chat. What took effect stands under /effects. It knows these services:
//
//	checkout  fails since its last deployment; an older version heals it
//	media     fails because its disk is full
//	cart      has recovered by itself
//	search    fails, and nobody knows why
//
//	go run ./examples/incident-triage/services [-addr 127.0.0.1:8098]
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
	addr := flag.String("addr", "127.0.0.1:8098", "address to listen on")
	flag.Parse()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *addr) //nolint:forbidigo // the process itself is the context
	if err != nil {
		log.Fatal(err)
	}
	log.SetFlags(0)
	log.Print("listening on http://" + l.Addr().String())
	s := &http.Server{Handler: handler(), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(s.Serve(l))
}

// service is what is known of one service.
type service struct {
	sick      bool
	settling  int // how often it still answers 503 after it was healed
	version   string
	previous  string
	at        string // of the last deployment
	healedBy  string // "deployment", "clean" or nothing
	complains []string
}

// site is all that the stand-in remembers.
type site struct {
	mu       sync.Mutex
	services map[string]*service
	answers  map[string]any // by idempotency key
	effects  []string
}

func handler() http.Handler {
	s := &site{answers: map[string]any{}, services: map[string]*service{
		"checkout": {sick: true, settling: 1, version: "2.8.0", previous: "2.7.3", at: "2026-08-14T02:48:00Z", healedBy: "deployment", complains: []string{"TypeError: total is undefined"}},
		"media":    {sick: true, version: "5.1.0", previous: "5.0.9", at: "2026-07-02T09:00:00Z", healedBy: "clean", complains: []string{"write /var/spool/media: No space left on device"}},
		"cart":     {version: "1.4.2", previous: "1.4.1", at: "2026-08-14T02:30:00Z"},
		"search":   {sick: true, version: "3.0.0", previous: "2.9.9", at: "2026-06-20T09:00:00Z"},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services/{service}/{what}", s.read)
	mux.HandleFunc("POST /services/{service}/deployment", s.act(func(r *http.Request, body map[string]any) (string, any) {
		v := s.services[r.PathValue("service")]
		if v == nil {
			return "", nil
		}
		v.version, v.previous = fmt.Sprint(body["version"]), v.version
		v.sick = v.sick && v.healedBy != "deployment"
		return "deployed " + r.PathValue("service") + " " + v.version, map[string]any{"version": v.version}
	}))
	mux.HandleFunc("POST /hosts/{host}/clean", s.act(func(r *http.Request, _ map[string]any) (string, any) {
		for _, v := range s.services {
			v.sick = v.sick && v.healedBy != "clean"
		}
		return "cleaned " + r.PathValue("host"), map[string]any{"freed": "12 GiB"}
	}))
	mux.HandleFunc("POST /pages", s.act(func(_ *http.Request, body map[string]any) (string, any) {
		return fmt.Sprintf("paged %v", body["to"]), map[string]any{}
	}))
	mux.HandleFunc("POST /messages", s.act(func(_ *http.Request, body map[string]any) (string, any) {
		return fmt.Sprintf("said %v", body["text"]), map[string]any{}
	}))
	mux.HandleFunc("GET /effects", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		write(w, s.effects)
	})
	return mux
}

// read answers the questions of a diagnosis.
func (s *site) read(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.services[r.PathValue("service")]
	switch what := r.PathValue("what"); {
	case v == nil:
		problem(w, http.StatusNotFound, "there is no such service")
	case what == "deployment":
		write(w, map[string]any{"version": v.version, "previous": v.previous, "at": v.at})
	case what == "errors" && v.complains == nil:
		problem(w, http.StatusServiceUnavailable, "the logs cannot be searched at the moment")
	case what == "errors":
		write(w, v.complains)
	case what != "health":
		problem(w, http.StatusNotFound, "there is health, deployment and errors")
	case v.sick:
		problem(w, http.StatusInternalServerError, "every request fails")
	case v.settling > 0:
		v.settling--
		problem(w, http.StatusServiceUnavailable, "starting")
	default:
		write(w, map[string]any{"status": "ok"})
	}
}

// act does something once for each idempotency key. do returns "" when it
// knows nothing of what the request is about.
func (s *site) act(do func(r *http.Request, body map[string]any) (effect string, answer any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			problem(w, http.StatusBadRequest, "the body is no JSON object")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		if answer, done := s.answers[key]; done && key != "" {
			write(w, answer)
			return
		}
		effect, answer := do(r, body)
		if effect == "" {
			problem(w, http.StatusNotFound, "there is no such service")
			return
		}
		s.effects = append(s.effects, effect)
		s.answers[key] = answer
		write(w, answer)
	}
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
