package program

import (
	"regexp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Listener is a compiled listen task (DSL 119-129). The body of its foreach is
// the node's Body.
type Listener struct {
	To       Strategy
	Read     string // "data", "envelope", "raw"
	Each, At string // of the foreach, with "$"
	Foreach  bool
	Output   *Out // of the foreach
	Export   *Out
	// Types are the only types that the listener can want; empty: any.
	Types      []string
	Correlates bool
}

// Strategy is a compiled consumption strategy.
type Strategy struct {
	Mode       workflow.Mode
	Filters    []Filter // empty with Any: every event
	Until      *Value   // condition
	UntilOther *Strategy
	Forever    bool // until: false
}

// Filter is a compiled event filter.
type Filter struct {
	Attributes []Attribute
	Correlate  []Correlation
}

// Attribute is what a filter wants of one attribute of an event.
type Attribute struct {
	Name string
	Match
}

// Match is what a filter wants of a value: an expression decides (Value), or
// each of Fields holds, or it equals Literal, or matches Pattern.
type Match struct {
	Value   *Value
	Fields  []Attribute
	Literal any
	Pattern *regexp.Regexp
}

// Correlation is a compiled correlation key.
type Correlation struct {
	Name   string
	From   *Value
	Expect *Value // nil: the first value fixes the key
}

func (c *compiler) listen(n *Node, l *workflow.Listen, vars []string) {
	n.Listen = &Listener{Read: l.Read}
	inner := vars
	if f := l.Foreach; f != nil {
		inner = c.foreach(n, f, vars)
	}
	if n.Listen.Read == "" {
		n.Listen.Read = "data"
	}
	n.Listen.To = c.strategy(&l.To, vars, inner)
	n.Listen.Types, _ = n.Listen.To.types()
	n.Listen.Correlates = n.Listen.To.correlates()
}

// foreach compiles what is done with each event or message, and returns the variables there.
func (c *compiler) foreach(n *Node, f *workflow.Foreach, vars []string) []string {
	inner := with(vars, f.Item, f.At)
	n.Listen.Foreach, n.Listen.Each, n.Listen.At = true, dollar(f.Item), dollar(f.At)
	n.Body = c.list(f.Do, inner)
	n.Listen.Output = c.out(f.Output, workflow.OutputSite, inner)
	n.Listen.Export = c.out(f.Export, workflow.ExportSite, inner)
	return inner
}

func (c *compiler) strategy(s *workflow.Strategy, vars, inner []string) Strategy {
	out := Strategy{Mode: s.Mode, Forever: s.UntilFalse, Until: c.condition(s.UntilExpr, workflow.UntilSite, inner)}
	for i := range s.Filters {
		f := &s.Filters[i]
		var filter Filter
		if m, ok := f.With.Any.(map[string]any); ok {
			filter.Attributes = c.attributes(m, vars)
		}
		for _, k := range f.Correlate {
			from := c.condition(&k.From, workflow.ListenFilterSite, vars)
			var expect *Value
			if !k.Expect.IsZero() {
				expect = c.template(k.Expect.Any, workflow.ListenFilterSite, vars, false)
			}
			filter.Correlate = append(filter.Correlate, Correlation{Name: k.Name, From: from, Expect: expect})
		}
		out.Filters = append(out.Filters, filter)
	}
	if s.UntilStrategy != nil {
		u := c.strategy(s.UntilStrategy, vars, inner)
		out.UntilOther = &u
	}
	return out
}

func (c *compiler) attributes(m map[string]any, vars []string) []Attribute {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	out := make([]Attribute, 0, len(names))
	for _, k := range names {
		out = append(out, Attribute{Name: k, Match: c.match(m[k], vars)})
	}
	return out
}

func (c *compiler) match(v any, vars []string) Match {
	switch x := v.(type) {
	case map[string]any:
		return Match{Fields: c.attributes(x, vars)}
	case string:
		if expr.IsWrapped(x) || expr.HasInterpolation(x) {
			return Match{Value: c.template(x, workflow.ListenFilterSite, vars, false)}
		}
		m := Match{Literal: x}
		// A dot alone makes no pattern of a type name such as com.example.done.
		if strings.ContainsAny(x, `*+?[](){}|^$\`) {
			if re, err := regexp.Compile(`^(?:` + x + `)$`); err == nil {
				m.Pattern = re
			}
		}
		return m
	}
	return Match{Literal: v}
}

// types lists the exact types that a strategy can want; ok is false when it may want any.
func (s *Strategy) types() (types []string, ok bool) {
	if len(s.Filters) == 0 {
		return nil, false
	}
	for _, f := range s.Filters {
		i := slices.IndexFunc(f.Attributes, func(a Attribute) bool { return a.Name == "type" })
		if i < 0 {
			return nil, false
		}
		t, isText := f.Attributes[i].Literal.(string)
		if !isText || f.Attributes[i].Pattern != nil {
			return nil, false
		}
		types = append(types, t)
	}
	if s.UntilOther != nil {
		more, ok := s.UntilOther.types()
		if !ok {
			return nil, false
		}
		types = append(types, more...)
	}
	slices.Sort(types)
	return slices.Compact(types), true
}

func (s *Strategy) correlates() bool {
	return slices.ContainsFunc(s.Filters, func(f Filter) bool { return len(f.Correlate) > 0 }) ||
		s.UntilOther != nil && s.UntilOther.correlates()
}
