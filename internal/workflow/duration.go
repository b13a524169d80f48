package workflow

import (
	"math"
	"strconv"
	"time"
)

const day = 24 * time.Hour

var unitLengths = map[string]time.Duration{"days": day, "hours": time.Hour, "minutes": time.Minute, "seconds": time.Second, "milliseconds": time.Millisecond}

// Literal is the length of a duration that is written out, with 365 days to a
// year and 30 to a month; not ok when it holds an expression or is malformed.
// Lengths beyond what time.Duration holds are the longest there is. It serves
// judging a definition; the machine counts calendar months itself.
func (d *Duration) Literal() (length time.Duration, ok bool) {
	if d == nil {
		return 0, false
	}
	total := 0.0
	switch d.Value.Kind {
	case MapValue:
		for i, k := range d.Value.Keys {
			n, isInt := d.Value.Fields[i].Scalar.(int)
			if !isInt {
				return 0, false
			}
			total += float64(n) * float64(unitLengths[k])
		}
	case ScalarValue:
		s, isText := d.Value.Scalar.(string)
		if !isText || !IsDuration(s) {
			return 0, false
		}
		total = isoLength(s)
	case NoValue, ListValue:
		return 0, false
	}
	if total >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	if total <= math.MinInt64 {
		return math.MinInt64, true
	}
	return time.Duration(total), true
}

// isoLength adds up a string that IsDuration accepts.
func isoLength(s string) float64 {
	units := map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'W': 7 * day, 'D': day}
	total, start := 0.0, 1
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == 'T':
			units = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
			start = i + 1
		case c >= 'A' && c <= 'Z':
			f, _ := strconv.ParseFloat(s[start:i], 64)
			total += f * float64(units[c])
			start = i + 1
		}
	}
	return total
}
