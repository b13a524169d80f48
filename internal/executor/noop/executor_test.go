package noop_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
)

func TestLaws(t *testing.T) {
	executortest.Exercise(t, executortest.Subject{Executor: noop.Executor{}, Kind: "noop", Works: map[string]any{"a": 1}})
}

// D37
func TestOutputIsArguments(t *testing.T) {
	for _, want := range []any{nil, "x", []any{1, map[string]any{"a": nil}}} {
		r, _ := executortest.Request(t, "noop", want)
		got, err := noop.Executor{}.Execute(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got.Output); d != "" {
			t.Error(d)
		}
	}
}
