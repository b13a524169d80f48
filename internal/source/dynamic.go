package source

import (
	"regexp"
	"strings"
)

// IsWrapped reports whether the whole of s is one ${ expression }.
func IsWrapped(s string) bool {
	s = strings.TrimSpace(s)
	return len(s) > 3 && strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}")
}

// IsDynamic reports whether evaluating s gives something else than s.
func IsDynamic(s string) bool { return IsWrapped(s) || interpolated.MatchString(s) }

var interpolated = regexp.MustCompile(`(?s)\$\{[ \t\r\n].*\}`)
