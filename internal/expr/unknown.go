package expr

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// meant says of a function that is not there, given as name/arity, what its
// author may have meant: the name with as many arguments as it takes, or one that is close.
func meant(key string) string {
	name, _, _ := strings.Cut(key, "/")
	var arities []string
	best, distance := "", min(2, len(name)/3)+1
	for _, known := range builtins() {
		n, arity, _ := strings.Cut(known, "/")
		if refused[n] != "" || strings.HasPrefix(n, "_") {
			continue
		}
		if n == name {
			arities = append(arities, arity)
		}
		if d := edits(name, n); d < distance || d == distance && n < best {
			best, distance = n, d
		}
	}
	switch {
	case len(arities) == 1 && arities[0] == "0":
		return "; " + name + " takes no arguments"
	case len(arities) == 1 && arities[0] == "1":
		return "; " + name + " takes 1 argument"
	case len(arities) > 0:
		slices.Sort(arities)
		return "; " + name + " takes " + strings.Join(arities, " or ") + " arguments, which ; separates"
	case best != "":
		return ", did you mean " + best + "?"
	}
	return ""
}

// builtins are jq's functions as name/arity; jq itself is asked.
func builtins() []string {
	q, err := gojq.Parse("builtins")
	if err != nil {
		return nil
	}
	v, _ := q.Run(nil).Next()
	list, _ := v.([]any)
	var names []string
	for _, x := range list {
		if s, ok := x.(string); ok {
			names = append(names, s)
		}
	}
	return names
}
