package cli

import (
	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/noop"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// check decodes and checks a definition for what this version can carry out.
// It opens no data directory: validating needs nothing but the file.
func (a *app) check(src []byte) (*workflow.Definition, []workflow.Finding) {
	var functions []check.Function
	for _, k := range []executor.Kind{noop.Kind()} {
		functions = append(functions, check.Function{Name: k.Name, Version: k.Version, Input: k.Schema})
	}
	// Whatever check knows to be optional is still to come.
	return check.Source(src, check.Options{Functions: functions, Supported: func(string) bool { return false }})
}
