package cli

import (
	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// check decodes and checks a definition for what this version can carry out.
// It opens no data directory: validating needs nothing but the file.
func (a *app) check(src []byte) (*workflow.Definition, []workflow.Finding) {
	return check.Source(src, server.CheckOptions())
}
