package rehearse

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// what can happen at a task that coverage asks for.
type what uint8

const (
	entered what = iota + 1
	skipped
	chosen // a case of a switch; name "": none held
	caught
	uncaught
	looped
	empty
)

// point is one place of a definition that a case reaches or not.
type point struct {
	definition *definition
	reference  string
	what       what
	name       string
}

// Coverage says how much of a definition the played cases reached.
type Coverage struct {
	File     string
	Workflow string // "namespace/name:version"
	Root     bool   // the workflow that the test file is for: the minimum is its
	Places   []Place
	Reached  int
}

// Place is a place of a definition: a task, or one way on from it.
type Place struct {
	Pos       source.Pos
	Reference string
	What      string // "the task is entered", "the if is false", …
	Hits      int
}

// Percent is how many of a hundred places were reached.
func (c *Coverage) Percent() float64 {
	if len(c.Places) == 0 {
		return 100
	}
	return 100 * float64(c.Reached) / float64(len(c.Places))
}

// Coverage is that of the workflow, then of each workflow that it started.
func (r *Rehearsal) Coverage() []Coverage {
	var out []Coverage
	for _, d := range r.definitions() {
		if d == r.root || d.ran {
			out = append(out, r.coverage(d))
		}
	}
	return out
}

func (r *Rehearsal) coverage(d *definition) Coverage {
	c := Coverage{File: d.File, Workflow: d.id(), Root: d == r.root}
	for t := range d.Workflow.Tasks() {
		for _, p := range places(t) {
			n := r.hits[point{d, t.Reference, p.what, p.name}]
			if n > 0 {
				c.Reached++
			}
			c.Places = append(c.Places, Place{Pos: p.pos, Reference: t.Reference, What: p.says, Hits: n})
		}
	}
	return c
}

// wanted is a point as it is asked for.
type wanted struct {
	what what
	name string
	pos  source.Pos
	says string
}

// places are the points of one task.
func places(t *workflow.Task) []wanted {
	out := []wanted{{entered, "", t.Pos, "the task is entered"}}
	add := func(w what, name string, pos source.Pos, says string) {
		if !pos.IsValid() {
			pos = t.Pos
		}
		out = append(out, wanted{w, name, pos, says})
	}
	if t.If != nil {
		add(skipped, "", t.If.Pos, "the if is false")
	}
	switch {
	case t.Kind == workflow.SwitchTask:
		fallback := false
		for i := range t.Switch {
			k := &t.Switch[i]
			fallback = fallback || k.When == nil
			add(chosen, k.Name, k.Pos, fmt.Sprintf("the case %s is taken", k.Name))
		}
		if !fallback {
			add(chosen, "", t.Pos, "no case holds")
		}
	case t.Kind == workflow.ForTask || t.Call != nil && t.Call.Map != nil:
		add(looped, "", t.Pos, "the loop runs at least once")
		if !neverEmpty(t) {
			add(empty, "", t.Pos, "the loop runs zero times")
		}
	case t.Kind == workflow.TryTask:
		add(uncaught, "", t.Pos, "the block ends at the first attempt, without an error")
		add(caught, "", t.Try.Pos, "an error is caught")
	}
	return out
}

// neverEmpty reports a loop over a list that the definition writes out.
func neverEmpty(t *workflow.Task) bool {
	if t.Kind == workflow.ForTask {
		return len(t.For.In.Items) > 0 && t.For.While == nil
	}
	return len(t.Call.Map.In.Items) > 0
}

// tracker tells from the transitions of one run which points it reaches.
type tracker struct {
	d     *definition
	hit   func(point)
	tasks map[event.Activation]*tracked // the loops and tries that are open
}

type tracked struct {
	reference string
	loop      bool // a for or map, else a try
	inside    bool // an iteration began
	broken    bool // a task directly inside did not complete
	caught    bool
}

func (k *tracker) add(t *machine.Transition) {
	if k.hit == nil || t.Reference == "" {
		return
	}
	hit := func(w what, name string) { k.hit(point{k.d, t.Reference, w, name}) }
	switch t.Change {
	case machine.Entered:
		hit(entered, "")
		k.inside(t)
		k.open(t)
	case machine.Skipped:
		hit(skipped, "")
		k.inside(t)
	case machine.Retried:
		if o := k.tasks[t.Activation]; o != nil {
			o.caught = true
		}
	case machine.TaskEnds:
		if o := k.tasks[t.Parent]; o != nil && t.Status != event.Completed {
			o.broken = true
		}
		if t.Status == event.Completed && t.Kind == "switch" {
			hit(chosen, t.Case)
		}
		k.close(t, hit)
	case machine.Dispatched, machine.Waits, machine.Resumes, machine.RunChanges, machine.Correlates:
	}
}

// inside tells the task around t that something in it began.
func (k *tracker) inside(t *machine.Transition) {
	o := k.tasks[t.Parent]
	switch {
	case o == nil:
	case o.loop && !o.inside && isIteration(t):
		o.inside = true
		k.hit(point{k.d, o.reference, looped, ""})
	case !o.loop && strings.HasPrefix(string(t.Activation), string(t.Parent)+".c."):
		o.caught = true
	}
}

// isIteration tells a task of a loop's body from one that an extension puts around the loop.
func isIteration(t *machine.Transition) bool {
	rest := strings.TrimPrefix(string(t.Activation), string(t.Parent)+".")
	return strings.HasPrefix(rest, "i") || strings.HasPrefix(rest, "m")
}

func (k *tracker) open(t *machine.Transition) {
	task := k.d.tasks[t.Reference]
	if task == nil {
		return
	}
	loop := task.Kind == workflow.ForTask || task.Call != nil && task.Call.Map != nil
	if !loop && task.Kind != workflow.TryTask {
		return
	}
	if k.tasks == nil {
		k.tasks = map[event.Activation]*tracked{}
	}
	k.tasks[t.Activation] = &tracked{reference: t.Reference, loop: loop}
}

func (k *tracker) close(t *machine.Transition, hit func(what, string)) {
	o := k.tasks[t.Activation]
	if o == nil {
		return
	}
	delete(k.tasks, t.Activation)
	switch {
	case o.loop:
		if !o.inside && t.Status == event.Completed {
			hit(empty, "")
		}
	case o.caught || o.broken && t.Status == event.Completed:
		hit(caught, "")
	case t.Status == event.Completed:
		hit(uncaught, "")
	}
}
