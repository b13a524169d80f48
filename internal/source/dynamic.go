package source

import "strings"

// IsWrapped reports whether the whole of s is one ${ expression }.
func IsWrapped(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 3 && strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}")
}

// IsDynamic reports whether evaluating s gives something else than s.
func IsDynamic(s string) bool {
	if IsWrapped(s) {
		return true
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return false
		}
		if after != "" && strings.ContainsRune(" \t\r\n", rune(after[0])) && strings.Contains(after, "}") {
			return true
		}
		rest = after
	}
}
