package editor

import "maps"

// shape is a JSON Schema, or a part of one.
type shape = map[string]any

// property is one property of a map.
type property struct {
	name, doc string
	is        shape
	required  bool
}

func need(name, doc string, is shape) property { return property{name, doc, is, true} }
func may(name, doc string, is shape) property  { return property{name, doc, is, false} }

// object is a map of these properties and no others.
func object(props ...property) shape {
	s := open(props...)
	s["additionalProperties"] = false
	return s
}

// open is a map of these properties and any others.
func open(props ...property) shape {
	properties, required := shape{}, []any{}
	for _, p := range props {
		properties[p.name] = about(p.is, p.doc)
		if p.required {
			required = append(required, p.name)
		}
	}
	s := shape{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// about gives a shape a description, what editors show beside it.
func about(s shape, doc string) shape {
	if doc == "" {
		return s
	}
	return plus(s, shape{"description": doc})
}

// plus is s with more keywords.
func plus(s, more shape) shape {
	s = maps.Clone(s)
	maps.Copy(s, more)
	return s
}

func ref(name string) shape { return shape{"$ref": "#/$defs/" + name} }

func mapOf(s shape) shape  { return shape{"type": "object", "additionalProperties": s} }
func listOf(s shape) shape { return shape{"type": "array", "items": s} }

// named is a map with one key, a name: how the language writes lists of named things.
func named(s shape) shape {
	return plus(mapOf(s), shape{"minProperties": 1, "maxProperties": 1})
}

func anyOf(shapes ...shape) shape {
	list := make([]any, len(shapes))
	for i, s := range shapes {
		list[i] = s
	}
	return shape{"anyOf": list}
}

func words(list ...string) shape { return shape{"type": "string", "enum": values(list...)} }

func constant(word, doc string) shape { return shape{"const": word, "description": doc} }

func values(list ...string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func whole(low, high int) shape { return shape{"type": "integer", "minimum": low, "maximum": high} }

func pattern(p string) shape { return shape{"type": "string", "pattern": p} }

// saying gives a shape the words that editors show instead of their own when it
// does not fit. Validators ignore them.
func saying(s shape, message string) shape {
	return plus(s, shape{"errorMessage": message, "patternErrorMessage": message})
}

// has holds for a map with the property name.
func has(name string) shape { return shape{"required": []any{name}} }

// exactly wants one of the properties names and no other of them.
func exactly(s shape, names ...string) shape {
	list := make([]any, len(names))
	for i, n := range names {
		list[i] = has(n)
	}
	return plus(s, shape{"oneOf": list})
}

func when(cond, then shape) shape { return shape{"if": cond, "then": then} }

// where holds for a map whose property name is one of these.
func where(name string, these ...string) shape {
	return shape{"properties": shape{name: shape{"enum": values(these...)}}, "required": []any{name}}
}

var (
	anything = shape{}
	text     = shape{"type": "string"}
	someText = shape{"type": "string", "minLength": 1}
	boolean  = shape{"type": "boolean"}
	anyMap   = shape{"type": "object"}
	// scalar is text, or a number or boolean that is sent as text.
	scalar = shape{"type": []any{"string", "number", "boolean"}}
)

// orExpr lets an expression in ${ } stand beside s.
func orExpr(s shape) shape { return anyOf(s, ref("wrapped")) }

// The patterns of texts. They are written for the regular expressions of Go and
// of ECMAScript alike.
const (
	labelPattern  = `^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`
	hostPattern   = `^(https?://)?[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$`
	versionTail   = `(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?`
	versionNumber = `(0|[1-9][0-9]*)\.` + versionTail
	number        = `[0-9]+([.,][0-9]+)?`
	durationOrder = `^P(` + number + `Y)?(` + number + `M)?(` + number + `W)?(` + number + `D)?(T(` + number + `H)?(` + number + `M)?(` + number + `S)?)?$`
	durationEnd   = `[0-9][YMWDHS]$`
	variable      = `^(_|_?[A-Za-z][A-Za-z0-9_]*|_[0-9][A-Za-z0-9_]*)$`
	cron          = `^(@[\s\S]*|\s*\S+(\s+\S+){4}\s*)$`
	timeStamp     = `^[0-9]{4}-[0-9][0-9]-[0-9][0-9][Tt ][0-9][0-9]:[0-9][0-9]:[0-9][0-9](\.[0-9]+)?([Zz]|[+-][0-9][0-9]:[0-9][0-9])$`
	// functionName is a plain name, name:version, name:version@catalogue, or a URI (DSL 84).
	functionName = `^([^:@]+|[^:@]*:` + versionNumber + `(@[\s\S]*)?|file:[\s\S]*|[\s\S]*://[\s\S]*)$`
)
