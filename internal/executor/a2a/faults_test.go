package a2a_test

import (
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// DSL 80: whatever the agent does, or who serves its card, the fault is clear
// and the memory bounded.
func TestFaults(t *testing.T) {
	s := executortest.Remote{Executor: newExecutor(t), Kind: "a2a", Family: event.Runtime, Media: "application/json"}
	for name, arguments := range map[string]func(url string) any{
		"answer": func(url string) any {
			return object{"method": "tasks/get", "server": url, "parameters": object{"id": "1"}}
		},
		"stream": func(url string) any {
			return object{"method": "message/stream", "server": url, "parameters": object{"message": object{"parts": []any{}}}}
		},
		"card": func(url string) any { return object{"method": "tasks/get", "agentCard": object{"endpoint": url}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			if s.Arguments = arguments; name == "stream" {
				s.Media = "text/event-stream"
			}
			executortest.HTTPFaults(t, s)
		})
	}
}
