package openapi_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/openapi"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// DSL 71: whatever the service does, or who serves its document, the fault is
// clear and the memory bounded.
func TestFaults(t *testing.T) {
	client, err := outbound.New(outbound.Config{MaxResponse: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := executortest.Remote{Executor: openapi.New(client, "test"), Kind: "openapi", Family: event.Communication, Media: "application/json", Redirects: true}
	t.Run("service", func(t *testing.T) {
		s.Arguments = func(u string) any {
			at, _ := url.Parse(u)
			document := `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"servers":[{"url":"SERVER"}],"paths":{"/x":{"get":{"operationId":"x","responses":{}}}}}`
			file := filepath.Join(dir, at.Port()+".json")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(document, "SERVER", at.Scheme+"://"+at.Host)), 0o600); err != nil {
				t.Fatal(err)
			}
			return object{"document": object{"endpoint": file}, "operationId": "x", "redirect": true}
		}
		executortest.HTTPFaults(t, s)
	})
	t.Run("document", func(t *testing.T) {
		s.Arguments = func(u string) any { return object{"document": object{"endpoint": u}, "operationId": "x"} }
		executortest.HTTPFaults(t, s)
	})
}
