package executor_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

type object = map[string]any

type nothing struct{ name string }

func (nothing) Execute(context.Context, *executor.Request) (executor.Result, error) {
	return executor.Result{}, nil
}

func entry(name, version string) executor.Entry {
	return executor.Entry{Kind: executor.Kind{Name: name, Version: version, Summary: "s", Schema: object{}}, Executor: nothing{name}}
}

// D37
func TestCatalog(t *testing.T) {
	t.Parallel()
	c, err := executor.NewCatalog(entry("ssh", "1.2.0"), entry("http", "1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{
		"ssh": "ssh", "ssh:1.2.0": "ssh", "ssh:1.2.0@default": "ssh", "ssh@default": "ssh", "http": "http",
		"ssh:1.0.0": "", "ssh@other": "", "ssh:": "", "": "", "sftp": "", "@default": "",
	} {
		e, ok := c.Find(call)
		if ok != (want != "") || e.Name != want {
			t.Errorf("Find(%q) = %q, %v; want %q", call, e.Name, ok, want)
		}
	}
	if e, ok := c.Lookup("ssh"); !ok || e != (nothing{"ssh"}) {
		t.Errorf("Lookup: %v, %v", e, ok)
	}
	if _, ok := c.Lookup("ssh:1.2.0"); ok {
		t.Error("Lookup takes plain names only")
	}
	var names []string
	for _, k := range c.Kinds() {
		names = append(names, k.Name)
	}
	if d := cmp.Diff([]string{"http", "ssh"}, names); d != "" {
		t.Error(d)
	}
	for want, entries := range map[string][]executor.Entry{
		"is there twice":  {entry("a", "1"), entry("a", "2")},
		"lacks its name":  {entry("", "1")},
		"no name of a ki": {entry("a:b", "1")},
		"has no executor": {{Kind: executor.Kind{Name: "a", Version: "1", Summary: "s", Schema: object{}}}},
	} {
		if _, err := executor.NewCatalog(entries...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

// all shows each form that arguments can have.
type all struct {
	Name   string         `json:"name" required:"true" doc:"A name." enum:"a|b"`
	On     bool           `json:"on" default:"true"`
	Count  int            `json:"count"`
	Any    any            `json:"any"`
	List   []string       `json:"list"`
	Map    map[string]int `json:"map"`
	Inner  inner          `json:"inner" oneof:"string" doc:"The inner."`
	Maybe  *inner         `json:"maybe"`
	hidden string
}

type inner struct {
	URI string `json:"uri" required:"true"`
}

func TestSchema(t *testing.T) {
	t.Parallel()
	uri := object{"type": "object", "additionalProperties": false, "required": []any{"uri"}, "properties": object{"uri": object{"type": "string"}}}
	want := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"type":    "object", "additionalProperties": false, "required": []any{"name"},
		"properties": object{
			"name":  object{"type": "string", "description": "A name.", "enum": []any{"a", "b"}},
			"on":    object{"type": "boolean", "default": true},
			"count": object{"type": "integer"},
			"any":   object{},
			"list":  object{"type": "array", "items": object{"type": "string"}},
			"map":   object{"type": "object", "additionalProperties": object{"type": "integer"}},
			"inner": object{"oneOf": []any{object{"type": "string"}, uri}, "description": "The inner."},
			"maybe": uri,
		},
	}
	if d := cmp.Diff(any(want), executor.SchemaOf(all{hidden: "is no argument"})); d != "" {
		t.Error(d)
	}
}

func TestReadArguments(t *testing.T) {
	t.Parallel()
	var got all
	if err := executor.ReadArguments(object{
		"name": "a", "on": true, "count": 3, "any": []any{1}, "list": []any{"x", "y"}, "map": object{"k": 1}, "inner": "u", "maybe": object{"uri": "v"},
	}, &got); err != nil {
		t.Fatal(err)
	}
	want := all{Name: "a", On: true, Count: 3, Any: []any{1}, List: []string{"x", "y"}, Map: map[string]int{"k": 1}, Inner: inner{"u"}, Maybe: &inner{"v"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(all{})); d != "" {
		t.Error(d)
	}
	if err := executor.ReadArguments(object{"name": "b", "inner": nil, "list": nil}, new(all)); err != nil {
		t.Errorf("null stands for nothing: %v", err)
	}
	for want, arguments := range map[string]any{
		"the arguments must be an object, not of type array":          []any{},
		"/name is missing: A name.":                                   object{},
		"/name must be a string, not of type number":                  object{"name": 1},
		`/name is "c"; it must be one of a, b`:                        object{"name": "c"},
		"/on must be true or false, not of type string":               object{"name": "a", "on": "hunter2"},
		"/count must be a whole number, not of type number":           object{"name": "a", "count": 1.5},
		"/list must be an array, not of type object":                  object{"name": "a", "list": object{}},
		"/list/1 must be a string, not of type boolean":               object{"name": "a", "list": []any{"x", true}},
		"/map/k must be a whole number, not of type string":           object{"name": "a", "map": object{"k": "hunter2"}},
		"/inner must be an object or a string, not of type number":    object{"name": "a", "inner": new(big.Int)},
		"/inner/uri is missing: ":                                     object{"name": "a", "inner": object{}},
		"/maybe must be an object, not of type string":                object{"name": "a", "maybe": "hunter2"},
		"/maybe/url is not known here; known are uri":                 object{"name": "a", "maybe": object{"uri": "u", "url": "u"}},
		"/nam is not known here; known are name, on, count, any, lis": object{"name": "a", "nam": 1},
	} {
		err := executor.ReadArguments(arguments, new(all))
		p, ok := errors.AsType[*event.Problem](err)
		if !ok || p.Type != event.TypePrefix+event.Configuration || p.Status != 400 || !strings.Contains(p.Detail, want) || strings.Contains(p.Detail, "hunter2") {
			t.Errorf("%v: got %v; want %q", arguments, err, want)
		}
		if found := executor.CheckArguments(arguments, new(all)); len(found) != 1 || !strings.Contains(found[0], want) {
			t.Errorf("Check: %q", found)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{"": nil, "x": "x", "1": 1, "1.5": 1.5, "true": true, `{"a":[null]}`: object{"a": []any{nil}}} {
		if got := executor.Text(v); got != want {
			t.Errorf("Text(%v) = %q; want %q", v, got, want)
		}
	}
}

// What errors show of what a program printed is bounded, and valid text.
func TestPrinted(t *testing.T) {
	t.Parallel()
	for given, want := range map[string][3]string{
		"a\n\nb\r\n\n":                        {"a\n\nb", "a\n\nb", "b"},
		"":                                    {"", "", ""},
		"\xffx":                               {"\ufffdx", "\ufffdx", "\ufffdx"},
		strings.Repeat("l\n", 30):             {strings.Repeat("l\n", 29) + "l", strings.Repeat("l\n", 19) + "l", "l"},
		strings.Repeat("x", 5<<10) + " \n":    {strings.Repeat("x", 5<<10) + " ", strings.Repeat("x", executor.MaxTail-2) + " ", strings.Repeat("x", 200) + "…"},
		strings.Repeat("é", 150) + "\nlast\n": {strings.Repeat("é", 150) + "\nlast", strings.Repeat("é", 150) + "\nlast", "last"},
	} {
		got := [3]string{executor.Printed([]byte(given)), executor.Tail([]byte(given)), ""}
		got[2] = executor.LastLine(got[1])
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%.20q: %s", given, d)
		}
	}
}
