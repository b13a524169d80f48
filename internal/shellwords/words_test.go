package shellwords

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// D28
func TestTakesArguments(t *testing.T) {
	t.Parallel()
	yes := []string{
		"echo", "echo hello", "  grep -r 'a b' .\n", `awk '{print $1}'`, `echo "$HOME" ${USER} ${X:-y} $$ $?`, "A=1 B='2 3' env", "cat < in > out 2>&1",
		"tar czf $(date +'%F').tgz", `echo "$(basename "$PWD")"`, "ls -l \\\n  -a", "echo a#b", `echo \$1 \;`, "./run.sh", "echo $0", "cp {a,b}", "prog 2> err",
	}
	no := []string{
		"", "echo $1", "echo ${1}", "echo ${1:-x}", `echo "$@"`, "echo $*", "echo $#", "echo ${#}", "echo ${@:2}", "echo $(echo $1)", `echo "${X:-$1}"`, `echo "a $2"`,
		"a; b", "a | b", "a && b", "a & ", "a\nb", "(a)", "{ a; }", "if a; then b; fi", "for x in a; do b; done", "! a", "A=1", "echo `a`", "echo 'open", `echo "open`,
		"echo # note", "cat <<E\nx\nE", "cat <<< x", "eval 'echo $1'", "set -x", "diff <(a) b", "f() { a; }", "echo \\", "[ -f x ]", "echo $(a", "case x in x) a;; esac", ": a", "cd",
	}
	for _, s := range yes {
		if !TakesArguments(s) {
			t.Errorf("%q: no; want yes", s)
		}
	}
	for _, s := range no {
		if TakesArguments(s) {
			t.Errorf("%q: yes; want no", s)
		}
	}
}

func TestTakesArgumentsNeverPanics(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"a", "$", "{", "}", "(", ")", "'", `"`, "\\", "`", "1", "@", " ", "\n", "<", ">", "&", "|", "#", "="})).Draw(t, "parts")
		TakesArguments(strings.Join(parts, ""))
	})
}
