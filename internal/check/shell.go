package check

import (
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/expr"
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
	if !simpleCommand(text) {
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

// reserved begin what is no simple command, or one for which appended words
// mean something else; as package process has them.
var reserved = strings.Fields("if then else elif fi for while until do done case esac select function time coproc in { } ! [ [[ set shift eval trap " +
	"getopts exit return alias unset break continue : cd")

// simpleCommand reports whether a shell text is one command without control
// operators outside of quotes; to such a one the arguments are appended (D28).
func simpleCommand(s string) bool {
	s = strings.TrimSpace(s)
	first, _, _ := strings.Cut(s, " ")
	if s == "" || slices.Contains(reserved, first) {
		return false
	}
	quote, depth := byte(0), 0
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quote == '\'':
			if ch == '\'' {
				quote = 0
			}
		case ch == '\\':
			i++
		case ch == '`':
			return false
		case ch == '$' && i+1 < len(s) && s[i+1] == '(':
			depth++
			i++
		case quote == '"' && ch == '"':
			quote = 0
		case quote == '"' && depth == 0:
		case quote == 0 && (ch == '\'' || ch == '"'):
			quote = ch
		case depth > 0 && ch == '(':
			depth++
		case depth > 0 && ch == ')':
			depth--
		case depth == 0 && strings.IndexByte("|&;()\n", ch) >= 0:
			if ch == '&' && i > 0 && s[i-1] == '>' {
				continue // 2>&1
			}
			return false
		case depth == 0 && ch == '#' && (i == 0 || s[i-1] == ' '):
			return false
		}
	}
	return quote == 0 && depth == 0
}
