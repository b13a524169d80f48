package workflow

// TaskList is a list of named tasks, in the order of execution (DSL 10).
type TaskList []*Task

// Index returns the place of the task called name, or -1.
func (l TaskList) Index(name string) int {
	for i, t := range l {
		if t.Name == name {
			return i
		}
	}
	return -1
}

// Kind tells which of the DSL's tasks a task is.
type Kind uint8

// The kinds of task.
const (
	NoKind Kind = iota
	CallTask
	DoTask
	EmitTask
	ForTask
	ForkTask
	ListenTask
	RaiseTask
	RunTask
	SetTask
	SwitchTask
	TryTask
	WaitTask
)

var kindNames = [...]string{"", "call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait"}

// String is the keyword of the kind.
func (k Kind) String() string { return kindNames[k] }

// Task is one task of a definition. Exactly the part that Kind names is set.
type Task struct {
	Pos       Pos // of the name
	Name      string
	Reference string // JSON pointer, escaped: /do/0/name (D18)
	Kind      Kind

	// Properties of every task (DSL 22-32).
	If       *Expr
	Input    *DataIn
	Output   *DataOut
	Export   *DataOut
	Timeout  *TimeoutRef
	Then     Directive
	Metadata map[string]any
	Downbeat *TaskSettings  // metadata.downbeat of the task; nil when absent
	Literal  map[string]any // the task as plain values, what $task.definition shows

	Call   *Call
	Do     TaskList // of do, for, try (its try block) and fork (its branches)
	Emit   *Value   // emit.event.with, a map
	For    *For
	Fork   *Fork
	Listen *Listen
	Raise  *Raise
	Run    *Run
	Set    *Value
	Switch []Case
	Try    *Catch
	Wait   *Duration
}

// Directive is a flow directive: "", "continue", "exit", "end" or the name of a task (DSL 53-56).
type Directive struct {
	Pos  Pos
	Name string
}

// Call is a call task (DSL 58-85).
type Call struct {
	Pos  Pos
	Name string // as written: http, grpc, a function name, name:version@catalog, a URI
	With Value  // the arguments as written; NoValue when absent
	// Map holds the parts of `call: map` (D36) unless a function of the document has that name.
	Map *Map
	// Auth is the authentication found in With (endpoint.authentication and its kin), decoded.
	Auth *Auth
	// Foreach is with.subscription.foreach of `call: asyncapi`, decoded (DSL 76).
	Foreach *Foreach
}

// Map is the fan-out of the default catalogue (D36).
type Map struct {
	Pos      Pos
	In       Value // expression or list
	Each, At string
	Limit    *Value // integer or expression; nil = 10
	OnError  string // "fail" or "continue"
	Do       TaskList
}

// For is the head of a for task; the body is Task.Do (DSL 98-102).
type For struct {
	Pos      Pos
	Each, At string // defaults filled in: "item", "index"
	In       Value  // expression (bare or wrapped), or a list written in place
	While    *Expr
}

// Fork is the head of a fork task; the branches are Task.Do, one task each (DSL 103-107).
type Fork struct {
	Pos     Pos
	Compete bool
}

// Catch is the catch section of a try task; the block is Task.Do (DSL 108-117).
type Catch struct {
	Pos              Pos
	With             *Value // errors.with: type, status, instance, title, detail
	As               string // default "error"
	When, ExceptWhen *Expr
	Retry            *Retry
	RetryName        string // name in use.retries; then Retry is nil until resolved
	Do               TaskList
	Then             Directive
}

// Raise is a raise task (DSL 91, 92).
type Raise struct {
	Pos   Pos
	Name  string // of use.errors
	Error *Error
}

// Case is one case of a switch (DSL 88-90).
type Case struct {
	Pos  Pos
	Name string
	When *Expr // nil: the default
	Then Directive
}

// Listen is a listen task (DSL 119-129).
type Listen struct {
	Pos     Pos
	To      Strategy
	Read    string // "data", "envelope", "raw"
	Foreach *Foreach
}

// Mode tells how a strategy combines its filters.
type Mode uint8

// The modes of a strategy.
const (
	One Mode = iota + 1
	Any
	All
)

// Strategy is an event consumption strategy (DSL 119-122).
type Strategy struct {
	Pos     Pos
	Mode    Mode
	Filters []Filter // empty with Any: every event
	// Until of `any`: a condition, another strategy, or never (`until: false`).
	UntilExpr     *Expr
	UntilStrategy *Strategy
	UntilFalse    bool
}

// Filter is one event filter (DSL 126, 127).
type Filter struct {
	Pos       Pos
	With      Value // attributes: constants, regular expressions, expressions
	Correlate []Correlation
}

// Correlation is one entry of a filter's correlate map.
type Correlation struct {
	Pos    Pos
	Name   string
	From   Expr
	Expect *Value // constant or expression; nil: the first value seen fixes the key
}

// Foreach is the iterator of a listen task (DSL 125).
type Foreach struct {
	Pos            Pos
	Item, At       string // defaults filled in: "item", "index"
	Do             TaskList
	Output, Export *DataOut
}

// RunKind tells what a run task starts.
type RunKind uint8

// The kinds of process that a run task starts.
const (
	NoRun RunKind = iota
	RunContainer
	RunScript
	RunShell
	RunWorkflow
)

var runNames = [...]string{"", "container", "script", "shell", "workflow"}

// String is the keyword of the kind.
func (k RunKind) String() string { return runNames[k] }

// Run is a run task (DSL 130-142).
type Run struct {
	Pos    Pos
	Kind   RunKind
	Await  bool      // default true
	Return string    // "stdout" (default), "stderr", "code", "all", "none"
	With   Value     // the section of Kind as written, a map
	Source *Resource // script.source, decoded
	// Workflow is the child that `run: workflow` names.
	Workflow *ChildRef
}

// ChildRef names the workflow that a run task starts (DSL 141).
type ChildRef struct {
	Pos                      Pos
	Namespace, Name, Version string // Version "latest" by default
	Input                    *Value // nil: the task's transformed input (D25)
}
