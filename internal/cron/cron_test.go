package cron_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/cron"
)

func parse(t testing.TB, text string) *cron.Expression {
	t.Helper()
	e, err := cron.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// DSL 169: what people write, and when it is due; each line is an expression,
// a zone, a time, and the due times after it.
func TestNext(t *testing.T) {
	t.Parallel()
	const form = "2006-01-02T15:04Z07:00"
	for _, line := range []string{
		"0 0 * * * | UTC | 2026-11-21T07:00Z | 2026-11-22T00:00Z 2026-11-23T00:00Z",
		"*/15 * * * * | UTC | 2026-11-21T07:00Z | 2026-11-21T07:15Z 2026-11-21T07:30Z",
		"5/20 3 * * * | UTC | 2026-11-21T07:00Z | 2026-11-22T03:05Z 2026-11-22T03:25Z 2026-11-22T03:45Z 2026-11-23T03:05Z",
		"30 4 1,15 * 5 | UTC | 2026-11-21T07:00Z | 2026-11-27T04:30Z 2026-12-01T04:30Z 2026-12-04T04:30Z", // either day
		"0 9 */2 * MON | UTC | 2026-11-21T07:00Z | 2026-11-23T09:00Z 2026-12-07T09:00Z",                   // both: a star leads
		"0 12 * jan-mar,DEC sun | UTC | 2026-11-21T07:00Z | 2026-12-06T12:00Z 2026-12-13T12:00Z",
		"0 12 * * 7 | UTC | 2026-11-21T07:00Z | 2026-11-22T12:00Z",
		"0 12 * * FRI-SUN | UTC | 2026-11-21T13:00Z | 2026-11-22T12:00Z 2026-11-27T12:00Z",
		"0 12 ? * 5-7 | UTC | 2026-11-21T13:00Z | 2026-11-22T12:00Z 2026-11-27T12:00Z",
		"0 0 29 2 * | UTC | 2026-11-21T07:00Z | 2028-02-29T00:00Z 2032-02-29T00:00Z",
		"0 0 29 2 */3 | UTC | 2096-03-01T00:00Z | 2104-02-29T00:00Z" + "?",
		"@monthly | Asia/Kolkata | 2026-11-21T07:00Z | 2026-12-01T00:00+05:30",
		"@Weekly | UTC | 2026-11-21T07:00Z | 2026-11-22T00:00Z",
		// The clock goes from 2 to 3: 2:30 is due at the shift, and what is due in every hour goes on.
		"30 2 * * * | Europe/Berlin | 2026-03-28T12:00Z | 2026-03-29T03:00+02:00 2026-03-30T02:30+02:00",
		"*/20 2 * * * | Europe/Berlin | 2026-03-28T12:00Z | 2026-03-29T03:00+02:00 2026-03-30T02:00+02:00",
		"0 2,3 * * * | Europe/Berlin | 2026-03-28T12:00Z | 2026-03-29T03:00+02:00 2026-03-30T02:00+02:00",
		"*/30 * * * * | Europe/Berlin | 2026-03-29T00:15Z | 2026-03-29T01:30+01:00 2026-03-29T03:00+02:00 2026-03-29T03:30+02:00",
		"30 * * * * | Europe/Berlin | 2026-03-29T00:00Z | 2026-03-29T01:30+01:00 2026-03-29T03:30+02:00",
		// It goes from 3 back to 2: 2:30 is due once, what is due in every hour keeps its pace.
		"30 2 * * * | Europe/Berlin | 2026-10-24T12:00Z | 2026-10-25T02:30+02:00 2026-10-26T02:30+01:00",
		"*/30 * * * * | Europe/Berlin | 2026-10-25T00:15Z | 2026-10-25T02:30+02:00 2026-10-25T02:00+01:00 2026-10-25T02:30+01:00 2026-10-25T03:00+01:00",
		"0 */2 * * * | Europe/Berlin | 2026-10-24T22:30Z | 2026-10-25T02:00+02:00 2026-10-25T04:00+01:00",
		// Midnight is left out there, and a whole day was once.
		"0 0 * * * | America/Santiago | 2026-09-05T12:00Z | 2026-09-06T01:00-03:00 2026-09-07T00:00-03:00",
		"0 3 * * * | Pacific/Apia | 2011-12-29T20:00Z | 2011-12-31T00:00+14:00 2011-12-31T03:00+14:00",
		"15 2 * * * | Australia/Lord_Howe | 2026-10-03T00:00Z | 2026-10-04T02:30+11:00 2026-10-05T02:15+11:00",
	} {
		part := strings.Split(line, " | ")
		at, err := time.Parse(form, part[2])
		if err != nil {
			t.Fatal(err)
		}
		e, loc := parse(t, part[0]), zone(t, part[1])
		var got []string
		want := strings.Fields(strings.TrimSuffix(part[3], "?"))
		for range want {
			at = e.Next(at, loc)
			got = append(got, at.Format(form))
		}
		if strings.HasSuffix(line, "?") { // the day of the week decides, so only that it comes
			if at.IsZero() || at.Day() != 29 || int(at.Weekday())%3 != 0 {
				t.Errorf("%s: %s", part[0], at)
			}
			continue
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s in %s: got %v, want %v", part[0], part[1], got, want)
		}
	}
}

// DSL 169: what is wrong is said, with what would be right.
func TestWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "has 0 fields; it has five: minute, hour, day of month, month, day of week",
		"* * *":                        `"* * *" has 3 fields; it has five`,
		"0 0 0 * * *":                  "has 6 fields; it has five: minute, hour, day of month, month, day of week; what is due within minutes is written with schedule.every",
		"60 * * * *":                   `the minute "60" is not one; it is 0 to 59`,
		"* 24 * * *":                   `the hour "24" is not one; it is 0 to 23`,
		"* * 0 * *":                    `the day of month "0" is not one; it is 1 to 31`,
		"* * * 13 *":                   `the month "13" is not one; it is 1 to 12, or JAN to DEC`,
		"* * * * 8":                    `the day of week "8" is not one; it is 0 to 7, or SUN to SAT`,
		"* * * * MONDAY":               `the day of week "MONDAY" is not one`,
		"* 22-2 * * *":                 `the hour "22-2" begins after its end; write it as two: 22-23,0-2`,
		"*/0 * * * *":                  `the minute "*/0" has no step; after the / stands a number from 1 on`,
		"*/ * * * *":                   `the minute "*/" has no step`,
		"*/90 * * * *":                 `the step of the minute "*/90" is longer than the field; at most 59; for a longer pace there is schedule.every`,
		"1,,2 * * * *":                 `a number is missing in the minute ""`,
		"1- * * * *":                   `a number is missing in the minute "1-"`,
		"-1 * * * *":                   `a number is missing in the minute "-1"`,
		"+1 * * * *":                   `the minute "+1" is not one`,
		"? * * * *":                    `the minute "?" is not one`,
		"* * L * *":                    `the day of month "L" is not one; it is 1 to 31, with - for ranges, a comma for lists and / for steps; L, W and # are of other schedulers`,
		"* * * * 5#2":                  "L, W and # are of other schedulers",
		"0 0 30 2 *":                   `"0 0 30 2 *" is never due: no year has that day; choose a day that the month has`,
		"0 0 31 4,6,9,11 *":            "is never due",
		"@reboot":                      `"@reboot" is not known; there are @yearly, @monthly, @weekly, @daily and @hourly`,
		"@every 5m":                    "@every is not of cron; write schedule.every, as in every: PT5M",
		"TZ=UTC 0 0 * * *":             `the time zone "TZ=UTC" stands in the expression; metadata.downbeat.schedule.timezone names it`,
		"TZ=0":                         "metadata.downbeat.schedule.timezone names it",
		"99999999999999999999 * * * *": "is not one",
		strings.Repeat("*", 2000):      "the expression has 2000 characters; it has at most 1,024",
	} {
		_, err := cron.Parse(text)
		if _, ours := errors.AsType[*cron.Error](err); !ours || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
	if e, err := cron.Parse("0 0 30 2 1"); err != nil || e.String() != "0 0 30 2 1" { // every Monday of February
		t.Error(err)
	}
}

// drawField draws a field and says which numbers it allows, in a second way.
func drawField(t *rapid.T, name string, least, most int) (string, map[int]bool) {
	allowed := map[int]bool{}
	var parts []string
	for range rapid.IntRange(1, 3).Draw(t, name+" parts") {
		first, last, step := least, most, 1
		text := "*"
		switch rapid.IntRange(0, 4).Draw(t, name+" kind") {
		case 0, 1:
			first = rapid.IntRange(least, most).Draw(t, name)
			last, text = first, strconv.Itoa(first)
		case 2:
			first = rapid.IntRange(least, most).Draw(t, name)
			last = rapid.IntRange(first, most).Draw(t, name+" to")
			text = fmt.Sprintf("%d-%d", first, last)
		case 3:
			step = rapid.IntRange(1, most-least).Draw(t, name+" step")
			text = fmt.Sprintf("*/%d", step)
		}
		parts = append(parts, text)
		for n := first; n <= last; n += step {
			allowed[n] = true
		}
	}
	return strings.Join(parts, ","), allowed
}

// DSL 169: Next is what looking at every minute finds, whatever the zone does.
func TestNextIsWhatEveryMinuteSays(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia", "Asia/Gaza", "America/Caracas"}
	rapid.Check(t, func(t *rapid.T) {
		minute, minutes := drawField(t, "minute", 0, 59)
		hour, hours := drawField(t, "hour", 0, 23)
		day, days := drawField(t, "day", 1, 31)
		month, months := drawField(t, "month", 1, 12)
		weekday, weekdays := drawField(t, "weekday", 0, 6)
		if rapid.Bool().Draw(t, "every day") {
			day, month, weekday = "*", "*", "*"
			for n := range 32 {
				days[n], months[n], weekdays[n] = true, true, true
			}
		}
		text := strings.Join([]string{minute, hour, day, month, weekday}, " ")
		e, err := cron.Parse(text)
		if err != nil {
			if strings.Contains(err.Error(), "never due") {
				return
			}
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		// Half of the times lie just before a shift.
		after := time.Date(rapid.IntRange(1995, 2099).Draw(t, "year"), 1, 1, 0, rapid.IntRange(0, 525600).Draw(t, "minute of the year"), rapid.IntRange(0, 59).Draw(t, "second"), 0, time.UTC)
		if rapid.Bool().Draw(t, "near a shift") {
			if _, end := after.In(loc).ZoneBounds(); !end.IsZero() {
				after = end.Add(-time.Duration(rapid.IntRange(-200, 400).Draw(t, "before")) * time.Minute)
			}
		}
		holds := func(w time.Time) bool { // w: the clock on the wall
			d, wd := days[w.Day()], weekdays[int(w.Weekday())]
			onDay := d || wd
			if day[0] == '*' || weekday[0] == '*' {
				onDay = d && wd
			}
			return w.Second() == 0 && minutes[w.Minute()] && hours[w.Hour()] && months[int(w.Month())] && onDay
		}
		wall := func(at time.Time) time.Time {
			_, offset := at.In(loc).Zone()
			return at.UTC().Add(time.Duration(offset) * time.Second)
		}
		got := e.Next(after, loc)
		const horizon = 4 * 24 * 60
		// The latest that the clock has shown before.
		shown := time.Time{}
		for at := after.Truncate(time.Minute).Add(-36 * time.Hour); !at.After(after); at = at.Add(time.Minute) {
			if w := wall(at); w.After(shown) {
				shown = w
			}
		}
		begin := wall(after)
		before := begin
		at := after.Truncate(time.Minute)
		for range horizon {
			at = at.Add(time.Minute)
			w := wall(at)
			due := holds(w)
			if len(hours) < 24 {
				due = due && w.After(shown)
				for skipped := before.Truncate(time.Minute).Add(time.Minute); skipped.Before(w) && at.After(after); skipped = skipped.Add(time.Minute) {
					due = due || skipped.After(shown) && holds(skipped)
				}
			}
			if due {
				if !got.Equal(at) {
					t.Fatalf("%s in %s after %s: got %s, every minute says %s", text, loc, after.In(loc), got, at.In(loc))
				}
				return
			}
			before = w
			if w.After(shown) {
				shown = w
			}
		}
		if !got.IsZero() && !got.After(at) {
			t.Fatalf("%s in %s after %s: got %s, every minute says nothing up to %s", text, loc, after.In(loc), got, at.In(loc))
		}
	})
}

// Whatever is written, the parser answers, and what it accepts is due some day.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"0 0 * * *", "*/5 1-3,7 ? JAN-DEC MON#2", "@daily", "5/15 * 31 2 */2", "TZ=0", "0 0 29 2 */6", "\x00 * * * *", "é * * * *"} {
		f.Add(s)
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := cron.Parse(text)
		if err != nil {
			return
		}
		after := time.Date(2026, 3, 28, 23, 59, 30, 0, time.UTC)
		for range 3 {
			next := e.Next(after, berlin)
			if !next.After(after) || next.Year() > 2150 {
				t.Fatalf("%q after %s: %s", text, after, next)
			}
			after = next
		}
	})
}

func BenchmarkNext(b *testing.B) {
	e, loc := parse(b, "30 2 29 2 *"), zone(b, "Europe/Berlin")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		e.Next(at, loc)
	}
}
