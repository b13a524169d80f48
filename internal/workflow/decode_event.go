package workflow

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// event lists the attributes of a cloud event; extensions are free (DSL 95, 97).
func event(typeRequired bool) shape {
	attrs := map[string]shape{"id": text, "source": uri, "type": text, "time": eventTime, "subject": text, "datacontenttype": text, "dataschema": uri}
	return func(d *decoder, n *source.Node, a at) {
		if n.Kind != MapValue {
			d.wrong(n, a, "a map of the attributes of a cloud event")
			return
		}
		if typeRequired && n.Field("type") == nil {
			d.missing(n, a, "type")
		}
		for i, k := range n.Keys {
			if s := attrs[k.Name]; s != nil {
				s(d, n.Items[i], a.in(k.Name))
			}
		}
	}
}

// eventTime is a time stamp or an expression; YAML's own time stamps are text here (D30).
func eventTime(d *decoder, n *source.Node, a at) {
	t, ok := n.Scalar.(string)
	if !ok || !source.IsDynamic(t) && !timePattern.MatchString(t) {
		d.wrong(n, a, "a time such as 2026-07-29T12:00:00Z, or an expression in ${ }")
	}
}

func (d *decoder) emit(t *Task, n *source.Node) {
	a := at{"emit", "emit", "DSL 95"}
	if !d.properties(n, a, false, []string{"event"}) {
		return
	}
	e := n.Field("event")
	if e == nil {
		d.missing(n, a, "event")
		return
	}
	if !d.properties(e, a.in("event"), true, []string{"with"}) {
		return
	}
	w := e.Field("with")
	if w == nil {
		d.missing(e, a.in("event"), "with")
		return
	}
	event(true)(d, w, a.in("event").in("with"))
	t.Emit = valueOf(w)
}

var reads = oneOfWords("data", "envelope", "raw")

func (d *decoder) listen(t *Task, n, foreach *source.Node) {
	a := at{"listen", "listen", "DSL 119"}
	t.Listen = &Listen{Pos: n.Pos, Read: "data"}
	if d.properties(n, a, false, []string{"to", "read"}) {
		if to := n.Field("to"); to != nil {
			if s := d.strategy(to, a.in("to"), true); s != nil {
				t.Listen.To = *s
			}
		} else {
			d.missing(n, a, "to")
		}
		if r := n.Field("read"); r != nil {
			t.Listen.Read = d.str(r, at{"listen", "listen.read", "DSL 124"}, reads)
		}
	}
	if foreach != nil {
		t.Listen.Foreach = d.foreach(foreach, at{"foreach", "foreach", "DSL 125"}, t.Reference+"/foreach/do")
	}
}

// foreach is the iterator of a subscription (DSL 125, D34).
func (d *decoder) foreach(n *source.Node, a at, ref string) *Foreach {
	if !d.properties(n, a, false, []string{"item", "at", "do", "output", "export"}) {
		return nil
	}
	f := &Foreach{
		Pos: n.Pos, Item: d.variable(n.Field("item"), a.in("item"), "item"), At: d.variable(n.Field("at"), a.in("at"), "index"),
		Output: d.dataOut(n.Field("output"), a.in("output")), Export: d.dataOut(n.Field("export"), a.in("export")),
	}
	if b := n.Field("do"); b != nil {
		f.Do = d.taskList(b, a.in("do"), ref, false)
	}
	return f
}

// strategy is an event consumption strategy (DSL 119-122).
func (d *decoder) strategy(n *source.Node, a at, mayUntil bool) *Strategy {
	if !d.properties(n, a, false, []string{"one", "any", "all", "until"}) {
		return nil
	}
	s := &Strategy{Pos: n.Pos}
	switch mode := d.exactlyOne(n, a, "one", "any", "all"); mode {
	case "one":
		s.Mode = One
		if f := d.filter(n.Field("one"), a.in("one")); f != nil {
			s.Filters = []Filter{*f}
		}
	case "any", "all":
		s.Mode = Any
		if mode == "all" {
			s.Mode = All
		}
		list := n.Field(mode)
		if list.Kind != ListValue {
			d.wrong(list, a.in(mode), "a list of event filters")
			break
		}
		for i, it := range list.Items {
			if f := d.filter(it, at{a.section, fmt.Sprintf("%s.%s[%d]", a.what, mode, i), a.dsl}); f != nil {
				s.Filters = append(s.Filters, *f)
			}
		}
		if mode == "all" && len(list.Items) == 0 {
			d.report(Finding{Pos: list.Pos, Severity: SeverityWarning, Rule: "listen/nothing", DSL: "DSL 119", Message: a.what + ".all is empty: it waits for nothing"})
		}
	default:
		return nil
	}
	if u := n.Field("until"); u != nil {
		d.until(s, u, at{a.section, a.what + ".until", "DSL 121"}, mayUntil)
	}
	return s
}

func (d *decoder) until(s *Strategy, u *source.Node, a at, mayUntil bool) {
	if u.Scalar == false {
		s.UntilFalse = true
		return
	}
	switch {
	case s.Mode != Any:
		d.invalid(u, a, "until", a.what+" stands beside one or all", "only any has an until")
	case !mayUntil:
		d.invalid(u, a, "until", a.what+" is inside another until", "the strategy that ends a listener has no until of its own, or until: false")
	case u.Kind == MapValue:
		s.UntilStrategy = d.strategy(u, a, false)
	default:
		s.UntilExpr = d.expr(u, a)
	}
}

// filter is one event filter (DSL 126, 127).
func (d *decoder) filter(n *source.Node, a at) *Filter {
	a.dsl = "DSL 126"
	if !d.properties(n, a, false, []string{"with", "correlate"}) {
		return nil
	}
	f := &Filter{Pos: n.Pos}
	w := n.Field("with")
	if w == nil {
		d.missing(n, a, "with")
	} else {
		filterAttrs(d, w, a.in("with"))
		f.With = toValue(w)
	}
	d.each(n.Field("correlate"), at{a.section, a.what + ".correlate", "DSL 127"}, func(k source.Key, v *source.Node, a at) {
		if !d.properties(v, a, true, []string{"from", "expect"}) {
			return
		}
		c := Correlation{Pos: k.Pos, Name: k.Name, Expect: valueOf(v.Field("expect"))}
		if from := d.expr(v.Field("from"), a.in("from")); from != nil {
			c.From = *from
		} else if v.Field("from") == nil {
			d.missing(v, a, "from")
		}
		if e := v.Field("expect"); e != nil {
			scalarText(d, e, a.in("expect"))
		}
		f.Correlate = append(f.Correlate, c)
	})
	return f
}

// filterAttrs lets regular expressions stand for every attribute.
func filterAttrs(d *decoder, n *source.Node, a at) {
	if n.Kind != MapValue || len(n.Keys) == 0 {
		d.wrong(n, a, "a map with at least one attribute")
		return
	}
	for i, k := range n.Keys {
		switch k.Name {
		case "id", "source", "type", "time", "subject", "datacontenttype", "dataschema":
			text(d, n.Items[i], a.in(k.Name))
		}
	}
}

// schedule is the schedule section (DSL 168-174).
func (d *decoder) schedule(n *source.Node) *Schedule {
	a := at{"schedule", "schedule", "DSL 168-174"}
	if !d.properties(n, a, false, []string{"every", "cron", "after", "on", "read"}) {
		return nil
	}
	s := &Schedule{Pos: n.Pos, Every: d.duration(n.Field("every"), a.in("every")), After: d.duration(n.Field("after"), a.in("after"))}
	if c := n.Field("cron"); c != nil {
		s.Cron, s.CronPos = d.str(c, at{"schedule", "schedule.cron", "DSL 169"}, someText), c.Pos
	}
	if on := n.Field("on"); on != nil {
		s.On = d.strategy(on, at{"schedule", "schedule.on", "DSL 171"}, true)
	}
	if r := n.Field("read"); r != nil {
		s.Read = d.str(r, at{"schedule", "schedule.read", "DSL 173"}, reads)
		if n.Field("on") == nil {
			d.invalid(r, at{"schedule", "schedule.read", "DSL 173"}, "read-without-on", "schedule.read stands without schedule.on", "it says how the events of schedule.on are read")
		}
	}
	return s
}
