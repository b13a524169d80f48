package executor

import (
	"fmt"
	"reflect"
	"strings"
)

// SchemaOf makes the JSON Schema of a kind's arguments from the struct that
// holds them. Fields are named by their `json` tag; `doc` is the description,
// `enum` the allowed strings separated by '|', `default` the default (a
// string), and `required:"true"` a property that must be there. `oneof:"string"`
// on a struct field also allows that other JSON type in its place.
func SchemaOf(arguments any) any {
	s := schemaOf(reflect.TypeOf(arguments))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return s
}

func schemaOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		return schemaOfStruct(t)
	case reflect.Interface:
		return map[string]any{}
	default:
		// Our own mistake, found by the first test of the kind.
		panic(fmt.Sprintf("executor: arguments cannot hold a %s", t))
	}
}

func schemaOfStruct(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []any{}
	for f := range fieldsOf(t) {
		p := schemaOf(f.Type)
		if other := f.Tag.Get("oneof"); other != "" {
			p = map[string]any{"oneOf": []any{map[string]any{"type": other}, p}}
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			values := []any{}
			for v := range strings.SplitSeq(enum, "|") {
				values = append(values, v)
			}
			p["enum"] = values
		}
		if d, ok := f.Tag.Lookup("default"); ok {
			p["default"] = d
			if f.Type.Kind() == reflect.Bool {
				p["default"] = d == "true"
			}
		}
		name := f.Tag.Get("json")
		if f.Tag.Get("required") == "true" {
			required = append(required, name)
		}
		properties[name] = p
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// fieldsOf yields the fields that are arguments: those with a json tag.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Tag.Get("json") != "" && !yield(f) {
				return
			}
		}
	}
}
