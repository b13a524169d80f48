package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/server"
)

// rotating is an authority whose refresh tokens can be used once, and which
// takes a second use for a theft, as many do: then it gives no more. Beneath
// /api it is the service too.
func rotating(t *testing.T) (h *httptest.Server, given *atomic.Int64) {
	t.Helper()
	given = new(atomic.Int64)
	var mu sync.Mutex
	stolen := false
	h = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api" {
			_ = json.NewEncoder(w).Encode(r.Header.Get("Authorization"))
			return
		}
		n := given.Load()
		if stolen = stolen || r.FormValue("refresh_token") != fmt.Sprintf("refresh-%d", n); stolen {
			w.WriteHeader(400)
			_, _ = fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		n = given.Add(1)
		_, _ = fmt.Fprintf(w, `{"access_token":"access-%d","refresh_token":"refresh-%d","token_type":"Bearer","expires_in":3600}`, n, n)
	}))
	t.Cleanup(h.Close)
	return h, given
}

// DSL 155, DSL 160: a refresh token that took the place of the stored one is
// there for the next process, sealed; processes that share a data directory
// renew one after another.
func TestRefreshTokensOutliveTheProcess(t *testing.T) {
	t.Parallel()
	h, given := rotating(t)
	dir := t.TempDir()
	secrets := filepath.Join(t.TempDir(), "secrets.yaml")
	if err := os.WriteFile(secrets, fmt.Appendf(nil,
		"person: {authority: %q, grant: authorization_code, refreshToken: refresh-0, client: {id: me, authentication: none}}", h.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	def := define(t, "w", "use: {secrets: [person]}\ndo:\n  - ask: {call: http, with: {method: get, endpoint: {uri: '"+h.URL+"/api', authentication: {oauth2: {use: person}}}}}\n")
	for n := 1; n <= 3; n++ {
		node := open(t, server.Config{DataDir: dir, SecretsFile: secrets})
		if got, want := wait(t, node, start(t, node, def, `{}`)), fmt.Sprintf(`completed "Bearer access-%d"`, n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		shut(t, node)
	}
	var all sync.WaitGroup
	for range 5 {
		node := open(t, server.Config{DataDir: dir, SecretsFile: secrets})
		all.Go(func() {
			if got := wait(t, node, start(t, node, def, `{}`)); !strings.HasPrefix(got, "completed") {
				t.Error(got)
			}
		})
	}
	all.Wait()
	if given.Load() != 8 {
		t.Errorf("%d tokens were given", given.Load())
	}
	files, err := filepath.Glob(filepath.Join(dir, "tokens", "*"))
	if err != nil || len(files) != 2 { // one, and its lock
		t.Errorf("there are %v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		info, _ := os.Stat(f)
		if err != nil || strings.Contains(string(b), "refresh") || !strings.HasSuffix(f, ".lock") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", f, err, info.Mode())
		}
		if !strings.HasSuffix(f, ".lock") {
			if err := os.WriteFile(f, []byte("spoilt"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	node := open(t, server.Config{DataDir: dir, SecretsFile: secrets})
	if got := wait(t, node, start(t, node, def, `{}`)); !strings.Contains(got, "without the file, the one of the policy is tried again") {
		t.Error(got)
	}
}
