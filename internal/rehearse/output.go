package rehearse

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// never is the delay of an answer that a recorded run did not wait for.
const never = 3650 * 24 * time.Hour

// outputs reports answers that no process gives: the test would pass, and the
// workflow fail when it is run (D27).
func (r *Rehearsal) outputs(m *Mock, t *workflow.Task) {
	if t.Kind != workflow.RunTask || t.Run == nil || !t.Run.Await || t.Run.Kind == workflow.RunWorkflow {
		return
	}
	for i := range m.Attempts {
		o := &m.Attempts[i]
		text, isText := o.Output.(string)
		if o.Error != nil || isText && o.template != nil {
			continue // what an expression gives is known when it is asked
		}
		if o.Output == nil && o.Delay.Std() >= never {
			continue // the run was over before there was an answer
		}
		what := fmt.Sprintf("%s is a %s that returns %s: ", m.Task.Text, t.Run.Kind, t.Run.Return)
		switch t.Run.Return {
		case "stdout", "stderr":
			switch {
			case !isText:
				r.report(o.Pos, "test/output", what+"it never gives "+describe(o.Output), `its output is text; JSON too comes as text ('{"a": 1}'), which output.as of the task can read with fromjson`)
			case strings.HasSuffix(text, "\n"):
				r.findings = append(r.findings, source.Finding{
					Pos: o.Pos, Rule: "test/output", Severity: source.SeverityWarning,
					Message: what + "line breaks at the end of what it prints are cut off, those of this output are not", Allowed: "leave them out",
				})
			}
		case "code":
			if n, ok := o.Output.(int); !ok || n < 0 || n > math.MaxUint32 {
				r.report(o.Pos, "test/output", what+"it never gives "+describe(o.Output), "its output is the exit code, a whole number")
			}
		case "none":
			if o.Output != nil {
				r.report(o.Pos, "test/output", what+"it never gives "+describe(o.Output), "write output: null")
			}
		case "all":
			all, _ := o.Output.(map[string]any)
			_, code := all["code"].(int)
			_, out := all["stdout"].(string)
			_, errs := all["stderr"].(string)
			if (!code || !out || !errs) && o.template == nil {
				r.report(o.Pos, "test/output", what+"what it gives has code, stdout and stderr", "its output is {code: 0, stdout: text, stderr: text}")
			}
		}
	}
}

func describe(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return fmt.Sprint(x)
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	}
	return "a number"
}
