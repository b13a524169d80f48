package editor

import (
	"github.com/downbeat-dev/downbeat/internal/check"
)

// protocol is a service that `call` reaches by itself (DSL 58-83).
type protocol struct {
	name, doc string
	with      shape
}

var (
	httpOutput = may("output", "What the task gives: the decoded content, the raw bytes in base64, or the whole response.",
		plus(words("content", "raw", "response"), shape{"default": "content"}))
	redirect = may("redirect", "Follow redirects.", plus(boolean, shape{"default": false}))
)

func protocols() []protocol {
	return []protocol{
		{"http", "Sends an HTTP request.", object(
			need("method", "", plus(someText, shape{"examples": []any{"get", "post", "put", "patch", "delete", "head"}})),
			need("endpoint", "Where to.", ref("endpoint")),
			may("headers", "", ref("headers")),
			may("query", "Parameters after the ?.", ref("headers")),
			may("body", "Objects are sent as JSON.", anything),
			httpOutput, redirect)},
		{"openapi", "Calls an operation that an OpenAPI document describes.", object(
			need("document", "The OpenAPI document.", ref("resource")),
			need("operationId", "The operation.", someText),
			may("parameters", "", ref("parameters")),
			may("authentication", "", ref("authentication")),
			httpOutput, redirect)},
		{"grpc", "Calls a method of a gRPC service.", object(
			may("proto", "The proto file; without one the server is asked by reflection.", ref("resource")),
			need("service", "", object(need("name", "", someText), need("host", "A host; https:// before it asks for TLS.", anyOf(pattern(hostPattern), ref("dynamic"))),
				may("port", "443 by default, which means TLS.", orExpr(whole(0, 65535))), may("authentication", "", ref("authentication")))),
			need("method", "", someText),
			may("arguments", "The message, or a list of those that the client streams.", anyOf(ref("parameters"), listOf(ref("parameters")))),
			may("metadata", "Metadata of the call.", ref("headers")))},
		{"asyncapi", "Sends or receives messages as an AsyncAPI document describes.", asyncAPI()},
		{"a2a", "Calls an agent by the A2A protocol.", plus(object(
			need("method", "", words("message/send", "message/stream", "tasks/get", "tasks/list", "tasks/cancel", "tasks/resubscribe", "tasks/pushNotificationConfig/set",
				"tasks/pushNotificationConfig/get", "tasks/pushNotificationConfig/list", "tasks/pushNotificationConfig/delete", "agent/getAuthenticatedExtendedCard")),
			may("agentCard", "The card that describes the agent.", ref("resource")),
			may("server", "Where the agent is.", ref("endpoint")),
			may("parameters", "", ref("parameters"))), anyOf(has("agentCard"), has("server")))},
		{"mcp", "Calls a server by the Model Context Protocol.", open(
			need("method", "", words("tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/read", "resources/templates/list")),
			need("transport", "", exactly(open(
				may("http", "", open(need("endpoint", "", ref("endpoint")), may("headers", "", ref("headers")))),
				may("stdio", "", open(need("command", "", someText), may("arguments", "", listOf(text)), may("environment", "", mapOf(scalar)))),
				may("options", "", mapOf(scalar))), "http", "stdio")),
			may("protocolVersion", "", plus(text, shape{"default": "2025-06-18"})),
			may("parameters", "", ref("parameters")),
			may("timeout", "", ref("duration")),
			may("client", "", open(need("name", "", text), need("version", "", text))))},
	}
}

func asyncAPI() shape {
	s := object(
		need("document", "The AsyncAPI document.", ref("resource")),
		may("channel", "The channel, of version 2 of AsyncAPI.", someText),
		may("operation", "The operation, of version 3 of AsyncAPI.", someText),
		may("server", "", object(need("name", "", someText), may("variables", "", ref("parameters")))),
		may("protocol", "Chooses the server.", words("amqp", "amqp1", "anypointmq", "googlepubsub", "http", "ibmmq", "jms", "kafka", "mercure", "mqtt", "mqtt5", "nats",
			"pulsar", "redis", "sns", "solace", "sqs", "stomp", "ws")),
		may("message", "The message to send.", object(may("payload", "", anything), may("headers", "", ref("parameters")))),
		may("subscription", "The messages to receive.", object(
			may("filter", "Only messages for which this holds.", ref("wrapped")),
			need("consume", "When to stop.", exactly(object(may("amount", "", orExpr(whole(1, 1_000_000_000))), may("for", "", ref("duration")),
				may("while", "", ref("wrapped")), may("until", "", ref("wrapped"))), "amount", "while", "until")),
			may("foreach", "What to do with each message.", ref("foreach")))),
		may("authentication", "", ref("authentication")))
	return plus(s, shape{"allOf": []any{exactly(shape{}, "operation", "channel"), exactly(shape{}, "message", "subscription")}})
}

// mapFunction is the fan-out of the default catalogue (D36).
func mapFunction() shape {
	return object(
		need("in", "The list.", ref("collection")),
		need("do", "The tasks for each item.", ref("tasks")),
		may("each", "The variable of the item.", plus(ref("variable"), shape{"default": "item"})),
		may("at", "The variable of its number, from 0.", plus(ref("variable"), shape{"default": "index"})),
		may("limit", "How many at once.", plus(orExpr(whole(1, 10_000)), shape{"default": 10})),
		may("onError", "fail: the first error cancels the rest; continue: it stands in the place of the result.", plus(words("fail", "continue"), shape{"default": "fail"})))
}

// callDefs are the calls: what each name wants as arguments.
func callDefs(functions []check.Function) shape {
	names, conditions := []shape{}, []any{}
	var known []string
	defs := shape{}
	add := func(name, doc string, with, then shape, spellings ...string) {
		names = append(names, constant(name, doc))
		known = append(known, spellings...)
		defs["call."+name] = about(with, doc)
		then["properties"] = shape{"with": ref("call." + name)}
		conditions = append(conditions, when(where("call", spellings...), then))
	}
	for _, p := range protocols() {
		add(p.name, p.doc, p.with, has("with"), p.name)
	}
	add("map", "Runs tasks for each item of a list, side by side (a function of Downbeat).", mapFunction(), has("with"), spellings("map", "1.0.0")...)
	for _, f := range functions {
		if defs["call."+f.Name] != nil {
			continue // a protocol, whose arguments the language says
		}
		with := anything
		if f.Input != nil {
			with = inside(check.OrExpressions(f.Input), "call."+f.Name)
		}
		add(f.Name, f.Summary+" (a function of Downbeat)", orExpr(plus(with, anyMap)), shape{}, spellings(f.Name, f.Version)...)
	}
	others := when(shape{"properties": shape{"call": shape{"not": shape{"enum": values(known...)}}}, "required": []any{"call"}},
		shape{"properties": shape{"with": orExpr(anyMap)}})
	defs["callArguments"] = shape{"allOf": append(conditions, others)}
	names = append(names, plus(pattern(functionName), shape{"description": "A function of use.functions, name:version@catalogue, or the URI of a function."}))
	defs["callName"] = anyOf(names...)
	return defs
}

// spellings are the ways to call a function of the default catalogue (D37).
func spellings(name, version string) []string {
	if version == "" {
		return []string{name}
	}
	return []string{name, name + ":" + version, name + ":" + version + "@default"}
}
