package view

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// lifecycleOf plays transitions, one a second, and returns the events' types and data.
func lifecycleOf(t *testing.T, steps ...machine.Transition) ([]string, []map[string]any) {
	t.Helper()
	id, err := event.ParseRunID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lifecycle{Run: id, Namespace: "shop", Name: "order", Version: "1.2.3"}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var kinds []string
	var all []map[string]any
	for i := range steps {
		for _, e := range l.Add(at.Add(time.Duration(i)*time.Second), &steps[i], value.FromAny("done")) {
			kinds = append(kinds, strings.TrimSuffix(strings.TrimPrefix(e["type"].(string), "io.serverlessworkflow."), ".v1"))
			all = append(all, e)
		}
	}
	return kinds, all
}

// DSL 167, 175-194: each change has its event, in the standard's shape.
func TestLifecycleOfARun(t *testing.T) {
	problem := &event.Problem{Type: event.TypePrefix + event.Runtime, Status: 500, Title: "Broken"}
	kinds, all := lifecycleOf(t,
		machine.Transition{Change: machine.RunChanges, Status: event.Running},
		machine.Transition{Change: machine.Entered, Activation: "0", Reference: "/do/0/a", Status: event.Running},
		machine.Transition{Change: machine.Retried, Activation: "0", Reference: "/do/0/a"},
		machine.Transition{Change: machine.RunChanges, Status: event.Suspended},
		machine.Transition{Change: machine.RunChanges, Status: event.Running},
		machine.Transition{Change: machine.Waits, Activation: "0", Reference: "/do/0/a", Status: event.Waiting},
		machine.Transition{Change: machine.Correlates, Activation: "0", Reference: "/do/0/a", Status: event.Running},
		machine.Transition{Change: machine.Correlates, Activation: "0", Reference: "/do/0/a", Status: event.Completed, Output: value.FromAny(map[string]any{"order": "7"})},
		machine.Transition{Change: machine.TaskEnds, Activation: "0", Reference: "/do/0/a", Status: event.Completed, Output: value.FromAny(1)},
		machine.Transition{Change: machine.Entered, Activation: "1", Reference: "/do/1/b"},
		machine.Transition{Change: machine.TaskEnds, Activation: "1", Reference: "/do/1/b", Status: event.Faulted, Error: problem},
		machine.Transition{Change: machine.RunChanges, Status: event.Faulted, Error: problem},
	)
	want := []string{
		"workflow.started", "workflow.status-changed",
		"task.created", "task.started", "task.status-changed",
		"task.retried",
		"workflow.suspended", "workflow.status-changed", "task.suspended", "task.status-changed",
		"workflow.resumed", "workflow.status-changed", "task.resumed", "task.status-changed",
		"task.status-changed",
		"workflow.correlation-started", "workflow.correlation-completed",
		"task.completed", "task.status-changed",
		"task.created", "task.started", "task.status-changed",
		"task.faulted", "task.status-changed",
		"workflow.faulted", "workflow.status-changed",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"specversion": "1.0", "id": all[0]["id"], "type": "io.serverlessworkflow.workflow.started.v1", "time": "2026-01-02T03:04:05Z",
		"source": "https://downbeat.dev/runs/01890a5d-ac96-774b-bcce-b302099a8057", "datacontenttype": "application/json",
		"data": map[string]any{
			"name": "order-01890a5d-ac96-774b-bcce-b302099a8057.shop", "startedAt": "2026-01-02T03:04:05Z",
			"definition": map[string]any{"name": "order", "namespace": "shop", "version": "1.2.3"},
		},
	}, all[0]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"workflow": "order-01890a5d-ac96-774b-bcce-b302099a8057.shop", "task": "/do/1/b", "faultedAt": "2026-01-02T03:04:15Z",
		"error": map[string]any{"type": event.TypePrefix + event.Runtime, "status": 500, "title": "Broken"}, // DSL 143
	}, all[22]["data"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"order": "7"}, all[16]["data"].(map[string]any)["correlationKeys"]); diff != "" { // DSL 180
		t.Error(diff)
	}
	ids := map[any]bool{}
	for _, e := range all {
		if ids[e["id"]] {
			t.Fatalf("id %v twice", e["id"])
		}
		ids[e["id"]] = true
	}
}

// DSL 181, 183, 190: a run that is cancelled, one that completes.
func TestLifecycleEnds(t *testing.T) {
	kinds, _ := lifecycleOf(t,
		machine.Transition{Change: machine.RunChanges, Status: event.Running},
		machine.Transition{Change: machine.Entered, Activation: "0", Reference: "/do/0/a"},
		machine.Transition{Change: machine.TaskEnds, Activation: "0", Reference: "/do/0/a", Status: event.Cancelled},
		machine.Transition{Change: machine.RunChanges, Status: event.Cancelled})
	if diff := cmp.Diff([]string{"task.cancelled", "task.status-changed", "workflow.cancelled", "workflow.status-changed"}, kinds[5:]); diff != "" {
		t.Error(diff)
	}
	kinds, all := lifecycleOf(t,
		machine.Transition{Change: machine.RunChanges, Status: event.Running},
		machine.Transition{Change: machine.RunChanges, Status: event.Completed})
	if kinds[2] != "workflow.completed" || all[2]["data"].(map[string]any)["output"] != "done" {
		t.Error(kinds, all[2])
	}
}
