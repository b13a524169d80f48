package check

import (
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// portable names what only Downbeat understands, or reads in its own way: what
// `validate --portable` shows. What Decode accepts beyond the schema has hints
// of its own, under the same prefix "portable/".
func (c *checker) portable() {
	if !c.options.Portable {
		return
	}
	c.ref = ""
	if s := c.def.Downbeat; s != nil {
		c.hint(s.Pos, "portable/settings", "D38", "metadata.downbeat has no effect in other runtimes", "")
	}
	if s := c.def.Schedule; s != nil && s.On != nil && s.Read == "" {
		c.hint(s.On.Pos, "portable/schedule-read", "D21", "schedule.on stands without schedule.read: events are read as envelopes here, elsewhere perhaps as data", "say read: envelope")
	}
	for t := range c.def.Tasks() {
		c.ref = t.Reference
		if t.Downbeat != nil {
			c.hint(t.Downbeat.Pos, "portable/settings", "D38", "metadata.downbeat has no effect in other runtimes", "")
		}
		c.portableTask(t)
	}
	c.ref = ""
}

func (c *checker) portableTask(t *workflow.Task) {
	switch t.Kind {
	case workflow.CallTask:
		for _, f := range c.options.Functions {
			if c.def.FindFunction(t.Call.Name) == nil && isNamed(t.Call.Name, f.Name) {
				c.hint(t.Call.Pos, "portable/function", "D37", fmt.Sprintf("the function %s is of Downbeat's own catalogue", source.Quote(f.Name)), "")
				break
			}
		}
		if t.Call.Map != nil {
			c.hint(t.Call.Pos, "portable/function", "D36", "call: map is of Downbeat's own catalogue", "for and fork are of the language")
		}
	case workflow.ForkTask:
		if !t.Fork.Compete {
			c.hint(t.Pos, "portable/fork-output", "D3", "runtimes differ in the output of a fork: here it is a list in the order of the branches", "")
		}
	case workflow.RunTask:
		if (t.Run.Kind == workflow.RunShell || t.Run.Kind == workflow.RunScript || t.Run.Kind == workflow.RunContainer) && t.Run.Return != "code" && t.Run.Return != "all" {
			c.hint(t.Run.Pos, "portable/exit-code", "D27", "a non-zero exit code faults here; other runtimes may go on", "return: all or return: code lets the workflow decide")
		}
	case workflow.NoKind, workflow.DoTask, workflow.EmitTask, workflow.ForTask, workflow.ListenTask, workflow.RaiseTask, workflow.SetTask,
		workflow.SwitchTask, workflow.TryTask, workflow.WaitTask:
	}
}
