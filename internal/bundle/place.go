package bundle

import (
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Place is the kind of attachment that says where a definition stands. It is
// there when tasks read documents with relative names while they run
// (descriptions of APIs, scripts named by an expression): these names start
// there, from wherever the run is started or resumed.
const Place = "place"

// Local is a document with a relative name that a task reads while it runs.
type Local struct {
	Path      string // as a file: URI; "" when it is known only at that time
	Pos       workflow.Pos
	Reference string
}

// documented is where a call names a document that its executor reads.
var documented = map[string]string{"openapi": "document", "asyncapi": "document", "grpc": "proto", "a2a": "agentCard"}

// Locals are the documents with relative names that tasks of def read.
func Locals(def *workflow.Definition) []Local {
	var list []Local
	def.Walk(func(t *workflow.Task, _ []*workflow.Task) bool {
		if uri, pos, ok := described(t); ok {
			switch dynamic := source.IsDynamic(uri) || strings.Contains(uri, "{"); {
			case dynamic:
				list = append(list, Local{Pos: pos, Reference: t.Reference})
			case Relative(uri):
				if path, err := Resolve("", uri); err == nil {
					list = append(list, Local{path, pos, t.Reference})
				}
			}
		}
		return true
	})
	return list
}

// described is the URI of the document that a task reads while it runs.
func described(t *workflow.Task) (uri string, pos workflow.Pos, ok bool) {
	if t.Run != nil && t.Run.Source != nil && t.Run.Source.Content == nil {
		return t.Run.Source.Endpoint.URI.String(), t.Run.Source.Endpoint.Pos, true
	}
	if t.Call == nil {
		return "", pos, false
	}
	with, _ := t.Call.With.Any.(map[string]any)
	resource, _ := with[documented[t.Call.Name]].(map[string]any)
	endpoint := resource["endpoint"]
	if long, is := endpoint.(map[string]any); is {
		endpoint = long["uri"]
	}
	uri, ok = endpoint.(string)
	return uri, t.Call.Pos, ok
}

// Stand says where the definition stands, an absolute path with slashes, when
// that matters.
func (l *Linking) Stand(directory string) {
	if len(Locals(l.def)) > 0 {
		l.list = append(l.list, workflow.Attachment{Kind: Place, Name: "definition", URI: "file://" + directory, Digest: Digest(nil)})
	}
}

// Base is the directory where relative names of documents start that tasks of
// def read; "" when the definition does not say.
func Base(def *workflow.Definition) string {
	i := slices.IndexFunc(def.Linked, func(a workflow.Attachment) bool { return a.Kind == Place })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(def.Linked[i].URI, "file://")
}
