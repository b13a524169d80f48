package definitions

import (
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Concurrency is a compiled metadata.downbeat.concurrency.
type Concurrency struct {
	Limit int
	On    string           // queue, reject, replace
	key   *program.Program // a workflow whose output is the key; nil: one key for all
}

// newConcurrency compiles the key as the one task of a workflow of its own, so
// that expressions mean here what they mean everywhere.
func newConcurrency(def *workflow.Definition, o program.Options) (*Concurrency, error) {
	if def.Downbeat == nil || def.Downbeat.Concurrency == nil || def.Downbeat.Concurrency.Limit <= 0 {
		return nil, nil
	}
	c := def.Downbeat.Concurrency
	out := &Concurrency{Limit: c.Limit, On: c.On}
	if c.Key == nil {
		return out, nil
	}
	from := workflow.Value{Pos: c.Key.Pos, Kind: workflow.ScalarValue, Scalar: c.Key.Source, Any: c.Key.Source}
	prog, err := program.Compile(&workflow.Definition{
		Document: def.Document, Evaluate: def.Evaluate, Output: &workflow.DataOut{As: &from},
	}, o)
	if err != nil {
		return nil, fmt.Errorf("metadata.downbeat.concurrency.key: %w", err)
	}
	out.key = prog
	return out, nil
}

// Group names the concurrency group of a run with this input; "" when nothing bounds it.
func (d *Definition) Group(input value.Raw) (string, error) {
	c := d.Concurrency
	if c == nil {
		return "", nil
	}
	doc := &d.Workflow.Document
	name := doc.Namespace + "/" + doc.Name
	if c.key == nil {
		return name, nil
	}
	m := machine.New(c.key)
	if _, err := m.Apply(event.Event{At: time.Unix(0, 0).UTC(), Body: &event.RunStarted{Input: input}}); err != nil {
		return "", fmt.Errorf("concurrency key of %s: %w", d.ID, err)
	}
	status, out, p := m.Result()
	if status != event.Completed {
		return "", fmt.Errorf("concurrency key of %s: %w", d.ID, p)
	}
	return name + " " + string(out.JSON()), nil
}
