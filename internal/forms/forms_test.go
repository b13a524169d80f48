package forms_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/forms"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func TestInputForms(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "in.yaml")
	if err := os.WriteFile(file, []byte("day: 2026-01-02\nport: 0x10\nlist: [yes, 1.5, null]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		input string
		sets  []string
		want  string
	}{
		{"", nil, `{}`}, // D1
		{`null`, nil, `null`},
		{`[1,2.5,"x"]`, nil, `[1,2.5,"x"]`},
		{`{"big": 12345678901234567890}`, nil, `{"big":12345678901234567890}`},
		{"@" + file, nil, `{"day":"2026-01-02","list":["yes",1.5,null],"port":16}`}, // D30
		{"-", nil, `{"in":"stdin"}`},
		{"", []string{"a.b.c=1", "a.b.d=x", "a.e=true", `t="1"`, "empty="}, `{"a":{"b":{"c":1,"d":"x"},"e":true},"empty":"","t":"1"}`},
		{`{"a":{"b":1},"k":2}`, []string{"a.b=2", "a.c=[1]"}, `{"a":{"b":2,"c":[1]},"k":2}`},
		{`null`, []string{"a=1"}, `{"a":1}`},
		{"", []string{"q=a=b"}, `{"q":"a=b"}`},
	} {
		v, err := forms.Input(strings.NewReader(`{"in": "stdin"}`), c.input, c.input != "", c.sets)
		if err != nil {
			t.Errorf("%s %v: %v", c.input, c.sets, err)
			continue
		}
		if got := string(value.JSON(v)); got != c.want {
			t.Errorf("%s %v: got %s, want %s", c.input, c.sets, got, c.want)
		}
	}
}

func TestInputMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		input string
		sets  []string
		want  string
	}{
		{`{"a":`, nil, "invalid JSON at byte 5"},
		{`hello`, nil, "invalid JSON at byte 0"},
		{` `, nil, "it is empty"},
		{"@/no/such/file", nil, "no such file"},
		{"", []string{"novalue"}, "there is no name before an ="},
		{`[1]`, []string{"a=1"}, `"a" would have to be an object, but the input has array there`},
		{"", []string{"a=1", "a.b=2"}, `but the input has number there`},
	} {
		_, err := forms.Input(strings.NewReader(""), c.input, c.input != "", c.sets)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %v: got %v, want %s", c.input, c.sets, err, c.want)
		}
	}
	for input, want := range map[string]string{"orders.json": "@FILE for what a file holds", "forms_test.go": "did you mean --input @forms_test.go?"} {
		_, err := forms.Input(strings.NewReader(""), input, true, nil)
		if m, ok := errors.AsType[*forms.InputError](err); !ok || !strings.Contains(m.Hint, want) {
			t.Errorf("--input %s: %v; want the hint %q", input, err, want)
		}
	}
}

func TestEventsForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`{"type":"a"}`:                           1,
		`[{"type":"a"},{"type":"b"}]`:            2,
		"{\"type\":\"a\"}\n\n{\"type\":\"b\"}\n": 2,
		"{\"type\":\"a\"}\r\n{\"type\":\"b\"}":   2,
		"type: a\nsource: yaml\n":                1,
		"- type: a\n- type: b\n- type: c\n":      3,
		`[]`:                                     0,
	} {
		events, err := forms.Events(strings.NewReader(text), []string{"-"}, time.Now())
		if err != nil || len(events) != want {
			t.Errorf("%q: %d events, %v", text, len(events), err)
			continue
		}
		for _, e := range events {
			for _, k := range []string{"id", "source", "type", "specversion", "time"} {
				if s, _ := e[k].(string); s == "" {
					t.Errorf("%q: no %s in %v", text, k, e)
				}
			}
		}
	}
	for text, want := range map[string]string{
		`{"source":"a"}`:           `its "type" must be a string`,
		`[1]`:                      "event 1 in -: want an object, found number",
		`{"type":"a","id":7}`:      `its "id" must be`,
		"{\"type\":\"a\"}\nbroken": "cannot be read",
	} {
		if _, err := forms.Events(strings.NewReader(text), []string{"-"}, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestYAMLKeepsTheOrderAndTheText(t *testing.T) {
	t.Parallel()
	b, err := forms.YAML([]byte(`{"z":1,"a":"yes","m":{"t":"line\nline","k":null,"d":"2026-01-02","e":""},"l":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "z: 1\na: \"yes\"\nm:\n  t: |-\n    line\n    line\n  k: null\n  d: \"2026-01-02\"\n  e: \"\"\nl: []\n"
	if string(b) != want {
		t.Errorf("got\n%s", b)
	}
}
