package value_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// DSL 203
func TestParseDuration(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]value.Duration{
		"PT0S":             {},
		"PT30S":            {Nanos: int64(30 * time.Second)},
		"PT1H30M":          {Nanos: int64(90 * time.Minute)},
		"P1DT0.5S":         {Nanos: int64(24*time.Hour + 500*time.Millisecond)},
		"P2W":              {Nanos: int64(14 * 24 * time.Hour)},
		"P1Y2M":            {Months: 14},
		"P0.5Y":            {Months: 6},
		"P1Y2M3W4DT5H6M7S": {Months: 14, Nanos: int64(25*24*time.Hour + 5*time.Hour + 6*time.Minute + 7*time.Second)},
		"PT1,5H":           {Nanos: int64(90 * time.Minute)},
	} {
		if got, err := value.ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                                   "want ISO 8601",
		"30s":                                "want ISO 8601",
		"P":                                  "no amount of time",
		"PT":                                 "no amount of time",
		"P1DT":                               "no amount of time",
		"-PT5S":                              "a sign is not allowed",
		"P-1D":                               "want a number and a unit",
		"P1H":                                "needs a T",
		"PT1D":                               "unknown unit 'D' after T",
		"PT1S1M":                             "wrong place",
		"P0.3Y":                              "no whole months",
		"P0.5M":                              "no whole months",
		"P1":                                 "want a number and a unit",
		"PT1.S":                              "not a number",
		"PT1.2.3S":                           "not a number",
		"P999999D":                           "too long",
		"P99999999999Y":                      "too long",
		"PT" + strings.Repeat("9", 50) + "S": "too many digits",
	} {
		if _, err := value.ParseDuration(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q): got %v, want an error with %q", in, err, want)
		}
	}
}

// DSL 202
func TestDurationFromValue(t *testing.T) {
	t.Parallel()
	got, err := value.DurationFromValue(map[string]any{"days": 1, "hours": 2.0, "milliseconds": 5})
	if want := (value.Duration{Nanos: int64(26*time.Hour + 5*time.Millisecond)}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for want, in := range map[string]any{
		"found 5|the number":       5,
		"the object is empty":      map[string]any{},
		`unknown property "secs"`:  map[string]any{"secs": 1},
		"must be a whole number":   map[string]any{"seconds": 1.5},
		"seconds is negative (-1)": map[string]any{"seconds": -1},
		"found the string \"1\"":   map[string]any{"seconds": "1"},
		"too long":                 map[string]any{"days": 1 << 40},
		"found null":               nil,
		"found an array":           []any{},
	} {
		_, err := value.DurationFromValue(in)
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), w)
		}
		if !ok {
			t.Errorf("DurationFromValue(%v): got %v, want an error with %q", in, err, want)
		}
	}
}

func TestDurationAddTo(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ from, by, want string }{
		{"2024-01-31T10:00:00Z", "P1M", "2024-02-29T10:00:00Z"},
		{"2023-01-31T10:00:00Z", "P1M", "2023-02-28T10:00:00Z"},
		{"2024-02-29T00:00:00Z", "P1Y", "2025-02-28T00:00:00Z"},
		{"2024-11-30T00:00:00Z", "P3M1DT1H", "2025-03-01T01:00:00Z"},
		{"2024-01-01T00:00:00Z", "P1W", "2024-01-08T00:00:00Z"},
	} {
		d, err := value.ParseDuration(c.by)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.AddTo(at(c.from)).Format(time.RFC3339); got != c.want {
			t.Errorf("%s + %s = %s, want %s", c.from, c.by, got, c.want)
		}
	}
	if got := (value.Duration{Months: 1}).Std(); got != 2629746*time.Second {
		t.Errorf("Std of a month is %v", got)
	}
}

func TestDurationStringRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := value.Duration{
			Months: rapid.IntRange(0, 5000).Draw(t, "months"),
			Nanos:  rapid.Int64Range(0, 1<<62).Draw(t, "nanos"),
		}
		if got, err := value.ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%+v is written %s and read %+v, %v", d, d, got, err)
		}
	})
}

// DSL 205, DSL 153
func TestURITemplate(t *testing.T) {
	t.Parallel()
	vars := map[string]any{"id": 7, "pet.id": "a/b c", "big": 1.5, "ok": true, "none": nil, "u": "é~-._", "list": []any{1}}
	for in, want := range map[string]string{
		"http://h/p":            "http://h/p",
		"http://h/{id}":         "http://h/7",
		"http://h/{pet.id}/x":   "http://h/a%2Fb%20c/x",
		"{big}{ok}{none}{gone}": "1.5true",
		"{u}":                   "%C3%A9~-._",
	} {
		if got, err := value.URITemplate(in, vars); err != nil || got != want {
			t.Errorf("URITemplate(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"{list}": "found an array",
		"{id":    "a { without its }",
		"id}":    "a } without its {",
		"{+id}":  "only simple expansion",
		"{a,b}":  "only simple expansion",
		"{}":     "no name",
	} {
		if _, err := value.URITemplate(in, vars); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("URITemplate(%q): got %v, want an error with %q", in, err, want)
		}
	}
	if got, err := value.URITemplate("/{a}", nil); err != nil || got != "/" {
		t.Errorf("null variables: %q, %v", got, err)
	}
	if _, err := value.URITemplate("/{a}", []any{}); err == nil {
		t.Error("array variables were accepted")
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("P1Y2M3W4DT5H6M7.5S")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := value.ParseDuration(s)
		if err != nil {
			return
		}
		if e, err := value.ParseDuration(d.String()); err != nil || e != d || d.Nanos < 0 || d.Months < 0 {
			t.Fatalf("%q: %+v, again %+v, %v", s, d, e, err)
		}
	})
}

func FuzzURITemplate(f *testing.F) {
	f.Add("http://h/{a}", "x y")
	f.Fuzz(func(t *testing.T, tmpl, v string) {
		out, err := value.URITemplate(tmpl, map[string]any{"a": v})
		if err == nil && strings.ContainsAny(out, "{}") {
			t.Fatalf("%q gave %q", tmpl, out)
		}
	})
}
