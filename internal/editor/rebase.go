package editor

import "strings"

// inside prepares the schema of a function's arguments to stand inside another
// one, under $defs/name: its references to itself lead there.
func inside(schema any, name string) shape {
	s, ok := rebase(schema, "#/$defs/"+name+"/anyOf/0").(shape)
	if !ok {
		return anything
	}
	delete(s, "$schema")
	delete(s, "$id")
	return s
}

func rebase(v any, base string) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = rebase(x, base)
		}
		return out
	case shape:
		out := make(shape, len(v))
		for k, x := range v {
			if to, ok := x.(string); ok && k == "$ref" && strings.HasPrefix(to, "#") {
				out[k] = base + to[1:]
				continue
			}
			out[k] = rebase(x, base)
		}
		return out
	}
	return v
}
