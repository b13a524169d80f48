package trigger

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/cron"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func definition(t testing.TB, src string) *workflow.Definition {
	t.Helper()
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		t.Fatal(findings)
	}
	return def
}

// DSL 168: a month after the last of January is the last of February, two are
// the last of March; the wall clock of a zone keeps its hour.
func TestEveryMonth(t *testing.T) {
	t.Parallel()
	p := byInterval{start, value.Duration{Months: 1}}
	var got []string
	for at := start; len(got) < 4; {
		at = p.next(at)
		got = append(got, at.Format("01-02 15:04"))
	}
	if d := cmp.Diff([]string{"02-28 12:00", "03-31 12:00", "04-30 12:00", "05-31 12:00"}, got); d != "" {
		t.Error(d)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p = byInterval{start.In(berlin), value.Duration{Months: 6}}
	if due := p.next(start); due.Format(time.RFC3339) != "2026-07-31T13:00:00+02:00" {
		t.Errorf("half a year later: %s", due)
	}
}

// DSL 168: what is due next is the first multiple of the length after a time.
func TestIntervalsAreMultiples(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		length := value.Duration{Months: rapid.IntRange(0, 3).Draw(t, "months"), Nanos: int64(rapid.IntRange(1, 100).Draw(t, "days")) * int64(7*time.Hour)}
		p := byInterval{start, length}
		after := start.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(20*365*24*time.Hour)).Draw(t, "after")))
		want := start
		for n := 1; !want.After(after) || n == 1; n++ {
			want = value.Duration{Months: length.Months * n, Nanos: length.Nanos * int64(n)}.AddTo(start)
		}
		if got := p.next(after); !got.Equal(want) {
			t.Fatalf("%s after %s: got %s, want %s", length, after, got, want)
		}
	})
}

// D38: what is started after a downtime is what looking at each due time says,
// and where the schedule stands then; nothing is due before its time.
func TestDueIsWhatEachDueTimeSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &schedule{
			name: "a/b", property: "cron", missed: rapid.SampledFrom([]string{"latest", "skip", "all"}).Draw(t, "missed"),
			jitter: time.Duration(rapid.IntRange(0, 90).Draw(t, "jitter")) * time.Minute,
		}
		e, err := cron.Parse(rapid.SampledFrom([]string{"*/7 * * * *", "0 * * * *", "30 3 * * *", "0 12 1 * *", "* 0-3 * * *"}).Draw(t, "cron"))
		if err != nil {
			t.Fatal(err)
		}
		s.pace = byCron{e, time.UTC}
		s.row.Due = start
		now := start.Add(time.Duration(rapid.IntRange(0, 60*24*3).Draw(t, "minutes")) * time.Minute)
		if rapid.Bool().Draw(t, "long") {
			now = now.Add(50 * 24 * time.Hour)
		}
		// Each due time in its order, none before the one before it.
		var all []time.Time
		for due := s.pace.next(start); !s.at(due).After(now); due = s.pace.next(due) {
			all = append(all, due)
		}
		fire, upTo := s.due(now)
		if len(all) == 0 {
			if len(fire) > 0 || !upTo.IsZero() {
				t.Fatalf("%v up to %s, nothing is due", fire, upTo)
			}
			return
		}
		newest := all[len(all)-1]
		want := []time.Time{newest}
		switch s.missed {
		case "all":
			want = all[:min(len(all), catchUp)]
			newest = want[len(want)-1]
		case "skip":
			if now.Sub(s.at(newest)) > time.Minute {
				want = nil
			}
		}
		// With a jitter, which of the last ones has come first may differ: those
		// before the jitter are certain, and none comes early.
		if s.jitter > 0 && s.missed != "all" {
			if upTo.Before(newest) || s.at(upTo).After(now) || s.missed == "latest" && !slices.Equal(fire, []time.Time{upTo}) {
				t.Fatalf("%v up to %s, want %v", fire, upTo, want)
			}
			return
		}
		if !slices.Equal(fire, want) || !upTo.Equal(newest) {
			t.Fatalf("%v up to %s, want %v up to %s", fire, upTo, want, newest)
		}
	})
}

// A downtime of ten years is looked through in a moment.
func TestLongDowntime(t *testing.T) {
	t.Parallel()
	e, err := cron.Parse("* * * * *")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []pace{byCron{e, time.UTC}, byInterval{start, value.Duration{Nanos: int64(time.Millisecond)}}} {
		looked := 0
		upTo := start.Add(10 * 365 * 24 * time.Hour)
		newest := last(counting{p, &looked}, start, upTo)
		if upTo.Sub(newest) >= time.Minute || looked > 70_000 {
			t.Errorf("%T: %s after %d looks", p, newest, looked)
		}
	}
}

type counting struct {
	pace
	n *int
}

func (c counting) next(after time.Time) time.Time { *c.n++; return c.pace.next(after) }

// The next due times of several properties come in order, and nothing is started.
func TestPreview(t *testing.T) {
	t.Parallel()
	def := definition(t, `
document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0', metadata: {downbeat: {schedule: {timezone: Asia/Tokyo}}}}
schedule: {every: PT5H, cron: 0 6 * * *, after: PT1H, on: {one: {with: {type: a}}}}
do: [{a: {set: {b: 1}}}]
`)
	list, err := Preview(t.Context(), def, nil, start, 5)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Property+" "+d.At.Format(time.RFC3339))
	}
	if d := cmp.Diff([]string{
		"every 2026-02-01T02:00:00+09:00", "cron 2026-02-01T06:00:00+09:00", "every 2026-02-01T07:00:00+09:00", "every 2026-02-01T12:00:00+09:00", "every 2026-02-01T17:00:00+09:00",
	}, got); d != "" {
		t.Error(d)
	}
	// A schedule that has begun keeps its beginning; one that says something else now does not.
	for text, want := range map[string]string{"PT5H Asia/Tokyo": "2026-01-31T23:30:00+09:00", "PT6H Asia/Tokyo": "2026-02-01T02:00:00+09:00"} {
		m := journal.NewMemory()
		if err := m.Commit(t.Context(), &journal.Batch{Schedules: []journal.Schedule{{Workflow: "a/b", Property: "every", Text: text, Began: start.Add(-12*time.Hour - 30*time.Minute)}}}); err != nil {
			t.Fatal(err)
		}
		list, err := Preview(t.Context(), def, m, start, 1)
		if err != nil || list[0].At.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v, want %s", text, list, err, want)
		}
	}
}

// What cannot be carried out is refused when the Trigger is made.
func TestRefused(t *testing.T) {
	t.Parallel()
	const head = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'%s}\nschedule: {%s}\ndo: [{a: {set: {b: 1}}}]\n"
	for _, c := range [][3]string{
		{"", "every: PT0.0001S", "schedule a/b:1.0.0: schedule.every is PT0.0001S; it is at least a millisecond"},
		{"", "every: '${ 5 }'", "schedule.every: duration: want an ISO 8601 string"},
		{"", "every: '${ 1 | error }'", "schedule.every: "},
		{"", "cron: '* * *'", `schedule.cron: "* * *" has 3 fields`},
		{"", "on: {any: [{with: {type: a}}], until: false}", "schedule.on.until is false: no run would ever start"},
		{", metadata: {downbeat: {schedule: {timezone: Nowhere/Else}}}", "every: PT1H", `there is no time zone "Nowhere/Else"`},
	} {
		_, err := New(Options{Definitions: []*workflow.Definition{definition(t, fmt.Sprintf(head, c[0], c[1]))}})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s: got %v, want %s", c[1], err, c[2])
		}
	}
	def := definition(t, fmt.Sprintf(head, "", "every: '${ \"PT\" + \"1H\" }'"))
	tr, err := New(Options{Definitions: []*workflow.Definition{def}})
	if err != nil || tr.all[0].every.String() != "PT1H" { // an expression is evaluated
		t.Error(err)
	}
	if _, err := New(Options{Definitions: []*workflow.Definition{def, def}}); err == nil || !strings.Contains(err.Error(), "one version of a workflow can be scheduled") {
		t.Error(err)
	}
}

// Events that wait for others are bounded: the oldest are given up.
func TestGatheringIsBounded(t *testing.T) {
	t.Parallel()
	def := definition(t, "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\nschedule: {on: {all: [{with: {type: a}}, {with: {type: b}}]}, read: data}\ndo: [{a: {set: {b: 1}}}]\n")
	tr, err := New(Options{Definitions: []*workflow.Definition{def}})
	if err != nil {
		t.Fatal(err)
	}
	g := tr.events[0].gather
	offer := func(n int, kind string) (string, bool) {
		input, taken, ready, err := g.offer(gathered{int64(n), start, json.RawMessage(fmt.Sprintf(`{"type":%q,"data":%d}`, kind, n))})
		if err != nil || !taken {
			t.Fatalf("event %d: %v", n, err)
		}
		return string(input.JSON()), ready
	}
	for n := range mostSets + 2 {
		offer(n, "a")
	}
	if len(g.open) != mostSets {
		t.Errorf("%d sets", len(g.open))
	}
	state, err := g.state()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.restore(state); err != nil {
		t.Fatal(err)
	}
	if input, ready := offer(5000, "b"); !ready || input != "[2,5000]" {
		t.Errorf("the oldest that is kept: %s", input)
	}
}

// The row that a process finds says where its schedule goes on.
func TestPausedTextDiffers(t *testing.T) {
	t.Parallel()
	src := "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0', metadata: {downbeat: {schedule: {paused: %v}}}}\nschedule: {every: PT1H}\ndo: [{a: {set: {b: 1}}}]\n"
	var texts []string
	for _, paused := range []bool{false, true} {
		tr, err := New(Options{Definitions: []*workflow.Definition{definition(t, fmt.Sprintf(src, paused))}})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, tr.all[0].text)
	}
	// These texts are in databases: a change of them begins every schedule anew.
	if d := cmp.Diff([]string{"PT1H UTC", "paused: PT1H UTC"}, texts); d != "" {
		t.Error(d)
	}
}
