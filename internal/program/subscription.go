package program

import (
	"errors"
	"maps"
	"time"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Subscription is what a call asks of each message that it receives (DSL 76,
// 77). These conditions are not evaluated when the task is entered, but about
// each message, by who receives it.
type Subscription struct {
	texts      map[string]any    // filter, and consume with while or until, as written
	conditions map[string]*Value // by their text
	vars       []string          // that they read
}

// subscription compiles a subscription and returns what is left of it to be
// evaluated on entry. The tasks of its foreach are the node's Body.
func (c *compiler) subscription(n *Node, k *workflow.Call, given any, vars []string) (s *Subscription, rest any) {
	if f := k.Foreach; f != nil {
		n.Listen = &Listener{}
		c.foreach(n, f, vars)
	}
	section, ok := given.(map[string]any)
	if !ok {
		return nil, given
	}
	left := maps.Clone(section)
	delete(left, "foreach")
	s = &Subscription{conditions: map[string]*Value{}}
	take := func(from map[string]any, names ...string) map[string]any {
		texts := map[string]any{}
		for _, name := range names {
			text, ok := from[name].(string)
			if !ok {
				continue
			}
			delete(from, name)
			texts[name] = text
			v := c.expression(text, workflow.BodySite, vars)
			s.conditions[text] = v
			if v.expr != nil {
				s.vars = append(s.vars, v.expr.Vars()...)
			}
		}
		return texts
	}
	s.texts = take(left, "filter")
	if consume, ok := left["consume"].(map[string]any); ok {
		consume = maps.Clone(consume)
		left["consume"] = consume
		s.texts["consume"] = take(consume, "while", "until")
	}
	return s, left
}

// Complete puts the conditions, as written, back to the rest of the subscription.
func (s *Subscription) Complete(rest any) any { return merged(rest, s.texts) }

func merged(a any, b map[string]any) map[string]any {
	given, _ := a.(map[string]any)
	out := make(map[string]any, len(given)+len(b))
	maps.Copy(out, given)
	for k, v := range b {
		if inner, ok := v.(map[string]any); ok {
			v = merged(out[k], inner)
		}
		out[k] = v
	}
	return out
}

// Scope is what the conditions of a subscription are evaluated in, outside the
// machine: they and the variables that they read, as these were on entry. It
// never changes. A nil Scope has no conditions.
type Scope struct {
	of   *Subscription
	at   string
	vars map[string]any
}

// Scope takes the variables of a task from lookup.
func (s *Subscription) Scope(reference string, lookup func(string) any) *Scope {
	out := &Scope{of: s, at: reference, vars: make(map[string]any, len(s.vars))}
	for _, name := range s.vars {
		out.vars[name] = lookup(name)
	}
	return out
}

// Evaluate evaluates a condition, which is named by its text, about a message.
// The time is what `now` gives. Each evaluation has the budget of one expression.
func (s *Scope) Evaluate(now time.Time, condition string, message any) (any, error) {
	if s == nil || s.of.conditions[condition] == nil {
		return nil, errors.New("the task has no such condition")
	}
	ok, err := s.of.conditions[condition].EvalBool(nil, message, func(name string) any {
		if name == "$__now" {
			return float64(now.UnixMicro()) / 1e6
		}
		return s.vars[name]
	})
	if err != nil {
		ev := Evaluator{At: s.at, Ordinal: new(uint64)}
		return nil, ev.problem(err)
	}
	return ok, nil
}
