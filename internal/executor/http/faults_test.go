package http_test

import (
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/http"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// DSL 65, 67, D31: whatever the server does, the fault is clear and the memory bounded.
func TestFaults(t *testing.T) {
	client, err := outbound.New(outbound.Config{MaxResponse: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	executortest.HTTPFaults(t, executortest.Remote{
		Executor: http.New(client, "test"), Kind: "http", Family: event.Communication, Media: "application/json", Redirects: true,
		Arguments: func(url string) any {
			return object{"method": "POST", "endpoint": url, "body": object{}, "redirect": true}
		},
	})
}
