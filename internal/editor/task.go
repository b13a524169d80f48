package editor

import (
	"slices"
	"strings"
)

// commonKeys are properties of every task (DSL 22-32).
var commonKeys = []string{"if", "input", "output", "export", "timeout", "then", "metadata"}

// taskKinds are the kinds of task with the properties that are theirs.
var taskKinds = []struct {
	name string
	own  []string
	also []string // required beside name
}{
	{"call", []string{"call", "with"}, nil},
	{"do", []string{"do"}, nil},
	{"emit", []string{"emit"}, nil},
	{"for", []string{"for", "while", "do"}, []string{"do"}},
	{"fork", []string{"fork"}, nil},
	{"listen", []string{"listen", "foreach"}, nil},
	{"raise", []string{"raise"}, nil},
	{"run", []string{"run"}, nil},
	{"set", []string{"set"}, nil},
	{"switch", []string{"switch"}, nil},
	{"try", []string{"try", "catch"}, []string{"catch"}},
	{"wait", []string{"wait"}, nil},
}

const kindList = "call, do, emit, for, fork, listen, raise, run, set, switch, try, wait"

// task is one task. Its properties are listed once, so that an editor offers
// them all; what the kind allows of them follows as conditions.
func task() shape {
	s := object(
		may("if", "Only when this holds of the raw input; else the task is skipped.", ref("expression")),
		may("input", "What the task takes: schema, then from.", ref("input")),
		may("output", "What the task gives to the next one: as, then schema.", ref("output")),
		may("export", "What the task puts into $context.", ref("export")),
		may("timeout", "How long the task may take.", ref("timeoutRef")),
		may("then", "What comes next.", ref("directive")),
		may("metadata", "Anything else; the settings of Downbeat are under `downbeat`.", open(may("downbeat", "", ref("taskSettings")))),
		may("call", "Calls a service or a function.", ref("callName")),
		may("with", "The arguments of the call.", anything),
		may("do", "Tasks, one after another.", ref("tasks")),
		may("emit", "Sends a cloud event.", ref("emit")),
		may("for", "Repeats tasks for each item of a list, one after another.", object(
			need("in", "The list.", ref("collection")),
			may("each", "The variable of the item.", plus(ref("variable"), shape{"default": "item"})),
			may("at", "The variable of its number, from 0.", plus(ref("variable"), shape{"default": "index"})))),
		may("while", "Go on with the loop only while this holds.", ref("expression")),
		may("fork", "Runs branches side by side.", object(
			need("branches", "The branches, one task each.", ref("tasks")),
			may("compete", "The first to complete wins, the others are cancelled.", plus(boolean, shape{"default": false})))),
		may("listen", "Waits for cloud events.", ref("listen")),
		may("foreach", "What to do with each event of listen.", ref("foreach")),
		may("raise", "Raises an error.", object(need("error", "", anyOf(ref("error"), plus(someText, shape{"description": "The name of an error of use.errors."}))))),
		may("run", "Runs a command, a script, a container or another workflow.", ref("run")),
		may("set", "The output of the task.", anyOf(plus(anyMap, shape{"minProperties": 1, "description": "An object whose strings in ${ } are evaluated."}), pattern(`\S`))),
		may("switch", "Cases in order; the first whose `when` holds decides.", plus(listOf(named(object(
			may("when", "The case applies when this holds; without it, when no other does.", ref("expression")),
			need("then", "What comes next.", ref("directive"))))), shape{"minItems": 1})),
		may("try", "Tasks whose errors are caught.", ref("tasks")),
		may("catch", "Which errors are caught, and what then.", ref("catch")),
		may("wait", "Waits for a time.", ref("duration")),
	)
	conditions, kinds := []any{}, []any{}
	for _, k := range taskKinds {
		cond := has(k.name)
		if k.name == "do" { // the body of a loop is no kind
			cond = plus(cond, shape{"not": has("for")})
		}
		keys := slices.Concat(k.own, commonKeys)
		then := shape{"propertyNames": saying(shape{"enum": values(keys...)}, "a task with `"+k.name+"` has only "+strings.Join(keys, ", ")+"; a task does one thing")}
		if len(k.also) > 0 {
			then["required"] = values(k.also...)
		}
		conditions, kinds = append(conditions, when(cond, then)), append(kinds, saying(has(k.name), "a task must have one of "+kindList))
	}
	conditions = append(conditions, when(has("call"), ref("callArguments")))
	s["allOf"], s["anyOf"] = conditions, kinds
	s["description"] = "A task: one of " + kindList + "."
	return s
}

func taskDefs() shape {
	return shape{
		"task": task(),
		"tasks": listOf(plus(named(ref("task")), shape{
			"propertyNames": saying(shape{"not": shape{"enum": values("", "continue", "exit", "end")}}, "continue, exit and end are flow directives; name the task otherwise"),
			"description":   "A task under its name.",
		})),
		"catch": object(
			may("errors", "Only errors like this.", object(may("with", "", plus(object(
				may("type", "", plus(text, shape{"examples": errorTypes()})), may("status", "", whole(0, 999)), may("instance", "", text),
				may("title", "", text), may("detail", "", text), may("details", "The name that detail had before July 2026.", text)), shape{"minProperties": 1})))),
			may("as", "The variable of the error.", plus(ref("variable"), shape{"default": "error"})),
			may("when", "Only when this holds; `.` is the error.", ref("expression")),
			may("exceptWhen", "Not when this holds; `.` is the error.", ref("expression")),
			may("retry", "Try again, as this policy says; then `do`.", ref("retryRef")),
			may("do", "What to do about the error.", ref("tasks")),
			may("then", "What comes next after a caught error.", ref("directive"))),
	}
}
