package rehearse

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Update rewrites the test file so that the results are what its cases expect.
// Expectations that a case does not have stay away, and everything else (other
// parts of the file, comments, order) stays as it is. left names what must be
// changed by hand.
func (r *Rehearsal) Update(results []*Result) (src []byte, left []string, err error) {
	e := &editor{src: r.suite.Source}
	for _, res := range results {
		switch {
		case res.Passed():
		case res.Stopped:
			left = append(left, fmt.Sprintf("%s: the case could not be played", res.Case.Name))
		default:
			before := len(e.edits)
			r.rewrite(e, res)
			if len(e.edits) == before {
				left = append(left, fmt.Sprintf("%s: %s", res.Case.Name, res.Failures[0].Message))
			}
		}
	}
	if e.err != nil {
		return nil, left, e.err
	}
	out := e.apply()
	if _, findings := Decode(out); source.HasErrors(findings) {
		return nil, left, fmt.Errorf("the file cannot be rewritten; change it by hand: %s", findings[0].Message)
	}
	return out, left, nil
}

// rewrite puts the edits for one case.
func (r *Rehearsal) rewrite(e *editor, res *Result) {
	c, next := res.Case, r.next(res)
	section := c.expected
	caseFlow := e.at(c.node.Pos) == '{'
	switch {
	case section == nil && caseFlow:
		e.err = fmt.Errorf("the case %q in line %d has no expect, and is written in braces: add an empty one", c.Name, c.Pos.Line)
	case section == nil:
		last := len(c.node.Keys) - 1
		k := c.node.Keys[last]
		indent := k.Pos.Col - 1
		end := e.entryEnd(k.Pos, c.node.Items[last])
		e.put(end, end, "\n"+strings.Repeat(" ", indent)+"expect:"+entry(next.value(), indent+2))
	case caseFlow:
		from := e.offset(section.Pos)
		e.put(from, e.end(from), string(value.JSON(next.value())))
	case section.Kind != source.Map || e.at(section.Pos) == '{' || len(section.Keys) == 0:
		e.replaceEntry(keyOf(c.node, "expect"), section, next.value())
	default:
		e.section(section, next)
	}
}

func keyOf(n *source.Node, name string) source.Pos {
	for _, k := range n.Keys {
		if k.Name == name {
			return k.Pos
		}
	}
	return n.Pos
}

// section is the expectations of a case as they should be, in their order.
type section struct {
	names  []string
	values map[string]any
}

func (s *section) set(name string, v any) {
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
	s.values[name] = v
}

func (s *section) drop(name string) {
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
	delete(s.values, name)
}

func (s *section) has(name string) bool { return slices.Contains(s.names, name) }

func (s *section) value() any {
	m := make(map[string]any, len(s.values))
	for k, v := range s.values {
		m[k] = v
	}
	return m
}

// next makes what a case should expect of what it came to.
func (r *Rehearsal) next(res *Result) *section {
	s := &section{values: map[string]any{}}
	e := &res.Case.Expect
	if n := res.Case.expected; n != nil {
		for i, k := range n.Keys {
			s.set(k.Name, n.Items[i].Any())
		}
	}
	fresh := len(s.names) == 0
	if fresh || e.Status != nil || res.Status == event.Faulted && e.Error == nil {
		s.set("status", res.Status.String())
	}
	out, _ := res.Output.Any()
	if res.Status == event.Completed {
		if e.Output != nil || fresh || e.OutputContains == nil && e.Error != nil {
			s.set("output", out)
		}
		if e.OutputContains != nil {
			s.set("outputContains", project(e.OutputContains.want, out))
		}
	} else {
		s.drop("output")
		s.drop("outputContains")
	}
	r.nextError(s, res)
	if e.Context != nil {
		s.set("context", res.Context)
	}
	if e.Path != nil {
		s.set("path", r.shortPath(res.Path))
	}
	if e.Emitted != nil {
		s.set("emitted", nextEmitted(e.Emitted.want, res.emitted()))
	}
	if len(e.Calls) > 0 {
		s.set("calls", nextCalls(e, res))
	}
	if e.Duration != nil && !e.Duration.After.AddTo(res.Started).Equal(res.Ended) {
		s.set("duration", res.duration())
	}
	return s
}

func (r *Rehearsal) nextError(s *section, res *Result) {
	if res.Status != event.Faulted {
		s.drop("error")
		return
	}
	got, _ := problemValue(res.Error).(map[string]any)
	want := any(map[string]any{"type": nil, "status": nil})
	if x := res.Case.Expect.Error; x != nil {
		want = x.want
	} else if s.has("error") {
		return
	}
	m, _ := project(want, got).(map[string]any)
	if t, ok := m["type"].(string); ok {
		if rest, ok := strings.CutPrefix(t, event.TypePrefix); ok && standard[rest] > 0 {
			m["type"] = rest
		}
	}
	s.set("error", m)
}

// project is the part of got that want names.
func project(want, got any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for k, x := range w {
			if y, ok := g[k]; ok {
				out[k] = project(x, y)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		out := make([]any, len(g))
		for i := range g {
			out[i] = project(w[i], g[i])
		}
		return out
	}
	return got
}

// shortPath names tasks by their names where only one has it.
func (r *Rehearsal) shortPath(path []string) []any {
	out := make([]any, len(path))
	for i, ref := range path {
		out[i] = ref
		if t := r.root.tasks[ref]; t != nil && len(r.root.names[t.Name]) == 1 && !strings.HasPrefix(t.Name, "/") {
			out[i] = t.Name
		}
	}
	return out
}

func nextEmitted(want any, got []any) any {
	list, _ := want.([]any)
	out := make([]any, len(got))
	for i, g := range got {
		var w any = map[string]any{"type": nil, "data": nil}
		if len(list) == len(got) {
			w = list[i]
		}
		out[i] = project(w, g)
	}
	return out
}

// nextCalls corrects how often a task is called and, of a task that is called
// once, with what.
func nextCalls(e *Expect, res *Result) any {
	var out []any
	for i := range e.Calls {
		k := &e.Calls[i]
		m := map[string]any{"task": k.task.Text}
		if k.workflow.Text != "" {
			m["workflow"] = k.workflow.Text
		}
		var of []*Call
		matching := 0
		for j := range res.Calls {
			c := &res.Calls[j]
			if c.Reference == k.at.reference && c.Workflow == k.at.definition.id() {
				of = append(of, c)
				if k.arguments == nil || len(missing(k.arguments.want, c.Arguments)) == 0 {
					matching++
				}
			}
		}
		if k.arguments != nil {
			m["arguments"] = k.arguments.want
			if matching == 0 && len(of) == 1 {
				m["arguments"] = project(k.arguments.want, of[0].Arguments)
				matching = 1
			}
		}
		if k.times != nil || matching == 0 {
			m["times"] = matching
		}
		out = append(out, m)
	}
	return out
}

// editor changes parts of a text whose places are known.
type editor struct {
	src   []byte
	lines []int // offsets of the lines
	edits []edit
	err   error
}

type edit struct {
	from, to int
	text     string
}

func (e *editor) put(from, to int, text string) { e.edits = append(e.edits, edit{from, to, text}) }

func (e *editor) apply() []byte {
	slices.SortStableFunc(e.edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, x := range e.edits {
		if x.from < at { // inside of what an edit before has replaced
			continue
		}
		out = append(append(out, e.src[at:x.from]...), x.text...)
		at = x.to
	}
	return append(out, e.src[at:]...)
}

// offset is the byte at a place.
func (e *editor) offset(p source.Pos) int {
	if e.lines == nil {
		e.lines = []int{0}
		for i, c := range e.src {
			if c == '\n' {
				e.lines = append(e.lines, i+1)
			}
		}
	}
	at := e.lines[min(max(p.Line, 1), len(e.lines))-1]
	line := e.src[at:]
	n := 0
	for i := range string(line) {
		if n == p.Col-1 {
			return at + i
		}
		n++
	}
	return len(e.src)
}

func (e *editor) at(p source.Pos) byte {
	if i := e.offset(p); i < len(e.src) {
		return e.src[i]
	}
	return 0
}

// end is behind the value in braces, brackets or quotes that begins at i, or
// behind the plain scalar on its line.
func (e *editor) end(i int) int {
	switch e.src[i] {
	case '{', '[':
		depth := 0
		for i < len(e.src) {
			switch e.src[i] {
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			case '"', '\'':
				i = e.quoted(i) - 1
			case '#':
				if i > 0 && (e.src[i-1] == ' ' || e.src[i-1] == '\n') {
					i = e.lineEnd(i) - 1
				}
			}
			i++
		}
		return len(e.src)
	case '"', '\'':
		return e.quoted(i)
	}
	end := e.lineEnd(i)
	if c := bytes.Index(e.src[i:end], []byte(" #")); c >= 0 {
		end = i + c
	}
	return i + len(bytes.TrimRight(e.src[i:end], " \t\r"))
}

func (e *editor) quoted(i int) int {
	q := e.src[i]
	for i++; i < len(e.src); i++ {
		switch {
		case q == '"' && e.src[i] == '\\':
			i++
		case e.src[i] == q && q == '\'' && i+1 < len(e.src) && e.src[i+1] == q:
			i++
		case e.src[i] == q:
			return i + 1
		}
	}
	return len(e.src)
}

func (e *editor) lineEnd(i int) int {
	if n := bytes.IndexByte(e.src[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(e.src)
}

// entryEnd is the end of the last line of a key's value, in block style.
func (e *editor) entryEnd(key source.Pos, n *source.Node) int {
	start := e.offset(key)
	end := e.lineEnd(start)
	if i := e.offset(n.Pos); i > start && i < len(e.src) && strings.IndexByte(`{["'`, e.src[i]) >= 0 {
		end = max(end, e.lineEnd(e.end(i)))
	}
	for at := end + 1; at < len(e.src); {
		stop := e.lineEnd(at)
		line := e.src[at:stop]
		text := bytes.TrimLeft(line, " ")
		indent := len(line) - len(text)
		dash := n.Kind == source.List && indent == key.Col-1 && (bytes.HasPrefix(text, []byte("- ")) || string(bytes.TrimSpace(text)) == "-")
		blank := len(bytes.TrimSpace(text)) == 0
		switch {
		case blank:
		case indent >= key.Col || dash:
			end = stop
		default:
			return end
		}
		at = stop + 1
	}
	return end
}

// section changes the entries of a block map that differ, drops and adds some.
func (e *editor) section(n *source.Node, next *section) {
	indent := n.Keys[0].Pos.Col - 1
	end := 0
	for i, k := range n.Keys {
		to := e.entryEnd(k.Pos, n.Items[i])
		end = max(end, to)
		if v, ok := next.values[k.Name]; ok {
			e.value(k.Pos, n.Items[i], v)
			continue
		}
		from := e.offset(k.Pos) - indent
		if to < len(e.src) {
			to++
		}
		e.put(from, to, "")
	}
	var b strings.Builder
	for _, name := range next.names {
		if n.Field(name) == nil {
			b.WriteString("\n" + strings.Repeat(" ", indent) + textYAML(name) + ":" + entry(next.values[name], indent+2))
		}
	}
	if b.Len() == 0 {
		return
	}
	// The last entry may be dropped together with its newline.
	text := b.String()
	if e.dropped(end) {
		end = min(end+1, len(e.src))
		text = text[1:] + "\n"
	}
	e.put(end, end, text)
}

func (e *editor) dropped(end int) bool {
	return slices.ContainsFunc(e.edits, func(x edit) bool { return x.text == "" && x.to == end+1 })
}

// value changes one value as little as it can: the comments around what stays
// are kept.
func (e *editor) value(key source.Pos, n *source.Node, v any) {
	if value.Equal(n.Any(), v) {
		return
	}
	start := e.offset(key)
	here := e.offset(n.Pos)
	inside := here > start && here <= e.entryEnd(key, n) // else it is an alias
	if m, ok := v.(map[string]any); ok && inside && n.Kind == source.Map && e.src[here] != '{' && sameKeys(n, m) {
		for i, k := range n.Keys {
			e.value(k.Pos, n.Items[i], m[k.Name])
		}
		return
	}
	if l, ok := v.([]any); ok && inside && n.Kind == source.List && e.src[here] == '-' && e.members(n, l) {
		return
	}
	if inside && e.oneLine(n, v, here) {
		return
	}
	e.replaceEntry(key, n, v)
}

// oneLine replaces a value within its line, when both forms have one.
func (e *editor) oneLine(n *source.Node, v any, here int) bool {
	text := flow(v)
	if strings.IndexByte("|>&*!-", e.src[here]) >= 0 && n.Kind != source.Scalar || strings.IndexByte("|>&*!", e.src[here]) >= 0 {
		return false
	}
	if n.Kind != source.Scalar && e.src[here] != '{' && e.src[here] != '[' {
		return false
	}
	end := e.end(here)
	if here-e.lines[n.Pos.Line-1]+len(text) > width+20 || e.lineEnd(here) < end {
		return false
	}
	if s, ok := n.Scalar.(string); n.Kind == source.Scalar && ok && n.Raw != "" && string(e.src[here:end]) != s {
		return false // a plain scalar of several lines
	}
	e.put(here, end, text)
	return true
}

// members changes members of a block list one by one, when it has as many.
func (e *editor) members(n *source.Node, l []any) bool {
	if len(n.Items) != len(l) {
		return false
	}
	for i, it := range n.Items {
		m, isMap := l[i].(map[string]any)
		switch here := e.offset(it.Pos); {
		case value.Equal(it.Any(), l[i]):
		case isMap && it.Kind == source.Map && e.src[here] != '{' && sameKeys(it, m):
			for j, k := range it.Keys {
				e.value(k.Pos, it.Items[j], m[k.Name])
			}
		default:
			if !e.oneLine(it, l[i], here) {
				return false
			}
		}
	}
	return true
}

func sameKeys(n *source.Node, m map[string]any) bool {
	if len(n.Keys) != len(m) {
		return false
	}
	for _, k := range n.Keys {
		if _, ok := m[k.Name]; !ok {
			return false
		}
	}
	return true
}

// replaceEntry writes the whole value of a key anew.
func (e *editor) replaceEntry(key source.Pos, n *source.Node, v any) {
	start := e.offset(key)
	colon := bytes.IndexByte(e.src[start:], ':')
	if q := e.src[start]; q == '"' || q == '\'' {
		after := e.quoted(start)
		colon = after - start + bytes.IndexByte(e.src[after:], ':')
	}
	e.put(start+colon+1, e.entryEnd(key, n), entry(v, key.Col+1))
}
