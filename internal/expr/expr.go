// Package expr compiles and evaluates runtime expressions, which are written
// in jq, and templates: JSON values whose strings may be expressions. It and
// package jq, which holds the built-in functions, alone know gojq.
//
// An evaluation is a function of its input and its variables: the same on
// every machine, in every time zone, at every time. It reads no clock (now is
// what the caller's lookup gives for "$__now"), no environment and no input of
// the process. It never changes what it is given, and it always ends: see
// [Budget]. An [Expr] and a [Template] may be used by many goroutines at once.
//
// Callers compile when a definition is loaded, and evaluate with the input of
// the moment. Data is never compiled: text that looks like an expression but
// came with the input stays text (DSL 50).
package expr

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/itchyny/gojq"

	"github.com/downbeat-dev/downbeat/internal/jq"
)

// The limits that hold when a Budget does not say otherwise.
const (
	DefaultSteps     = jq.DefaultSteps     // of one expression
	DefaultMaxResult = jq.DefaultMaxResult // bytes of JSON
)

// Budget bounds evaluations; see [jq.Budget].
type Budget = jq.Budget

// NowVariable is the name by which an evaluation looks up the time, in seconds
// since 1970, when its expression calls now.
const NowVariable = "$__now"

// Expr is one compiled expression.
type Expr struct {
	source string
	facts  facts
	vars   []string // looked up, in the order of the program's variables
	query  *gojq.Query
	used   map[string]bool
	fast   node
	shares bool          // what fast gives needs no check
	idle   chan *jq.Code // a free list: programs that no evaluation uses
}

// Compile compiles src, which is jq, bare or wholly wrapped in ${ }. The
// expression may use the variables in scope, whose names include the "$". An
// error is a *[SyntaxError].
func Compile(src string, scope []string) (*Expr, error) {
	inner, offset, ok := unwrap(src)
	if !ok {
		inner, offset = src, 0
	}
	e, err := compile(inner, scope)
	if err != nil {
		if syntax, ok := errors.AsType[*SyntaxError](err); ok {
			return nil, &SyntaxError{Offset: offset + syntax.Offset, Message: syntax.Message}
		}
		return nil, &SyntaxError{Offset: offset, Message: err.Error()}
	}
	e.source = src
	return e, nil
}

// maxSource bounds one expression: a definition has at most 1 MiB in all.
const maxSource = 1 << 20

func compile(src string, scope []string) (*Expr, error) {
	if len(src) > maxSource {
		return nil, &SyntaxError{Message: "the expression is longer than 1 MiB"}
	}
	q, err := parse(src)
	if err != nil {
		return nil, err
	}
	e := &Expr{}
	a := analyser{src: src, scope: scope}
	if e.facts, err = a.analyse(q); err != nil {
		return nil, err
	}
	e.vars = slices.Clone(e.facts.vars)
	if e.facts.now {
		e.vars = append(e.vars, NowVariable)
	}
	e.fast = fastNode(q, e.vars)
	e.shares = e.fast != nil && shares(e.fast)
	e.query, e.used = q, rewrite(q)
	code, err := jq.Compile(e.query, e.vars, e.used)
	if err != nil {
		return nil, compileError(src, err)
	}
	e.idle = make(chan *jq.Code, idleCodes)
	e.idle <- code
	return e, nil
}

// idleCodes is how many programs an expression keeps for evaluations at the
// same time; more are made when needed and dropped.
const idleCodes = 4

// take returns a program for one evaluation.
func (e *Expr) take() (*jq.Code, error) {
	select {
	case code := <-e.idle:
		return code, nil
	default:
		return jq.Compile(e.query, e.vars, e.used)
	}
}

func (e *Expr) giveBack(code *jq.Code) {
	code.Forget()
	select {
	case e.idle <- code:
	default:
	}
}

// Source returns the expression as it was given to [Compile].
func (e *Expr) Source() string { return e.source }

// Vars returns the variables that the expression refers to, sorted.
func (e *Expr) Vars() []string { return e.facts.vars }

// SecretNames returns the names of the secrets that the expression reads by
// name, sorted: $secrets.name or $secrets["name"].
func (e *Expr) SecretNames() []string { return e.facts.secrets }

// ReadsSecrets reports whether the expression refers to $secrets in any way.
func (e *Expr) ReadsSecrets() bool { return slices.Contains(e.facts.vars, "$secrets") }

// UsesNow reports whether an evaluation asks its lookup for [NowVariable].
func (e *Expr) UsesNow() bool { return e.facts.now }

// EndsInIterator reports whether the expression can give several values
// because an iterator such as .[] in it is not collected by [ ]: D13 warns.
func (e *Expr) EndsInIterator() bool { return e.facts.many }

// Eval evaluates the expression on input. Variables are asked from lookup by
// name, "$" included, each at most once. No value gives null, one value gives
// it, several give an array of them: D13. An error is an *[Error]. A nil
// budget has the default limits.
func (e *Expr) Eval(b *Budget, input any, lookup func(name string) any) (any, error) {
	out, several, err := e.run(b, input, lookup)
	if err != nil || several == nil {
		return out, err
	}
	return several, nil
}

// EvalBool evaluates a condition: null and false are false, all else is true,
// several values are an error: D14d, D13.
func (e *Expr) EvalBool(b *Budget, input any, lookup func(name string) any) (bool, error) {
	out, several, err := e.run(b, input, lookup)
	if err != nil {
		return false, err
	}
	if several != nil {
		return false, &Error{
			Kind: Failed, Source: jq.Shorten(e.source, 200),
			Message: "a condition must give one value, this gave " + strconv.Itoa(len(several)) + "; use any or all",
		}
	}
	return out != nil && out != false, nil
}

// run gives one value, or several if there are more.
func (e *Expr) run(b *Budget, input any, lookup func(string) any) (one any, several []any, err error) {
	defer func() {
		// gojq panics where its own invariants break, or a value is of no form
		// that it knows; that is no reason for the process to die.
		if r := recover(); r != nil {
			one, several, err = nil, nil, e.wrap(fmt.Errorf("jq's machine broke: %v", r))
		}
	}()
	c := fast{e: e, lookup: lookup}
	c.Init(b)
	m := &c.Meter
	done := false
	if e.fast != nil {
		one, done = e.fast.eval(&c, input)
		err = c.err
	}
	if !done && err == nil && m.Stopped() == nil {
		one, several, err = e.runCode(m, input, lookup)
	}
	if err == nil && m.Stopped() == nil && (!done || !e.shares) {
		one, several = m.Result(one, several)
	}
	if stop := m.Stopped(); stop != nil {
		err = stop
	}
	m.Settle()
	if err != nil {
		return nil, nil, e.wrap(err)
	}
	return one, several, nil
}

func (e *Expr) runCode(m *jq.Meter, input any, lookup func(string) any) (one any, several []any, err error) {
	code, err := e.take()
	if err != nil {
		return nil, nil, err
	}
	vars := make([]any, len(e.vars))
	for i, name := range e.vars {
		if vars[i], err = e.resolve(name, lookup); err != nil {
			return nil, nil, err
		}
	}
	iter := code.Run(m, input, vars...)
	for n := 0; ; n++ {
		v, ok := iter.Next()
		if !ok || m.Stopped() != nil {
			e.giveBack(code)         // not after a panic: what is left of it is in no known state
			return one, several, nil //nolint:nilerr // the caller asks the meter
		}
		if err, ok := v.(error); ok {
			e.giveBack(code)
			return nil, nil, err
		}
		switch n {
		case 0:
			one = v
		case 1:
			several = []any{one, v}
		default:
			m.Charge(2)
			several = append(several, v)
		}
	}
}

// resolve asks for a variable, and checks that named secrets are there: D17.
func (e *Expr) resolve(name string, lookup func(string) any) (any, error) {
	var v any
	if lookup != nil {
		v = lookup(name)
	}
	if name == "$secrets" {
		m, ok := v.(map[string]any)
		for _, s := range e.facts.secrets {
			if _, has := m[s]; !ok || !has {
				return nil, &Error{Kind: SecretMissing, Secret: s, Message: "secret " + strconv.Quote(s) + " is not available; list it in use.secrets and define it"}
			}
		}
	}
	return v, nil
}

// wrap makes the *Error that callers get.
func (e *Expr) wrap(err error) error {
	source := jq.Shorten(e.source, 200)
	if ours, ok := errors.AsType[*Error](err); ok {
		ours.Source = source
		return ours
	}
	if s, ok := errors.AsType[*jq.Stop](err); ok {
		return &Error{Kind: kindOf(s.Reason), Message: s.Message, Source: source}
	}
	return &Error{Kind: Failed, Message: userError(err), Source: source}
}
