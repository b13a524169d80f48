package source

import (
	"bytes"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// advices say what would be right, by how the YAML module begins to say what is
// wrong: it speaks of its parser's states, which a person does not know.
var advices = []struct{ begins, says string }{
	{"did not find expected ',' or", "inside { } and [ ] put text with ${ }, a quote, a comma or a ': ' in quotes, and close the bracket"},
	{"did not find expected key", "entries of one map stand exactly below each other, those of a list begin with '- ', and after a closing quote nothing follows"},
	{"did not find expected '-' indicator", "the entries of a list all begin with '- ', exactly below each other"},
	{"did not find expected node content", "a value is missing, or text that begins with a comma or a bracket wants quotes"},
	{"found a tab character", "indent with spaces"},
	{"found character that cannot start any token", "text that begins with @, ` or % wants quotes; indent with spaces, not with tabs"},
	{"mapping values are not allowed", "put text that has a ': ' in it in quotes; an entry below another begins in the same column"},
	{"could not find expected ':'", "an entry is `key: value`; text over several lines wants quotes, or | after the key"},
	{"found unexpected end of stream", "a quote is not closed"},
	{"found unknown escape character", "inside double quotes a \\ begins an escape; single quotes leave it as it is"},
}

// advice is what would be right; "" for what the module says rarely.
func advice(msg string) string {
	for _, a := range advices {
		if strings.HasPrefix(msg, a.begins) {
			return a.says
		}
	}
	return ""
}

// tabbed is the first line from line on that is indented with a tab; line when
// there is none. The module names the line before, or the one where the block began.
func tabbed(src []byte, line int) int {
	n := 0
	for l := range bytes.Lines(src) {
		if n++; n >= line && bytes.ContainsRune(l[:len(l)-len(bytes.TrimLeft(l, " \t"))], '\t') {
			return n
		}
	}
	return line
}

// offending is the line that does not fit into its block: of such a mistake the
// module names the line where the block begins, which may be far above. It is
// the last line of the shortest beginning of src that has the same mistake.
func offending(src []byte, line int, msg string) int {
	if !strings.HasPrefix(msg, "did not find expected '-'") && !strings.HasPrefix(msg, "did not find expected key") {
		return line
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(last int) bool {
		err := yaml.Unmarshal(bytes.Join(lines[:last+1], nil), new(yaml.Node))
		return err != nil && strings.HasSuffix(err.Error(), msg)
	})
}
