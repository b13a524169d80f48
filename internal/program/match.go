package program

import (
	"encoding/base64"
	"maps"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Matcher matches cloud events for a listener. An expression that fails on a
// foreign event means no match, not a fault.
type Matcher struct {
	Eval  func(v *Value, input any) (result any, ok bool)
	Input any // of the listen task: what `expect` sees
}

// Satisfied reports whether the filters that are met end the listening (DSL 119, 121).
func (s *Strategy) Satisfied(met []bool) bool {
	switch s.Mode {
	case workflow.One:
		return true
	case workflow.Any:
		return s.Until == nil && s.UntilOther == nil && !s.Forever
	case workflow.All:
		return !slices.Contains(met, false)
	}
	return false
}

// Match finds the filter of a strategy that an event is for, -1 when none, and
// the correlation keys as they would be then.
func (mt Matcher) Match(s *Strategy, met []bool, ev, keys map[string]any) (int, map[string]any) {
	if len(s.Filters) == 0 && s.Mode == workflow.Any {
		return 0, keys // DSL 120
	}
	for i := range s.Filters {
		if s.Mode == workflow.All && met[i] {
			continue
		}
		if !mt.holds(s.Filters[i].Attributes, ev, ev) {
			continue
		}
		if k, ok := mt.correlate(s.Filters[i].Correlate, ev, keys); ok {
			return i, k
		}
	}
	return -1, keys
}

// correlate checks the keys of a filter: they must be as expected, or as the
// first event fixed them (DSL 127, D22).
func (mt Matcher) correlate(list []Correlation, ev, keys map[string]any) (map[string]any, bool) {
	copied := false
	for _, c := range list {
		got, ok := mt.Eval(c.From, ev)
		if !ok || got == nil {
			return nil, false
		}
		if c.Expect != nil {
			want, ok := mt.Eval(c.Expect, mt.Input)
			if !ok || !value.Equal(want, got) {
				return nil, false
			}
		} else if want, fixed := keys[c.Name]; fixed {
			if !value.Equal(want, got) {
				return nil, false
			}
			continue
		}
		if !copied {
			keys, copied = maps.Clone(keys), true
			if keys == nil {
				keys = map[string]any{}
			}
		}
		keys[c.Name] = got
	}
	return keys, true
}

// holds reports whether each attribute that a filter names is as it wants
// (DSL 126, D22). Expressions see the envelope, those under data the data.
func (mt Matcher) holds(want []Attribute, got map[string]any, subject any) bool {
	for i := range want {
		a := &want[i]
		v, ok := got[a.Name]
		sees := subject
		if a.Name == "data" {
			sees = v
		}
		if !ok && a.Value == nil || !mt.fits(&a.Match, v, sees) {
			return false
		}
	}
	return true
}

func (mt Matcher) fits(a *Match, v, subject any) bool {
	switch {
	case a.Value != nil:
		r, ok := mt.Eval(a.Value, subject)
		if !ok {
			return false
		}
		if b, ok := r.(bool); ok {
			return b
		}
		return value.Equal(r, v)
	case a.Fields != nil:
		fields, ok := v.(map[string]any)
		return ok && mt.holds(a.Fields, fields, subject)
	case a.Pattern != nil:
		s, ok := v.(string)
		return ok && (s == a.Literal || a.Pattern.MatchString(s))
	}
	return value.Equal(a.Literal, v)
}

// ReadAs is an event as a task reads it (DSL 124). Raw data is base64, as the
// raw output of a call is.
func ReadAs(form string, ev map[string]any) any {
	switch form {
	case "envelope":
		return ev
	case "raw":
		if s, ok := ev["data_base64"].(string); ok {
			return s
		}
		data, ok := ev["data"]
		if !ok {
			return nil
		}
		text, isText := data.(string)
		if !isText {
			text = string(value.JSON(data))
		}
		return base64.StdEncoding.EncodeToString([]byte(text))
	}
	if v, ok := ev["data"]; ok {
		return v
	}
	return ev["data_base64"]
}
