// Package schema validates users' data against JSON Schema. It alone knows the
// JSON Schema library.
//
// Schemas are of draft 2020-12 unless their $schema says otherwise. They stand
// alone: a reference to anywhere but the schema itself is refused when it is
// compiled, because a workflow must mean the same tomorrow, offline. A
// [Schema] may be used by many goroutines at once.
package schema

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a compiled JSON Schema.
type Schema struct {
	s *jsonschema.Schema
}

// MaxProblems is how many problems an *[Invalid] lists.
const MaxProblems = 20

// Problem is one thing that is wrong with a value.
type Problem struct {
	Pointer string // where, as a JSON pointer; "" is the whole value
	Message string // what, in plain words
}

// String returns "/age: expected integer, found string".
func (p Problem) String() string {
	if p.Pointer == "" {
		return p.Message
	}
	return p.Pointer + ": " + p.Message
}

// Invalid is the error of a value that does not match.
type Invalid struct {
	Problems []Problem // at least one, at most MaxProblems
	More     int       // how many further ones are left out
}

// Error implements error.
func (e *Invalid) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	s := strings.Join(parts, "; ")
	if e.More > 0 {
		s += fmt.Sprintf("; and %d more", e.More)
	}
	return s
}

// location is the made-up address of the schema being compiled.
const location = "downbeat:///schema.json"

// Compile compiles doc, a JSON value in the forms of package value.
func Compile(doc any) (*Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource(location, doc); err != nil {
		return nil, fmt.Errorf("compile JSON schema: %w", err)
	}
	s, err := c.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("compile JSON schema: %w", err)
	}
	return &Schema{s: s}, nil
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a schema must stand alone, put what it refers to under $defs", url)
}

// Validate checks v; the error for a value that does not match is an
// *[Invalid].
func (s *Schema) Validate(v any) error {
	err := s.s.Validate(v)
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		return &Invalid{Problems: []Problem{{Message: err.Error()}}}
	}
	return err
}
