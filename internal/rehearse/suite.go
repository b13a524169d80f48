package rehearse

import (
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Suite is a test file as it was read.
type Suite struct {
	Source    []byte
	Pos       source.Pos
	Workflow  Text // file of the workflow, relative to the test file
	Workflows Text // directory of workflows that it may start; empty: none
	// Minimum is the coverage in per cent that the cases must reach together;
	// nil: none is asked for.
	Minimum    *float64
	MinimumPos source.Pos
	Secrets    map[string]any
	Start      time.Time // of the clock, unless a case says otherwise
	Mocks      []*Mock   // for every case, behind its own
	Cases      []*Case
}

// Text is a string with its place.
type Text struct {
	Pos  source.Pos
	Text string
}

// Case is one test.
type Case struct {
	Pos      source.Pos
	Name     string
	ID       event.RunID // of the run; derived from the name when the file gives none
	Input    any         // an empty object when the file gives none (D1)
	Secrets  map[string]any
	Start    time.Time
	Mocks    []*Mock
	Events   []Incoming
	Crash    Crash
	Cancel   *Moment
	Suspend  *Moment
	Resume   *Moment
	Expect   Expect
	node     *source.Node
	expected *source.Node // the section expect, nil when absent
}

// Crash says when the host loses the machine.
type Crash struct {
	Pos   source.Pos
	Every bool
	After []int // counted over all events of the case, from 1
}

func (c *Crash) asked() bool { return c.Every || len(c.After) > 0 }

// Moment is a time after the start of a case.
type Moment struct {
	Pos   source.Pos
	After value.Duration
}

// Incoming is a cloud event from outside.
type Incoming struct {
	Moment
	Envelope map[string]any
	// Ignored: no run is to consume it.
	Ignored bool
}

// Mock plays the outside world for one task.
type Mock struct {
	Pos      source.Pos
	Task     Text
	Workflow Text // "namespace/name" of the task's definition; empty: found by the name
	When     *expr.Expr
	Attempts []Outcome // at least one; the last one stays
	// given: the file has a list of attempts, whose every member must be asked for.
	given bool
	at    target
}

// Outcome is how a mock answers.
type Outcome struct {
	Pos           source.Pos
	Delay         value.Duration
	Output        any // nil with Error
	Error         *event.Problem
	Authorization *event.Authorization
	template      *expr.Template // of Output; nil: it holds no expression
}

// Expect is what a case must come to. Parts that are absent are not looked at.
type Expect struct {
	Pos            source.Pos
	Status         *expectation
	Output         *expectation
	OutputContains *expectation
	Context        *expectation
	Error          *expectation
	Path           *path
	PathContains   *path
	Calls          []call
	CallsPos       source.Pos
	Emitted        *expectation
	Duration       *Moment
	node           *source.Node
}

// expectation is a value that is wanted at a place of the test file.
type expectation struct {
	pos  source.Pos
	want any
	node *source.Node
}

// path is a list of tasks, by name or reference.
type path struct {
	pos   source.Pos
	tasks []Text
	node  *source.Node
}

// call is what is wanted of the calls of one task.
type call struct {
	pos       source.Pos
	task      Text
	workflow  Text
	arguments *expectation
	times     *expectation // an int
	at        target
}

// target is a task of one of the definitions.
type target struct {
	definition *definition
	reference  string
}
