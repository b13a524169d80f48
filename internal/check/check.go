// Package check finds what is wrong with a definition before it runs and what a
// schema cannot see: expressions that do not compile or read what is not there,
// tasks that are never reached, loops that never end, and what is valid but
// probably not meant. It tells what is invalid from what this runtime cannot do
// yet, and gives every finding its place in the source.
//
// The command line, the server and the test runner call [Source] on a text, or
// [Check] on a definition that they have decoded. A definition without findings
// of severity Error compiles.
package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Options say what the runtime that the definition is for can do.
type Options struct {
	// Functions is the default catalogue (D37).
	Functions []Function
	// Supported answers for a feature, see [Features]; nil: everything is supported.
	Supported func(feature string) bool
	// Link attaches to a definition what it names elsewhere; nil: that is left alone.
	Link func(*workflow.Definition) []workflow.Finding
	// Place is how people know an attached document, by its URI; nil: as the URI.
	Place func(uri string) string
	// Zone reports whether there is a time zone of that name; nil: nobody knows.
	Zone func(name string) bool
	// Portable asks for hints where another runtime may differ.
	Portable bool
}

// Function is an entry of the default catalogue.
type Function struct {
	Name, Version string
	Summary       string // one sentence
	Input         any    // JSON Schema of its arguments; nil: any
}

// maxFindings is how many are reported.
const maxFindings = 200

// Source decodes src and checks the definition. The definition is nil when it
// cannot be used; findings are sorted by position.
func Source(src []byte, o Options) (*workflow.Definition, []workflow.Finding) {
	def, findings := workflow.DecodePart(src)
	if def == nil {
		return nil, findings
	}
	taken := map[workflow.Pos]bool{}
	for _, f := range findings {
		taken[f.Pos] = taken[f.Pos] || f.Severity == workflow.SeverityError
	}
	broken := source.HasErrors(findings)
	if o.Link != nil && !broken { // nobody is asked for the sake of what cannot run
		findings = append(findings, o.Link(def)...)
	}
	for _, f := range Check(def, o) {
		// What follows from a mistake is no news: one a place, and of a definition
		// that could be read in part only, errors alone.
		if (f.File != "" || !taken[f.Pos]) && (!broken || f.Severity <= workflow.SeverityUnsupported) {
			findings = append(findings, f)
		}
	}
	source.Sort(findings)
	// A mistake behind an anchor of YAML is one, wherever an alias repeats it.
	findings = slices.CompactFunc(findings, func(a, b workflow.Finding) bool {
		return a.File == b.File && a.Pos == b.Pos && a.Rule == b.Rule && a.Message == b.Message
	})
	for i := range findings {
		if f := &findings[i]; f.File != "" && o.Place != nil {
			f.File = o.Place(f.File)
		}
	}
	if source.HasErrors(findings) {
		return nil, findings
	}
	return def, findings
}

// Check returns the findings about def that Decode does not make, sorted by position.
func Check(def *workflow.Definition, o Options) []workflow.Finding {
	c := &checker{def: def, text: def.Source, options: o, seen: map[seenKey]bool{}, policies: map[string]bool{}}
	c.document()
	c.useSection()
	c.list(def.Do, place{})
	for _, f := range def.Use.Functions {
		if a := def.FindLinked(f.Name); a != nil {
			c.file, c.text = a.URI, a.Content
		}
		c.list(workflow.TaskList{f}, place{function: true})
		c.file, c.text = "", def.Source
	}
	for _, e := range def.Use.Extensions {
		c.ref = ""
		c.expr(e.When, workflow.ExtensionWhenSite, nil, true)
		c.list(e.Before, place{})
		c.list(e.After, place{})
	}
	c.unused()
	c.portable()
	source.Sort(c.findings)
	return c.findings
}

// checker carries the findings; seen keeps what is reached twice, a policy of
// use that two tasks name, from being reported twice.
type checker struct {
	def      *workflow.Definition
	file     string // URI of the attached document that is checked; "": the definition itself
	text     []byte // of that document
	options  Options
	ref      string
	findings []workflow.Finding
	seen     map[seenKey]bool
	policies map[string]bool // entries of use that a task names: "retries/x"
	context  bool            // the hint about $context was given
}

type seenKey struct {
	file string
	pos  workflow.Pos
	rule string
	msg  string
}

// place is what surrounds a task.
type place struct {
	vars     []string // loop variables in scope
	branch   bool     // in a branch of a fork or an item of a map
	function bool     // in the body of a function
}

// with returns p with more variables; the slices are never shared.
func (p place) with(names ...string) place {
	p.vars = append(slices.Clip(p.vars), names...)
	return p
}

func (c *checker) report(f workflow.Finding) {
	f.Message = oneLine(f.Message)
	if f.File == "" {
		f.File = c.file
	}
	k := seenKey{f.File, f.Pos, f.Rule, f.Message}
	if c.seen[k] || len(c.findings) >= maxFindings {
		return
	}
	c.seen[k] = true
	if f.Reference == "" {
		f.Reference = c.ref
	}
	c.findings = append(c.findings, f)
}

// oneLine keeps what a library says in many lines fit for a list of findings.
func oneLine(s string) string {
	if !strings.Contains(s, "\n") {
		return s
	}
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	const most = 400
	s = strings.Join(lines, "; ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}

func (c *checker) warn(pos workflow.Pos, rule, dsl, message, allowed string) {
	c.report(workflow.Finding{Pos: pos, Severity: workflow.SeverityWarning, Rule: rule, DSL: dsl, Message: message, Allowed: allowed})
}

func (c *checker) hint(pos workflow.Pos, rule, dsl, message, allowed string) {
	c.report(workflow.Finding{Pos: pos, Severity: workflow.SeverityHint, Rule: rule, DSL: dsl, Message: message, Allowed: allowed})
}

func (c *checker) fail(pos workflow.Pos, rule, dsl, message, allowed string) {
	c.report(workflow.Finding{Pos: pos, Rule: rule, DSL: dsl, Message: message, Allowed: allowed})
}

func (c *checker) document() {
	d := c.def
	if d.Evaluate.Language != "jq" {
		c.unsupported("evaluate:language", d.Document.Pos, "DSL 8", fmt.Sprintf("expressions in %s cannot be evaluated", source.Quote(d.Evaluate.Language)), "the language jq is understood")
	}
	if d.Input != nil {
		c.schema(d.Input.Schema, nil)
		c.selector(d.Input.From, workflow.WorkflowInputSite, nil)
	}
	if d.Output != nil {
		c.selector(d.Output.As, workflow.WorkflowOutputSite, nil)
		c.schema(d.Output.Schema, nil)
	}
	c.timeout(d.Timeout, workflow.WorkflowTimeoutSite, nil)
	c.schedule(d.Schedule)
	c.scheduleSettings()
	if s := d.Downbeat; s != nil {
		if s.Concurrency != nil {
			c.expr(s.Concurrency.Key, workflow.SettingSite, nil, false)
		}
		for i := range s.Locks {
			c.template(&s.Locks[i], workflow.SettingSite, nil, templateOptions{})
		}
		if f := s.Webhook.Field("filter"); f != nil {
			c.expr(&workflow.Expr{Pos: f.Pos, Source: f.String()}, workflow.SettingSite, nil, true)
		}
		c.settings(d.Document.Metadata, s.Pos)
	}
}

// useSection checks what of use stands for itself; what tasks name is checked
// where they name it, with the variables of that place.
func (c *checker) useSection() {
	for _, k := range c.def.Use.Catalogs {
		c.unsupported("catalog:remote", k.Pos, "DSL 14, D23", fmt.Sprintf("the catalogue %s cannot be read", source.Quote(k.Name)), "functions of the document and of the default catalogue can be called")
		c.auth(k.Value.Auth, nil)
	}
}

// unused checks the entries of use that no task names, so that their mistakes
// are found too.
func (c *checker) unused() {
	c.ref = ""
	u := &c.def.Use
	for i := range u.Authentications {
		if !c.policies["authentications/"+u.Authentications[i].Name] {
			c.auth(&u.Authentications[i].Value, nil)
		}
	}
	for i := range u.Errors {
		if !c.policies["errors/"+u.Errors[i].Name] {
			c.errorDef(&u.Errors[i].Value, nil)
		}
	}
	for i := range u.Retries {
		if !c.policies["retries/"+u.Retries[i].Name] {
			c.retry(&u.Retries[i].Value, []string{"error"})
		}
	}
	for i := range u.Timeouts {
		if !c.policies["timeouts/"+u.Timeouts[i].Name] {
			c.timeout(&u.Timeouts[i].Value, workflow.TimeoutSite, nil)
		}
	}
}
