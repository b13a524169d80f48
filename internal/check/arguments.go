package check

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// The patterns of strings that are evaluated: one that is an expression gives a
// value of any type, one that holds expressions gives a string.
const (
	WrappedPattern      = `^\s*\$\{[\s\S]+\}\s*$`
	InterpolatedPattern = `\$\{[ \t\r\n][\s\S]*\}`
)

// evaluated is a schema of strings for which a schema cannot speak before they
// are evaluated.
func evaluated(patterns ...string) map[string]any {
	return map[string]any{"type": "string", "pattern": strings.Join(patterns, "|")}
}

// annotations are keywords that say nothing about a value.
var annotations = []string{"title", "description", "default", "examples", "deprecated", "$comment", "$schema", "$defs", "$id"}

// OrExpressions makes, of the JSON Schema of a function's arguments, the one of
// arguments as an author writes them: expressions may stand for every part.
func OrExpressions(input any) any { return orExpressions(input, true) }

func orExpressions(s any, bare bool) any {
	m, ok := s.(map[string]any)
	if !ok {
		return s
	}
	out := map[string]any{}
	says := false // whether the schema rules anything out
	for k, v := range m {
		switch k {
		case "properties", "patternProperties", "$defs", "dependentSchemas":
			if sub, ok := v.(map[string]any); ok {
				parts := make(map[string]any, len(sub))
				for name, x := range sub {
					parts[name] = orExpressions(x, false)
				}
				v = parts
			}
		case "items", "additionalProperties", "contains":
			v = orExpressions(v, false)
		case "anyOf", "oneOf", "allOf", "prefixItems":
			if list, ok := v.([]any); ok {
				parts := make([]any, len(list))
				for i, x := range list {
					parts[i] = orExpressions(x, k != "prefixItems")
				}
				v = parts
			}
			if k == "oneOf" { // with expressions several may fit
				k = "anyOf"
			}
		}
		out[k] = v
		says = says || !slices.Contains(annotations, k)
	}
	if bare || !says {
		return out
	}
	patterns := []string{WrappedPattern}
	if m["type"] == "string" || m["type"] == nil {
		if len(m) == 1 && m["type"] != nil {
			return out // any string will do
		}
		patterns = append(patterns, InterpolatedPattern)
	}
	whole := map[string]any{"anyOf": []any{out, evaluated(patterns...)}}
	for _, k := range annotations {
		if v, ok := out[k]; ok && k != "$defs" {
			whole[k] = v
			delete(out, k)
		}
	}
	return whole
}

// functionInput checks the arguments of a function as they are written: what
// expressions will give cannot be known.
func (c *checker) functionInput(k *workflow.Call, f Function) {
	s, ok := f.Input.(map[string]any)
	if !ok || k.With.IsZero() { // without arguments the task's input is passed
		return
	}
	named := k.With.Kind == workflow.MapValue && c.argumentNames(k, f.Name, s)
	if k.With.Kind != workflow.MapValue && !constant(&k.With) {
		return
	}
	all := problems(OrExpressions(f.Input), k)
	// Simpler words: the problems of the schema without expressions, where no expression stands.
	plain := slices.DeleteFunc(problems(f.Input, k), func(p schema.Problem) bool { return !constant(valueAt(&k.With, p.Pointer)) })
	if len(all) > 0 && len(plain) > 0 {
		all = plain
	}
	props, _ := s["properties"].(map[string]any)
	for _, p := range all {
		top, _, _ := strings.Cut(strings.TrimPrefix(p.Pointer, "/"), "/")
		if named && props[top] == nil {
			continue // said by its name
		}
		c.fail(valueAt(&k.With, p.Pointer).Pos, "call/arguments", "DSL 84", fmt.Sprintf("the arguments of %s: %s", f.Name, p), "")
	}
}

// bodyInput checks the arguments of a function that is written in the DSL by the
// schema of its input. Without arguments its input is {} (D24).
func (c *checker) bodyInput(k *workflow.Call, f *workflow.Task) {
	if f.Input == nil || f.Input.Schema == nil || f.Input.Schema.Document.IsZero() {
		return
	}
	called := *k
	if called.With.IsZero() {
		called.With = workflow.Value{Pos: k.Pos, Kind: workflow.MapValue, Any: map[string]any{}}
	}
	c.functionInput(&called, Function{Name: f.Name, Input: f.Input.Schema.Document.Any})
}

// problems are what a schema says of the arguments; a schema that does not
// compile is not the author's mistake.
func problems(input any, k *workflow.Call) []schema.Problem {
	compiled, err := schema.Compile(input)
	var invalid *schema.Invalid
	if err != nil || !errors.As(compiled.Validate(k.With.Any), &invalid) {
		return nil
	}
	return invalid.Problems
}

// argumentNames reports arguments that are missing or unknown.
func (c *checker) argumentNames(k *workflow.Call, name string, s map[string]any) bool {
	wrong := false
	required, _ := s["required"].([]any)
	props, _ := s["properties"].(map[string]any)
	for _, r := range required {
		if arg, ok := r.(string); ok && k.With.Field(arg) == nil {
			message := fmt.Sprintf("the arguments of %s lack %q", name, arg)
			if near := source.Nearest(arg, k.With.Keys); near != "" && props[near] == nil && s["additionalProperties"] != false {
				message += fmt.Sprintf(", but have %q", near) // no other finding names it
			}
			c.fail(k.With.Pos, "call/arguments", "DSL 84", message, "")
			wrong = true
		}
	}
	if s["additionalProperties"] != false || props == nil {
		return wrong
	}
	patterns, _ := s["patternProperties"].(map[string]any)
	known := slices.Sorted(maps.Keys(props))
	for i, arg := range k.With.Keys {
		if !slices.Contains(known, arg) && !matchesAny(patterns, arg) {
			c.report(workflow.Finding{
				Pos: k.With.Fields[i].Pos, Rule: "call/arguments", DSL: "DSL 84", Message: fmt.Sprintf("%s has no argument %s", name, source.Quote(arg)),
				Allowed: "it has " + strings.Join(known, ", "), Suggestion: source.Nearest(arg, known),
			})
			wrong = true
		}
	}
	return wrong
}

func matchesAny(patterns map[string]any, name string) bool {
	for p := range patterns {
		if re, err := regexp.Compile(p); err != nil || re.MatchString(name) {
			return true
		}
	}
	return false
}
