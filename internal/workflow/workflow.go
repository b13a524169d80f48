// Package workflow is the definition of a workflow as Go types: what an author
// wrote, with the place of every node, and nothing that the author did not write.
//
// [Decode] reads YAML or JSON into a [Definition] and reports every mistake it
// finds, each with its position. The types keep expressions as text: compiling
// them is the work of the packages check and program.
package workflow

import "github.com/downbeat-dev/downbeat/internal/source"

// What a definition is read from has its own package; these are its words here.
type (
	// Pos is a place in a source.
	Pos = source.Pos
	// Finding is one remark about a definition.
	Finding = source.Finding
	// Severity tells what a finding means for the definition.
	Severity = source.Severity
	// ValueKind tells what a Value is.
	ValueKind = source.Kind
)

// The severities of findings.
const (
	SeverityError       = source.SeverityError
	SeverityUnsupported = source.SeverityUnsupported
	SeverityWarning     = source.SeverityWarning
	SeverityHint        = source.SeverityHint
)

// The kinds of Value.
const (
	NoValue     = source.None
	ScalarValue = source.Scalar
	ListValue   = source.List
	MapValue    = source.Map
)

// MaxSource is how many bytes a definition may have.
const MaxSource = 1 << 20

// Definition is one workflow document (DSL 1-9).
type Definition struct {
	Document Document
	Input    *DataIn
	Use      Use
	Do       TaskList
	Timeout  *TimeoutRef
	Output   *DataOut
	Schedule *Schedule
	Evaluate Evaluate
	Downbeat *DocumentSettings // metadata.downbeat of the document; nil when absent
	// Source is the text that Decode read; Digest is "sha256:" and its hex hash.
	Source []byte
	Digest string
	// Literal is the whole document as plain values, what $workflow.definition shows.
	Literal map[string]any
	// Linked are the documents from elsewhere that were attached to the definition
	// (package bundle). Their functions stand in Use.Functions.
	Linked []Attachment
	names  map[string][]string // what use declares, by section
}

// Attachment is a document from elsewhere that a definition uses.
type Attachment struct {
	Kind    string // "function", "schema" or "script"
	Name    string // of a function: as `call` names it
	URI     string // where it was
	Digest  string // "sha256:" and the hex hash of Content
	Content []byte
}

// Document is the head of a definition (DSL 2-6).
type Document struct {
	Pos                           Pos
	DSL, Namespace, Name, Version string
	Title, Summary                string
	Tags                          map[string]any
	Metadata                      map[string]any
}

// ID is "namespace/name:version".
func (d Document) ID() string { return d.Namespace + "/" + d.Name + ":" + d.Version }

// Evaluate is the evaluation section: language "jq", mode "strict" or "loose" (DSL 8, 9).
type Evaluate struct {
	Language string // "jq" unless said otherwise
	Loose    bool
}

// Value is a literal of any shape whose strings may hold expressions. It keeps
// the place of each string, so that a mistake inside can be pointed at.
type Value struct {
	Pos    Pos
	Kind   ValueKind
	Scalar any      // of a ScalarValue: nil, bool, int, float64, *big.Int, string
	Items  []Value  // of a ListValue
	Keys   []string // of a MapValue, in the order of the source
	Fields []Value  // of a MapValue, as Keys
	Any    any      // the same as plain values (maps, slices, scalars), made once
}

// IsZero reports that the value was absent.
func (v *Value) IsZero() bool { return v == nil || v.Kind == NoValue }

// String returns the text of a string scalar, else "".
func (v *Value) String() string { s, _ := v.Scalar.(string); return s }

// Field returns the field named key of a map, or nil.
func (v *Value) Field(key string) *Value {
	if v == nil {
		return nil
	}
	for i, k := range v.Keys {
		if k == key {
			return &v.Fields[i]
		}
	}
	return nil
}

// Expr is the text of an expression-typed property: jq, bare or wrapped in ${ } (DSL 38, D14).
type Expr struct {
	Pos    Pos
	Source string
}

// DataIn is an `input` section (DSL 24, 25): Schema, then From.
type DataIn struct {
	Pos    Pos
	Schema *Schema
	From   *Value // a string is an expression, bare or wrapped; an object is a template (D14b)
}

// DataOut is an `output` or `export` section (DSL 27-30): As, then Schema.
type DataOut struct {
	Pos    Pos
	As     *Value
	Schema *Schema
}

// Schema is a schema section (DSL 206): Document or Resource.
type Schema struct {
	Pos      Pos
	Format   string // "json" unless said otherwise
	Document *Value
	Resource *Resource
}

// Resource is an external resource (DSL 201).
type Resource struct {
	Pos      Pos
	Name     string
	Endpoint Endpoint
	// Content is what was there when the definition was linked; nil: it was not attached.
	Content *string
}

// Endpoint is a URI, URI template or expression, with an authentication (DSL 59).
type Endpoint struct {
	Pos  Pos
	URI  Value // a string scalar
	Auth *Auth
}

// Duration is a duration as written (DSL 202-204): an object, an ISO 8601 string or an expression.
type Duration struct {
	Pos   Pos
	Value Value
}

// TimeoutRef is a timeout written in place, or the name of one in use.timeouts (DSL 31).
type TimeoutRef struct {
	Pos   Pos
	Name  string
	After *Duration
}

// Use holds what tasks name (DSL 13-21). Lists keep the order of the source.
type Use struct {
	Pos             Pos
	Authentications []Named[Auth]
	Catalogs        []Named[Endpoint]
	Errors          []Named[Error]
	Extensions      []Extension
	Functions       TaskList // name and task, as in a task list
	Retries         []Named[Retry]
	Secrets         []SecretName
	Timeouts        []Named[TimeoutRef]
}

// SecretName is one entry of use.secrets.
type SecretName struct {
	Pos  Pos
	Name string
}

// Named is one entry of a map of use.
type Named[T any] struct {
	Pos   Pos
	Name  string
	Value T
}

// Auth is an authentication policy or a reference to one (DSL 154-165).
type Auth struct {
	Pos    Pos
	Use    string // name in use.authentications; then the rest is empty
	Scheme string // "basic", "bearer", "digest", "oauth2", "oidc"
	Secret string // the scheme's `use`: the secret that holds its settings
	With   Value  // the scheme's settings as written, a map; empty with Secret
}

// Extension is one entry of use.extensions (DSL 195, 196).
type Extension struct {
	Pos           Pos
	Name          string
	Extend        string
	When          *Expr
	Before, After TaskList
}

// Error is an error as an author defines it (DSL 91): each field a literal or a template.
type Error struct {
	Pos                                   Pos
	Type, Status, Title, Detail, Instance *Value
}

// Retry is a retry policy (DSL 116, 117).
type Retry struct {
	Pos                  Pos
	When, ExceptWhen     *Expr
	Delay                *Duration
	Backoff              string // "", "constant", "linear", "exponential"
	AttemptCount         *int
	AttemptDuration      *Duration
	LimitDuration        *Duration
	JitterFrom, JitterTo *Duration
}

// Schedule is the schedule section (DSL 168-174).
type Schedule struct {
	Pos, CronPos Pos
	Every, After *Duration
	Cron         string
	On           *Strategy
	Read         string // "", "data", "envelope", "raw"
}
