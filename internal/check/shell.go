package check

import (
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/shellwords"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// command warns of data in a command line (D14c), and of arguments that the
// command ignores (D28).
func (c *checker) command(r *workflow.Run) {
	cmd := r.With.Field("command")
	if cmd == nil {
		return
	}
	text := cmd.String()
	dynamic := expr.IsWrapped(text) || expr.HasInterpolation(text)
	if dynamic {
		c.warn(cmd.Pos, "run/injection", "D14c", "an expression stands in a command line: data in it can run as code", `pass data as arguments, which no shell reads: command: 'echo "Hello, $1"' with arguments: ["${ .name }"]`)
	}
	args := r.With.Field("arguments")
	if r.Kind != workflow.RunShell || dynamic || args == nil || len(args.Items)+len(args.Keys) == 0 || usesArguments(text) {
		return
	}
	if !shellwords.TakesArguments(text) {
		c.warn(args.Pos, "run/ignored-arguments", "D28", "the command ignores its arguments", `refer to them as "$1", "$2" … or "$@"`)
	}
}

// usesArguments reports whether a shell text reads its positional parameters.
func usesArguments(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '$' {
			continue
		}
		c := s[i+1]
		if c == '{' && i+2 < len(s) {
			c = s[i+2]
		}
		if c >= '1' && c <= '9' || c == '@' || c == '*' || c == '#' {
			return true
		}
	}
	return false
}
