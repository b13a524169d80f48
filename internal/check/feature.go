package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Features are the parts of the language that a runtime may lack: the words
// that Options.Supported is asked with. Without "schedule" a definition can
// still be started by hand, and settings of Downbeat never change what a task
// computes, so lacking those gives hints only.
var Features = []string{
	"call:openapi", "call:grpc", "call:asyncapi", "call:a2a", "call:mcp", "run:container", "auth:oauth2", "auth:oidc",
	"catalog:remote", "resource:remote", "schedule", "evaluate:language",
	"downbeat:concurrency", "downbeat:priority", "downbeat:locks", "downbeat:calendar", "downbeat:schedule", "downbeat:endpoint", "downbeat:webhook",
	"downbeat:manual", "downbeat:retention", "downbeat:sensitive", "downbeat:shell",
	"downbeat:on", "downbeat:resources", "downbeat:interrupted", "downbeat:cache", "downbeat:workspace", "downbeat:registry",
}

func (c *checker) supports(feature string) bool {
	return c.options.Supported == nil || !slices.Contains(Features, feature) || c.options.Supported(feature)
}

func (c *checker) unsupported(feature string, pos workflow.Pos, dsl, message, allowed string) {
	if !c.supports(feature) {
		c.report(workflow.Finding{Pos: pos, Severity: workflow.SeverityUnsupported, Rule: "unsupported/" + feature, DSL: dsl, Message: message, Allowed: allowed})
	}
}

// settings hints at settings that have no effect yet (D38).
func (c *checker) settings(metadata map[string]any, pos workflow.Pos) {
	section, _ := metadata["downbeat"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(section)) {
		if f := "downbeat:" + key; !c.supports(f) {
			c.hint(pos, "unsupported/"+f, "D38", "metadata.downbeat."+key+" has no effect yet", "")
		}
	}
}

// registry looks at the secret for the registry of a container's image.
func (c *checker) registry(t *workflow.Task, s *workflow.TaskSettings) {
	switch {
	case s.Registry == "":
	case t.Run == nil || t.Run.Kind != workflow.RunContainer:
		c.hint(s.Pos, "downbeat/registry", "D38", "metadata.downbeat.registry has no effect here: it is for run: container", "")
	default:
		c.secrets(s.Pos, true, []string{s.Registry}, true)
	}
}

var protocols = []string{"asyncapi", "grpc", "http", "openapi", "a2a", "mcp"}

func (c *checker) call(k *workflow.Call, p place) {
	if slices.Contains(protocols, k.Name) {
		c.unsupported("call:"+k.Name, k.Pos, "DSL 58-83", fmt.Sprintf("call: %s cannot be carried out yet", k.Name), "")
		c.auth(k.Auth, p.vars)
		c.arguments(k, p)
		c.transportOptions(k.With.Field("transport"))
		if k.Name == "asyncapi" && k.With.Field("server") == nil {
			c.messageProtocol(k.With.Field("protocol"))
		}
		return
	}
	if k.Map != nil {
		c.mapCall(k.Map, p)
		return
	}
	c.template(&k.With, workflow.BodySite, p.vars, templateOptions{lint: true})
	base, catalog, atCatalog := strings.Cut(k.Name, "@")
	name, version, _ := strings.Cut(base, ":")
	f := c.def.FindFunction(k.Name)
	switch {
	case f != nil:
		c.bodyInput(k, f)
	case workflow.IsURI(k.Name):
		c.unsupported("catalog:remote", k.Pos, "DSL 84, D23", "a function cannot be read from a URI", "functions of the document and of the default catalogue can be called")
	case atCatalog && catalog != "default", c.def.FindCatalog("default") != nil && base != name:
		c.unsupported("catalog:remote", k.Pos, "DSL 84, D23", fmt.Sprintf("the function %s cannot be read from its catalogue", source.Quote(k.Name)), "functions of the document and of the default catalogue can be called")
	default:
		c.catalogFunction(k, name, version)
	}
}

// carriers are the protocols of AsyncAPI that are spoken here (DSL 74).
var carriers = []string{"amqp", "http", "kafka", "mqtt", "mqtt5", "nats", "redis", "ws"}

// messageProtocol refuses the protocols that are not.
func (c *checker) messageProtocol(v *workflow.Value) {
	if v == nil {
		return
	}
	if s, ok := v.Scalar.(string); ok && !slices.Contains(carriers, s) && !source.IsDynamic(s) {
		c.report(workflow.Finding{
			Pos: v.Pos, Severity: workflow.SeverityUnsupported, Rule: "unsupported/asyncapi-protocol", DSL: "DSL 74",
			Message: fmt.Sprintf("messages cannot be carried by %s", source.Quote(s)), Allowed: "the protocols " + strings.Join(carriers, ", ") + " can",
		})
	}
}

// transportOptions refuses options of a transport of MCP that have no effect
// here: the specification leaves open which there are (DSL 81).
func (c *checker) transportOptions(transport *workflow.Value) {
	options := transport.Field("options")
	if options == nil {
		return
	}
	stdio := transport.Field("stdio") != nil
	for i, key := range options.Keys {
		if stdio && key == "workingDirectory" {
			continue
		}
		f := workflow.Finding{
			Pos: options.Fields[i].Pos, Severity: workflow.SeverityUnsupported, Rule: "unsupported/mcp-option", DSL: "DSL 81",
			Message: fmt.Sprintf("transport.options has %s, which is no option of this runtime", source.Quote(key)), Allowed: "stdio has workingDirectory; http has none, its headers stand in transport.http.headers",
		}
		if stdio {
			f.Suggestion = source.Nearest(key, []string{"workingDirectory"})
		}
		c.report(f)
	}
}

// isNamed reports whether a call of name means the catalogue's function fn.
func isNamed(name, fn string) bool {
	base, _, _ := strings.Cut(name, "@")
	base, _, _ = strings.Cut(base, ":")
	return base == fn
}

// arguments checks with of a protocol; the tasks of a foreach are not part of it.
func (c *checker) arguments(k *workflow.Call, p place) {
	o := templateOptions{lint: true}
	for i, key := range k.With.Keys {
		if key != "subscription" {
			inner := o
			inner.secretsOK = key == "headers" || key == "authentication"
			c.template(&k.With.Fields[i], workflow.BodySite, p.vars, inner)
			continue
		}
		s := &k.With.Fields[i]
		for j, part := range s.Keys {
			if part != "foreach" {
				c.template(&s.Fields[j], workflow.BodySite, p.vars, o)
			}
		}
	}
	if f := k.Foreach; f != nil {
		c.foreach(f, p.with(f.Item, f.At))
	}
}

func (c *checker) mapCall(m *workflow.Map, p place) {
	c.items(&m.In, p.vars)
	c.template(m.Limit, workflow.ForInSite, p.vars, templateOptions{})
	inner := p.with(m.Each, m.At)
	inner.branch = true
	c.list(m.Do, inner)
}

// catalogFunction checks a call of the default catalogue (D37).
func (c *checker) catalogFunction(k *workflow.Call, name, version string) {
	var versions []string
	for _, f := range c.options.Functions {
		if f.Name != name {
			continue
		}
		if version == "" || f.Version == "" || f.Version == version {
			c.functionInput(k, f)
			return
		}
		versions = append(versions, f.Version)
	}
	if len(versions) > 0 {
		c.fail(k.Pos, "call/function-version", "DSL 84, D37", fmt.Sprintf("the function %s has no version %s", source.Quote(name), version), "it has "+strings.Join(versions, ", "))
		return
	}
	known := append([]string{}, protocols...)
	for _, f := range c.def.Use.Functions {
		known = append(known, f.Name)
	}
	for _, f := range c.options.Functions {
		known = append(known, f.Name)
	}
	c.report(workflow.Finding{
		Pos: k.Pos, Rule: "call/unknown-function", DSL: "DSL 21, DSL 84", Message: fmt.Sprintf("there is no function %s", source.Quote(k.Name)),
		Allowed: "call a protocol, a function of use.functions, or one of the default catalogue", Suggestion: source.Nearest(name, append(known, "map")),
	})
}

// valueAt follows a JSON pointer as far as it leads.
func valueAt(v *workflow.Value, pointer string) *workflow.Value {
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		next := v.Field(step)
		if next == nil {
			return v
		}
		v = next
	}
	return v
}

// named notes that a task names an entry of use. It reports whether to check it
// here: a task of an attached document leaves that to the definition, where the
// entry stands.
func (c *checker) named(section, name string) bool {
	if c.file == "" {
		c.policies[section+"/"+name] = true
	}
	return c.file == ""
}

// auth checks a policy, in place or by name (DSL 154-165).
func (c *checker) auth(a *workflow.Auth, vars []string) {
	if a == nil {
		return
	}
	if a.Use != "" || a.Secret != "" {
		c.foreign(a.Pos, "uses an authentication")
	}
	if a.Use != "" {
		if !c.named("authentications", a.Use) {
			return
		}
		if a = c.def.FindAuth(a.Use); a == nil {
			return
		}
	}
	if a.Scheme != "" {
		c.unsupported("auth:"+a.Scheme, a.Pos, "DSL 154-165", fmt.Sprintf("authentication by %s cannot be carried out yet", a.Scheme), "")
	}
	c.template(&a.With, workflow.BodySite, vars, templateOptions{lint: true, secretsOK: true})
}

func (c *checker) endpoint(e *workflow.Endpoint, vars []string) {
	c.template(&e.URI, workflow.BodySite, vars, templateOptions{})
	c.auth(e.Auth, vars)
}

func (c *checker) run(t *workflow.Task, vars []string) {
	r := t.Run
	c.unsupported("run:"+r.Kind.String(), r.Pos, "DSL 130-141", fmt.Sprintf("run: %s cannot be carried out yet", r.Kind), "")
	if r.Kind == workflow.RunWorkflow {
		if r.Workflow != nil {
			c.template(r.Workflow.Input, workflow.BodySite, vars, templateOptions{lint: true})
		}
		return
	}
	for i, key := range r.With.Keys {
		v := &r.With.Fields[i]
		switch key {
		case "code":
			c.template(v, workflow.BodySite, vars, templateOptions{plain: true})
		case "source":
			if r.Source != nil {
				if uri := r.Source.Endpoint.URI.String(); !strings.HasPrefix(uri, "file:") {
					c.unsupported("resource:remote", v.Pos, "DSL 138, DSL 201", "a script cannot be read from "+source.Quote(uri), "write it in place, under script.code, or name a file: URI")
				}
				c.endpoint(&r.Source.Endpoint, vars)
			}
		default:
			c.template(v, workflow.BodySite, vars, templateOptions{})
		}
	}
	if r.Kind == workflow.RunShell || r.Kind == workflow.RunContainer {
		c.command(r)
	}
	if !r.Await && r.With.Field("stdin") == nil && t.Output != nil && r.Return != "stdout" {
		c.hint(r.Pos, "run/not-awaited", "DSL 131", "the process is not awaited: its output is the task's input, and return has no effect", "")
	}
}

// The families of error types that mean the same (D18c).
var errorPrefixes = []string{
	"https://open-workflow-specification.org/spec/1.0.0/errors/", "https://serverlessworkflow.io/spec/1.0.0/errors/",
	"https://open-workflow-specification.org/dsl/errors/types/", "https://serverlessworkflow.io/dsl/errors/types/",
}

var errorTypes = []string{"configuration", "validation", "expression", "authentication", "authorization", "timeout", "communication", "runtime"}

// errorType warns of a type that looks like the specification's and is none.
func (c *checker) errorType(v *workflow.Value) {
	if v == nil {
		return
	}
	s := v.String()
	for _, p := range errorPrefixes {
		name, ok := strings.CutPrefix(s, p)
		if ok && !slices.Contains(errorTypes, name) {
			c.report(workflow.Finding{
				Pos: v.Pos, Severity: workflow.SeverityWarning, Rule: "error/type", DSL: "DSL 144-151", Message: fmt.Sprintf("the specification has no error type %s", source.Quote(name)),
				Allowed: "it has " + strings.Join(errorTypes, ", "), Suggestion: source.Nearest(name, errorTypes),
			})
		}
	}
}
