// Package source reads the text of a definition, YAML or JSON, into a tree in
// which every value and key knows its place, and says what is wrong with it as
// findings. Every other package speaks of places and mistakes in these words.
//
// Scalars are those of YAML 1.2's core schema, which is JSON's view of the
// world: `on` is text, so are time stamps, and what two readers of YAML would
// read differently is refused (D30).
package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Pos is a place in a source: line and column, both counted from 1. The zero
// Pos means that there is no source.
type Pos struct {
	Line, Col int
}

// IsValid reports whether p names a place.
func (p Pos) IsValid() bool { return p.Line > 0 }

// Kind tells what a node is.
type Kind uint8

// The kinds of node.
const (
	None Kind = iota // absent
	Scalar
	List
	Map
)

// Bounds of a source, beside the length that the caller gives. They hold
// before anything is built from it.
const (
	maxDepth    = 200    // nesting of maps and lists
	maxExpanded = 10_000 // nodes made by expanding aliases
	maxFindings = 200    // of one reading
	maxDigits   = 1000   // of a whole number
)

// Node is a YAML or JSON value with its place, aliases expanded and scalars
// resolved as YAML 1.2's core schema says (D30).
type Node struct {
	Pos    Pos
	Kind   Kind
	Scalar any    // of a Scalar: nil, bool, int, float64, *big.Int, string
	Raw    string // of an unquoted Scalar: as written
	Keys   []Key
	Items  []*Node // of a list; of a map, the values in the order of Keys
	memo   any     // of Any
	made   bool
}

// Key is a key of a map with its place.
type Key struct {
	Pos  Pos
	Name string
}

// Field is the value of the key name, or nil.
func (n *Node) Field(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Keys {
		if n.Keys[i].Name == name {
			return n.Items[i]
		}
	}
	return nil
}

// IsNull reports an explicit or empty null.
func (n *Node) IsNull() bool { return n.Kind == Scalar && n.Scalar == nil }

// Any is the node as plain values. Nodes that aliases share, share their values.
func (n *Node) Any() any {
	if n.made {
		return n.memo
	}
	n.made = true
	switch n.Kind {
	case List:
		l := make([]any, len(n.Items))
		for i, it := range n.Items {
			l[i] = it.Any()
		}
		n.memo = l
	case Map:
		m := make(map[string]any, len(n.Keys))
		for i, k := range n.Keys {
			m[k.Name] = n.Items[i].Any()
		}
		n.memo = m
	case Scalar, None:
		n.memo = n.Scalar
	}
	return n.memo
}

// Describe says what a node is, for messages: `the string "abc"`, "a list".
func (n *Node) Describe() string {
	switch n.Kind {
	case List:
		if len(n.Items) == 0 {
			return "an empty list"
		}
		return "a list"
	case Map:
		if len(n.Keys) == 0 {
			return "an empty map"
		}
		return "a map"
	case Scalar, None:
	}
	switch s := n.Scalar.(type) {
	case nil:
		return "nothing (null)"
	case bool:
		return fmt.Sprintf("the boolean %t", s)
	case string:
		return "the string " + Quote(s)
	case *big.Int:
		return "a number of " + strconv.Itoa(len(s.String())) + " digits"
	default:
		if n.Raw != "" {
			return "the number " + n.Raw
		}
		return fmt.Sprintf("the number %v", s)
	}
}

// Quote shortens and quotes text of an author for a message.
func Quote(s string) string {
	const most = 60
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}

// Read turns src, at most limit bytes of YAML or JSON, into a tree. The tree is
// nil when there is none; what is wrong is in the findings.
func Read(src []byte, limit int) (*Node, []Finding) {
	d := &reader{}
	return d.read(src, limit), d.findings
}

// reader collects findings; few are enough, for an author fixes the first ones.
type reader struct{ findings []Finding }

func (d *reader) report(f Finding) {
	if len(d.findings) < maxFindings {
		d.findings = append(d.findings, f)
	}
}

func (d *reader) read(src []byte, limit int) *Node {
	if !d.readable(src, limit) {
		return nil
	}
	body := bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		p := jsonParser{src: body, line: 1, d: d}
		before := len(d.findings)
		if root, err := p.document(); err == nil {
			return root
		} else if looksLikeJSON(trimmed) {
			if len(d.findings) == before { // a limit was reported by the parser itself
				d.report(Finding{Pos: err.Pos, Rule: "source/json", DSL: "DSL 1", Message: err.msg})
			}
			return nil
		}
		d.findings = d.findings[:before] // the flow style of YAML
	}
	return d.readYAML(body)
}

// readable refuses what no parser should see.
func (d *reader) readable(src []byte, limit int) bool {
	fail := func(pos Pos, rule, msg, allowed string) bool {
		d.report(Finding{Pos: pos, Rule: rule, DSL: "DSL 1", Message: msg, Allowed: allowed})
		return false
	}
	if len(src) > limit {
		return fail(Pos{1, 1}, "source/size", fmt.Sprintf("the definition has %d bytes", len(src)), fmt.Sprintf("at most %d are read", limit))
	}
	if bytes.HasPrefix(src, []byte{0xff, 0xfe}) || bytes.HasPrefix(src, []byte{0xfe, 0xff}) {
		return fail(Pos{1, 1}, "source/encoding", "the definition is encoded as UTF-16", "UTF-8 is read")
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return fail(place(src, i), "source/encoding", "the definition holds a NUL byte", "text in UTF-8 is read")
	}
	if !utf8.Valid(src) {
		i := 0
		for i < len(src) {
			r, size := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			i += size
		}
		return fail(place(src, i), "source/encoding", fmt.Sprintf("the byte 0x%02x is not UTF-8", src[min(i, len(src)-1)]), "text in UTF-8 is read")
	}
	if len(bytes.TrimSpace(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")))) == 0 {
		return fail(Pos{1, 1}, "source/empty", "the definition is empty", "a workflow has at least `document` and `do`")
	}
	return true
}

// place is the position of byte offset i of src.
func place(src []byte, i int) Pos {
	line := 1 + bytes.Count(src[:i], []byte("\n"))
	start := bytes.LastIndexByte(src[:i], '\n') + 1
	return Pos{line, 1 + utf8.RuneCount(src[start:i])}
}

// looksLikeJSON tells JSON from YAML's flow style, to choose whose error to show.
func looksLikeJSON(trimmed []byte) bool {
	rest := bytes.TrimLeft(trimmed[1:], " \t\r\n")
	return len(rest) > 0 && (rest[0] == '"' || rest[0] == '{' || rest[0] == '}' || rest[0] == '[')
}

var (
	yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	// The module counts lines from 0 in what its parser finds, and from 1 in what its scanner finds.
	fromZero = regexp.MustCompile(`^did not find expected (?:'-'|',' or|key|node content|<)|^found (?:undefined|duplicate|incompatible)`)
)

func (d *reader) readYAML(src []byte) (root *Node) {
	var doc yaml.Node
	defer func() {
		// The parser is not ours; whatever it trips over is an answer, not a crash.
		if r := recover(); r != nil {
			d.report(Finding{Pos: Pos{1, 1}, Rule: "source/yaml", DSL: "DSL 1", Message: fmt.Sprintf("the YAML cannot be read: %v", r)})
			root = nil
		}
	}()
	if !d.shallow(src) {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.report(Finding{Pos: Pos{1, 1}, Rule: "source/empty", DSL: "DSL 1", Message: "the definition holds comments only", Allowed: "a workflow has at least `document` and `do`"})
			return nil
		}
		m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
		line, _ := strconv.Atoi(m[1])
		if line > 0 && fromZero.MatchString(m[2]) {
			line++
		}
		if strings.HasPrefix(m[2], "found a tab character") {
			line = tabbed(src, line)
		}
		allowed := advice(m[2])
		if at := offending(src, line, m[2]); at > line {
			allowed, line = fmt.Sprintf("%s; what it belongs to begins in line %d", allowed, line), at
		}
		d.report(Finding{Pos: Pos{max(line, 1), 1}, Rule: "source/yaml", DSL: "DSL 1", Message: "the YAML cannot be read: " + m[2], Allowed: allowed})
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		pos := Pos{max(next.Line, 1), max(next.Column, 1)}
		if err != nil {
			pos = Pos{1, 1}
		}
		d.report(Finding{Pos: pos, Rule: "source/documents", DSL: "DSL 1", Message: "the file holds more than one document", Allowed: "one workflow stands in one file"})
		return nil
	}
	if len(doc.Content) == 0 {
		d.report(Finding{Pos: Pos{1, 1}, Rule: "source/empty", DSL: "DSL 1", Message: "the definition is empty"})
		return nil
	}
	c := converter{d: d, open: map[*yaml.Node]bool{}}
	root = c.node(doc.Content[0], 0, 0)
	if c.failed { // the tree has holes
		return nil
	}
	return root
}

// shallow refuses nesting that the YAML library would follow much deeper than
// we do: deep flow collections cost it quadratic time. The count is of brackets
// outside quotes and comments, which is never less than the nesting.
func (d *reader) shallow(src []byte) bool {
	depth, most := 0, 0
	for i, c := range src {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if most > 20*maxDepth {
			d.report(Finding{Pos: place(src, i), Rule: "source/depth", Message: "brackets are nested too deeply", Allowed: fmt.Sprintf("at most %d levels are read", maxDepth)})
			return false
		}
	}
	return true
}

// converter turns the library's nodes into ours.
type converter struct {
	d        *reader
	expanded int
	open     map[*yaml.Node]bool // aliases being expanded
	failed   bool
}

func (c *converter) fail(n *yaml.Node, rule, msg, allowed string) *Node {
	if !c.failed {
		c.d.report(Finding{Pos: yamlPos(n), Rule: rule, DSL: "D30", Message: msg, Allowed: allowed})
	}
	c.failed = true
	return nil
}

func yamlPos(n *yaml.Node) Pos { return Pos{max(n.Line, 1), max(n.Column, 1)} }

func (c *converter) node(n *yaml.Node, depth, inAlias int) *Node {
	if c.failed {
		return nil
	}
	if depth > maxDepth {
		return c.fail(n, "source/depth", "the definition is nested too deeply", fmt.Sprintf("at most %d levels are read", maxDepth))
	}
	if inAlias > 0 {
		if c.expanded++; c.expanded > maxExpanded {
			return c.fail(n, "source/aliases", "the aliases of the definition expand to too much", fmt.Sprintf("at most %d nodes are made from aliases", maxExpanded))
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		if c.open[n.Alias] {
			return c.fail(n, "source/aliases", fmt.Sprintf("the anchor %q holds itself", n.Value), "")
		}
		c.open[n.Alias] = true
		defer delete(c.open, n.Alias)
		return c.node(n.Alias, depth, inAlias+1)
	case yaml.ScalarNode:
		return c.scalar(n)
	case yaml.SequenceNode:
		c.tag(n, "!!seq")
		out := &Node{Pos: yamlPos(n), Kind: List, Items: make([]*Node, 0, len(n.Content))}
		c.open[n] = true
		for _, it := range n.Content {
			out.Items = append(out.Items, c.node(it, depth+1, inAlias))
		}
		delete(c.open, n)
		return out
	case yaml.MappingNode:
		c.tag(n, "!!map")
		c.open[n] = true
		out := c.mapping(n, depth, inAlias)
		delete(c.open, n)
		return out
	case yaml.DocumentNode:
	}
	return c.fail(n, "source/yaml", "the YAML cannot be read", "")
}

func (c *converter) tag(n *yaml.Node, want string) {
	if n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != want {
		c.d.report(Finding{Pos: yamlPos(n), Rule: "source/tag", DSL: "D30", Message: fmt.Sprintf("the tag %s has no meaning here", n.Tag), Allowed: "values are those of JSON"})
	}
}

func (c *converter) mapping(n *yaml.Node, depth, inAlias int) *Node {
	out := &Node{Pos: yamlPos(n), Kind: Map}
	at := make(map[string]int, len(n.Content)/2)
	var merged []*Node
	for i := 0; i+1 < len(n.Content) && !c.failed; i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		v := c.node(n.Content[i+1], depth+1, inAlias)
		if k.Kind != yaml.ScalarNode {
			c.d.report(Finding{Pos: yamlPos(k), Rule: "source/key", DSL: "D30", Message: "a key is a list or a map", Allowed: "keys are text"})
			continue
		}
		if k.Value == "<<" && k.Style == 0 {
			merged = append(merged, c.merge(k, v)...)
			continue
		}
		pos := yamlPos(n.Content[i])
		if first, twice := at[k.Value]; twice {
			c.d.report(Finding{
				Pos: pos, EndCol: pos.Col + utf8.RuneCountInString(k.Value), Rule: "source/duplicate-key", DSL: "D30",
				Message: fmt.Sprintf("the key %s stands twice in this map, first in line %d", Quote(k.Value), out.Keys[first].Pos.Line), Allowed: "each key once",
			})
			continue
		}
		at[k.Value] = len(out.Keys)
		out.Keys = append(out.Keys, Key{pos, k.Value})
		out.Items = append(out.Items, v)
	}
	for _, m := range merged {
		for i, k := range m.Keys {
			if _, has := at[k.Name]; !has {
				at[k.Name] = len(out.Keys)
				out.Keys = append(out.Keys, k)
				out.Items = append(out.Items, m.Items[i])
			}
		}
	}
	return out
}

// merge reads the value of a merge key, a convention of YAML 1.1 that authors
// use with aliases.
func (c *converter) merge(k *yaml.Node, v *Node) []*Node {
	if v == nil {
		return nil
	}
	c.d.report(Finding{Pos: yamlPos(k), Severity: SeverityHint, Rule: "source/merge-key", DSL: "D30", Message: "merge keys (<<) are of YAML 1.1; other runtimes may refuse them", Allowed: "write the properties out for a portable definition"})
	list := []*Node{v}
	if v.Kind == List {
		list = v.Items
	}
	if slices.ContainsFunc(list, func(m *Node) bool { return m == nil || m.Kind != Map }) {
		c.d.report(Finding{Pos: yamlPos(k), Rule: "source/merge-key", DSL: "D30", Message: "the merge key << has " + v.Describe(), Allowed: "an alias of a map, or a list of them"})
		return nil
	}
	return list
}

func (c *converter) scalar(n *yaml.Node) *Node {
	out := &Node{Pos: yamlPos(n), Kind: Scalar, Scalar: n.Value}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.ShortTag() {
		case "!!str":
			return out
		case "!!int", "!!float", "!!bool", "!!null":
			quoted = false
		default:
			c.d.report(Finding{Pos: out.Pos, Rule: "source/tag", DSL: "D30", Message: fmt.Sprintf("the tag %s has no meaning here", Quote(n.Tag)), Allowed: "values are those of JSON"})
			return out
		}
	}
	if quoted {
		return out
	}
	out.Raw = n.Value
	v, problem := resolvePlain(n.Value)
	if problem != "" {
		c.d.report(Finding{Pos: out.Pos, EndCol: out.Pos.Col + utf8.RuneCountInString(n.Value), Rule: "source/number", DSL: "D30", Message: problem, Allowed: "put it in quotes if it is text"})
	}
	out.Scalar = v
	return out
}
