package editor

// runDefs are what `run` starts (DSL 130-142).
func runDefs() shape {
	environment := may("environment", "Variables of the environment.", orExpr(mapOf(scalar)))
	stdin := may("stdin", "What the process reads.", text)
	arguments := may("arguments", "", ref("processArguments"))
	return shape{
		"run": exactly(object(
			may("await", "Wait for the end; else the output is the input.", plus(boolean, shape{"default": true})),
			may("return", "What the task gives. A non-zero exit code is an error unless it is code or all.",
				plus(words("stdout", "stderr", "code", "all", "none"), shape{"default": "stdout"})),
			may("container", "Runs a container.", ref("run.container")),
			may("script", "Runs a script.", ref("run.script")),
			may("shell", "Runs a command by the shell.", ref("run.shell")),
			may("workflow", "Runs another workflow.", ref("run.workflow"))), "container", "script", "shell", "workflow"),
		"run.container": object(
			need("image", "", someText),
			may("name", "", text),
			may("command", "", text),
			may("arguments", "", orExpr(listOf(scalar))),
			may("ports", "", orExpr(anyMap)),
			may("volumes", "", orExpr(anyMap)),
			environment, stdin,
			may("lifetime", "When the container is removed.", plus(object(
				need("cleanup", "", plus(words("always", "never", "eventually"), shape{"default": "never"})),
				may("after", "Stands exactly with cleanup: eventually.", ref("duration"))),
				plus(when(where("cleanup", "eventually"), has("after")), shape{"else": shape{"not": has("after")}}))),
			may("pullPolicy", "", plus(words("ifNotPresent", "always", "never"), shape{"default": "ifNotPresent"}))),
		"run.script": exactly(object(
			need("language", "", anyOf(words("js", "javascript", "python"), text)),
			may("code", "The script; nothing is replaced in it. Data comes by arguments, environment or stdin.", text),
			may("source", "Where the script is.", ref("resource")),
			stdin, arguments, environment), "code", "source"),
		"run.shell": object(
			need("command", `The command. Data belongs into arguments, read as "$1", "$2" …: an expression in the command can run as code.`, someText),
			stdin, arguments, environment),
		"processArguments": plus(orExpr(anyOf(listOf(scalar), plus(mapOf(shape{"type": []any{"string", "number", "boolean", "null"}}),
			shape{"description": "The form before 1.0.3: k: v gives --k=v.", "deprecated": true}))), shape{"description": "The arguments of the process, a list."}),
		"run.workflow": object(
			need("namespace", "", ref("label")),
			need("name", "", ref("label")),
			may("version", "A version, or latest.", anyOf(constant("latest", "The highest version at the start."), ref("version"))),
			may("input", "Its input; the task's own input when absent.", orExpr(anyMap))),
	}
}
