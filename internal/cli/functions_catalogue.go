package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/reference"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// catalogues is the definition whose catalogues the flags mean, and where its
// relative paths start. An endpoint stands for a definition that has it as "catalog".
func (a *app) catalogues(f *functionFlags) (def *workflow.Definition, directory string, err error) {
	if f.file == "" {
		def, _ := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: downbeat, name: functions, version: '1.0.0'}\ndo: [{show: {set: {x: 1}}}]\n"))
		if f.catalog != "" {
			def.Use.Catalogs = []workflow.Named[workflow.Endpoint]{{Name: "catalog", Value: workflow.Endpoint{URI: workflow.Value{Kind: workflow.ScalarValue, Scalar: f.catalog, Any: f.catalog}}}}
			f.catalog = "catalog"
		}
		return def, ".", nil
	}
	src, err := a.readFile(f.file)
	if err != nil {
		return nil, "", err
	}
	def, findings := workflow.Decode(src)
	if def == nil {
		return nil, "", usage("'downbeat validate' shows all that is wrong", "%s", findings[0].Format(f.file))
	}
	var names []string
	for _, k := range def.Use.Catalogs {
		names = append(names, k.Name)
	}
	if f.catalog != "" && def.FindCatalog(f.catalog) == nil {
		return nil, "", usage("it has "+orNone(names), "%s has no catalogue %q", f.file, f.catalog)
	}
	return def, directoryOf(f.file), nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// listCatalogues lists what --file or --catalog names.
func (a *app) listCatalogues(ctx context.Context, f *functionFlags) error {
	byURI := f.file == ""
	def, directory, err := a.catalogues(f)
	if err != nil {
		return err
	}
	l, err := a.linker(f.nodeFlags)
	if err != nil {
		return err
	}
	rows := []any{}
	line := func(name, version, catalog string) {
		call := name
		if version != "" {
			call += ":" + version
		}
		if catalog != "" && !byURI {
			call += "@" + catalog
		}
		rows = append(rows, map[string]any{"call": call, "name": name, "version": version, "catalog": catalog})
		if a.conf.Output == "text" {
			_, _ = fmt.Fprintln(a.out, call)
		}
	}
	if f.catalog == "" {
		for _, t := range def.Use.Functions {
			line(t.Name, "", "")
		}
	}
	for _, k := range def.Use.Catalogs {
		if f.catalog != "" && f.catalog != k.Name {
			continue
		}
		list, err := l.List(ctx, def, directory, k.Name)
		switch {
		case errors.Is(err, link.ErrNoList) && f.catalog == "":
			a.notes.Warn(fmt.Sprintf("%s: %v", k.Name, err))
		case err != nil:
			return usage("", "%w", err)
		case len(list) == 0:
			a.notes.Warn(fmt.Sprintf("the catalogue %s has no functions; they are at functions/NAME/VERSION/function.yaml below its endpoint", k.Name))
		}
		for _, fn := range list {
			line(fn.Name, fn.Version, k.Name)
		}
	}
	if a.conf.Output != "text" {
		return a.print(map[string]any{"functions": rows})
	}
	return nil
}

// showLinked shows a function of a catalogue, or by URI, as a workflow that
// calls it would get it.
func (a *app) showLinked(ctx context.Context, name string, f *functionFlags) error {
	def, directory, err := a.catalogues(f)
	if err != nil {
		return err
	}
	call := name
	switch {
	case workflow.IsURI(name) || strings.Contains(name, "@"):
	case def.FindFunction(name) != nil:
	case !strings.Contains(name, ":"):
		return usage("a function of a catalogue is written NAME:VERSION@CATALOG", "%s has no version", name)
	case f.catalog != "":
		call += "@" + f.catalog
	}
	if _, catalog, named := strings.Cut(call, "@"); named && !workflow.IsURI(call) && def.FindCatalog(catalog) == nil {
		return usage("--file FILE names the workflow that has it", "there is no catalogue %q here", catalog)
	}
	def.Do = workflow.TaskList{{Name: "show", Reference: "/do/0/show", Kind: workflow.CallTask, Call: &workflow.Call{Name: call}}}
	l, err := a.linker(f.nodeFlags)
	if err != nil {
		return err
	}
	for _, x := range l.Link(ctx, def, directory) {
		if x.Severity == workflow.SeverityError {
			return usage(x.Allowed, "%s", x.Message)
		}
		a.notes.Warn(x.Message)
	}
	t := def.FindFunction(def.Do[0].Call.Name)
	if t == nil {
		return usage("", "there is no function %q", name)
	}
	return a.describeFunction(name, t, def.FindLinked(t.Name))
}

// describeFunction prints what a function written in the DSL says of itself.
func (a *app) describeFunction(name string, t *workflow.Task, from *workflow.Attachment) error {
	k := executor.Kind{Name: name, Summary: "The function does not say what it takes: it has no input.schema."}
	if base, version, ok := strings.Cut(name, ":"); ok && !workflow.IsURI(name) {
		k.Name = base
		k.Version, _, _ = strings.Cut(version, "@")
	}
	if t.Input != nil && t.Input.Schema != nil && !t.Input.Schema.Document.IsZero() {
		k.Schema, k.Summary = t.Input.Schema.Document.Any, ""
		if m, ok := k.Schema.(map[string]any); ok {
			k.Summary, _ = m["description"].(string)
		}
	}
	for _, key := range []string{"description", "summary"} {
		if text, ok := t.Metadata[key].(string); ok {
			k.Summary = text
		}
	}
	var output any
	if t.Output != nil && t.Output.Schema != nil && !t.Output.Schema.Document.IsZero() {
		output = t.Output.Schema.Document.Any
	}
	if a.conf.Output != "text" {
		v := functionValue(k)
		v["output"] = output
		if from != nil {
			v["uri"], v["digest"] = from.URI, from.Digest
		}
		return a.print(v)
	}
	if err := reference.Show(a.out, k); err != nil {
		return fmt.Errorf("print the function: %w", err)
	}
	if output != nil {
		if err := reference.ShowOutput(a.out, output); err != nil {
			return fmt.Errorf("print the function: %w", err)
		}
	}
	if from != nil {
		_, _ = fmt.Fprintf(a.out, "\nfrom %s\n%s\n", from.URI, from.Digest)
	}
	return nil
}
