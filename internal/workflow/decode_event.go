package workflow

import "fmt"

// event lists the attributes of a cloud event; extensions are free (DSL 95, 97).
func event(typeRequired bool) shape {
	attrs := map[string]shape{"id": text, "source": uri, "type": text, "time": eventTime, "subject": text, "datacontenttype": text, "dataschema": uri}
	return func(d *decoder, n *node, a at) {
		if n.kind != MapValue {
			d.wrong(n, a, "a map of the attributes of a cloud event")
			return
		}
		if typeRequired && n.field("type") == nil {
			d.missing(n, a, "type")
		}
		for i, k := range n.keys {
			if s := attrs[k.name]; s != nil {
				s(d, n.items[i], a.in(k.name))
			}
		}
	}
}

// eventTime is a time stamp or an expression; YAML's own time stamps are text here (D30).
func eventTime(d *decoder, n *node, a at) {
	t, ok := n.scalar.(string)
	if !ok || !isDynamic(t) && !timePattern.MatchString(t) {
		d.wrong(n, a, "a time such as 2026-07-29T12:00:00Z, or an expression in ${ }")
	}
}

func (d *decoder) emit(t *Task, n *node) {
	a := at{"emit", "emit", "DSL 95"}
	if !d.properties(n, a, false, []string{"event"}) {
		return
	}
	e := n.field("event")
	if e == nil {
		d.missing(n, a, "event")
		return
	}
	if !d.properties(e, a.in("event"), true, []string{"with"}) {
		return
	}
	w := e.field("with")
	if w == nil {
		d.missing(e, a.in("event"), "with")
		return
	}
	event(true)(d, w, a.in("event").in("with"))
	t.Emit = valueOf(w)
}

var reads = oneOfWords("data", "envelope", "raw")

func (d *decoder) listen(t *Task, n, foreach *node) {
	a := at{"listen", "listen", "DSL 119"}
	t.Listen = &Listen{Pos: n.pos, Read: "data"}
	if d.properties(n, a, false, []string{"to", "read"}) {
		if to := n.field("to"); to != nil {
			if s := d.strategy(to, a.in("to"), true); s != nil {
				t.Listen.To = *s
			}
		} else {
			d.missing(n, a, "to")
		}
		if r := n.field("read"); r != nil {
			t.Listen.Read = d.str(r, at{"listen", "listen.read", "DSL 124"}, reads)
		}
	}
	if foreach != nil {
		t.Listen.Foreach = d.foreach(foreach, at{"foreach", "foreach", "DSL 125"}, t.Reference+"/foreach/do")
	}
}

// foreach is the iterator of a subscription (DSL 125, D34).
func (d *decoder) foreach(n *node, a at, ref string) *Foreach {
	if !d.properties(n, a, false, []string{"item", "at", "do", "output", "export"}) {
		return nil
	}
	f := &Foreach{Pos: n.pos, Item: d.variable(n.field("item"), a.in("item"), "item"), At: d.variable(n.field("at"), a.in("at"), "index"),
		Output: d.dataOut(n.field("output"), a.in("output")), Export: d.dataOut(n.field("export"), a.in("export"))}
	if b := n.field("do"); b != nil {
		f.Do = d.taskList(b, a.in("do"), ref, false)
	}
	return f
}

// strategy is an event consumption strategy (DSL 119-122).
func (d *decoder) strategy(n *node, a at, mayUntil bool) *Strategy {
	if !d.properties(n, a, false, []string{"one", "any", "all", "until"}) {
		return nil
	}
	s := &Strategy{Pos: n.pos}
	switch mode := d.exactlyOne(n, a, "one", "any", "all"); mode {
	case "one":
		s.Mode = One
		if f := d.filter(n.field("one"), a.in("one")); f != nil {
			s.Filters = []Filter{*f}
		}
	case "any", "all":
		s.Mode = Any
		if mode == "all" {
			s.Mode = All
		}
		list := n.field(mode)
		if list.kind != ListValue {
			d.wrong(list, a.in(mode), "a list of event filters")
			break
		}
		for i, it := range list.items {
			if f := d.filter(it, at{a.section, fmt.Sprintf("%s.%s[%d]", a.what, mode, i), a.dsl}); f != nil {
				s.Filters = append(s.Filters, *f)
			}
		}
		if mode == "all" && len(list.items) == 0 {
			d.report(Finding{Pos: list.pos, Severity: SeverityWarning, Rule: "listen/nothing", DSL: "DSL 119", Message: a.what + ".all is empty: it waits for nothing"})
		}
	default:
		return nil
	}
	if u := n.field("until"); u != nil {
		d.until(s, u, at{a.section, a.what + ".until", "DSL 121"}, mayUntil)
	}
	return s
}

func (d *decoder) until(s *Strategy, u *node, a at, mayUntil bool) {
	if u.scalar == false {
		s.UntilFalse = true
		return
	}
	switch {
	case s.Mode != Any:
		d.invalid(u, a, "until", a.what+" stands beside one or all", "only any has an until")
	case !mayUntil:
		d.invalid(u, a, "until", a.what+" is inside another until", "the strategy that ends a listener has no until of its own, or until: false")
	case u.kind == MapValue:
		s.UntilStrategy = d.strategy(u, a, false)
	default:
		s.UntilExpr = d.expr(u, a)
	}
}

// filter is one event filter (DSL 126, 127).
func (d *decoder) filter(n *node, a at) *Filter {
	a.dsl = "DSL 126"
	if !d.properties(n, a, false, []string{"with", "correlate"}) {
		return nil
	}
	f := &Filter{Pos: n.pos}
	w := n.field("with")
	if w == nil {
		d.missing(n, a, "with")
	} else {
		filterAttrs(d, w, a.in("with"))
		f.With = w.value()
	}
	d.each(n.field("correlate"), at{a.section, a.what + ".correlate", "DSL 127"}, func(k key, v *node, a at) {
		if !d.properties(v, a, true, []string{"from", "expect"}) {
			return
		}
		c := Correlation{Pos: k.pos, Name: k.name, Expect: valueOf(v.field("expect"))}
		if from := d.expr(v.field("from"), a.in("from")); from != nil {
			c.From = *from
		} else if v.field("from") == nil {
			d.missing(v, a, "from")
		}
		if e := v.field("expect"); e != nil {
			scalarText(d, e, a.in("expect"))
		}
		f.Correlate = append(f.Correlate, c)
	})
	return f
}

// filterAttrs lets regular expressions stand for every attribute.
func filterAttrs(d *decoder, n *node, a at) {
	if n.kind != MapValue || len(n.keys) == 0 {
		d.wrong(n, a, "a map with at least one attribute")
		return
	}
	for i, k := range n.keys {
		switch k.name {
		case "id", "source", "type", "time", "subject", "datacontenttype", "dataschema":
			text(d, n.items[i], a.in(k.name))
		}
	}
}

// schedule is the schedule section (DSL 168-174).
func (d *decoder) schedule(n *node) *Schedule {
	a := at{"schedule", "schedule", "DSL 168-174"}
	if !d.properties(n, a, false, []string{"every", "cron", "after", "on", "read"}) {
		return nil
	}
	s := &Schedule{Pos: n.pos, Every: d.duration(n.field("every"), a.in("every")), After: d.duration(n.field("after"), a.in("after"))}
	if c := n.field("cron"); c != nil {
		s.Cron = d.str(c, at{"schedule", "schedule.cron", "DSL 169"}, someText)
	}
	if on := n.field("on"); on != nil {
		s.On = d.strategy(on, at{"schedule", "schedule.on", "DSL 171"}, true)
	}
	if r := n.field("read"); r != nil {
		s.Read = d.str(r, at{"schedule", "schedule.read", "DSL 173"}, reads)
		if n.field("on") == nil {
			d.invalid(r, at{"schedule", "schedule.read", "DSL 173"}, "read-without-on", "schedule.read stands without schedule.on", "it says how the events of schedule.on are read")
		}
	}
	return s
}
