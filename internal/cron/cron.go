// Package cron reads cron expressions and says when they are due: five fields
// (minute, hour, day of month, month, day of week), as crontab(5) has them, in
// a time zone with all its shifts. It is pure: the time is an argument.
//
// Where clocks are put forward, what falls into the time that is left out is
// due once, at the shift; where they are put back, what is due at fixed hours
// is due in the first of the two. An expression that holds in every hour of the
// day follows the time that really passes instead: none is doubled or made up.
package cron

import "time"

// Expression is a cron expression that was understood.
type Expression struct {
	minute, hour, day, month, weekday uint64 // bit n: the number n
	// anyDay and anyWeekday: the field begins with a star, so that both fields
	// of the day must hold; where neither does, one is enough.
	anyDay, anyWeekday bool
	text               string
}

// String is the expression as it was written.
func (e *Expression) String() string { return e.text }

const (
	allHours = 1<<24 - 1
	lastYear = 9999 // later times cannot be written
)

// Next is the first due time after a time, in the zone loc; the zero time when
// there is none up to the year 9999.
func (e *Expression) Next(after time.Time, loc *time.Location) time.Time {
	// Between two shifts of the zone the clock on the wall is a plain calendar.
	for t, entered := after.In(loc), false; t.Year() <= lastYear; entered = true {
		begin, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) {
			end = t.Add(24 * time.Hour) // on the last day of leap years package time is mistaken, where a zone goes by a rule
		}
		_, offset := t.Zone()
		from := wall(t, offset)
		if entered {
			from = from.Add(-1) // the time of the shift itself counts
		}
		if e.hour != allHours && !begin.IsZero() {
			// What the clock has shown already, before it was put back, is over.
			if _, was := begin.Add(-1).Zone(); was > offset {
				from = later(from, wall(begin, was).Add(-1))
			}
		}
		due := e.next(from)
		if end.IsZero() || due.Before(wall(end, offset)) {
			if due.Year() > lastYear {
				break
			}
			return due.Add(-time.Duration(offset) * time.Second).In(loc)
		}
		t = end.In(loc)
		_, becomes := t.Zone()
		if e.hour != allHours && becomes > offset && due.Before(wall(end, becomes)) {
			return t // it was due in the time that is left out
		}
	}
	return time.Time{}
}

// wall is what the clock on the wall shows, as a time of UTC.
func wall(t time.Time, offset int) time.Time {
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// next is the first minute after a time of UTC that every field allows.
func (e *Expression) next(from time.Time) time.Time {
	t := from.Truncate(time.Minute).Add(time.Minute)
	for t.Year() <= lastYear {
		year, month, day := t.Date()
		switch {
		case e.month>>month&1 == 0:
			t = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
		case !e.onDay(day, t.Weekday()):
			t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
		case e.hour>>t.Hour()&1 == 0:
			t = time.Date(year, month, day, t.Hour()+1, 0, 0, 0, time.UTC)
		case e.minute>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return t
}

// onDay is cron's own rule: when both fields are restricted, one is enough.
func (e *Expression) onDay(day int, weekday time.Weekday) bool {
	d, w := e.day>>day&1 == 1, e.weekday>>weekday&1 == 1
	if e.anyDay || e.anyWeekday {
		return d && w
	}
	return d || w
}
