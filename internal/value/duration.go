package value

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as the language writes it: months, whose length
// depends on where they begin, and an exact rest. A day has 24 hours, a week
// seven days, a year twelve months.
type Duration struct {
	Months int
	Nanos  int64
}

// AddTo returns the time d after t. A day of the month that does not exist
// becomes the last one: a month after January 31st is February 28th or 29th.
func (d Duration) AddTo(t time.Time) time.Time {
	if d.Months != 0 {
		year, month, day := t.Date()
		hour, minute, second := t.Clock()
		total := int(month) - 1 + d.Months
		year, total = year+total/12, total%12
		month = time.Month(total + 1)
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		t = time.Date(year, month, min(day, last), hour, minute, second, t.Nanosecond(), t.Location())
	}
	return t.Add(time.Duration(d.Nanos))
}

// averageMonth is a twelfth of the Gregorian year of 365.2425 days.
const averageMonth = 2629746 * time.Second

// Std returns d as a fixed length, a month taken as a twelfth of a mean year.
func (d Duration) Std() time.Duration {
	if d.Months == 0 {
		return time.Duration(d.Nanos)
	}
	if d.Months > int((math.MaxInt64-d.Nanos)/int64(averageMonth)) {
		return math.MaxInt64
	}
	return time.Duration(d.Months)*averageMonth + time.Duration(d.Nanos)
}

// IsZero reports whether d is no time at all.
func (d Duration) IsZero() bool { return d == Duration{} }

// String returns d in ISO 8601 form, PT0S for nothing.
func (d Duration) String() string {
	var b strings.Builder
	b.WriteByte('P')
	part := func(n int64, unit byte) {
		if n != 0 {
			b.WriteString(strconv.FormatInt(n, 10))
			b.WriteByte(unit)
		}
	}
	part(int64(d.Months/12), 'Y')
	part(int64(d.Months%12), 'M')
	rest := time.Duration(d.Nanos)
	const day = 24 * time.Hour
	part(int64(rest/day), 'D')
	rest %= day
	if rest == 0 && b.Len() > 1 {
		return b.String()
	}
	b.WriteByte('T')
	part(int64(rest/time.Hour), 'H')
	part(int64(rest%time.Hour/time.Minute), 'M')
	if rest %= time.Minute; rest != 0 || d.IsZero() {
		b.WriteString(strconv.FormatInt(int64(rest/time.Second), 10))
		if frac := rest % time.Second; frac != 0 {
			b.WriteString(strings.TrimRight(fmt.Sprintf(".%09d", int64(frac)), "0"))
		}
		b.WriteByte('S')
	}
	return b.String()
}

// durationUnit is one designator of ISO 8601, in the order they must come.
type durationUnit struct {
	sign   byte
	time   bool // after the T
	months int64
	nanos  int64
	name   string
}

var durationUnits = []durationUnit{
	{'Y', false, 12, 0, "years"},
	{'M', false, 1, 0, "months"},
	{'W', false, 0, int64(7 * 24 * time.Hour), "weeks"},
	{'D', false, 0, int64(24 * time.Hour), "days"},
	{'H', true, 0, int64(time.Hour), "hours"},
	{'M', true, 0, int64(time.Minute), "minutes"},
	{'S', true, 0, int64(time.Second), "seconds"},
}

// ParseDuration reads an ISO 8601 duration such as P1M, P3DT12H or PT0.5S:
// years, months, weeks, days, then after a T hours, minutes and seconds. Any
// number may have a fraction, but one of years or months must come to whole
// months. A sign is refused.
func ParseDuration(s string) (Duration, error) {
	d, err := parseDuration(s)
	if err != nil {
		if len(s) > 60 {
			s = s[:60] + "…"
		}
		return Duration{}, fmt.Errorf("duration %q: %w", s, err)
	}
	return d, nil
}

func parseDuration(s string) (Duration, error) {
	rest, ok := strings.CutPrefix(s, "P")
	switch {
	case strings.HasPrefix(s, "-"), strings.HasPrefix(s, "+"):
		return Duration{}, errors.New("a sign is not allowed, durations are never negative")
	case !ok:
		return Duration{}, errors.New("want ISO 8601, for example PT30S, PT1H30M or P1D")
	case rest == "" || strings.HasSuffix(rest, "T"):
		return Duration{}, errors.New("no amount of time follows, write for example PT0S")
	}
	var d Duration
	next, inTime := 0, false
	for rest != "" {
		if rest[0] == 'T' && !inTime {
			inTime = true
			rest = rest[1:]
			continue
		}
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.' || rest[n] == ',') {
			n++
		}
		if n == 0 || n == len(rest) {
			return Duration{}, fmt.Errorf("want a number and a unit at %q, for example 30S", rest)
		}
		unit, err := findUnit(rest[n], inTime, &next)
		if err != nil {
			return Duration{}, err
		}
		if err := d.add(strings.Replace(rest[:n], ",", ".", 1), unit); err != nil {
			return Duration{}, err
		}
		rest = rest[n+1:]
	}
	return d, nil
}

func findUnit(sign byte, inTime bool, next *int) (durationUnit, error) {
	for i, u := range durationUnits {
		if u.sign != sign || u.time != inTime {
			continue
		}
		if i < *next {
			return u, fmt.Errorf("%s at the wrong place or twice, the order is Y M W D T H M S", u.name)
		}
		*next = i + 1
		return u, nil
	}
	if inTime {
		return durationUnit{}, fmt.Errorf("unknown unit %q after T, want H, M or S", sign)
	}
	if sign == 'H' || sign == 'S' {
		return durationUnit{}, fmt.Errorf("unit %q needs a T before it, as in PT1%c", sign, sign)
	}
	return durationUnit{}, fmt.Errorf("unknown unit %q, want Y, M, W or D, or H, M, S after a T", sign)
}

// add counts digits (with or without a fraction) of unit u into d, exactly.
func (d *Duration) add(digits string, u durationUnit) error {
	whole, frac, hasFrac := strings.Cut(digits, ".")
	if whole == "" || hasFrac && frac == "" || strings.ContainsAny(frac, ".,") {
		return fmt.Errorf("%q is not a number", digits)
	}
	if len(digits) > 30 {
		return fmt.Errorf("%s: too many digits", u.name)
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		return fmt.Errorf("%q is not a number", digits)
	}
	if u.months > 0 {
		n.Mul(n, new(big.Rat).SetInt64(u.months))
		if !n.IsInt() {
			return fmt.Errorf("%s %s are no whole months and their length is not defined, use days", digits, u.name)
		}
		if !n.Num().IsInt64() || n.Num().Int64() > math.MaxInt32-int64(d.Months) {
			return errors.New("too long")
		}
		d.Months += int(n.Num().Int64())
		return nil
	}
	n.Mul(n, new(big.Rat).SetInt64(u.nanos))
	// What is finer than a nanosecond is cut off.
	nanos := new(big.Int).Quo(n.Num(), n.Denom())
	if !nanos.IsInt64() || nanos.Int64() > math.MaxInt64-d.Nanos {
		return errors.New("too long, at most about 292 years apart from years and months")
	}
	d.Nanos += nanos.Int64()
	return nil
}

var durationKeys = map[string]int64{
	"days": int64(24 * time.Hour), "hours": int64(time.Hour), "minutes": int64(time.Minute),
	"seconds": int64(time.Second), "milliseconds": int64(time.Millisecond),
}

// DurationFromValue reads a duration from a value: an ISO 8601 string or an
// object with at least one of days, hours, minutes, seconds, milliseconds,
// which are whole numbers.
func DurationFromValue(v any) (Duration, error) {
	switch v := v.(type) {
	case string:
		return ParseDuration(v)
	case map[string]any:
		return durationFromObject(v)
	}
	return Duration{}, fmt.Errorf("duration: want an ISO 8601 string or an object such as {seconds: 30}, found %s", article(v))
}

func durationFromObject(m map[string]any) (Duration, error) {
	var d Duration
	if len(m) == 0 {
		return d, errors.New("duration: the object is empty, want at least one of days, hours, minutes, seconds, milliseconds")
	}
	for _, k := range sortedKeys(nil, m) {
		unit, ok := durationKeys[k]
		if !ok {
			return Duration{}, fmt.Errorf("duration: unknown property %q, want days, hours, minutes, seconds or milliseconds", k)
		}
		n, ok := wholeNumber(m[k])
		switch {
		case !ok:
			return Duration{}, fmt.Errorf("duration: %s must be a whole number, found %s", k, article(m[k]))
		case n < 0:
			return Duration{}, fmt.Errorf("duration: %s is negative (%d)", k, n)
		case n > (math.MaxInt64-d.Nanos)/unit:
			return Duration{}, fmt.Errorf("duration: %s: too long, at most about 292 years", k)
		}
		d.Nanos += n * unit
	}
	return d, nil
}

func wholeNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), true
		}
	}
	return 0, false
}

// article names v's type in a sentence; a scalar with its value.
func article(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	case string:
		if len(v) > 40 {
			v = v[:40] + "…"
		}
		return fmt.Sprintf("the string %q", v)
	}
	return "the " + TypeName(v) + " " + string(JSON(v))
}
