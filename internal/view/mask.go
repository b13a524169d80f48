package view

import (
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// Masked stands in the place of a value that must not be shown.
const Masked = "***"

// Mask returns v with the values under the JSON pointers replaced by [Masked];
// "*" as a part of a pointer stands for every key or index. v itself is not
// changed; what no pointer reaches is shared with the result.
func Mask(v any, pointers []string) any {
	for _, p := range pointers {
		p = strings.TrimPrefix(p, "/")
		var parts []string
		if p != "" {
			parts = strings.Split(p, "/")
			for i := range parts {
				parts[i] = unescape.Replace(parts[i])
			}
		}
		v = mask(v, parts)
	}
	return v
}

func mask(v any, path []string) any {
	if len(path) == 0 {
		return Masked
	}
	key, rest := path[0], path[1:]
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[key]; !ok && key != "*" {
			return v
		}
		out := make(map[string]any, len(v))
		for k, x := range v {
			if k == key || key == "*" {
				x = mask(x, rest)
			}
			out[k] = x
		}
		return out
	case []any:
		at, err := strconv.Atoi(key)
		if key != "*" && (err != nil || at < 0 || at >= len(v)) {
			return v
		}
		out := make([]any, len(v))
		for i, x := range v {
			if i == at && err == nil || key == "*" {
				x = mask(x, rest)
			}
			out[i] = x
		}
		return out
	}
	return v
}

// Mask replaces what the pointers (metadata.downbeat.sensitive) reach in the
// run's input and output. A value that cannot be read is masked as a whole.
func (r *Run) Mask(pointers []string) {
	if len(pointers) == 0 {
		return
	}
	for _, raw := range []*value.Raw{&r.Input, &r.Output} {
		if raw.IsZero() {
			continue
		}
		v, err := raw.Any()
		if err != nil {
			v = Masked
		} else {
			v = Mask(v, pointers)
		}
		*raw = value.FromAny(v)
	}
}
