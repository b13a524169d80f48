package jq

import (
	"errors"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

type regexKey struct{ re, flags string }

// matcher is a compiled regular expression. Go's engine takes linear time.
type matcher struct {
	*regexp.Regexp
	// probe finds an empty match right after another match, which jq reports
	// and Go does not; nil if the expression never matches nothing.
	probe *regexp.Regexp
}

// maxRegexes bounds what an instance remembers.
const maxRegexes = 64

func (c *Code) regex(re, flags string) (*matcher, error) {
	key := regexKey{re, flags}
	if r, ok := c.regexes[key]; ok {
		return r, nil
	}
	if !c.m.Charge(100 + 20*len(re)) {
		return nil, c.m.stopped
	}
	if strings.Trim(flags, "gim") != "" {
		return nil, errors.New("unsupported regular expression flag: " + gojq.Preview(flags))
	}
	prefix := ""
	if strings.Contains(flags, "i") {
		prefix += "(?i)"
	}
	if strings.Contains(flags, "m") {
		prefix += "(?s)"
	}
	r, err := regexp.Compile(prefix + re)
	if err != nil {
		return nil, errors.New("invalid regular expression " + gojq.Preview(re) + ": " + Shorten(err.Error(), 200))
	}
	m := &matcher{Regexp: r}
	if tree, err := syntax.Parse(prefix+re, syntax.Perl); err != nil || matchesNothing(tree) {
		if m.probe, err = regexp.Compile(`\A(?s:.)(?:` + prefix + re + `)`); err != nil {
			m.probe = nil
		}
	}
	if len(c.regexes) >= maxRegexes || c.regexes == nil {
		c.regexes = map[regexKey]*matcher{}
	}
	c.regexes[key] = m
	return m, nil
}

// matchesNothing reports whether re may match the empty string.
func matchesNothing(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return matchesNothing(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || matchesNothing(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !matchesNothing(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, matchesNothing)
	default: // repetitions that may be empty, and assertions
		return true
	}
}

// matches is jq's _match: the matches of re in v, or with testing whether
// there is one. gojq's own takes quadratic time and unlimited memory.
func (c *Code) matches(v, re, flags, testing any) any {
	name := "match"
	if testing == true {
		name = "test"
	}
	s, ok1 := v.(string)
	pattern, ok2 := re.(string)
	f, ok3 := flags.(string)
	if !ok1 || !ok2 || !ok3 && flags != nil {
		return errors.New(name + "(" + gojq.Preview(re) + "; " + gojq.Preview(flags) + ") cannot be applied to: " + describe(v))
	}
	r, err := c.regex(pattern, f)
	if err != nil {
		return err
	}
	// Each byte may be looked at once for each state of the expression.
	if !c.m.Charge((len(s) + 8) / 8 * (1 + len(pattern)/16)) {
		return nil
	}
	if testing == true {
		return r.MatchString(s)
	}
	cost := 60 + 40*r.NumSubexp()
	limit := 1
	if strings.Contains(f, "g") {
		limit = min(c.m.left/cost+1, math.MaxInt32)
	}
	found := r.FindAllStringSubmatchIndex(s, limit)
	if !c.m.Charge(cost * len(found)) {
		return nil
	}
	if limit > 1 && r.probe != nil {
		found = c.m.emptyMatches(r, s, found)
	}
	return c.m.describeMatches(r, s, found)
}

// emptyMatches adds the empty matches that begin where another match ends.
func (m *Meter) emptyMatches(r *matcher, s string, found [][]int) [][]int {
	out := make([][]int, 0, len(found))
	for i, x := range found {
		out = append(out, x)
		if x[0] == x[1] || i+1 < len(found) && found[i+1][0] == x[1] {
			continue
		}
		_, w := utf8.DecodeLastRuneInString(s[:x[1]])
		if !m.Charge(60 + (len(s)-x[1])/16) {
			return out
		}
		y := r.probe.FindStringSubmatchIndex(s[x[1]-w:])
		if y == nil || y[1] != w {
			continue
		}
		for j, at := range y {
			if at >= 0 {
				y[j] = at + x[1] - w
			}
		}
		y[0] = x[1]
		out = append(out, y)
	}
	return out
}

func (m *Meter) describeMatches(r *matcher, s string, found [][]int) any {
	out := make([]any, 0, len(found))
	names := r.SubexpNames()
	at, runes := 0, 0 // a place and how many characters come before it
	for _, x := range found {
		runes += utf8.RuneCountInString(s[at:x[0]])
		at = x[0]
		groups := make([]any, len(x)/2-1)
		if !m.Charge(len(groups) * (x[1] - x[0]) / 16) {
			return nil
		}
		for j := range groups {
			start, end := x[2*j+2], x[2*j+3]
			g := map[string]any{"name": nil, "offset": -1, "length": 0, "string": nil}
			if names[j+1] != "" {
				g["name"] = names[j+1]
			}
			if start >= 0 {
				g["offset"] = runes + utf8.RuneCountInString(s[at:start])
				g["length"] = utf8.RuneCountInString(s[start:end])
				g["string"] = s[start:end]
			}
			groups[j] = g
		}
		out = append(out, map[string]any{
			"offset": runes, "length": utf8.RuneCountInString(s[x[0]:x[1]]),
			"string": s[x[0]:x[1]], "captures": groups,
		})
	}
	return out
}

// captures makes an object of a match's named groups.
func captures(v any) any {
	list, ok := v.([]any)
	if !ok {
		return errors.New("expected an array but got: " + describe(v))
	}
	out := make(map[string]any, len(list))
	for _, g := range list {
		if g, ok := g.(map[string]any); ok {
			if name, ok := g["name"].(string); ok {
				out[name] = g["string"]
			}
		}
	}
	return out
}

// cutter cuts a string at places counted in characters that only go forward.
type cutter struct {
	s         string
	at, runes int
}

// to returns what lies between the last place and character n, and moves on.
func (c *cutter) to(n int) string {
	start := c.at
	for c.runes < n && c.at < len(c.s) {
		_, w := utf8.DecodeRuneInString(c.s[c.at:])
		c.at += w
		c.runes++
	}
	return c.s[start:c.at]
}

func span(match any) (offset, end int, ok bool) {
	o, ok := match.(map[string]any)
	if !ok {
		return 0, 0, false
	}
	offset, ok1 := o["offset"].(int)
	length, ok2 := o["length"].(int)
	return offset, offset + length, ok1 && ok2
}

// pieces cuts v at its matches: jq's splits.
func (m *Meter) pieces(v, matches any) any {
	s, _ := v.(string)
	list, _ := matches.([]any)
	if !m.Charge(len(s)/16 + 3*len(list)) {
		return nil
	}
	c := cutter{s: s}
	out := make([]any, 0, len(list)+1)
	for _, x := range list {
		offset, end, ok := span(x)
		if !ok {
			continue
		}
		out = append(out, c.to(offset))
		c.to(end)
	}
	return append(out, s[c.at:])
}

// splice replaces matches in v: jq's sub. Each of pairs is a match and the
// array of what stands in for it; the n-th of each makes the n-th result.
func (m *Meter) splice(v, pairs any) any {
	s, _ := v.(string)
	list, _ := pairs.([]any)
	c := cutter{s: s}
	var results []*strings.Builder
	size := 0
	for _, p := range list {
		pair, _ := p.([]any)
		if len(pair) != 2 {
			continue
		}
		offset, end, ok := span(pair[0])
		if !ok {
			continue
		}
		between := c.to(offset)
		c.to(end)
		subs, _ := pair[1].([]any)
		for i, sub := range subs {
			text, ok := sub.(string)
			if !ok && sub != nil {
				return cannotPair("add", between, sub)
			}
			if i == len(results) {
				results = append(results, &strings.Builder{})
			}
			if size += len(between) + len(text); size > m.maxResult || !m.Charge(2+(len(between)+len(text))/4) {
				m.room(size)
				return nil
			}
			results[i].WriteString(between)
			results[i].WriteString(text)
		}
	}
	if len(results) == 0 {
		return []any{s}
	}
	out := make([]any, len(results))
	for i, b := range results {
		if !m.room(b.Len() + len(s) - c.at) {
			return nil
		}
		b.WriteString(s[c.at:])
		out[i] = b.String()
	}
	return out
}

func floorInt(v any) (int, bool) {
	if f, ok := v.(float64); ok {
		v = math.Floor(f)
	}
	return gojq.ToInt(v)
}

func ceilInt(v any) (int, bool) {
	if f, ok := v.(float64); ok {
		if -1 < f && f < 0 || math.IsNaN(f) {
			return math.MaxInt, true
		}
		v = math.Ceil(f)
	}
	return gojq.ToInt(v)
}
