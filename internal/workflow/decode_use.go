package workflow

import (
	"fmt"
	"slices"
	"strings"
)

var useSections = []string{"authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts"}

// declare notes the names of use before anything refers to them (DSL 21).
func (d *decoder) declare(n *node) {
	d.use = map[string][]string{}
	if n == nil || n.kind != MapValue {
		return
	}
	for i, k := range n.keys {
		switch sec := n.items[i]; {
		case sec.kind == MapValue:
			for _, name := range sec.keys {
				d.use[k.name] = append(d.use[k.name], name.name)
			}
		case sec.kind == ListValue && k.name == "secrets":
			for _, s := range sec.items {
				if t, ok := s.scalar.(string); ok {
					d.use[k.name] = append(d.use[k.name], t)
				}
			}
		}
	}
}

// resolve reports a name that use does not declare.
func (d *decoder) resolve(n *node, section, name, dsl string) {
	if slices.Contains(d.use[section], name) {
		return
	}
	f := Finding{Pos: n.pos, Rule: "use/unknown-name", DSL: dsl, Message: fmt.Sprintf("use.%s has no entry %s", section, quote(name)), Suggestion: Nearest(name, d.use[section])}
	if known := d.use[section]; len(known) > 0 && len(known) <= 12 {
		f.Allowed = "it has " + strings.Join(known, ", ")
	}
	d.report(f)
}

// each calls f for the entries of a map of named things.
func (d *decoder) each(n *node, a at, f func(k key, v *node, a at)) {
	if n == nil {
		return
	}
	if n.kind != MapValue {
		d.wrong(n, a, "a map of names")
		return
	}
	for i, k := range n.keys {
		f(k, n.items[i], a.in(k.name))
	}
}

func (d *decoder) useSection(n *node) {
	a := at{"use", "use", "DSL 13-21"}
	u := &d.def.Use
	u.Pos = n.pos
	if !d.properties(n, a, false, useSections) {
		return
	}
	d.each(n.field("authentications"), at{"use", "use.authentications", "DSL 13"}, func(k key, v *node, a at) {
		if auth := d.auth(v, a, false); auth != nil {
			u.Authentications = append(u.Authentications, NamedAuth{k.pos, k.name, *auth})
		}
	})
	d.each(n.field("catalogs"), at{"use", "use.catalogs", "DSL 14"}, func(k key, v *node, a at) {
		if d.properties(v, a, false, []string{"endpoint"}) {
			if e := v.field("endpoint"); e != nil {
				u.Catalogs = append(u.Catalogs, Catalog{k.pos, k.name, d.endpoint(e, a.in("endpoint"))})
			} else {
				d.missing(v, a, "endpoint")
			}
		}
	})
	d.each(n.field("errors"), at{"use", "use.errors", "DSL 15"}, func(k key, v *node, a at) {
		if e := d.errorDef(v, a); e != nil {
			u.Errors = append(u.Errors, NamedError{k.pos, k.name, *e})
		}
	})
	d.each(n.field("functions"), at{"use", "use.functions", "DSL 17"}, func(k key, v *node, a at) {
		a.section = "task"
		if t := d.task(k, v, a, "/use/functions/"+escape(k.name)); t != nil {
			u.Functions = append(u.Functions, t)
			d.lists = append(d.lists, jumpList{tasks: TaskList{t}, branches: true})
		}
	})
	d.each(n.field("retries"), at{"use", "use.retries", "DSL 18"}, func(k key, v *node, a at) {
		if r := d.retry(v, a); r != nil {
			u.Retries = append(u.Retries, NamedRetry{k.pos, k.name, *r})
		}
	})
	d.each(n.field("timeouts"), at{"use", "use.timeouts", "DSL 20"}, func(k key, v *node, a at) {
		if t := d.timeout(v, a); t != nil {
			u.Timeouts = append(u.Timeouts, NamedTimeout{k.pos, k.name, *t})
		}
	})
	d.secrets(n.field("secrets"))
	d.extensions(n.field("extensions"))
}

func (d *decoder) secrets(n *node) {
	if n == nil {
		return
	}
	a := at{"use", "use.secrets", "DSL 19"}
	listOf(someText)(d, n, a)
	seen := map[string]bool{}
	for _, s := range n.items {
		name, ok := s.scalar.(string)
		if !ok {
			continue
		}
		if seen[name] {
			d.report(Finding{Pos: s.pos, Severity: SeverityWarning, Rule: "use/duplicate", DSL: "DSL 19", Message: fmt.Sprintf("the secret %s is listed twice", quote(name))})
			continue
		}
		seen[name] = true
		d.def.Use.Secrets = append(d.def.Use.Secrets, SecretName{s.pos, name})
	}
}

var extendable = []string{"call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all"}

func (d *decoder) extensions(n *node) {
	if n == nil {
		return
	}
	a := at{"extension", "use.extensions", "DSL 16, DSL 195"}
	if n.kind != ListValue {
		d.wrong(n, a, "a list, each item a map with the extension's name")
		return
	}
	for i, item := range n.items {
		if item.kind != MapValue || len(item.keys) != 1 {
			d.wrong(item, at{a.section, fmt.Sprintf("use.extensions[%d]", i), a.dsl}, "a map with one key, the extension's name")
			continue
		}
		k, v := item.keys[0], item.items[0]
		e := a.in(k.name)
		if !d.properties(v, e, false, []string{"extend", "when", "before", "after"}) {
			continue
		}
		ext := Extension{Pos: k.pos, Name: k.name, When: d.expr(v.field("when"), e.in("when"))}
		if x := v.field("extend"); x != nil {
			ext.Extend = d.str(x, e.in("extend"), oneOfWords(extendable...))
		} else {
			d.missing(v, e, "extend")
		}
		ref := fmt.Sprintf("/use/extensions/%d/%s/", i, escape(k.name))
		if b := v.field("before"); b != nil {
			ext.Before = d.taskList(b, e.in("before"), ref+"before", false)
		}
		if b := v.field("after"); b != nil {
			ext.After = d.taskList(b, e.in("after"), ref+"after", false)
		}
		d.def.Use.Extensions = append(d.def.Use.Extensions, ext)
	}
}

// errorDef is an error as an author defines it (DSL 91).
func (d *decoder) errorDef(n *node, a at) *Error {
	a.dsl = "DSL 91"
	status := func(d *decoder, n *node, a at) {
		if t, ok := n.scalar.(string); ok && isWrapped(t) {
			d.report(Finding{Pos: n.pos, Severity: SeverityHint, Rule: "portable/error-status", DSL: "DSL 91", Message: a.what + " is an expression", Allowed: "other runtimes want a number"})
			return
		}
		whole(100, 599)(d, n, a)
	}
	object(false, need("type", uri), need("status", status), may("instance", text), may("title", text), may("detail", text))(d, n, a)
	if n.kind != MapValue {
		return nil
	}
	return &Error{Pos: n.pos, Type: valueOf(n.field("type")), Status: valueOf(n.field("status")), Title: valueOf(n.field("title")),
		Detail: valueOf(n.field("detail")), Instance: valueOf(n.field("instance"))}
}

// retry is a retry policy (DSL 116, 117).
func (d *decoder) retry(n *node, a at) *Retry {
	a.dsl = "DSL 116"
	if !d.properties(n, a, false, []string{"when", "exceptWhen", "delay", "backoff", "limit", "jitter"}) {
		return nil
	}
	r := &Retry{Pos: n.pos, When: d.expr(n.field("when"), a.in("when")), ExceptWhen: d.expr(n.field("exceptWhen"), a.in("exceptWhen")),
		Delay: d.duration(n.field("delay"), a.in("delay"))}
	if b := n.field("backoff"); b != nil {
		kinds := []string{"constant", "linear", "exponential"}
		if b := b; d.properties(b, a.in("backoff"), false, kinds) {
			r.Backoff = d.exactlyOne(b, a.in("backoff"), kinds...)
			for i, k := range b.keys {
				object(true)(d, b.items[i], a.in("backoff").in(k.name))
			}
		}
	}
	if l := n.field("limit"); l != nil && d.properties(l, a.in("limit"), false, []string{"attempt", "duration"}) {
		d.retryLimit(r, l, at{a.section, a.what + ".limit", "DSL 117"})
	}
	if j := n.field("jitter"); j != nil && d.properties(j, a.in("jitter"), false, []string{"from", "to"}) {
		for _, name := range []string{"from", "to"} {
			if j.field(name) == nil {
				d.missing(j, a.in("jitter"), name)
			}
		}
		r.JitterFrom = d.duration(j.field("from"), a.in("jitter").in("from"))
		r.JitterTo = d.duration(j.field("to"), a.in("jitter").in("to"))
	}
	return r
}

func (d *decoder) retryLimit(r *Retry, l *node, a at) {
	r.LimitDuration = d.duration(l.field("duration"), a.in("duration"))
	at := l.field("attempt")
	if at == nil || !d.properties(at, a.in("attempt"), false, []string{"count", "duration"}) {
		return
	}
	r.AttemptDuration = d.duration(at.field("duration"), a.in("attempt").in("duration"))
	if c := at.field("count"); c != nil {
		whole(0, 1_000_000)(d, c, a.in("attempt").in("count"))
		if i, ok := c.scalar.(int); ok {
			r.AttemptCount = &i
		}
	}
}

// timeoutRef is a timeout in place or by name (DSL 31).
func (d *decoder) timeoutRef(n *node, a at) *TimeoutRef {
	if n == nil {
		return nil
	}
	if name, ok := n.scalar.(string); ok {
		d.resolve(n, "timeouts", name, "DSL 21, DSL 31")
		return &TimeoutRef{Pos: n.pos, Name: name}
	}
	return d.timeout(n, a)
}

func (d *decoder) timeout(n *node, a at) *TimeoutRef {
	if !d.properties(n, a, false, []string{"after"}) {
		return nil
	}
	after := n.field("after")
	if after == nil {
		d.missing(n, a, "after")
	}
	return &TimeoutRef{Pos: n.pos, After: d.duration(after, a.in("after"))}
}
