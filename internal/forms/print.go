package forms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// JSON is the JSON of a value or of anything that marshals itself.
func JSON(v any) ([]byte, error) {
	switch v := v.(type) {
	case value.Raw:
		return v.JSON(), nil
	case json.Marshaler:
		return v.MarshalJSON()
	case map[string]any, []any, nil, string, int, float64, bool:
		return value.Append(nil, v), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("print the result: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Value is the value of something that marshals itself, to be put into another.
func Value(v json.Marshaler) (value.Raw, error) {
	b, err := v.MarshalJSON()
	if err != nil {
		return value.Raw{}, fmt.Errorf("print the result: %w", err)
	}
	return value.FromJSON(b), nil
}

// YAML turns JSON into YAML with the same order of keys: JSON is YAML already,
// so only its style changes.
func YAML(b []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("print as YAML: %w", err)
	}
	plainStyle(&n)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return nil, fmt.Errorf("print as YAML: %w", err)
	}
	return out.Bytes(), nil
}

func plainStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	if !ambiguous(n.Value) {
		n.Style &^= yaml.DoubleQuotedStyle
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") {
		n.Style |= yaml.LiteralStyle
	}
	for _, c := range n.Content {
		plainStyle(c)
	}
}

// ambiguous reports text that readers of YAML 1.1 take for a boolean (D30).
func ambiguous(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}
