package cron

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says what is wrong with an expression, and what would be right.
type Error struct{ Message, Allowed string }

// Error is the message with what would be right.
func (e *Error) Error() string {
	if e.Allowed == "" {
		return e.Message
	}
	return e.Message + "; " + e.Allowed
}

func wrong(allowed, format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), allowed}
}

// shorthands are the names of crontab(5).
var shorthands = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// field is what one of the five may hold.
type field struct {
	name        string
	least, most int
	words       []string // of the numbers from least on
}

var fields = [5]field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{"day of week", 0, 7, []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
}

const fiveFields = "it has five: minute, hour, day of month, month, day of week"

// Parse reads an expression. An error is an *Error. An expression that never
// holds, such as one for February 30th, is an error too.
func Parse(text string) (*Expression, error) {
	const longest = 1024
	e := &Expression{text: text}
	parts := strings.Fields(text)
	switch {
	case len(text) > longest:
		return nil, wrong("it has at most 1,024", "the expression has %d characters", len(text))
	case len(parts) == 1 && strings.HasPrefix(parts[0], "@"):
		full := shorthands[strings.ToLower(parts[0])]
		if full == "" {
			return nil, wrong("there are @yearly, @monthly, @weekly, @daily and @hourly", "%q is not known", parts[0])
		}
		parts = strings.Fields(full)
	case len(parts) > 0 && parts[0] == "@every":
		return nil, wrong("write schedule.every, as in every: PT5M", "@every is not of cron")
	case len(parts) > 0 && (strings.HasPrefix(parts[0], "TZ=") || strings.HasPrefix(parts[0], "CRON_TZ=")):
		return nil, wrong("metadata.downbeat.schedule.timezone names it", "the time zone %q stands in the expression", parts[0])
	case len(parts) == 6:
		return nil, wrong(fiveFields+"; what is due within minutes is written with schedule.every", "%q has 6 fields", text)
	}
	if len(parts) != len(fields) {
		return nil, wrong(fiveFields, "%q has %d fields", text, len(parts))
	}
	for i, set := range []*uint64{&e.minute, &e.hour, &e.day, &e.month, &e.weekday} {
		if parts[i] == "?" && (i == 2 || i == 4) {
			parts[i] = "*" // as others write "whatever the other field of the day says"
		}
		bits, err := fields[i].parse(parts[i])
		if err != nil {
			return nil, err
		}
		*set = bits
	}
	e.weekday |= e.weekday >> 7 & 1 // 7 is Sunday, as 0 is
	e.anyDay, e.anyWeekday = parts[2][0] == '*', parts[4][0] == '*'
	return e, e.possible()
}

// possible refuses what no year has: a day that none of the months has. On
// which day of the week a date falls changes, so that every pair comes.
func (e *Expression) possible() error {
	if !e.anyDay && !e.anyWeekday {
		return nil
	}
	for month, days := range [13]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if e.month>>month&1 == 1 && e.day&(1<<(days+1)-1) != 0 {
			return nil
		}
	}
	return wrong("choose a day that the month has", "%q is never due: no year has that day", e.text)
}

// parse reads a list of parts.
func (f *field) parse(text string) (bits uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		b, err := f.part(part)
		if err != nil {
			return 0, err
		}
		bits |= b
	}
	return bits, nil
}

// part reads *, 5, 1-5, */15, 10-50/10 or 5/15.
func (f *field) part(text string) (bits uint64, err error) {
	span, stepText, stepped := strings.Cut(text, "/")
	first, last := f.least, f.most
	if f.most == 7 && span == "*" {
		last = 6 // Sunday once
	}
	if span != "*" {
		low, high, ranged := strings.Cut(span, "-")
		if first, err = f.number(low, text); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if last, err = f.number(high, text); err != nil {
				return 0, err
			}
			if f.most == 7 && last == 0 && first > 0 {
				last = 7 // FRI-SUN
			}
		case !stepped:
			last = first
		}
	}
	if first > last {
		return 0, wrong(fmt.Sprintf("write it as two: %d-%d,%d-%d", first, f.most, f.least, last), "the %s %q begins after its end", f.name, text)
	}
	step := 1
	if stepped {
		step, err = strconv.Atoi(stepText)
		switch {
		case err != nil || step < 1 || len(stepText) > 4:
			return 0, wrong("after the / stands a number from 1 on", "the %s %q has no step", f.name, text)
		case step > f.most-f.least:
			return 0, wrong(fmt.Sprintf("at most %d; for a longer pace there is schedule.every", f.most-f.least), "the step of the %s %q is longer than the field", f.name, text)
		}
	}
	for n := first; n <= last; n += step {
		bits |= 1 << n
	}
	return bits, nil
}

// number reads a number or a name of the field.
func (f *field) number(text, whole string) (int, error) {
	for i, word := range f.words {
		if strings.EqualFold(text, word) {
			return f.least + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err == nil && n >= f.least && n <= f.most && text[0] != '+' && text[0] != '-' {
		return n, nil
	}
	allowed := fmt.Sprintf("it is %d to %d", f.least, f.most)
	if f.words != nil {
		allowed += fmt.Sprintf(", or %s to %s", f.words[0], f.words[len(f.words)-1])
	}
	allowed += ", with - for ranges, a comma for lists and / for steps"
	if strings.ContainsAny(text, "LW#") && f.words == nil || strings.Contains(text, "#") {
		allowed += "; L, W and # are of other schedulers"
	}
	if text == "" {
		return 0, wrong(allowed, "a number is missing in the %s %q", f.name, whole)
	}
	return 0, wrong(allowed, "the %s %q is not one", f.name, text)
}
