// Package yamledit changes YAML text in place: a value here, an entry there, and
// everything else (comments, order, layout) stays as a person has left it. It
// also writes values as people would, and shows how two texts differ.
//
// What stands where comes from package source. The package is pure.
package yamledit

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Editor changes parts of a text whose places are known.
type Editor struct {
	src   []byte
	lines []int // offsets of the lines
	edits []edit
}

// New returns an editor of src.
func New(src []byte) *Editor { return &Editor{src: src} }

// Edits is how many changes were made.
func (e *Editor) Edits() int { return len(e.edits) }

type edit struct {
	from, to int
	text     string
}

func (e *Editor) put(from, to int, text string) { e.edits = append(e.edits, edit{from, to, text}) }

// Apply returns the text with all changes.
func (e *Editor) Apply() []byte {
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
func (e *Editor) offset(p source.Pos) int {
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

// At is the byte at a place: it tells block from flow style.
func (e *Editor) At(p source.Pos) byte {
	if i := e.offset(p); i < len(e.src) {
		return e.src[i]
	}
	return 0
}

// end is behind the value in braces, brackets or quotes that begins at i, or
// behind the plain scalar on its line.
func (e *Editor) end(i int) int {
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

func (e *Editor) quoted(i int) int {
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

func (e *Editor) lineEnd(i int) int {
	if n := bytes.IndexByte(e.src[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(e.src)
}

// entryEnd is the end of the last line of a key's value, in block style.
func (e *Editor) entryEnd(key source.Pos, n *source.Node) int {
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

// Section makes the entries of a block map those of values: it changes what
// differs, drops what is no longer there, and adds the rest in the order of names.
func (e *Editor) Section(n *source.Node, names []string, values map[string]any) {
	indent := n.Keys[0].Pos.Col - 1
	end := 0
	for i, k := range n.Keys {
		to := e.entryEnd(k.Pos, n.Items[i])
		end = max(end, to)
		if v, ok := values[k.Name]; ok {
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
	for _, name := range names {
		if n.Field(name) == nil {
			b.WriteString("\n" + strings.Repeat(" ", indent) + Text(name) + ":" + Entry(values[name], indent+2))
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

func (e *Editor) dropped(end int) bool {
	return slices.ContainsFunc(e.edits, func(x edit) bool { return x.text == "" && x.to == end+1 })
}

// value changes one value as little as it can: the comments around what stays
// are kept.
func (e *Editor) value(key source.Pos, n *source.Node, v any) {
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
	e.ReplaceEntry(key, n, v)
}

// oneLine replaces a value within its line, when both forms have one.
func (e *Editor) oneLine(n *source.Node, v any, here int) bool {
	text := Flow(v)
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
func (e *Editor) members(n *source.Node, l []any) bool {
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

// ReplaceEntry writes the whole value of a key anew.
func (e *Editor) ReplaceEntry(key source.Pos, n *source.Node, v any) {
	start := e.offset(key)
	colon := bytes.IndexByte(e.src[start:], ':')
	if q := e.src[start]; q == '"' || q == '\'' {
		after := e.quoted(start)
		colon = after - start + bytes.IndexByte(e.src[after:], ':')
	}
	e.put(start+colon+1, e.entryEnd(key, n), Entry(v, key.Col+1))
}

// Add puts an entry behind the last one of a block map.
func (e *Editor) Add(n *source.Node, name string, v any) {
	last := len(n.Keys) - 1
	k := n.Keys[last]
	indent := k.Pos.Col - 1
	end := e.entryEnd(k.Pos, n.Items[last])
	e.put(end, end, "\n"+strings.Repeat(" ", indent)+Text(name)+":"+Entry(v, indent+2))
}

// ReplaceFlow writes a value that stands in braces or brackets anew, as JSON.
func (e *Editor) ReplaceFlow(n *source.Node, v any) {
	from := e.offset(n.Pos)
	e.put(from, e.end(from), string(value.JSON(v)))
}
