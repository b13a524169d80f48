package editor

import "github.com/downbeat-dev/downbeat/internal/check"

const durationWords = "it must be an ISO 8601 duration such as PT15M, a map of days, hours, minutes, seconds, milliseconds, or an expression in ${ }"

// basicDefs are the small things of which all sections are made.
func basicDefs() shape {
	return shape{
		"wrapped": plus(pattern(check.WrappedPattern), shape{"description": "An expression in ${ }.", "examples": []any{"${ . }"}}),
		"dynamic": plus(anyOf(pattern(check.WrappedPattern), pattern(check.InterpolatedPattern)), shape{"description": "Text that holds an expression in ${ }."}),
		"expression": shape{
			"type": []any{"string", "boolean"}, "pattern": `\S`,
			"description": "A jq expression, bare or in ${ }. `.` is the value at hand; $context, $input, $task, $workflow and others are there where the language has them.",
		},
		"selector": plus(anyOf(plus(pattern(`\S`), shape{"description": "A jq expression, bare or in ${ }."}), plus(anyMap, shape{"description": "A template: strings in ${ } are evaluated."})),
			shape{"description": "An expression, or an object whose strings in ${ } are evaluated."}),
		"collection": anyOf(plus(pattern(`\S`), shape{"description": "A jq expression that gives a list, bare or in ${ }."}), shape{"type": "array"}),
		"variable":   saying(plus(pattern(variable), shape{"description": "The name of a variable, without $."}), "the name of a variable: letters, digits and _, no digit first, no $"),
		"label": saying(plus(pattern(labelPattern), shape{"description": "1 to 63 letters, digits and hyphens, with a letter or digit at both ends."}),
			"it must have 1 to 63 letters, digits and hyphens, with a letter or digit at both ends"),
		"version": saying(plus(pattern("^"+versionNumber+"$"), shape{"description": "A semantic version such as 1.0.0.", "examples": []any{"1.0.0"}}),
			`it must be a semantic version such as "1.0.0"`),
		"uri": plus(anyOf(ref("dynamic"), pattern(`^[^\u0000-\u0020\u007f]+$`)),
			shape{"description": "A URI, a URI template such as https://example.com/{id}, or an expression in ${ }."}),
		"duration": plus(anyOf(ref("durationText"), ref("dynamic"), ref("durationMap")),
			shape{"description": "How long: PT15M, {minutes: 15}, or an expression in ${ } that gives the former."}),
		"durationText": shape{
			"type": "string", "allOf": []any{saying(shape{"pattern": durationOrder}, durationWords), saying(shape{"pattern": durationEnd}, durationWords)},
			"description": "An ISO 8601 duration.", "examples": []any{"PT30S", "PT15M", "PT1H", "P1D"},
		},
		"durationMap": plus(object(may("days", "", ref("amount")), may("hours", "", ref("amount")), may("minutes", "", ref("amount")),
			may("seconds", "", ref("amount")), may("milliseconds", "", ref("amount"))), shape{"minProperties": 1}),
		"amount": orExpr(shape{"type": "integer", "minimum": 0}),
		"directive": plus(anyOf(constant("continue", "Go on with the next task (the default)."), constant("exit", "Complete this list of tasks."),
			constant("end", "Complete the whole workflow."), someText), shape{"description": "What comes next: continue, exit, end, or the name of a task of the same list."}),
		"endpoint": anyOf(ref("uri"), object(need("uri", "", ref("uri")), may("authentication", "How to prove who calls.", ref("authentication")))),
		"resource": object(may("name", "The name of the resource.", text), need("endpoint", "Where it is.", ref("endpoint"))),
		"schema": exactly(object(
			may("format", "json, or json with a version (json:2020-12).", plus(someText, shape{"default": "json"})),
			may("document", "The schema, written in place.", shape{"type": []any{"object", "boolean"}}),
			may("resource", "Where the schema is.", ref("resource"))), "document", "resource"),
		"input": object(may("schema", "What the raw input must look like; checked first.", ref("schema")),
			may("from", "What of the raw input is taken.", ref("selector"))),
		"output": object(may("as", "What is made of the raw output.", ref("selector")),
			may("schema", "What the result must look like; checked last.", ref("schema"))),
		"export": object(may("as", "What becomes the new $context, from the output as it is handed on.", ref("selector")),
			may("schema", "What the new context must look like.", ref("schema"))),
		"timeout":    object(need("after", "How long it may take; then the error timeout (408).", ref("duration"))),
		"timeoutRef": anyOf(ref("timeout"), plus(text, shape{"description": "The name of a timeout of use.timeouts."})),
		"headers":    orExpr(mapOf(scalar)),
		"parameters": orExpr(anyMap),
	}
}
