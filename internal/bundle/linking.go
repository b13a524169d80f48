package bundle

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Want is a document that a definition, or an attachment of it, names.
type Want struct {
	Kind string
	Name string // the function as `call` names it; of others the URI
	URI  string // where it should be; relative file: URIs start at the definition's directory
	// Catalog, Function and Version say how a function of a catalogue was named.
	Catalog, Function, Version string
	Auth                       *workflow.Auth
	// Pos and Reference say where it is named, in the document In ("" is the definition).
	Pos       workflow.Pos
	In        string
	Reference string

	depth int
	put   func(Want, workflow.Attachment) []workflow.Finding
}

// Finding is a finding about the want, at the place where it is named.
func (w *Want) Finding(rule, message, allowed string) workflow.Finding {
	dsl := map[string]string{Function: "DSL 84, D23", Schema: "DSL 201, DSL 206", Script: "DSL 138, DSL 201"}[w.Kind]
	return workflow.Finding{Pos: w.Pos, File: w.In, Reference: w.Reference, Rule: "link/" + rule, DSL: dsl, Message: message, Allowed: allowed}
}

// Linking is a definition on its way to be linked.
type Linking struct {
	def      *workflow.Definition
	list     []workflow.Attachment
	open     []Want
	findings []workflow.Finding
	bytes    int
}

// document is where names are found: the definition itself, or an attachment.
type document struct {
	uri   string
	auth  *workflow.Auth // what its relative names are fetched with
	depth int
}

// Begin finds what def names. It changes def while documents are attached.
func Begin(def *workflow.Definition) *Linking {
	l := &Linking{def: def}
	here := document{}
	if def.Input != nil {
		l.schema(here, "", def.Input.Schema)
	}
	l.out(here, "", def.Output)
	def.Walk(func(t *workflow.Task, _ []*workflow.Task) bool {
		l.task(here, t)
		return true
	})
	return l
}

// Needed reports whether def names anything elsewhere.
func Needed(def *workflow.Definition) bool {
	l := Begin(def)
	return len(l.open)+len(l.findings)+len(Locals(def)) > 0
}

// Next is the next document that is wanted. What was attached under the same
// name already is put in its place at once.
func (l *Linking) Next() (Want, bool) {
	for len(l.open) > 0 {
		w := l.open[0]
		l.open = l.open[1:]
		a := l.attached(w.Kind, w.Name)
		if a == nil {
			return w, true
		}
		l.findings = append(l.findings, w.put(w, *a)...)
	}
	return Want{}, false
}

func (l *Linking) attached(kind, name string) *workflow.Attachment {
	for i := range l.list {
		if a := &l.list[i]; a.Kind == kind && a.Name == name {
			return a
		}
	}
	return nil
}

// Attach puts a document in its place, and finds what it names itself. Of two
// under one name the first is attached, and stands in both places.
func (l *Linking) Attach(w Want, a workflow.Attachment) []workflow.Finding {
	if was := l.attached(w.Kind, w.Name); was != nil {
		return w.put(w, *was)
	}
	l.bytes += len(a.Content)
	switch {
	case len(l.list) >= MaxAttachments:
		return []workflow.Finding{w.Finding("bound", fmt.Sprintf("the definition names more than %d documents, directly or through others", MaxAttachments), "split the workflow")}
	case l.bytes > MaxBytes:
		return []workflow.Finding{w.Finding("bound", fmt.Sprintf("the documents that the definition names have more than %d bytes together", MaxBytes), "split the workflow")}
	case w.depth > MaxDepth:
		return []workflow.Finding{w.Finding("bound", fmt.Sprintf("documents name each other more than %d deep", MaxDepth), "")}
	}
	l.list = append(l.list, a)
	return w.put(w, a)
}

// Findings are those that no fetching changes: names that can be none.
func (l *Linking) Findings() []workflow.Finding { return l.findings }

// Seal gives the definition its stored form and the digest of that.
func (l *Linking) Seal() error {
	stream, err := Join(l.def.Source, l.list)
	if err != nil {
		return err
	}
	if len(l.list) > 0 {
		l.def.Linked, l.def.Source, l.def.Digest = l.list, stream, Digest(stream)
	}
	return nil
}

// want adds a document that d names as uri, which is relative to base.
func (l *Linking) want(d document, base string, w Want, uri string) {
	w.In, w.depth = d.uri, d.depth+1
	if source.IsDynamic(uri) || strings.Contains(uri, "{") {
		l.findings = append(l.findings, w.Finding("expression", fmt.Sprintf("%s is known only when the workflow runs, so it cannot be attached to the definition", source.Quote(uri)), "name it by a constant URI"))
		return
	}
	var err error
	if w.URI, err = Resolve(base, uri); err != nil {
		l.findings = append(l.findings, w.Finding("uri", err.Error(), ""))
		return
	}
	if w.Auth == nil && base != "" && Relative(uri) {
		w.Auth = d.auth
	}
	if w.Name == "" {
		w.Name = w.URI
	}
	l.open = append(l.open, w)
}

func (l *Linking) task(d document, t *workflow.Task) {
	if t.Input != nil {
		l.schema(d, t.Reference, t.Input.Schema)
	}
	l.out(d, t.Reference, t.Output)
	l.out(d, t.Reference, t.Export)
	if t.Listen != nil {
		l.foreach(d, t.Reference, t.Listen.Foreach)
	}
	if t.Call != nil {
		l.foreach(d, t.Reference, t.Call.Foreach)
		l.call(d, t)
	}
	if t.Run != nil && t.Run.Source != nil {
		l.script(d, t.Reference, t.Run.Source)
	}
}

func (l *Linking) foreach(d document, ref string, f *workflow.Foreach) {
	if f != nil {
		l.out(d, ref, f.Output)
		l.out(d, ref, f.Export)
	}
}

func (l *Linking) out(d document, ref string, o *workflow.DataOut) {
	if o != nil {
		l.schema(d, ref, o.Schema)
	}
}

func (l *Linking) schema(d document, ref string, s *workflow.Schema) {
	if s == nil || s.Resource == nil {
		return
	}
	w := Want{Kind: Schema, Auth: s.Resource.Endpoint.Auth, Pos: s.Resource.Endpoint.Pos, Reference: ref}
	w.put = func(w Want, a workflow.Attachment) []workflow.Finding {
		n, findings := source.Read(a.Content, workflow.MaxSource)
		inside(findings, a, ref)
		if n != nil {
			s.Document = &workflow.Value{Pos: w.Pos, Kind: n.Kind, Scalar: n.Scalar, Any: n.Any()}
		}
		return findings
	}
	l.want(d, d.uri, w, s.Resource.Endpoint.URI.String())
}

// script attaches the text of a script. A file whose name is an expression is
// read when the task runs.
func (l *Linking) script(d document, ref string, r *workflow.Resource) {
	uri := r.Endpoint.URI.String()
	if source.IsDynamic(uri) && d.uri == "" && !strings.Contains(uri, "://") {
		return
	}
	w := Want{Kind: Script, Auth: r.Endpoint.Auth, Pos: r.Endpoint.Pos, Reference: ref}
	w.put = func(_ Want, a workflow.Attachment) []workflow.Finding {
		text := string(a.Content)
		r.Content = &text
		return nil
	}
	l.want(d, d.uri, w, uri)
}

// call finds what function a call names, in this order: of use.functions, by
// URI, of a catalogue of the document (D23, DSL 200).
func (l *Linking) call(d document, t *workflow.Task) {
	k := t.Call
	if k.Map != nil || l.def.FindFunction(k.Name) != nil && l.attached(Function, k.Name) == nil {
		return
	}
	w := Want{Kind: Function, Pos: k.Pos, Reference: t.Reference, Name: k.Name}
	base, catalog, at := strings.Cut(k.Name, "@")
	name, version, versioned := strings.Cut(base, ":")
	uri, from := k.Name, d.uri
	switch {
	case workflow.IsURI(k.Name):
		if full, err := Resolve(d.uri, k.Name); err == nil {
			w.Name = full
		}
	case versioned:
		if !at {
			catalog = "default"
		}
		e := l.def.FindCatalog(catalog)
		if e == nil {
			return // of the runtime's own catalogue, or said by the decoder
		}
		w.Catalog, w.Function, w.Version, w.Auth = catalog, name, version, e.Auth
		if uri = e.URI.String(); !source.IsDynamic(uri) && !strings.Contains(uri, "{") {
			var err error
			if uri, err = FunctionURI(uri, name, version); err != nil {
				l.findings = append(l.findings, w.Finding("uri", err.Error(), ""))
				return
			}
		}
		from = "" // a catalogue is the definition's own, wherever it is named
	default:
		return
	}
	w.put = func(w Want, a workflow.Attachment) []workflow.Finding {
		k.Name = a.Name // a relative URI means what it means here
		if l.def.FindFunction(a.Name) != nil {
			return nil
		}
		return l.function(document{a.URI, w.Auth, w.depth}, a)
	}
	l.want(d, from, w, uri)
}

// function adds a function to those of the definition.
func (l *Linking) function(d document, a workflow.Attachment) []workflow.Finding {
	t, findings := l.def.DecodeFunction(a.Name, a.Content)
	inside(findings, a, "")
	if t == nil {
		return findings
	}
	l.def.Use.Functions = append(l.def.Use.Functions, t)
	alone := workflow.Definition{Do: workflow.TaskList{t}}
	alone.Walk(func(t *workflow.Task, _ []*workflow.Task) bool {
		l.task(d, t)
		return true
	})
	return findings
}

// inside says that findings are about an attachment.
func inside(findings []workflow.Finding, a workflow.Attachment, ref string) {
	for i := range findings {
		findings[i].File = a.URI
		if findings[i].Reference == "" {
			findings[i].Reference = ref
		}
	}
}
