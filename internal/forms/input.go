package forms

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Input makes the input of a run of --input (JSON, @FILE or -) and --set.
// Without any it is an empty object (D1).
func Input(stdin io.Reader, text string, given bool, sets []string) (any, error) {
	return Changed(stdin, map[string]any{}, text, given, sets)
}

// Changed is in, replaced by --input and changed by --set.
func Changed(stdin io.Reader, in any, text string, given bool, sets []string) (any, error) {
	if given {
		v, err := inputValue(stdin, text)
		if err != nil {
			return nil, err
		}
		in = v
	}
	for _, s := range sets {
		path, text, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return nil, usage("write --set name=value; a.b=value nests", "--set %s: there is no name before an =", s)
		}
		v, err := value.Decode([]byte(text))
		if err != nil {
			v = text // anything that is no JSON is a string
		}
		if in, err = setPath(in, strings.Split(path, "."), v, path); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func inputValue(stdin io.Reader, text string) (any, error) {
	src, name := []byte(text), "--input"
	switch {
	case text == "-":
		b, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read the input from stdin: %w", err)
		}
		src, name = b, "stdin"
	case strings.HasPrefix(text, "@"):
		b, err := os.ReadFile(text[1:])
		if err != nil {
			return nil, usage("", "read the input: %w", err)
		}
		src, name = b, text[1:]
	}
	v, err := Data(src)
	if err != nil {
		hint := ""
		if _, statErr := os.Stat(text); name == "--input" && statErr == nil {
			hint = fmt.Sprintf("did you mean --input @%s?", text)
		} else if name == "--input" {
			hint = `it is JSON such as '{"name": "Ada"}', @FILE for what a file holds, or - for stdin`
		}
		return nil, usage(hint, "the input (%s) cannot be read: %w", name, err)
	}
	return v, nil
}

// setPath returns in with the value at path set; objects on the way are made.
func setPath(in any, path []string, v any, whole string) (any, error) {
	if len(path) == 0 {
		return v, nil
	}
	m, ok := in.(map[string]any)
	if !ok && in != nil {
		return nil, usage("", "--set %s: %q would have to be an object, but the input has %s there", whole, path[0], value.TypeName(in))
	}
	out := make(map[string]any, len(m)+1)
	maps.Copy(out, m)
	x, err := setPath(out[path[0]], path[1:], v, whole)
	if err != nil {
		return nil, err
	}
	out[path[0]] = x
	return out, nil
}

// maxInput is the limit of one value; the engine holds to it again.
const maxInput = 16 << 20

// Data reads JSON or, when it is none, YAML.
func Data(src []byte) (any, error) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	v, err := value.Decode(src)
	if err == nil {
		return v, nil
	}
	if t := bytes.TrimSpace(src); len(t) == 0 {
		return nil, errors.New("it is empty")
	} else if t[0] == '{' || t[0] == '[' || t[0] == '"' {
		return nil, err // meant as JSON: its mistake tells more
	}
	root, findings := source.Read(src, maxInput)
	if root == nil || source.HasErrors(findings) {
		return nil, errors.New(findings[0].Format("line"))
	}
	if _, text := root.Any().(string); text {
		return nil, err // any text is a YAML string; nobody means that
	}
	return root.Any(), nil
}
