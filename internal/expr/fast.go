package expr

import (
	"slices"

	"github.com/itchyny/gojq"
)

type node interface {
	eval(m *meter, input any, lookup func(string) any) (any, error)
}

func fastNode(*gojq.Query) node { return nil }

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
