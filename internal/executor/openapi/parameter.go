package openapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// parameter is one parameter, in the words of OpenAPI 3.
type parameter struct {
	name, in string // in: path, query, header, cookie; body and formdata of Swagger
	required bool
	style    string
	explode  bool
	reserved bool   // allowReserved
	json     bool   // its content is JSON, not a style
	tabs     bool   // collectionFormat tsv
	schema   object // may be nil
}

// parameter reads a parameter of either version.
func (o *operation) parameter(m object) *parameter {
	p := &parameter{name: stringOf(m["name"]), in: strings.ToLower(stringOf(m["in"])), required: boolOf(m["required"]), reserved: boolOf(m["allowReserved"])}
	p.schema, _ = o.follow(m["schema"], "a schema") // only defaults are read of it
	if p.schema == nil {
		p.schema = m // Swagger has type, default and enum in the parameter itself
	}
	if p.in == "path" {
		p.required = true // it always is, even where the document forgot
	}
	for name := range objectOf(m["content"]) {
		p.json = p.json || rank(name) == 0
	}
	p.style = stringOf(m["style"])
	if p.style == "" {
		p.style = map[string]string{"query": "form", "cookie": "form"}[p.in]
		if p.style == "" {
			p.style = "simple"
		}
	}
	p.explode = p.style == "form"
	if e, ok := m["explode"].(bool); ok {
		p.explode = e
	}
	if o.swagger || m["collectionFormat"] != nil {
		p.collection(stringOf(m["collectionFormat"]))
	}
	return p
}

// collection translates Swagger's collectionFormat.
func (p *parameter) collection(format string) {
	p.explode = false
	switch format {
	case "multi":
		p.explode = true
	case "ssv":
		p.style = "spaceDelimited"
	case "pipes":
		p.style = "pipeDelimited"
	case "tsv":
		p.style, p.tabs = "spaceDelimited", true
	}
}

// fallback is a value for a required parameter that was not given: its
// default, or the only one there is.
func (p *parameter) fallback() any {
	if v := p.schema["default"]; v != nil {
		return v
	}
	if v := p.schema["const"]; v != nil {
		return v
	}
	if enum := listOf(p.schema["enum"]); len(enum) == 1 {
		return enum[0]
	}
	return nil
}

// pair is a name with a value, both escaped.
type pair struct{ name, text string }

// escape is percent-encoding; with reserved, what has a meaning in URIs stays,
// except what would end the value it is in.
func escape(s string, reserved bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0,
			reserved && strings.IndexByte(":/?@!$'()*,;=", c) >= 0,
			reserved && c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (p *parameter) escape(v any) string {
	if p.in == "header" {
		return executor.Text(v)
	}
	return escape(executor.Text(v), p.reserved)
}

// items are the elements of a list, or keys and values in turn, escaped; ok is
// false for a scalar.
func (p *parameter) items(v any) (items []string, ok bool) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			items = append(items, p.escape(x))
		}
		return items, true
	case object:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if v[k] != nil {
				items = append(items, p.escape(k), p.escape(v[k]))
			}
		}
		return items, true
	}
	return nil, false
}

// members are the entries of an object as "key=value".
func members(items []string) []string {
	var out []string
	for i := 0; i+1 < len(items); i += 2 {
		out = append(out, items[i]+"="+items[i+1])
	}
	return out
}

// segment is the value in a path or a header, by the styles simple, label and matrix.
func (p *parameter) segment(v any) string {
	if p.json {
		return p.escape(string(value.JSON(v)))
	}
	items, list := p.items(v)
	_, isObject := v.(object)
	switch {
	case !list:
		items = []string{p.escape(v)}
	case isObject && p.explode:
		items = members(items)
	}
	switch p.style {
	case "label":
		if p.explode {
			return "." + strings.Join(items, ".")
		}
		return "." + strings.Join(items, ",")
	case "matrix":
		name := escape(p.name, false)
		switch {
		case isObject && p.explode:
			return ";" + strings.Join(items, ";")
		case list && p.explode:
			return ";" + name + "=" + strings.Join(items, ";"+name+"=")
		case !list && items[0] == "":
			return ";" + name
		}
		return ";" + name + "=" + strings.Join(items, ",")
	case "spaceDelimited", "pipeDelimited": // Swagger allows them here too
		return strings.Join(items, p.separator())
	}
	return strings.Join(items, ",")
}

func (p *parameter) separator() string {
	sep := map[string]string{"spaceDelimited": " ", "pipeDelimited": "|"}[p.style]
	switch {
	case p.tabs:
		sep = "\t"
	case sep == "":
		return ","
	}
	if p.in == "header" {
		return sep
	}
	return escape(sep, false)
}

// pairs is the value in a query, a form or cookies, by the styles form,
// spaceDelimited, pipeDelimited and deepObject.
func (p *parameter) pairs(v any) []pair {
	name := escape(p.name, false)
	if p.json {
		return []pair{{name, p.escape(string(value.JSON(v)))}}
	}
	items, list := p.items(v)
	_, isObject := v.(object)
	var out []pair
	switch {
	case !list:
		return []pair{{name, p.escape(v)}}
	case p.style == "deepObject" && isObject:
		return p.deep(name, v)
	case len(items) == 0:
		return nil
	case isObject && p.explode:
		for i := 0; i+1 < len(items); i += 2 {
			out = append(out, pair{items[i], items[i+1]})
		}
	case p.explode || p.style == "deepObject":
		for _, x := range items {
			out = append(out, pair{name, x})
		}
	default:
		out = []pair{{name, strings.Join(items, p.separator())}}
	}
	return out
}

// deep is name[key]=value, and deeper where objects are: the specification
// says nothing of that, services that use it do it so.
func (p *parameter) deep(name string, v any) []pair {
	switch v := v.(type) {
	case nil:
		return nil
	case object:
		var out []pair
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, p.deep(name+"%5B"+escape(k, false)+"%5D", v[k])...)
		}
		return out
	case []any:
		var out []pair
		for _, x := range v {
			out = append(out, pair{name, p.escape(x)})
		}
		return out
	}
	return []pair{{name, p.escape(v)}}
}
