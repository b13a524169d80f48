package program

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// NewProblem makes an error of one of the standard types (DSL 143, 152).
func NewProblem(kind string, status int, title, instance, detail string) *event.Problem {
	return &event.Problem{Type: event.TypePrefix + kind, Status: status, Title: title, Detail: detail, Instance: instance}
}

// WrongType is the error of a part of a task that has the wrong type.
func WrongType(reference, what, want string, got any) *event.Problem {
	return NewProblem(event.Expression, 400, "Wrong type", reference, fmt.Sprintf("%s must be %s, but is %s", what, want, described(got)))
}

// described names a value's type for people, with the value when it is short.
func described(v any) string {
	t := value.TypeName(v)
	switch t {
	case "null":
		return "null"
	case "object", "array":
		return "an " + t
	}
	if text := value.JSON(v); len(text) <= 60 {
		return fmt.Sprintf("a %s (%s)", t, text)
	}
	return "a " + t
}

// ErrorValue is an error as expressions see it.
func ErrorValue(p *event.Problem) map[string]any {
	v := make(map[string]any, 5+len(p.More))
	maps.Copy(v, p.More)
	v["type"], v["status"] = p.Type, p.Status
	if p.Title != "" {
		v["title"] = p.Title
	}
	if p.Detail != "" {
		v["detail"] = p.Detail
	}
	if p.Instance != "" {
		v["instance"] = p.Instance
	}
	return v
}

// families are the prefixes of the standard error types through the years (D18c).
var families = []string{
	"https://open-workflow-specification.org/spec/1.0.0/errors/",
	"https://open-workflow-specification.org/dsl/errors/types/",
	"https://serverlessworkflow.io/spec/1.0.0/errors/",
	"https://serverlessworkflow.io/dsl/errors/types/",
}

func family(t string) string {
	for _, prefix := range families {
		if rest, ok := strings.CutPrefix(t, prefix); ok {
			return "*" + rest
		}
	}
	return t
}

// Matches is the static filter of a catch (DSL 109).
func (c *Catch) Matches(p *event.Problem) bool {
	v := ErrorValue(p)
	for k, want := range c.With {
		if k == "details" {
			k = "detail"
		}
		got := v[k]
		if k == "type" {
			a, ok1 := want.(string)
			b, ok2 := got.(string)
			if ok1 && ok2 && family(a) == family(b) {
				continue
			}
			return false
		}
		if !value.Equal(want, got) {
			return false
		}
	}
	return true
}

const day = 24 * time.Hour

// After is the delay before the n-th retry, n from 1, when the policy's delay is d (D16b).
func (r *Retry) After(d time.Duration, n int) time.Duration {
	switch r.Backoff {
	case "linear":
		if d > 0 && n > int(day/d) {
			return day
		}
		d *= time.Duration(n)
	case "exponential":
		for i := 1; i < n && d > 0 && d < day; i++ {
			d *= 2
		}
	default:
		return d
	}
	return min(d, day)
}

// DateTime is a date time descriptor (DSL 47).
func DateTime(t time.Time) map[string]any {
	return map[string]any{
		"iso8601": FormatTime(t),
		"epoch":   map[string]any{"seconds": int(t.Unix()), "milliseconds": int(t.UnixMilli())},
	}
}

// FormatTime is RFC 3339 in UTC.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }
