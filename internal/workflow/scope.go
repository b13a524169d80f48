package workflow

import "strings"

// Site is a place of a definition where an expression can stand. What an
// expression may read depends on its place only (DSL 39-48).
type Site uint8

// The sites. Where the specification's table says nothing, the comment does.
const (
	NoSite              Site = iota
	WorkflowInputSite        // input.from of the document
	WorkflowOutputSite       // output.as of the document
	IfSite                   // if of a task
	InputFromSite            // input.from of a task
	BodySite                 // the definition of a task: with, set, emit, raise, run, wait …
	OutputSite               // output.as of a task, and of a foreach
	ExportSite               // export.as of a task, and of a foreach
	SwitchSite               // when of a switch case: a part of the body
	ForInSite                // for.in, and in of a map: a part of the body, without the loop variables
	WhileSite                // while of a for task: the body, with the loop variables
	CatchSite                // when and exceptWhen of a catch: the body, with the caught error
	RetrySite                // expressions of a retry policy: the body, with the caught error
	ListenFilterSite         // attributes and correlations of an event filter: the body
	UntilSite                // until of a listen task: the body, with the variables of its foreach
	TimeoutSite              // timeout.after of a task, known when the task is entered: as its input.from
	WorkflowTimeoutSite      // timeout.after of the document: as its input.from
	ExtensionWhenSite        // when of an extension: the body of the extended task
	ScheduleSite             // schedule.on, before there is a run
	SettingSite              // metadata.downbeat of the document: the run's input is at hand, nothing else
	TaskSettingSite          // metadata.downbeat of a task: the body
)

var siteNames = [...]string{
	"nowhere", "input.from of the workflow", "output.as of the workflow", "if", "input.from", "a task's definition", "output.as",
	"export.as", "when of a switch case", "for.in", "while", "a catch condition", "a retry policy", "an event filter", "until",
	"a task's timeout", "the workflow's timeout", "when of an extension", "schedule", "metadata.downbeat", "metadata.downbeat of a task",
}

// String names the site for people: "input.from of the workflow".
func (s Site) String() string {
	if int(s) >= len(siteNames) {
		return siteNames[NoSite]
	}
	return siteNames[s]
}

// vars is the table of the specification (dsl.md, runtime expression
// arguments), one bit for each variable.
type vars uint16

const (
	varContext vars = 1 << iota
	varInput
	varOutput
	varSecrets
	varTask
	varWorkflow
	varRuntime
	varAuthorization
)

var varNames = [...]string{"$context", "$input", "$output", "$secrets", "$task", "$workflow", "$runtime", "$authorization"}

const (
	beforeInput = varContext | varSecrets | varTask | varWorkflow | varRuntime
	ofBody      = beforeInput | varInput | varAuthorization
)

func (s Site) vars() vars {
	switch s {
	case NoSite:
		return 0
	case WorkflowInputSite, WorkflowTimeoutSite:
		return varSecrets | varWorkflow | varRuntime
	case WorkflowOutputSite:
		return varContext | varSecrets | varWorkflow | varRuntime
	case IfSite, InputFromSite, TimeoutSite:
		return beforeInput
	case BodySite, OutputSite, SwitchSite, ForInSite, WhileSite, CatchSite, RetrySite, ListenFilterSite, UntilSite, ExtensionWhenSite, TaskSettingSite:
		return ofBody
	case ExportSite:
		return ofBody | varOutput
	case ScheduleSite, SettingSite:
		return varRuntime
	}
	return 0
}

// Scope lists the variables, each with its "$", that an expression at site may
// read: those of the specification's table, then loopVars, the variables that
// enclosing loops, catches and iterators bring (written with or without "$").
func Scope(site Site, loopVars []string) []string {
	set := site.vars()
	out := make([]string, 0, len(varNames)+len(loopVars))
	for i, name := range varNames {
		if set&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	for _, v := range loopVars {
		out = append(out, "$"+strings.TrimPrefix(v, "$"))
	}
	return out
}

// SitesOf lists the sites of the specification's own table that may read the
// variable name ("$output"), to tell an author where it would be right.
func SitesOf(name string) []Site {
	var out []Site
	for i, n := range varNames {
		if n != name {
			continue
		}
		for _, s := range []Site{WorkflowInputSite, IfSite, InputFromSite, BodySite, OutputSite, ExportSite, WorkflowOutputSite} {
			if s.vars()&(1<<i) != 0 {
				out = append(out, s)
			}
		}
	}
	return out
}
