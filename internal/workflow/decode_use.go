package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

var useSections = []string{"authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts"}

// declare notes the names of use before anything refers to them (DSL 21).
func (d *decoder) declare(n *source.Node) {
	d.use = map[string][]string{}
	if n == nil || n.Kind != MapValue {
		return
	}
	for i, k := range n.Keys {
		switch sec := n.Items[i]; {
		case sec.Kind == MapValue:
			for _, name := range sec.Keys {
				d.use[k.Name] = append(d.use[k.Name], name.Name)
			}
		case sec.Kind == ListValue && k.Name == "secrets":
			for _, s := range sec.Items {
				if t, ok := s.Scalar.(string); ok {
					d.use[k.Name] = append(d.use[k.Name], t)
				}
			}
		}
	}
}

// resolve reports a name that use does not declare.
func (d *decoder) resolve(n *source.Node, section, name, dsl string) {
	if slices.Contains(d.use[section], name) {
		return
	}
	f := Finding{Pos: n.Pos, Rule: "use/unknown-name", DSL: dsl, Message: fmt.Sprintf("use.%s has no entry %s", section, source.Quote(name)), Suggestion: source.Nearest(name, d.use[section])}
	switch known := d.use[section]; {
	case strings.HasPrefix(name, "${"):
		f.Allowed = "a name stands here, no expression; write the definition itself in its place, with expressions inside"
	case len(known) > 0 && len(known) <= 12:
		f.Allowed = "it has " + strings.Join(known, ", ")
	}
	d.report(f)
}

// each calls f for the entries of a map of named things.
func (d *decoder) each(n *source.Node, a at, f func(k source.Key, v *source.Node, a at)) {
	if n == nil {
		return
	}
	if n.Kind != MapValue {
		d.wrong(n, a, "a map of names")
		return
	}
	for i, k := range n.Keys {
		f(k, n.Items[i], a.in(k.Name))
	}
}

func (d *decoder) useSection(n *source.Node) {
	a := at{"use", "use", "DSL 13-21"}
	u := &d.def.Use
	u.Pos = n.Pos
	if !d.properties(n, a, false, useSections) {
		return
	}
	d.each(n.Field("authentications"), at{"use", "use.authentications", "DSL 13"}, func(k source.Key, v *source.Node, a at) {
		if auth := d.auth(v, a, false); auth != nil {
			u.Authentications = append(u.Authentications, Named[Auth]{k.Pos, k.Name, *auth})
		}
	})
	d.each(n.Field("catalogs"), at{"use", "use.catalogs", "DSL 14"}, func(k source.Key, v *source.Node, a at) {
		if d.properties(v, a, false, []string{"endpoint"}) {
			if e := v.Field("endpoint"); e != nil {
				u.Catalogs = append(u.Catalogs, Named[Endpoint]{k.Pos, k.Name, d.endpoint(e, a.in("endpoint"))})
			} else {
				d.missing(v, a, "endpoint")
			}
		}
	})
	d.each(n.Field("errors"), at{"use", "use.errors", "DSL 15"}, func(k source.Key, v *source.Node, a at) {
		if e := d.errorDef(v, a); e != nil {
			u.Errors = append(u.Errors, Named[Error]{k.Pos, k.Name, *e})
		}
	})
	d.each(n.Field("functions"), at{"use", "use.functions", "DSL 17"}, func(k source.Key, v *source.Node, a at) {
		a.section = "task"
		if t := d.task(k, v, "/use/functions/"+escape(k.Name)); t != nil {
			u.Functions = append(u.Functions, t)
			d.lists = append(d.lists, jumpList{tasks: TaskList{t}, branches: true})
		}
	})
	d.each(n.Field("retries"), at{"use", "use.retries", "DSL 18"}, func(k source.Key, v *source.Node, a at) {
		if r := d.retry(v, a); r != nil {
			u.Retries = append(u.Retries, Named[Retry]{k.Pos, k.Name, *r})
		}
	})
	d.each(n.Field("timeouts"), at{"use", "use.timeouts", "DSL 20"}, func(k source.Key, v *source.Node, a at) {
		if t := d.timeout(v, a); t != nil {
			u.Timeouts = append(u.Timeouts, Named[TimeoutRef]{k.Pos, k.Name, *t})
		}
	})
	d.secrets(n.Field("secrets"))
	d.extensions(n.Field("extensions"))
}

func (d *decoder) secrets(n *source.Node) {
	if n == nil {
		return
	}
	a := at{"use", "use.secrets", "DSL 19"}
	listOf(someText)(d, n, a)
	seen := map[string]bool{}
	for _, s := range n.Items {
		name, ok := s.Scalar.(string)
		if !ok {
			continue
		}
		if seen[name] {
			d.report(Finding{Pos: s.Pos, Severity: SeverityWarning, Rule: "use/duplicate", DSL: "DSL 19", Message: fmt.Sprintf("the secret %s is listed twice", source.Quote(name))})
			continue
		}
		seen[name] = true
		d.def.Use.Secrets = append(d.def.Use.Secrets, SecretName{s.Pos, name})
	}
}

var extendable = []string{"call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all"}

func (d *decoder) extensions(n *source.Node) {
	if n == nil {
		return
	}
	a := at{"extension", "use.extensions", "DSL 16, DSL 195"}
	if n.Kind != ListValue {
		d.wrong(n, a, "a list, each item a map with the extension's name")
		return
	}
	for i, item := range n.Items {
		if item.Kind != MapValue || len(item.Keys) != 1 {
			d.wrong(item, at{a.section, fmt.Sprintf("use.extensions[%d]", i), a.dsl}, "a map with one key, the extension's name")
			continue
		}
		k, v := item.Keys[0], item.Items[0]
		e := a.in(k.Name)
		if !d.properties(v, e, false, []string{"extend", "when", "before", "after"}) {
			continue
		}
		ext := Extension{Pos: k.Pos, Name: k.Name, When: d.expr(v.Field("when"), e.in("when"))}
		if x := v.Field("extend"); x != nil {
			ext.Extend = d.str(x, e.in("extend"), oneOfWords(extendable...))
		} else {
			d.missing(v, e, "extend")
		}
		ref := fmt.Sprintf("/use/extensions/%d/%s/", i, escape(k.Name))
		if b := v.Field("before"); b != nil {
			ext.Before = d.taskList(b, e.in("before"), ref+"before", false)
		}
		if b := v.Field("after"); b != nil {
			ext.After = d.taskList(b, e.in("after"), ref+"after", false)
		}
		d.def.Use.Extensions = append(d.def.Use.Extensions, ext)
	}
}

// errorDef is an error as an author defines it (DSL 91).
func (d *decoder) errorDef(n *source.Node, a at) *Error {
	a.dsl = "DSL 91"
	status := func(d *decoder, n *source.Node, a at) {
		if t, ok := n.Scalar.(string); ok && source.IsWrapped(t) {
			d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/error-status", DSL: "DSL 91", Message: a.what + " is an expression", Allowed: "other runtimes want a number"})
			return
		}
		whole(100, 599)(d, n, a)
	}
	object(false, need("type", uri), need("status", status), may("instance", text), may("title", text), may("detail", text))(d, n, a)
	if n.Kind != MapValue {
		return nil
	}
	return &Error{
		Pos: n.Pos, Type: valueOf(n.Field("type")), Status: valueOf(n.Field("status")), Title: valueOf(n.Field("title")),
		Detail: valueOf(n.Field("detail")), Instance: valueOf(n.Field("instance")),
	}
}

// retry is a retry policy (DSL 116, 117).
func (d *decoder) retry(n *source.Node, a at) *Retry {
	a.dsl = "DSL 116"
	if !d.properties(n, a, false, []string{"when", "exceptWhen", "delay", "backoff", "limit", "jitter"}) {
		return nil
	}
	r := &Retry{
		Pos: n.Pos, When: d.expr(n.Field("when"), a.in("when")), ExceptWhen: d.expr(n.Field("exceptWhen"), a.in("exceptWhen")),
		Delay: d.duration(n.Field("delay"), a.in("delay")),
	}
	if b := n.Field("backoff"); b != nil {
		kinds := []string{"constant", "linear", "exponential"}
		if b := b; d.properties(b, a.in("backoff"), false, kinds) {
			r.Backoff = d.exactlyOne(b, a.in("backoff"), kinds...)
			for i, k := range b.Keys {
				object(true)(d, b.Items[i], a.in("backoff").in(k.Name))
			}
		}
	}
	if l := n.Field("limit"); l != nil && d.properties(l, a.in("limit"), false, []string{"attempt", "duration"}) {
		d.retryLimit(r, l, at{a.section, a.what + ".limit", "DSL 117"})
	}
	if j := n.Field("jitter"); j != nil && d.properties(j, a.in("jitter"), false, []string{"from", "to"}) {
		for _, name := range []string{"from", "to"} {
			if j.Field(name) == nil {
				d.missing(j, a.in("jitter"), name)
			}
		}
		r.JitterFrom = d.duration(j.Field("from"), a.in("jitter").in("from"))
		r.JitterTo = d.duration(j.Field("to"), a.in("jitter").in("to"))
	}
	return r
}

func (d *decoder) retryLimit(r *Retry, l *source.Node, a at) {
	r.LimitDuration = d.duration(l.Field("duration"), a.in("duration"))
	at := l.Field("attempt")
	if at == nil || !d.properties(at, a.in("attempt"), false, []string{"count", "duration"}) {
		return
	}
	r.AttemptDuration = d.duration(at.Field("duration"), a.in("attempt").in("duration"))
	if c := at.Field("count"); c != nil {
		whole(0, 1_000_000)(d, c, a.in("attempt").in("count"))
		if i, ok := c.Scalar.(int); ok {
			r.AttemptCount = &i
		}
	}
}

// timeoutRef is a timeout in place or by name (DSL 31).
func (d *decoder) timeoutRef(n *source.Node, a at) *TimeoutRef {
	if n == nil {
		return nil
	}
	if name, ok := n.Scalar.(string); ok {
		d.resolve(n, "timeouts", name, "DSL 21, DSL 31")
		return &TimeoutRef{Pos: n.Pos, Name: name}
	}
	return d.timeout(n, a)
}

func (d *decoder) timeout(n *source.Node, a at) *TimeoutRef {
	if !d.properties(n, a, false, []string{"after"}) {
		return nil
	}
	after := n.Field("after")
	if after == nil {
		d.missing(n, a, "after")
	}
	return &TimeoutRef{Pos: n.Pos, After: d.duration(after, a.in("after"))}
}
