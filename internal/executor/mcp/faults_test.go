package mcp_test

import (
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// DSL 83: whatever the server does, the fault is clear and the memory bounded.
func TestFaults(t *testing.T) {
	for _, media := range []string{"application/json", "text/event-stream"} {
		t.Run(media, func(t *testing.T) {
			executortest.HTTPFaults(t, executortest.Remote{
				Executor: newExecutor(t), Kind: "mcp", Family: event.Runtime, Media: media, Redirects: true,
				Arguments: func(url string) any {
					return object{"method": "tools/list", "transport": object{"http": object{"endpoint": url}}}
				},
			})
		})
	}
}
