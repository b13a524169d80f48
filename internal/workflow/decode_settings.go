package workflow

import (
	"fmt"
	"strings"
)

// setting is the shape of metadata.downbeat: unknown keys are errors (D38).
func setting(key string) at { return at{"downbeat", "metadata.downbeat." + key, "D38"} }

var (
	amount   = func(d *decoder, n *node, a at) { positive(d, n, a) }
	rate     = orExpr(anything)
	docKeys  = []string{"concurrency", "priority", "locks", "calendar", "schedule", "endpoint", "webhook", "manual", "retention", "sensitive", "shell"}
	taskKeys = []string{"on", "resources", "interrupted", "cache", "workspace"}

	endpointSettings = object(false, may("method", oneOfWords("GET", "POST", "PUT", "PATCH", "DELETE")), may("path", path), may("mode", oneOfWords("sync", "async", "stream")),
		may("durability", oneOfWords("strict", "express")), may("rate", rate), may("cors", anything), may("mock", anything))
	webhookSettings  = object(false, need("provider", someText), may("secret", someText), may("filter", text))
	resourceSettings = object(false, may("cpu", amount), may("memory", anything), may("slots", whole(1, 1000)))
	cacheSettings    = object(false, need("key", text), may("for", durationShape))
)

func positive(d *decoder, n *node, a at) {
	switch v := n.scalar.(type) {
	case int:
		if v > 0 {
			return
		}
	case float64:
		if v > 0 {
			return
		}
	}
	d.wrong(n, a, "a positive number")
}

func path(d *decoder, n *node, a at) {
	text(d, n, a)
	if s, ok := n.scalar.(string); ok && !strings.HasPrefix(s, "/") {
		d.invalid(n, a, "value", fmt.Sprintf("%s is %s", a.what, quote(s)), "it must begin with /")
	}
}

func pointer(d *decoder, n *node, a at) {
	text(d, n, a)
	if s, ok := n.scalar.(string); ok && s != "" && !strings.HasPrefix(s, "/") {
		d.invalid(n, a, "value", fmt.Sprintf("%s is %s", a.what, quote(s)), "it must be a JSON pointer such as /customer/iban")
	}
}

func (d *decoder) documentSettings(n *node) *DocumentSettings {
	if !d.properties(n, at{"downbeat", "metadata.downbeat", "D38"}, false, docKeys) {
		return nil
	}
	s := &DocumentSettings{Pos: n.pos, Concurrency: d.concurrency(n.field("concurrency")), Schedule: d.scheduleSettings(n.field("schedule")), Retention: d.retention(n.field("retention")),
		Manual: d.literalDuration(n.field("manual"), setting("manual")), Calendar: d.str(n.field("calendar"), setting("calendar"), someText),
		Shell: d.str(n.field("shell"), setting("shell"), oneOfWords("cmd", "powershell")), Endpoint: valueOf(n.field("endpoint")), Webhook: valueOf(n.field("webhook"))}
	if p := n.field("priority"); p != nil {
		whole(-10, 10)(d, p, setting("priority"))
		s.Priority, _ = p.scalar.(int)
	}
	if l := n.field("locks"); l != nil {
		listOf(someText)(d, l, setting("locks"))
		for _, it := range l.items {
			s.Locks = append(s.Locks, it.value())
		}
	}
	if e := n.field("endpoint"); e != nil {
		endpointSettings(d, e, setting("endpoint"))
	}
	if w := n.field("webhook"); w != nil {
		webhookSettings(d, w, setting("webhook"))
	}
	if x := n.field("sensitive"); x != nil {
		listOf(pointer)(d, x, setting("sensitive"))
		for _, it := range x.items {
			if p, ok := it.scalar.(string); ok {
				s.Sensitive = append(s.Sensitive, p)
			}
		}
	}
	return s
}

func (d *decoder) concurrency(n *node) *Concurrency {
	a := setting("concurrency")
	if n == nil || !d.properties(n, a, false, []string{"limit", "key", "on"}) {
		return nil
	}
	c := &Concurrency{Pos: n.pos, Key: d.expr(n.field("key"), a.in("key")), On: "queue"}
	if l := n.field("limit"); l != nil {
		whole(1, 1_000_000)(d, l, a.in("limit"))
		c.Limit, _ = l.scalar.(int)
	} else {
		d.missing(n, a, "limit")
	}
	if o := n.field("on"); o != nil {
		c.On = d.str(o, a.in("on"), oneOfWords("queue", "reject", "replace"))
	}
	return c
}

func (d *decoder) scheduleSettings(n *node) *ScheduleSettings {
	a := setting("schedule")
	if n == nil || !d.properties(n, a, false, []string{"timezone", "jitter", "missed", "paused"}) {
		return nil
	}
	s := &ScheduleSettings{Pos: n.pos, Timezone: d.str(n.field("timezone"), a.in("timezone"), someText), Jitter: d.literalDuration(n.field("jitter"), a.in("jitter")),
		Missed: "latest", Paused: d.flag(n.field("paused"), a.in("paused"), false)}
	if m := n.field("missed"); m != nil {
		s.Missed = d.str(m, a.in("missed"), oneOfWords("skip", "latest", "all"))
	}
	return s
}

func (d *decoder) retention(n *node) *Retention {
	a := setting("retention")
	if n == nil || !d.properties(n, a, false, []string{"keep", "for"}) {
		return nil
	}
	r := &Retention{Pos: n.pos, For: d.literalDuration(n.field("for"), a.in("for"))}
	if k := n.field("keep"); k != nil {
		whole(1, 1_000_000_000)(d, k, a.in("keep"))
		r.Keep, _ = k.scalar.(int)
	}
	return r
}

func (d *decoder) taskSettings(n *node) *TaskSettings {
	if !d.properties(n, at{"downbeat", "metadata.downbeat", "D38"}, false, taskKeys) {
		return nil
	}
	s := &TaskSettings{Pos: n.pos, Interrupted: "repeat", Workspace: d.str(n.field("workspace"), setting("workspace"), someText), Resources: valueOf(n.field("resources")), Cache: valueOf(n.field("cache"))}
	if on := n.field("on"); on != nil {
		mapOf(scalarText)(d, on, setting("on"))
		s.On = map[string]string{}
		for i, k := range on.keys {
			s.On[k.name] = fmt.Sprint(on.items[i].scalar)
		}
	}
	if i := n.field("interrupted"); i != nil {
		s.Interrupted = d.str(i, setting("interrupted"), oneOfWords("repeat", "fault"))
	}
	if r := n.field("resources"); r != nil {
		resourceSettings(d, r, setting("resources"))
	}
	if c := n.field("cache"); c != nil {
		cacheSettings(d, c, setting("cache"))
	}
	return s
}
