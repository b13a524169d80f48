package ctk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// standIn answers for the public services that the kit calls, on one local
// TLS server: petstore.swagger.io and httpbin.org.
func standIn(t *testing.T) *httptest.Server {
	t.Helper()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	pet := func(id int) map[string]any {
		return map[string]any{"id": id, "name": "doggie " + strconv.Itoa(id), "status": "available", "photoUrls": []any{}}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET petstore.swagger.io/v2/pet/findByStatus", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("status") != "available" {
			answer(w, http.StatusOK, []any{})
			return
		}
		answer(w, http.StatusOK, []any{pet(1), pet(2)})
	})
	mux.HandleFunc("GET petstore.swagger.io/v2/swagger.json", func(w http.ResponseWriter, _ *http.Request) {
		parameter := func(name, in, kind string) map[string]any {
			return map[string]any{"name": name, "in": in, "type": kind, "required": true}
		}
		operation := func(id string, p map[string]any) map[string]any {
			return map[string]any{"get": map[string]any{"operationId": id, "parameters": []any{p}}}
		}
		answer(w, http.StatusOK, map[string]any{
			"swagger": "2.0", "host": "petstore.swagger.io", "basePath": "/v2", "schemes": []any{"https"},
			"paths": map[string]any{
				"/pet/findByStatus": operation("findPetsByStatus", parameter("status", "query", "string")),
				"/pet/{petId}":      operation("getPetById", parameter("petId", "path", "integer")),
			},
		})
	})
	mux.HandleFunc("GET petstore.swagger.io/v2/pet/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			answer(w, http.StatusNotFound, map[string]any{"message": "no such pet"})
			return
		}
		answer(w, http.StatusOK, pet(id))
	})
	mux.HandleFunc("GET httpbin.org/basic-auth/{user}/{password}", func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok || user != r.PathValue("user") || password != r.PathValue("password") {
			w.Header().Set("WWW-Authenticate", `Basic realm="Fake Realm"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, http.StatusOK, map[string]any{"authenticated": true, "user": user})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, map[string]any{"message": "nothing at " + r.Host + r.URL.Path})
	})
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate(t, "petstore.swagger.io", "httpbin.org")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// tunnel is a proxy whose every tunnel ends at addr, whatever host was asked for.
func tunnel(t *testing.T, addr string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only tunnels", http.StatusMethodNotAllowed)
			return
		}
		far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = far.Close()
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// certificate makes one for the names of the public services, signed by itself.
func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"}, DNSNames: names,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
