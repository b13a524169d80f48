// Package bundle is the form of a linked definition: the workflow's own text
// and, behind it, every document from elsewhere that the text names by a
// constant URI (functions of catalogues and by URI, schemas, scripts). A run of
// a linked definition never changes under an edit elsewhere and needs no
// network to be replayed.
//
// Package link begins a [Linking], fetches what it wants, and seals it; whoever
// reads a stored definition calls [Decode]. The package is pure.
//
// The form is one stream of YAML: the source byte for byte, so that places in
// it stay true, then one document for each attachment. A definition that names
// nothing elsewhere is stored as it is.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// The kinds of attachment.
const (
	Function = "function"
	Schema   = "schema"
	Script   = "script"
)

// Bounds of what one definition may have attached.
const (
	MaxAttachments = 200
	MaxDepth       = 16      // of documents that name documents
	MaxBytes       = 4 << 20 // together
)

// Digest is "sha256:" and the hex hash of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Decode reads a stored definition, linked or not. Like [workflow.Decode] it
// returns no definition when a finding is an error.
func Decode(src []byte) (*workflow.Definition, []workflow.Finding) {
	main, list, err := Split(src)
	def, findings := workflow.Decode(main)
	if err != nil {
		def, findings = nil, []workflow.Finding{{Pos: workflow.Pos{Line: 1, Col: 1}, Rule: "link/broken", Message: err.Error()}}
	}
	if def == nil && len(main) < len(src) {
		// An author may begin a document with a line like ours, behind a comment.
		if plain, more := workflow.Decode(src); plain != nil {
			return plain, more
		}
	}
	if def == nil || len(list) == 0 {
		return def, findings
	}
	l := Begin(def)
	for w, ok := l.Next(); ok; w, ok = l.Next() {
		// What is not there, the release that linked the definition did not attach:
		// it is found at the time of the run, as it was then.
		if i := slices.IndexFunc(list, func(a workflow.Attachment) bool { return a.Kind == w.Kind && a.Name == w.Name }); i >= 0 {
			findings = append(findings, l.Attach(w, list[i])...)
		}
	}
	if source.HasErrors(findings) {
		return nil, findings
	}
	def.Linked, def.Source, def.Digest = list, src, Digest(src)
	return def, findings
}

// first begins the first attachment and says how long the text before it is;
// next begins the others.
const (
	first = "--- # downbeat: attached to the %d bytes above\n"
	next  = "--- # downbeat: attached\n"
)

var firstLine = regexp.MustCompile(`(?m)^--- # downbeat: attached to the (\d{1,9}) bytes above\n`)

// Join is the stored form of a source and its attachments.
func Join(main []byte, list []workflow.Attachment) ([]byte, error) {
	if len(list) == 0 {
		return main, nil
	}
	var b bytes.Buffer
	b.Write(main)
	if !bytes.HasSuffix(main, []byte("\n")) {
		b.WriteByte('\n')
	}
	for i, a := range list {
		if i == 0 {
			fmt.Fprintf(&b, first, len(main))
		} else {
			b.WriteString(next)
		}
		text, err := write(a)
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
	}
	return b.Bytes(), nil
}

// Split takes a stored definition apart. One without attachments is its own source.
func Split(src []byte) (main []byte, list []workflow.Attachment, err error) {
	for _, m := range firstLine.FindAllSubmatchIndex(src, -1) {
		n, err := strconv.Atoi(string(src[m[2]:m[3]]))
		// The author's text may hold such a line; only ours says where it stands.
		if err != nil || m[0] != n && (m[0] != n+1 || src[n] != '\n') {
			continue
		}
		docs := strings.Split("\n"+string(src[m[1]:]), "\n"+next)
		docs[0] = docs[0][1:]
		for i, doc := range docs {
			if i < len(docs)-1 {
				doc += "\n"
			}
			a, err := read(doc)
			if err != nil {
				return src[:n], nil, fmt.Errorf("attachment %d of the definition: %w", i+1, err)
			}
			list = append(list, a)
		}
		return src[:n], list, nil
	}
	return src, nil, nil
}

// write is one attachment as YAML that people can read: its content as it is
// where YAML allows, else as a string in quotes.
func write(a workflow.Attachment) (string, error) {
	head := fmt.Sprintf("kind: %s\nname: %s\nuri: %s\ndigest: %s\n", a.Kind, strconv.QuoteToASCII(a.Name), strconv.QuoteToASCII(a.URI), strconv.QuoteToASCII(a.Digest))
	if text := head + literal(string(a.Content)); same(text, a) {
		return text, nil
	}
	if text := head + "content: " + strconv.QuoteToASCII(string(a.Content)) + "\n"; same(text, a) {
		return text, nil
	}
	return "", fmt.Errorf("attach %s: it is no text in UTF-8", a.URI)
}

func same(text string, a workflow.Attachment) bool {
	b, err := read(text)
	return err == nil && b.Kind == a.Kind && b.Name == a.Name && b.URI == a.URI && bytes.Equal(b.Content, a.Content)
}

// literal is the content as a block scalar, each line as it is.
func literal(content string) string {
	chomp := "-"
	if strings.HasSuffix(content, "\n") {
		chomp = "+"
	}
	var b strings.Builder
	b.WriteString("content: |2" + chomp + "\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(content, "\n"), "\n") {
		if line != "" {
			b.WriteString("  " + line)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var errChanged = errors.New("its content is not what its digest says: the stored definition was changed")

func read(doc string) (a workflow.Attachment, err error) {
	n, findings := source.Read([]byte(doc), 8*MaxBytes)
	if source.HasErrors(findings) {
		return a, errors.New(findings[0].Message)
	}
	if n == nil || n.Kind != source.Map {
		return a, errors.New("it is no map of kind, name, uri, digest and content")
	}
	content := ""
	for _, f := range []struct {
		key string
		to  *string
	}{{"kind", &a.Kind}, {"name", &a.Name}, {"uri", &a.URI}, {"digest", &a.Digest}, {"content", &content}} {
		v := n.Field(f.key)
		if v == nil {
			return a, fmt.Errorf("it has no %s", f.key)
		}
		text, ok := v.Scalar.(string)
		if !ok {
			return a, fmt.Errorf("its %s is no text", f.key)
		}
		*f.to = text
	}
	if a.Content = []byte(content); Digest(a.Content) != a.Digest {
		return a, errChanged
	}
	return a, nil
}
