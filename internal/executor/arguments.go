package executor

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// ReadArguments puts evaluated arguments into the struct that into points to,
// by the same tags that SchemaOf reads. A null stands for a property that is
// not there. The error is an *event.Problem configuration/400 that names the
// property and says what would be right.
func ReadArguments(arguments, into any) error {
	return read("", arguments, reflect.ValueOf(into).Elem(), "")
}

// CheckArguments says what ReadArguments would find wrong, for Checker.
func CheckArguments(arguments, into any) []string {
	if err := ReadArguments(arguments, into); err != nil {
		if p, ok := errors.AsType[*event.Problem](err); ok {
			return []string{p.Detail}
		}
		return []string{err.Error()}
	}
	return nil
}

func read(at string, v any, into reflect.Value, other string) error {
	if v == nil {
		return nil
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		return read(at, v, into.Elem(), other)
	}
	switch into.Kind() {
	case reflect.Interface:
		into.Set(reflect.ValueOf(v))
		return nil
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return mismatch(at, "a string", v)
		}
		into.SetString(s)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return mismatch(at, "true or false", v)
		}
		into.SetBool(b)
	case reflect.Int:
		n, ok := v.(int)
		if !ok {
			return mismatch(at, "a whole number", v)
		}
		into.SetInt(int64(n))
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return mismatch(at, "an array", v)
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, x := range list {
			if err := read(at+"/"+itoa(i), x, into.Index(i), ""); err != nil {
				return err
			}
		}
	case reflect.Map:
		return readMap(at, v, into)
	case reflect.Struct:
		return readStruct(at, v, into, other)
	default:
		panic("executor: arguments cannot hold a " + into.Type().String())
	}
	return nil
}

func readMap(at string, v any, into reflect.Value) error {
	m, ok := v.(map[string]any)
	if !ok {
		return mismatch(at, "an object", v)
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		x := reflect.New(into.Type().Elem()).Elem()
		if err := read(at+"/"+k, m[k], x, ""); err != nil {
			return err
		}
		into.SetMapIndex(reflect.ValueOf(k), x)
	}
	return nil
}

func readStruct(at string, v any, into reflect.Value, other string) error {
	m, ok := v.(map[string]any)
	if s, isString := v.(string); isString && other == "string" {
		// The short form stands for the first property of the long one.
		return read(at, s, into.Field(0), "")
	}
	if !ok {
		if other != "" {
			return mismatch(at, "an object or a "+other, v)
		}
		return mismatch(at, "an object", v)
	}
	known := 0
	var names []string
	for f := range fieldsOf(into.Type()) {
		name := f.Tag.Get("json")
		names = append(names, name)
		x, there := m[name]
		if there {
			known++
		}
		if x == nil && f.Tag.Get("required") == "true" {
			return invalid("%s is missing: %s", at+"/"+name, f.Tag.Get("doc"))
		}
		if err := read(at+"/"+name, x, into.FieldByIndex(f.Index), f.Tag.Get("oneof")); err != nil {
			return err
		}
		if s, ok := x.(string); ok && f.Tag.Get("enum") != "" && !slices.Contains(strings.Split(f.Tag.Get("enum"), "|"), s) {
			return invalid("%s is %q; it must be one of %s", at+"/"+name, s, strings.ReplaceAll(f.Tag.Get("enum"), "|", ", "))
		}
	}
	if known < len(m) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !slices.Contains(names, k) {
				return invalid("%s is not known here; known are %s", at+"/"+k, strings.Join(names, ", "))
			}
		}
	}
	return nil
}

func mismatch(at, want string, v any) *event.Problem {
	if at == "" {
		at = "the arguments"
	}
	// Only the type is shown: the value may hold a secret.
	return invalid("%s must be %s, not of type %s", at, want, value.TypeName(v))
}

func itoa(i int) string { return string(value.JSON(i)) }

// Text gives the text of a scalar as it goes into a header, a query, an
// argument or an environment variable: strings as they are, null as nothing,
// the rest as compact JSON.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return string(value.JSON(v))
}
