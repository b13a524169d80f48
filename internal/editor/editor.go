// Package editor is what editors and build servers need of the language: the
// JSON Schema of a definition, findings in SARIF, and templates to begin with.
//
// The command line calls [Schema], [SARIF] and [Template]. The schema is written
// down here, in tables that follow the decoder of package workflow; a test holds
// the two together over every definition of the repository and thousands of
// mutations of them. What a schema cannot say, such as where a jump leads, is
// left to package check, and listed in that test.
package editor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/check"
)

// SchemaFile is the name under which projects keep the schema, and which
// definitions made from a template refer to.
const SchemaFile = "downbeat.schema.json"

// Schema makes the JSON Schema (2020-12) of a definition whose tasks may call
// functions. It uses only keywords that editors for draft 7 know as well.
func Schema(functions []check.Function) map[string]any {
	functions = slices.Clone(functions)
	slices.SortFunc(functions, func(a, b check.Function) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	defs := shape{}
	for _, part := range []shape{basicDefs(), useDefs(), eventDefs(), settingDefs(), taskDefs(), callDefs(functions), runDefs()} {
		maps.Copy(defs, part)
	}
	root := definition()
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "A workflow for Downbeat"
	root["description"] = "A workflow of the Open Workflow Specification (formerly Serverless Workflow), DSL 1.0, with the functions and settings of Downbeat."
	root["$defs"] = defs
	return root
}

// JSON is v as text for people and files: indented, keys sorted, the same each time.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return b.Bytes(), nil
}
