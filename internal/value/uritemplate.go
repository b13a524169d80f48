package value

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// URITemplate expands the simple expressions {name} of a URI template with the
// top-level properties of vars, an object or null. What stands between the
// braces is taken verbatim: {pet.id} is the property "pet.id". A property that
// is missing or null gives nothing; an array or an object is an error. Values
// are percent-encoded, all but letters, digits and - . _ ~.
func URITemplate(tmpl string, vars any) (string, error) {
	if !strings.ContainsAny(tmpl, "{}") {
		return tmpl, nil
	}
	props, ok := vars.(map[string]any)
	if !ok && vars != nil {
		return "", fmt.Errorf("URI template %q: its variables must be an object, found %s", tmpl, article(vars))
	}
	var b strings.Builder
	for rest := tmpl; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		if rest[i] == '}' {
			return "", fmt.Errorf("URI template %q: a } without its {", tmpl)
		}
		rest = rest[i+1:]
		end := strings.IndexAny(rest, "{}")
		if end < 0 || rest[end] == '{' {
			return "", fmt.Errorf("URI template %q: a { without its }", tmpl)
		}
		name := rest[:end]
		rest = rest[end+1:]
		if err := checkVariable(name); err != nil {
			return "", fmt.Errorf("URI template %q: {%s}: %w", tmpl, name, err)
		}
		s, err := uriText(props[name])
		if err != nil {
			return "", fmt.Errorf("URI template %q: {%s}: %w", tmpl, name, err)
		}
		appendPercent(&b, s)
	}
	return b.String(), nil
}

// checkVariable refuses the other operators of RFC 6570: taken verbatim they
// would silently give nothing.
func checkVariable(name string) error {
	switch {
	case name == "":
		return errors.New("no name")
	case strings.ContainsRune("+#./;?&=!@|", rune(name[0])), strings.ContainsAny(name, ",*"):
		return errors.New("only simple expansion {name} is supported, one name without operators")
	}
	return nil
}

func uriText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool, int, float64, *big.Int:
		return string(JSON(v)), nil
	}
	return "", fmt.Errorf("want a string, number or boolean, found %s", article(v))
}

func appendPercent(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}
