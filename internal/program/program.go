// Package program turns a definition into what the machine runs: nodes with
// their references, compiled expressions, templates, schemas and durations, and
// every name of `use` resolved. A Program never changes, so all runs of a
// definition share one.
//
// [Compile] expects a definition that package check found no fault in; it still
// reports what it cannot compile, with the reference of the task, and never panics.
package program

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Options is what a definition cannot say about its surroundings.
type Options struct {
	// Functions are the names of the default catalogue: `call: noop` becomes an
	// attempt of the kind "noop" when "noop" is among them (D37).
	Functions []string
}

// PassThrough is the function of the default catalogue that takes the task's
// input when the author gives it no arguments: it answers with what it got.
const PassThrough = "noop"

// Program is a compiled definition.
type Program struct {
	Definition *workflow.Definition
	Root       *List
	Input      *In
	Output     *Out
	Timeout    *Duration
	// Secrets are the names that expressions of the definition may read, sorted;
	// empty when no expression reads $secrets.
	Secrets []string
	// Nodes are all tasks, in the order of compilation.
	Nodes []*Node
}

// Node returns the task with this reference, or nil.
func (p *Program) Node(reference string) *Node {
	for _, n := range p.Nodes {
		if n.Reference == reference {
			return n
		}
	}
	return nil
}

// List is a list of tasks that run one after another.
type List struct {
	Nodes []*Node
	// Jumps: some directive of the list names a task, so a task may be entered again.
	Jumps bool
}

// Op tells what the machine does with a node.
type Op uint8

// The operations.
const (
	NoOp Op = iota
	Do
	Set
	Switch
	Raise
	Wait
	For
	Fork
	Try
	Emit
	Listen
	Dispatch // a call or process that an executor carries out
	Function // a call of a function of the document (D24)
	Map      // D36
	Child    // run: workflow
)

// Node is one task.
type Node struct {
	Index     int // in its list
	Name      string
	Reference string
	Label     string // "call http", "run shell", "set"
	Op        Op
	Task      *workflow.Task

	If         *Value // nil: always
	Input      *In
	Output     *Out
	Export     *Out
	Timeout    *Duration
	Then       Flow
	Extensions []*Extension

	// WantsAuthorization: output.as or export.as reads $authorization.
	WantsAuthorization bool
	MayRepeat          bool
	Labels             map[string]string
	Workspace          string

	Body     *List   // of do, for, try, map, function, and the foreach of a listen or subscription
	Branches []*List // of fork: one task each
	Compete  bool    // of fork
	Value    *Value  // of set
	Cases    []Case  // of switch
	Error    *Error  // of raise
	Duration *Duration
	For      *Loop
	Map      *Fan
	Try      *Catch
	Call     *Call
	Child    *Spawn
	Emit     *Value
	Listen   *Listener
}

// In is a compiled `input` section.
type In struct {
	Schema *Schema
	From   *Value // nil: identity
}

// Out is a compiled `output` or `export` section.
type Out struct {
	As     *Value // nil: identity
	Schema *Schema
}

// FlowKind tells where the run goes after a task (DSL 53-56).
type FlowKind uint8

// The kinds of flow.
const (
	Next FlowKind = iota
	Exit
	End
	Jump
)

// Flow is a flow directive; Target is the index of the task in its list, for a Jump.
type Flow struct {
	Kind   FlowKind
	Target int
}

// Case is one case of a switch; When is nil for the default.
type Case struct {
	When *Value
	Then Flow
}

// Error is the error of a raise task; absent parts are nil.
type Error struct {
	Type, Status, Title, Detail, Instance *Value
}

// Loop is the head of a for task. Names carry their "$".
type Loop struct {
	In       *Value
	Each, At string
	While    *Value
}

// Fan is the head of a map (D36).
type Fan struct {
	In, Limit *Value // Limit nil: 10
	Each, At  string
	Continue  bool // onError: continue
}

// Catch is the catch section of a try task.
type Catch struct {
	With             map[string]any // static filter; nil: every error
	As               string         // with its "$"
	When, ExceptWhen *Value
	Retry            *Retry
	Do               *List // nil: none
	Then             *Flow // nil: the task's own
}

// Retry is a retry policy.
type Retry struct {
	When, ExceptWhen     *Value
	Delay                *Duration
	Backoff              string
	Count                *int
	AttemptLimit, Limit  *Duration
	JitterFrom, JitterTo *Duration
}

// Unlimited reports that nothing but the author's own conditions ends the retries.
func (r *Retry) Unlimited() bool { return r.Count == nil && r.Limit == nil }

// Call is what an executor gets.
type Call struct {
	Kind string
	// With is the section as written, without the endpoint of http and the code of a script.
	With     *Value
	Endpoint *Endpoint
	Code     *Value
	Extra    map[string]any // "return", "await"
	// Subscription is set for a call that receives messages; with a foreach for
	// them, the node has a Listener too.
	Subscription *Subscription
	// PassInput: without arguments the task's input is the argument.
	PassInput bool
	Await     bool
}

// Endpoint is the endpoint of a call over HTTP (DSL 59).
type Endpoint struct {
	URI            *Value
	Template       string // a URI template to be expanded from the input; then URI is nil
	Authentication *Value // nil: none
}

// Spawn is a run of another workflow (DSL 141).
type Spawn struct {
	Name  string // namespace/name:version
	Input *Value // nil: the task's input (D25)
	Await bool
}

// Extension is one compiled extension (DSL 195, 196).
type Extension struct {
	Name          string
	When          *Value
	Before, After *List
}

// Compile compiles a definition.
func Compile(def *workflow.Definition, o Options) (*Program, error) {
	if def == nil {
		return nil, errors.New("compile: there is no definition")
	}
	c := &compiler{def: def, options: o, functions: map[string]*List{}}
	p := &Program{Definition: def}
	c.program = p
	c.extensions()
	c.at = "/input"
	p.Input = c.in(def.Input, workflow.WorkflowInputSite, nil)
	c.at = "/output"
	p.Output = c.out(def.Output, workflow.WorkflowOutputSite, nil)
	c.at = "/timeout"
	p.Timeout = c.timeout(def.Timeout, workflow.WorkflowTimeoutSite, nil)
	p.Root = c.list(def.Do, nil)
	for i := 0; i < len(c.attach); i++ { //nolint:intrange // the list grows while it is walked
		c.attach[i]()
	}
	p.Secrets = c.secrets()
	if len(c.errs) > 0 {
		return nil, fmt.Errorf("compile %s: %w", def.Document.ID(), errors.Join(c.errs...))
	}
	return p, nil
}

// compiler holds what one Compile needs.
type compiler struct {
	def         *workflow.Definition
	options     Options
	program     *Program
	functions   map[string]*List
	exts        []compiledExtension
	inExtension bool
	// attach are the steps that wait until everything is compiled.
	attach      []func()
	at          string // reference of what is being compiled, for errors
	secretNames []string
	allSecrets  bool
	errs        []error
}

type compiledExtension struct {
	extend string
	*Extension
}

func (c *compiler) fail(format string, args ...any) {
	if len(c.errs) < 20 {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", c.at, fmt.Errorf(format, args...)))
	}
}

// secrets are the names that the run must resolve before it begins. An
// expression that reads $secrets as a whole may read each declared one.
func (c *compiler) secrets() []string {
	var names []string
	for _, s := range c.def.Use.Secrets {
		if c.allSecrets || slices.Contains(c.secretNames, s.Name) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *compiler) extensions() {
	c.inExtension = true
	for i, e := range c.def.Use.Extensions {
		c.at = fmt.Sprintf("/use/extensions/%d", i)
		x := &Extension{Name: e.Name, When: c.condition(e.When, workflow.ExtensionWhenSite, nil)}
		if len(e.Before) > 0 {
			x.Before = c.list(e.Before, nil)
		}
		if len(e.After) > 0 {
			x.After = c.list(e.After, nil)
		}
		c.exts = append(c.exts, compiledExtension{e.Extend, x})
	}
	c.inExtension = false
}

// extensionsOf are those that extend this kind of task, in the order of
// declaration. Composite tasks are do and fork (D20).
func (c *compiler) extensionsOf(k workflow.Kind) []*Extension {
	if c.inExtension {
		return nil
	}
	var out []*Extension
	for _, e := range c.exts {
		composite := e.extend == "composite" && (k == workflow.DoTask || k == workflow.ForkTask)
		if e.extend == "all" || composite || e.extend == k.String() {
			out = append(out, e.Extension)
		}
	}
	return out
}

func (c *compiler) list(tasks workflow.TaskList, vars []string) *List {
	l := &List{Nodes: make([]*Node, 0, len(tasks))}
	for i, t := range tasks {
		l.Nodes = append(l.Nodes, c.node(t, i, tasks, vars, l))
	}
	return l
}

func (c *compiler) flow(d workflow.Directive, tasks workflow.TaskList, l *List) Flow {
	switch d.Name {
	case "", "continue":
		return Flow{}
	case "exit":
		return Flow{Kind: Exit}
	case "end":
		return Flow{Kind: End}
	}
	i := tasks.Index(d.Name)
	if i < 0 {
		c.fail("then: there is no task %q in the same list", d.Name)
	}
	l.Jumps = true
	return Flow{Kind: Jump, Target: max(i, 0)}
}

// dollar is the name of a variable with its "$".
func dollar(name string) string { return "$" + strings.TrimPrefix(name, "$") }

// with returns vars and more, never sharing the array.
func with(vars []string, more ...string) []string {
	return append(slices.Clip(slices.Clone(vars)), more...)
}
