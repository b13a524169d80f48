package rehearse

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// maxDiff is how many lines a difference has at most.
const maxDiff = 20

// Diff says, one line for each place, how got differs from want; it is empty
// when they are equal.
func Diff(want, got any) []string { return compare(want, got, false) }

// missing is Diff for a want that says a part only: fields that it does not
// name are not looked at.
func missing(want, got any) []string { return compare(want, got, true) }

func compare(want, got any, part bool) []string {
	d := differ{part: part}
	d.value("", want, got)
	if n := len(d.lines); n > maxDiff {
		return append(d.lines[:maxDiff], fmt.Sprintf("… %d more", n-maxDiff))
	}
	return d.lines
}

type differ struct {
	part  bool
	lines []string
}

func (d *differ) add(at, format string, args ...any) {
	if at == "" {
		at = "."
	}
	d.lines = append(d.lines, at+": "+fmt.Sprintf(format, args...))
}

func (d *differ) value(at string, want, got any) {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			d.object(at, w, g)
			return
		}
	case []any:
		if g, ok := got.([]any); ok {
			d.array(at, w, g)
			return
		}
	}
	if !value.Equal(want, got) {
		d.add(at, "want %s, got %s", short(want), short(got))
	}
}

func (d *differ) object(at string, want, got map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[k]
		if !ok {
			d.add(at+field(k), "want %s, got nothing", short(want[k]))
			continue
		}
		d.value(at+field(k), want[k], g)
	}
	if d.part {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			d.add(at+field(k), "want nothing, got %s", short(got[k]))
		}
	}
}

func (d *differ) array(at string, want, got []any) {
	for i := range max(len(want), len(got)) {
		here := at + "[" + strconv.Itoa(i) + "]"
		switch {
		case i >= len(want):
			d.add(here, "want nothing, got %s", short(got[i]))
		case i >= len(got):
			d.add(here, "want %s, got nothing", short(want[i]))
		default:
			d.value(here, want[i], got[i])
		}
	}
}

// field is a key as jq writes it.
func field(k string) string {
	plain := k != ""
	for i, r := range k {
		plain = plain && (r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9')
	}
	if plain {
		return "." + k
	}
	return ".[" + strconv.Quote(k) + "]"
}

func short(v any) string {
	const most = 120
	s := string(value.JSON(v))
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.TrimSpace(s[:cut]) + "…"
}
