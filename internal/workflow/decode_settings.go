package workflow

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// setting is the shape of metadata.downbeat: unknown keys are errors (D38).
func setting(key string) at { return at{"downbeat", "metadata.downbeat." + key, "D38"} }

var (
	amount   = func(d *decoder, n *source.Node, a at) { positive(d, n, a) }
	rate     = orExpr(anything)
	docKeys  = []string{"concurrency", "priority", "locks", "calendar", "schedule", "endpoint", "webhook", "manual", "retention", "sensitive", "shell"}
	taskKeys = []string{"on", "resources", "interrupted", "cache", "workspace", "registry"}

	endpointSettings = object(false, may("method", oneOfWords("GET", "POST", "PUT", "PATCH", "DELETE")), may("path", slashed(false, "it must begin with /")), may("mode", oneOfWords("sync", "async", "stream")),
		may("durability", oneOfWords("strict", "express")), may("rate", rate), may("cors", anything), may("mock", anything))
	webhookSettings  = object(false, need("provider", someText), may("secret", someText), may("filter", text))
	resourceSettings = object(false, may("cpu", amount), may("memory", anything), may("slots", whole(1, 1000)))
	cacheSettings    = object(false, need("key", text), may("for", durationShape))
)

func positive(d *decoder, n *source.Node, a at) {
	i, _ := n.Scalar.(int)
	f, _ := n.Scalar.(float64)
	if i <= 0 && f <= 0 {
		d.wrong(n, a, "a positive number")
	}
}

// slashed is text that begins with a slash, or is nothing at all where that means something.
func slashed(mayBeEmpty bool, allowed string) shape {
	return func(d *decoder, n *source.Node, a at) {
		text(d, n, a)
		if s, ok := n.Scalar.(string); ok && !strings.HasPrefix(s, "/") && (s != "" || !mayBeEmpty) {
			d.invalid(n, a, "value", fmt.Sprintf("%s is %s", a.what, source.Quote(s)), allowed)
		}
	}
}

func (d *decoder) documentSettings(n *source.Node) *DocumentSettings {
	if !d.properties(n, at{"downbeat", "metadata.downbeat", "D38"}, false, docKeys) {
		return nil
	}
	s := &DocumentSettings{
		Pos: n.Pos, Concurrency: d.concurrency(n.Field("concurrency")), Schedule: d.scheduleSettings(n.Field("schedule")), Retention: d.retention(n.Field("retention")),
		Manual: d.literalDuration(n.Field("manual"), setting("manual")), Calendar: d.str(n.Field("calendar"), setting("calendar"), someText),
		Shell: d.str(n.Field("shell"), setting("shell"), oneOfWords("cmd", "powershell")), Endpoint: valueOf(n.Field("endpoint")), Webhook: valueOf(n.Field("webhook")),
	}
	if p := n.Field("priority"); p != nil {
		whole(-10, 10)(d, p, setting("priority"))
		s.Priority, _ = p.Scalar.(int)
	}
	if l := n.Field("locks"); l != nil {
		listOf(someText)(d, l, setting("locks"))
		for _, it := range l.Items {
			s.Locks = append(s.Locks, toValue(it))
		}
	}
	if e := n.Field("endpoint"); e != nil {
		endpointSettings(d, e, setting("endpoint"))
	}
	if w := n.Field("webhook"); w != nil {
		webhookSettings(d, w, setting("webhook"))
	}
	if x := n.Field("sensitive"); x != nil {
		listOf(slashed(true, "it must be a JSON pointer such as /customer/iban"))(d, x, setting("sensitive"))
		for _, it := range x.Items {
			if p, ok := it.Scalar.(string); ok {
				s.Sensitive = append(s.Sensitive, p)
			}
		}
	}
	return s
}

func (d *decoder) concurrency(n *source.Node) *Concurrency {
	a := setting("concurrency")
	if n == nil || !d.properties(n, a, false, []string{"limit", "key", "on"}) {
		return nil
	}
	c := &Concurrency{Pos: n.Pos, Key: d.expr(n.Field("key"), a.in("key")), On: "queue"}
	if l := n.Field("limit"); l != nil {
		whole(1, 1_000_000)(d, l, a.in("limit"))
		c.Limit, _ = l.Scalar.(int)
	} else {
		d.missing(n, a, "limit")
	}
	if o := n.Field("on"); o != nil {
		c.On = d.str(o, a.in("on"), oneOfWords("queue", "reject", "replace"))
	}
	return c
}

func (d *decoder) scheduleSettings(n *source.Node) *ScheduleSettings {
	a := setting("schedule")
	if n == nil || !d.properties(n, a, false, []string{"timezone", "jitter", "missed", "paused"}) {
		return nil
	}
	s := &ScheduleSettings{
		Pos: n.Pos, Timezone: d.str(n.Field("timezone"), a.in("timezone"), someText), Jitter: d.literalDuration(n.Field("jitter"), a.in("jitter")),
		Missed: "latest", Paused: d.flag(n.Field("paused"), a.in("paused"), false),
	}
	if m := n.Field("missed"); m != nil {
		s.Missed = d.str(m, a.in("missed"), oneOfWords("skip", "latest", "all"))
	}
	return s
}

func (d *decoder) retention(n *source.Node) *Retention {
	a := setting("retention")
	if n == nil || !d.properties(n, a, false, []string{"keep", "for"}) {
		return nil
	}
	r := &Retention{Pos: n.Pos, For: d.literalDuration(n.Field("for"), a.in("for"))}
	if k := n.Field("keep"); k != nil {
		whole(1, 1_000_000_000)(d, k, a.in("keep"))
		r.Keep, _ = k.Scalar.(int)
	}
	return r
}

func (d *decoder) taskSettings(n *source.Node) *TaskSettings {
	if !d.properties(n, at{"downbeat", "metadata.downbeat", "D38"}, false, taskKeys) {
		return nil
	}
	s := &TaskSettings{
		Pos: n.Pos, Interrupted: "repeat", Workspace: d.str(n.Field("workspace"), setting("workspace"), someText), Resources: valueOf(n.Field("resources")),
		Cache: valueOf(n.Field("cache")), Registry: d.str(n.Field("registry"), setting("registry"), someText),
	}
	if on := n.Field("on"); on != nil {
		mapOf(scalarText)(d, on, setting("on"))
		s.On = map[string]string{}
		for i, k := range on.Keys {
			s.On[k.Name] = fmt.Sprint(on.Items[i].Scalar)
		}
	}
	if i := n.Field("interrupted"); i != nil {
		s.Interrupted = d.str(i, setting("interrupted"), oneOfWords("repeat", "fault"))
	}
	if r := n.Field("resources"); r != nil {
		resourceSettings(d, r, setting("resources"))
	}
	if c := n.Field("cache"); c != nil {
		cacheSettings(d, c, setting("cache"))
	}
	return s
}
