package schema_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/schema"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func decode(t *testing.T, s string) any {
	t.Helper()
	v, err := value.Decode([]byte(s))
	if err != nil {
		t.Fatalf("decode %s: %v", s, err)
	}
	return v
}

// DSL 24, DSL 28, DSL 30: what is said about data that does not match.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, data, want string }{
		{`{"type":"object"}`, `{}`, ``},
		{`true`, `1`, ``},
		{`false`, `1`, `nothing is allowed here`},
		{`{"type":"integer"}`, `1`, ``},
		{`{"type":"integer"}`, `1.0`, ``},
		{`{"type":"integer"}`, `123456789012345678901234567890`, ``},
		{`{"type":"integer","maximum":10}`, `[123456789012345678901234567890]`, `expected integer, found array`},
		{`{"items":{"type":"integer","maximum":10}}`, `[1,123456789012345678901234567890]`, `/1: must be at most 10, is 123456789012345678901234567890`},
		{`{"maximum":1e30}`, `123456789012345678901234567890123`, `must be at most 1000000000000000000000000000000, is 123456789012345678901234567890123`},
		{
			`{"properties":{"age":{"type":"integer"},"name":{"type":"string"}},"required":["name","id"]}`, `{"age":"x"}`,
			`missing properties "id", "name"; /age: expected integer, found string`,
		},
		{`{"properties":{"a":{}},"additionalProperties":false}`, `{"a":1,"c":2,"b":3}`, `unknown properties "b", "c"`},
		{`{"properties":{"a/b":{"minLength":3}}}`, `{"a/b":"é😀"}`, `/a~1b: must have at least 3 characters, has 2`},
		{`{"enum":["a","b",1]}`, `"c"`, `expected one of "a", "b", 1, found "c"`},
		{`{"const":{"a":1}}`, `2`, `expected {"a":1}, found 2`},
		{`{"pattern":"^\\u0061+$"}`, `"aaa"`, ``},
		{`{"pattern":"^a+$"}`, `"b"`, `"b" does not match the pattern ^a+$`},
		{`{"minItems":2,"uniqueItems":true}`, `[1]`, `must have at least 2 items, has 1`},
		{`{"uniqueItems":true}`, `[1,2,1]`, `items 0 and 2 are equal, all must differ`},
		{
			`{"anyOf":[{"type":"string"},{"type":"object","required":["x"]}]}`, `1`,
			`matches none of the alternatives (expected string, found number, or expected object, found number)`,
		},
		{`{"oneOf":[{"type":"number"},{"minimum":0}]}`, `1`, `must match exactly one alternative, matches number 1 and 2`},
		{`{"not":{"type":"string"}}`, `"x"`, `matches what is not allowed`},
		{`{"$defs":{"n":{"type":"number"}},"items":{"$ref":"#/$defs/n"}}`, `[1,"x"]`, `/1: expected number, found string`},
		{`{"minimum":1,"multipleOf":0.5}`, `0.3`, `must be a multiple of 0.5, is 0.3; must be at least 1, is 0.3`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}]}`, `[1]`, `/0: expected string, found number`},
		{`{"prefixItems":[{"type":"string"}],"items":false}`, `["a",1]`, `/1: nothing is allowed here`},
		{`{"if":{"properties":{"k":{"const":"a"}}},"then":{"required":["v"]}}`, `{"k":"a"}`, `missing property "v"`},
	} {
		s, err := schema.Compile(decode(t, c.schema))
		if err != nil {
			t.Errorf("compile %s: %v", c.schema, err)
			continue
		}
		got := ""
		if err := s.Validate(decode(t, c.data)); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s on %s (-want +got):\n%s", c.schema, c.data, diff)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`1`:                                "a schema is an object",
		`{"type":"strnig"}`:                "/type",
		`{"$ref":"http://example.com/s"}`:  "reference to http://example.com/s: a schema must stand alone",
		`{"$ref":"other.json"}`:            "reference to other.json: a schema must stand alone",
		`{"$ref":"file:///etc/passwd"}`:    "a schema must stand alone",
		`{"$ref":"#/$defs/x"}`:             "reference to /$defs/x, which is not in the schema",
		`{"$schema":"http://example.com"}`: "must stand alone",
		`{"pattern":"a(?=b)"}`:             "look-around",
		`{"pattern":"a("}`:                 "is not valid",
		`{"minLength":-1}`:                 "/minLength: must be at least 0, is -1",
	} {
		_, err := schema.Compile(decode(t, in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%s): got %v, want an error with %q", in, err, want)
		}
	}
}

func TestProblemsAreBoundedAndStable(t *testing.T) {
	t.Parallel()
	s, err := schema.Compile(decode(t, `{"additionalProperties":{"type":"string"}}`))
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]any{}
	for i := range 100 {
		data[string(rune('a'+i/26))+string(rune('a'+i%26))] = i
	}
	first := s.Validate(data)
	var invalid *schema.Invalid
	if !errors.As(first, &invalid) || len(invalid.Problems) != schema.MaxProblems || invalid.More != 80 {
		t.Fatalf("got %v", first)
	}
	for range 5 {
		if diff := cmp.Diff(first.Error(), s.Validate(data).Error()); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestValidateAtTheSameTime(t *testing.T) {
	t.Parallel()
	s, err := schema.Compile(decode(t, `{"properties":{"a":{"type":"integer"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if err := s.Validate(map[string]any{"a": 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"$ref":"#"}}}`), []byte(`{"a":{"a":1}}`))
	f.Fuzz(func(t *testing.T, doc, data []byte) {
		d, err := value.Decode(doc)
		if err != nil {
			return
		}
		v, err := value.Decode(data)
		if err != nil {
			return
		}
		if s, err := schema.Compile(d); err == nil {
			if err := s.Validate(v); err != nil && err.Error() == "" {
				t.Error("an error says nothing")
			}
		}
	})
}
