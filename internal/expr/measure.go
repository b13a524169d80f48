package expr

import (
	"math/big"
	"strconv"
)

// resultSize adds about the length of v's JSON to size and reports whether it
// is within limit and no deeper than depth. It stops as soon as it is not:
// parts that are shared count each time, as they would when written.
func resultSize(v any, depth, limit int, size *int) bool {
	switch v := v.(type) {
	case string:
		*size += len(v) + 2
	case []any:
		if depth == 0 {
			return false
		}
		*size += 2 + len(v)
		if *size > limit {
			return false
		}
		for _, x := range v {
			if !resultSize(x, depth-1, limit, size) {
				return false
			}
		}
	case map[string]any:
		if depth == 0 {
			return false
		}
		*size += 2
		for k, x := range v {
			*size += len(k) + 4
			if !resultSize(x, depth-1, limit, size) {
				return false
			}
		}
	case *big.Int:
		*size += v.BitLen()*3/10 + 1
	case float64:
		*size += 8
	default:
		*size += 4
	}
	return *size <= limit
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " bytes"
}
