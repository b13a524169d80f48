package expr

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

// parse parses jq. gojq's parser can panic on no input that we know of, but it
// reads what users write, so it is not trusted with the process.
func parse(src string) (q *gojq.Query, err error) {
	defer func() {
		if r := recover(); r != nil {
			q, err = nil, &SyntaxError{Message: fmt.Sprintf("the expression cannot be read: %v", r)}
		}
	}()
	if strings.TrimSpace(src) == "" {
		return nil, &SyntaxError{Message: "the expression is empty; write . for the input itself"}
	}
	q, err = gojq.Parse(src)
	if err != nil {
		var parse *gojq.ParseError
		if !errors.As(err, &parse) {
			return nil, &SyntaxError{Message: err.Error()}
		}
		if parse.Token == "" {
			return nil, &SyntaxError{Offset: len(src), Message: "the expression ends too early, something is not closed or missing"}
		}
		at := max(0, min(parse.Offset-len(parse.Token), len(src)))
		return nil, &SyntaxError{Offset: at, Message: "unexpected " + strconv.Quote(parse.Token)}
	}
	if q == nil {
		return nil, &SyntaxError{Message: "the expression is empty; write . for the input itself"}
	}
	return q, nil
}

// facts is what analysis finds out about an expression.
type facts struct {
	vars    []string
	secrets []string
	now     bool
	many    bool
}

// refused lists functions that have no place in a deterministic evaluation.
var refused = map[string]string{
	"env":               "the environment of the process is not visible, use $secrets or $input",
	"$ENV":              "the environment of the process is not visible, use $secrets or $input",
	"input":             "there is one input, it is .",
	"inputs":            "there is one input, it is .",
	"input_filename":    "there is no input file",
	"input_line_number": "there is no input file",
	"debug":             "there is nowhere to write to",
	"stderr":            "there is nowhere to write to",
	"halt":              "use error to fail, or the flow directive end",
	"halt_error":        "use error to fail, or the flow directive end",
	"modulemeta":        "modules are not available",
	"get_search_list":   "modules are not available",
	"builtins":          "the list differs from release to release",
	"$__prog_args":      "there are no arguments",
}

// analyser checks names and collects facts; it knows what is bound where.
type analyser struct {
	src     string
	scope   []string
	vars    map[string]bool
	secrets map[string]bool
	now     bool
	err     error
}

func (a *analyser) analyse(q *gojq.Query) (facts, error) {
	a.vars, a.secrets = map[string]bool{}, map[string]bool{}
	if q.Meta != nil || len(q.Imports) > 0 {
		return facts{}, &SyntaxError{Message: "modules are not available in expressions"}
	}
	var bound *names
	for _, v := range a.scope {
		bound = bound.with(v)
	}
	w := walk{enter: a.visit}
	w.query(q, bound)
	if w.deep {
		return facts{}, &SyntaxError{Message: fmt.Sprintf("the expression is nested, or a chain in it is, more than %d deep", maxNesting)}
	}
	if a.err != nil {
		return facts{}, a.err
	}
	return facts{
		vars: slices.Sorted(maps.Keys(a.vars)), secrets: slices.Sorted(maps.Keys(a.secrets)),
		now: a.now, many: many(q),
	}, nil
}

// visit looks at one call, variable or declared name.
func (a *analyser) visit(f *gojq.Func, t *gojq.Term, bound *names, declared bool) {
	if a.err != nil {
		return
	}
	name, key := f.Name, funcKey(f.Name, len(f.Args))
	switch {
	case strings.HasPrefix(strings.TrimPrefix(name, "$"), "__"):
		a.fail(name, "names that begin with __ are reserved")
	case declared:
	case strings.HasPrefix(name, "$"):
		a.visitVariable(name, t, bound)
	case bound.has(key):
	case refused[name] != "":
		a.fail(name, name+" is not available: "+refused[name])
	case name[0] == '_':
		a.fail(name, "function not defined: "+key)
	case key == "now/0":
		a.now = true
	}
}

func funcKey(name string, args int) string { return name + "/" + strconv.Itoa(args) }

func (a *analyser) visitVariable(name string, t *gojq.Term, bound *names) {
	if !bound.has(name) {
		if why := refused[name]; why != "" {
			a.fail(name, name+" is not available: "+why)
			return
		}
		msg := "unknown variable " + name
		if near := nearest(name, bound); near != "" {
			msg += ", did you mean " + near + "?"
		} else if len(a.scope) > 0 {
			msg += "; known here: " + strings.Join(a.scope, ", ")
		} else {
			msg += "; there are no variables here"
		}
		a.fail(name, msg)
		return
	}
	if !slices.Contains(a.scope, name) || shadowed(bound, name, a.scope) {
		return
	}
	a.vars[name] = true
	if name == "$secrets" && t != nil && len(t.SuffixList) > 0 {
		if i := t.SuffixList[0].Index; i != nil && !i.IsSlice {
			if key, ok := constantKey(i); ok {
				a.secrets[key] = true
			}
		}
	}
}

// shadowed reports whether name is bound again inside the expression.
func shadowed(bound *names, name string, scope []string) bool {
	n := 0
	for b := bound; b != nil; b = b.up {
		if b.name == name {
			n++
		}
	}
	for _, s := range scope {
		if s == name {
			n--
		}
	}
	return n > 0
}

func constantKey(i *gojq.Index) (string, bool) {
	switch {
	case i.Name != "":
		return i.Name, true
	case i.Str != nil:
		return i.Str.Str, i.Str.Queries == nil
	case i.Start != nil && i.Start.Term != nil && i.Start.Term.Type == gojq.TermTypeString && len(i.Start.Term.SuffixList) == 0:
		return i.Start.Term.Str.Str, i.Start.Term.Str.Queries == nil
	}
	return "", false
}

func (a *analyser) fail(name, msg string) {
	if a.err == nil {
		a.err = &SyntaxError{Offset: find(a.src, name), Message: msg}
	}
}

// find returns where name stands in src as a word of its own, or 0: gojq keeps
// no positions in its tree.
func find(src, name string) int {
	for i := 0; ; {
		n := strings.Index(src[i:], name)
		if n < 0 {
			return 0
		}
		i += n
		end := i + len(name)
		if (i == 0 || !wordByte(src[i-1]) || name[0] == '$') && (end == len(src) || !wordByte(src[end])) {
			return i
		}
		i = end
	}
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// nearest returns the bound variable that name was most likely meant to be.
func nearest(name string, bound *names) string {
	best, distance := "", max(2, len(name)/3)+1
	for b := bound; b != nil; b = b.up {
		if b.name[0] != '$' {
			continue
		}
		if d := edits(name, b.name); d < distance || d == distance && b.name < best {
			best, distance = b.name, d
		}
	}
	return best
}

func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, corner+cost)
		}
	}
	return row[len(b)]
}

// compileError makes a SyntaxError of what gojq's compiler says.
func compileError(src string, err error) error {
	msg := err.Error()
	for _, prefix := range []string{"function not defined: ", "variable not defined: ", "label not defined: "} {
		if name, ok := strings.CutPrefix(msg, prefix); ok {
			word, _, _ := strings.Cut(name, "/")
			hint := ""
			if strings.HasPrefix(prefix, "function") {
				hint = meant(name)
			}
			return &SyntaxError{Offset: find(src, word), Message: prefix + strings.TrimLeft(name, "_") + hint}
		}
	}
	return &SyntaxError{Message: msg}
}

// several lists the functions of jq that give a stream by themselves.
var several = []string{"range", "recurse", "recurse_down", "repeat", "while", "splits", "scan", "match", "paths", "leaf_paths", "combinations", "tostream", "limit", "skip"}

// many reports whether q can give more than one value by an iterator that
// nothing collects.
func many(q *gojq.Query) bool {
	if q == nil {
		return false
	}
	if q.Term == nil {
		return q.Op == gojq.OpComma || many(q.Left) || many(q.Right)
	}
	t := q.Term
	for _, s := range t.SuffixList {
		if s.Iter {
			return true
		}
	}
	switch t.Type {
	case gojq.TermTypeRecurse:
		return true
	case gojq.TermTypeQuery:
		return many(t.Query)
	case gojq.TermTypeFunc:
		return slices.Contains(several, t.Func.Name)
	case gojq.TermTypeIf:
		if many(t.If.Then) || many(t.If.Else) {
			return true
		}
		for _, e := range t.If.Elif {
			if many(e.Then) {
				return true
			}
		}
	case gojq.TermTypeTry:
		return many(t.Try.Body)
	default:
		return false
	}
	return false
}
