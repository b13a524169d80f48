package workflow

import "github.com/downbeat-dev/downbeat/internal/value"

// Literal is a duration that is written out; not ok when it holds an
// expression, and not when Decode refused it.
func (d *Duration) Literal() (length value.Duration, ok bool) {
	if d == nil {
		return value.Duration{}, false
	}
	length, err := value.DurationFromValue(d.Value.Any)
	return length, err == nil
}
