// Package schema validates users' data against JSON Schema. It alone knows the
// JSON Schema library.
//
// Schemas are of draft 2020-12 unless their $schema says otherwise. They stand
// alone: a reference to anywhere but the schema itself is refused when it is
// compiled, because a workflow must mean the same tomorrow, offline. What is
// wrong with a value is said in the same words and order each time. A [Schema]
// may be used by many goroutines at once.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a compiled JSON Schema.
type Schema struct {
	s *jsonschema.Schema
}

// location is the made-up address of the schema being compiled.
const location = "downbeat:///schema.json"

// Compile compiles doc, a JSON value in the forms of package value: an object,
// or true or false.
func Compile(doc any) (s *Schema, err error) {
	defer func() {
		// The library reads what users write; it is not trusted with the process.
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("compile JSON schema: %v", r)
		}
	}()
	switch doc.(type) {
	case map[string]any, bool:
	default:
		return nil, fmt.Errorf("compile JSON schema: a schema is an object, true or false")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	if err := c.AddResource(location, adapt(doc)); err != nil {
		return nil, fmt.Errorf("compile JSON schema: %w", err)
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("compile JSON schema: %w", plain(err))
	}
	return &Schema{s: compiled}, nil
}

// plain puts what the library says about a schema in our words.
func plain(err error) error {
	if load, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return load.Err
	}
	if whole, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		return plain(whole.Err)
	}
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return listed(invalid)
	}
	if pattern, ok := errors.AsType[*jsonschema.InvalidRegexError](err); ok {
		return fmt.Errorf("%s: %w", pointerOf(pattern.URL), pattern.Err)
	}
	if ref, ok := errors.AsType[*jsonschema.JSONPointerNotFoundError](err); ok {
		return fmt.Errorf("reference to %s, which is not in the schema", pointerOf(ref.URL))
	}
	return errors.New(strings.ReplaceAll(err.Error(), location, ""))
}

func pointerOf(url string) string {
	if _, pointer, ok := strings.Cut(url, "#"); ok && pointer != "" {
		return pointer
	}
	return url
}

type noLoader struct{}

// Load implements jsonschema.URLLoader; it refuses.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a schema must stand alone, put what it refers to under $defs", strings.TrimPrefix(url, "downbeat:///"))
}

type pattern struct{ *regexp.Regexp }

// unicodeEscape is how JSON Schema's regular expressions write a character
// and Go's do not.
var unicodeEscape = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`)

func compilePattern(s string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(unicodeEscape.ReplaceAllString(s, `\x{$1}`))
	if err == nil {
		return pattern{re}, nil
	}
	for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.Contains(s, look) {
			return nil, fmt.Errorf("pattern %q uses look-around %s…), which is not supported because it can take endless time; write several patterns under allOf, or not", s, look)
		}
	}
	return nil, fmt.Errorf("pattern %q is not valid: %w", s, err)
}

// adapt gives big integers the form that the library knows; everything else
// it takes as it is. What has no big integer in it is not copied.
func adapt(v any) any {
	switch v := v.(type) {
	case *big.Int:
		return json.Number(v.String())
	case []any:
		out, copied := v, false
		for i, x := range v {
			y := adapt(x)
			if _, ok := y.(json.Number); ok || changed(x, y) {
				if !copied {
					out, copied = slices.Clone(v), true
				}
				out[i] = y
			}
		}
		return out
	case map[string]any:
		out, copied := v, false
		for k, x := range v {
			y := adapt(x)
			if _, ok := y.(json.Number); ok || changed(x, y) {
				if !copied {
					out, copied = maps.Clone(v), true
				}
				out[k] = y
			}
		}
		return out
	}
	return v
}

// changed reports whether adapt made another container of x.
func changed(x, y any) bool {
	switch x := x.(type) {
	case []any:
		y, ok := y.([]any)
		return !ok || len(x) > 0 && &x[0] != &y[0]
	case map[string]any:
		y, ok := y.(map[string]any)
		return !ok || reflect.ValueOf(x).Pointer() != reflect.ValueOf(y).Pointer()
	}
	return false
}

// Validate checks v; the error for a value that does not match is an
// *[Invalid].
func (s *Schema) Validate(v any) error {
	err := s.s.Validate(adapt(v))
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("validate against JSON schema: %w", err)
	}
	return listed(invalid)
}

func listed(e *jsonschema.ValidationError) *Invalid {
	all := problems(e)
	out := &Invalid{Problems: all}
	if len(all) > MaxProblems {
		out.Problems, out.More = all[:MaxProblems], len(all)-MaxProblems
	}
	return out
}
