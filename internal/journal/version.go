package journal

import (
	"cmp"
	"strings"
)

// CompareVersions orders semantic versions: -1 when a is lower than b, 1 when
// it is higher, 0 when neither. What is no number where one belongs is compared
// as text, so every two strings have an order.
func CompareVersions(a, b string) int {
	a, _, _ = strings.Cut(a, "+") // build metadata does not count
	b, _, _ = strings.Cut(b, "+")
	a, aPre, aIs := strings.Cut(a, "-")
	b, bPre, bIs := strings.Cut(b, "-")
	if c := compareParts(a, b); c != 0 {
		return c
	}
	switch {
	case aIs && bIs:
		return compareParts(aPre, bPre)
	case aIs:
		return -1
	case bIs:
		return 1
	}
	return 0
}

func compareParts(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if c := comparePart(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// comparePart compares as numbers of any length where both are; a number is
// lower than a text.
func comparePart(a, b string) int {
	switch aNum, bNum := isNumber(a), isNumber(b); {
	case aNum && bNum:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case aNum:
		return -1
	case bNum:
		return 1
	}
	return cmp.Compare(a, b)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
