// Package reference writes the reference of what tasks can carry out, from the
// schemas that the executors themselves are held to. `downbeat functions` prints
// it, and docs/reference/functions.md is made from it.
package reference

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Map is the fan-out of the default catalogue (D36). It is a task kind of the
// machine and has no executor, so its description stands here.
var Map = executor.Kind{
	Name: "map", Version: "1.0.0", Callable: true,
	Summary: "Runs tasks for every item of a list, many at once; the output is the list of results in the order of the items.",
	Schema: map[string]any{
		"type": "object", "required": []any{"in", "do"}, "additionalProperties": false,
		"properties": map[string]any{
			"in":      map[string]any{"description": "The list, or an expression that gives one."},
			"each":    map[string]any{"type": "string", "default": "item", "description": "Name of the variable that holds the item."},
			"at":      map[string]any{"type": "string", "default": "index", "description": "Name of the variable that holds the index, from 0."},
			"limit":   map[string]any{"type": "integer", "default": 10, "description": "How many items are under way at once; a number or an expression."},
			"onError": map[string]any{"type": "string", "enum": []any{"fail", "continue"}, "default": "fail", "description": "fail cancels the rest at the first fault; continue puts {\"error\": …} in the place of the item."},
			"do":      map[string]any{"type": "array", "description": "The tasks; each item starts from the task's input."},
		},
	},
}

// Page is the whole reference as Markdown.
func Page(kinds []executor.Kind) string {
	var b strings.Builder
	b.WriteString("# Functions and processes\n\nWhat `call` and `run` can carry out, and the arguments of each. Made from the program by `go test ./internal/reference -update`.\n\n")
	b.WriteString("A function of the default catalogue is called by its name (`call: noop`), or in full (`call: noop:1.0.0@default`). A function of the document with the same name wins.\n\n")
	b.WriteString("| name | what it does |\n| --- | --- |\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", k.Name, k.Name, cell(k.Summary))
	}
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n## %s\n\nVersion %s. %s\n\n", k.Name, k.Version, k.Summary)
		rows := arguments(k)
		if len(rows) == 0 {
			b.WriteString("It takes any arguments.\n")
			continue
		}
		b.WriteString("| argument | type | meaning |\n| --- | --- | --- |\n")
		for _, r := range rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.name, cell(r.kind), cell(r.meaning))
		}
	}
	return b.String()
}

// Show writes one function for a terminal.
func Show(w io.Writer, k executor.Kind) error {
	var b strings.Builder
	b.WriteString(k.Name)
	if k.Version != "" {
		b.WriteString(":" + k.Version)
	}
	b.WriteString("\n")
	if k.Summary != "" {
		b.WriteString(k.Summary + "\n")
	}
	table(&b, "Arguments", k.Schema)
	_, err := io.WriteString(w, b.String())
	return err
}

// ShowOutput writes what a function gives, by its schema.
func ShowOutput(w io.Writer, schema any) error {
	var b strings.Builder
	if m, ok := schema.(map[string]any); ok && m["properties"] == nil {
		fmt.Fprintf(&b, "\nOutput: %s\n", kindOf(m))
		if text, ok := m["description"].(string); ok {
			fmt.Fprintf(&b, "      %s\n", text)
		}
	}
	table(&b, "Output", schema)
	_, err := io.WriteString(w, b.String())
	return err
}

func table(b *strings.Builder, title string, schema any) {
	rows := arguments(executor.Kind{Schema: schema})
	if len(rows) > 0 {
		b.WriteString("\n" + title + ":\n")
	}
	for _, r := range rows {
		fmt.Fprintf(b, "  %s  (%s)\n", r.name, r.kind)
		if r.meaning != "" {
			fmt.Fprintf(b, "      %s\n", r.meaning)
		}
	}
}

// row is one argument.
type row struct{ name, kind, meaning string }

// arguments lists the properties of the schema, those of objects in them with a dotted name.
func arguments(k executor.Kind) []row {
	s, ok := k.Schema.(map[string]any)
	if !ok {
		return nil
	}
	return rows(s, "", 0)
}

const deepest = 3 // levels of objects within objects that are listed

func rows(s map[string]any, prefix string, depth int) []row {
	properties, ok := s["properties"].(map[string]any)
	if !ok || depth >= deepest {
		return nil
	}
	required, _ := s["required"].([]any)
	var out []row
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p, ok := properties[name].(map[string]any)
		if !ok {
			continue
		}
		r := row{name: prefix + name, kind: kindOf(p)}
		if slices.Contains(required, any(name)) {
			r.kind += ", required"
		}
		r.meaning, _ = p["description"].(string)
		if d, ok := p["default"]; ok && d != "" {
			r.meaning = strings.TrimSpace(r.meaning + " Default: " + text(d) + ".")
		}
		out = append(out, r)
		out = append(out, rows(objectOf(p), prefix+name+".", depth+1)...)
	}
	return out
}

// objectOf is the schema of an object itself or among its alternatives.
func objectOf(p map[string]any) map[string]any {
	if alternatives, ok := p["oneOf"].([]any); ok {
		for _, a := range alternatives {
			if m, ok := a.(map[string]any); ok && m["properties"] != nil {
				return m
			}
		}
	}
	return p
}

func kindOf(p map[string]any) string {
	if alternatives, ok := p["oneOf"].([]any); ok {
		var kinds []string
		for _, a := range alternatives {
			if m, ok := a.(map[string]any); ok {
				kinds = append(kinds, kindOf(m))
			}
		}
		return strings.Join(kinds, " or ")
	}
	if enum, ok := p["enum"].([]any); ok {
		var words []string
		for _, e := range enum {
			words = append(words, text(e))
		}
		return strings.Join(words, ", ")
	}
	if t, ok := p["type"].(string); ok {
		return t
	}
	return "any"
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(value.JSON(value.Normalize(v)))
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
