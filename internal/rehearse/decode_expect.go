package rehearse

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/source"
)

var statuses = []string{"completed", "faulted", "cancelled", "waiting", "suspended"}

func (d *decoder) expect(n *source.Node) Expect {
	e := Expect{Pos: n.Pos, node: n}
	if n.IsNull() {
		return e
	}
	if !d.object(n, "expect", "status", "output", "outputContains", "context", "error", "path", "pathContains", "calls", "emitted", "duration") {
		return e
	}
	want := func(key string) *expectation {
		if f := n.Field(key); f != nil {
			return &expectation{pos: f.Pos, want: f.Any(), node: f}
		}
		return nil
	}
	e.Status, e.Output, e.OutputContains, e.Context = want("status"), want("output"), want("outputContains"), want("context")
	e.Error, e.Emitted = want("error"), want("emitted")
	e.Path, e.PathContains = d.path(n.Field("path"), "path"), d.path(n.Field("pathContains"), "pathContains")
	e.Duration = d.moment(n.Field("duration"), "duration")
	if f := n.Field("calls"); f != nil {
		e.CallsPos = f.Pos
		for i, it := range d.list(f, "calls") {
			e.Calls = append(e.Calls, d.call(it, i))
		}
	}
	if e.Emitted != nil {
		for i, it := range d.list(e.Emitted.node, "emitted") {
			if it.Kind != source.Map {
				d.wrong(it, fmt.Sprintf("emitted[%d]", i), "a map of an event's attributes")
			}
		}
	}
	d.plausible(&e)
	return e
}

// plausible reports expectations that no run can meet together.
func (d *decoder) plausible(e *Expect) {
	if e.Error != nil {
		d.errorExpectation(e.Error)
	}
	if e.Status == nil {
		return
	}
	name, _ := e.Status.want.(string)
	status, ok := event.ParseStatus(name)
	if !ok || status == event.Pending || status == event.Running {
		d.report(source.Finding{
			Pos: e.Status.pos, Rule: "test/value", Message: "status is " + e.Status.node.Describe(), Suggestion: source.Nearest(name, statuses),
			Allowed: "a case ends completed, faulted, cancelled, waiting or suspended",
		})
		return
	}
	never := func(x *expectation, what string) {
		if x != nil {
			d.report(source.Finding{Pos: x.pos, Rule: "test/unreachable", Message: fmt.Sprintf("a run that is %s has no %s", name, what)})
		}
	}
	if status != event.Completed {
		never(e.Output, "output")
		never(e.OutputContains, "output")
	}
	if status != event.Faulted {
		never(e.Error, "error")
	}
}

func (d *decoder) errorExpectation(x *expectation) {
	if !d.object(x.node, "error", "type", "status", "title", "detail", "instance") {
		return
	}
	if f := x.node.Field("status"); f != nil {
		if _, ok := f.Scalar.(int); !ok {
			d.wrong(f, "status of error", "a whole number")
		}
	}
	for _, k := range []string{"type", "title", "detail", "instance"} {
		d.text(x.node.Field(k), k+" of error")
	}
}

func (d *decoder) path(n *source.Node, what string) *path {
	if n == nil {
		return nil
	}
	p := &path{pos: n.Pos, node: n}
	for i, it := range d.list(n, what) {
		p.tasks = append(p.tasks, d.text(it, fmt.Sprintf("%s[%d]", what, i)))
	}
	return p
}

func (d *decoder) call(n *source.Node, i int) (c call) {
	what := fmt.Sprintf("calls[%d]", i)
	c.pos = n.Pos
	if !d.object(n, what, "task", "workflow", "arguments", "times") {
		return c
	}
	c.task = d.need(n, "task", what)
	c.workflow = d.text(n.Field("workflow"), "workflow of "+what)
	if f := n.Field("arguments"); f != nil {
		c.arguments = &expectation{pos: f.Pos, want: f.Any(), node: f}
	}
	if f := n.Field("times"); f != nil {
		if times, ok := f.Scalar.(int); !ok || times < 0 {
			d.wrong(f, "times of "+what, "a whole number")
		} else {
			c.times = &expectation{pos: f.Pos, want: times, node: f}
		}
	}
	return c
}
