package schema

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// MaxProblems is how many problems an *[Invalid] lists.
const MaxProblems = 20

// Problem is one thing that is wrong with a value.
type Problem struct {
	Pointer string // where, as a JSON pointer; "" is the whole value
	Message string // what, in plain words
}

// String returns "/age: expected integer, found string".
func (p Problem) String() string {
	if p.Pointer == "" {
		return p.Message
	}
	return p.Pointer + ": " + p.Message
}

// Invalid is the error of a value that does not match.
type Invalid struct {
	Problems []Problem // at least one, at most MaxProblems, in the order of their pointers
	More     int       // how many further ones are left out
}

// Error implements error.
func (e *Invalid) Error() string {
	s := join(e.Problems, len(e.Problems))
	if e.More > 0 {
		s += fmt.Sprintf("; and %d more", e.More)
	}
	return s
}

func join(ps []Problem, most int) string {
	var parts []string
	for _, p := range ps[:min(most, len(ps))] {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, "; ")
}

// problems lists the leaves of the library's tree, sorted: it goes through
// objects in any order.
func problems(e *jsonschema.ValidationError) []Problem {
	var out []Problem
	collect(e, &out)
	slices.SortFunc(out, func(a, b Problem) int {
		if c := strings.Compare(a.Pointer, b.Pointer); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(out)
}

func collect(e *jsonschema.ValidationError, out *[]Problem) {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf, *kind.ContentSchema:
		for _, c := range e.Causes {
			collect(c, out)
		}
		if len(e.Causes) > 0 {
			return
		}
	case *kind.AnyOf, *kind.OneOf:
		*out = append(*out, Problem{pointer(e.InstanceLocation), alternatives(e)})
		return
	}
	*out = append(*out, Problem{pointer(e.InstanceLocation), describe(e)})
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// alternatives says why none, or more than one, of several schemas fits.
func alternatives(e *jsonschema.ValidationError) string {
	if one, ok := e.ErrorKind.(*kind.OneOf); ok && len(one.Subschemas) > 0 {
		var which []string
		for _, i := range one.Subschemas {
			which = append(which, strconv.Itoa(i+1))
		}
		return "must match exactly one alternative, matches number " + strings.Join(which, " and ")
	}
	var why []string
	for _, c := range e.Causes {
		if s := join(problems(c), 2); s != "" && !slices.Contains(why, s) {
			why = append(why, s)
		}
		if len(why) == 4 {
			break
		}
	}
	if len(why) == 0 {
		return "matches none of the alternatives"
	}
	return "matches none of the alternatives (" + strings.Join(why, ", or ") + ")"
}

// describe says in plain words what the keyword of e asks for.
func describe(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return "expected " + strings.Join(k.Want, " or ") + ", found " + k.Got
	case *kind.Required:
		return "missing " + quoteProperties(k.Missing)
	case *kind.AdditionalProperties:
		return "unknown " + quoteProperties(k.Properties)
	case *kind.DependentRequired:
		return "missing " + quoteProperties(k.Missing) + ", needed because " + strconv.Quote(k.Prop) + " is there"
	case *kind.Dependency:
		return "missing " + quoteProperties(k.Missing) + ", needed because " + strconv.Quote(k.Prop) + " is there"
	case *kind.PropertyNames:
		return "property name " + strconv.Quote(k.Property) + " is not allowed"
	case *kind.Enum:
		return "expected one of " + list(k.Want) + ", found " + short(k.Got)
	case *kind.Const:
		return "expected " + short(k.Want) + ", found " + short(k.Got)
	case *kind.Pattern:
		return short(k.Got) + " does not match the pattern " + k.Want
	case *kind.Format:
		if k.Want == "regex" && k.Err != nil {
			return k.Err.Error() // ours: see compilePattern
		}
		return short(k.Got) + " is not a valid " + k.Want
	case *kind.Not:
		return "matches what is not allowed"
	case *kind.FalseSchema:
		return "nothing is allowed here"
	case *kind.UniqueItems:
		return fmt.Sprintf("items %d and %d are equal, all must differ", k.Duplicates[0], k.Duplicates[1])
	case *kind.InvalidJsonValue:
		return fmt.Sprintf("is no JSON value (%T)", k.Value)
	}
	return describeSize(e)
}

func describeSize(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %s, has %d", count(k.Want, "character"), k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %s, has %d", count(k.Want, "character"), k.Got)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %s, has %d", count(k.Want, "item"), k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %s, has %d", count(k.Want, "item"), k.Got)
	case *kind.AdditionalItems:
		return fmt.Sprintf("has %s too many", count(k.Count, "item"))
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d properties, has %d", k.Want, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d properties, has %d", k.Want, k.Got)
	case *kind.Contains:
		return "no item is of the required kind"
	case *kind.MinContains:
		return fmt.Sprintf("at least %s must be of the required kind, found %d", count(k.Want, "item"), len(k.Got))
	case *kind.MaxContains:
		return fmt.Sprintf("at most %s may be of the required kind, found %d", count(k.Want, "item"), len(k.Got))
	case *kind.Minimum:
		return "must be at least " + number(k.Want) + ", is " + number(k.Got)
	case *kind.Maximum:
		return "must be at most " + number(k.Want) + ", is " + number(k.Got)
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want) + ", is " + number(k.Got)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want) + ", is " + number(k.Got)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want) + ", is " + number(k.Got)
	}
	return "does not satisfy " + strings.Join(e.ErrorKind.KeywordPath(), "/")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func quoteProperties(names []string) string {
	names = slices.Sorted(slices.Values(names))
	for i := range names {
		names[i] = strconv.Quote(names[i])
	}
	if len(names) == 1 {
		return "property " + names[0]
	}
	if n := len(names) - 10; n > 0 {
		names = append(names[:10], fmt.Sprintf("and %d more", n))
	}
	return "properties " + strings.Join(names, ", ")
}

func list(vs []any) string {
	var parts []string
	for i, v := range vs {
		if i == 10 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, short(v))
	}
	return strings.Join(parts, ", ")
}

// short is a value as a reader of an error message wants to see it.
func short(v any) string {
	switch v := v.(type) {
	case []any:
		return "an array of " + count(len(v), "item")
	case map[string]any:
		if len(v) > 5 {
			return "an object"
		}
	case string:
		if r := []rune(v); len(r) > 60 {
			return strconv.Quote(string(r[:60])) + "…"
		}
	}
	s := string(value.JSON(v))
	if len(s) > 100 {
		return "an object"
	}
	return s
}

func number(r *big.Rat) string {
	if r.IsInt() {
		if s := r.Num().String(); len(s) <= 40 {
			return s
		}
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
