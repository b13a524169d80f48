package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
)

// The arguments of the protocols (DSL 58-83). What the runtime computes may be
// an expression wherever the specification's text allows it.
var (
	httpOutput = may("output", oneOfWords("raw", "content", "response"))
	redirect   = may("redirect", boolean)
	headers    = orExpr(mapOf(scalarText))
	parameters = orOurExpr(mapOf(anything)) // of openapi and grpc
	freeParams = orExpr(mapOf(anything))    // of a2a and mcp
	message    = object(false, may("payload", anything), may("headers", parameters))

	subscription = object(false, may("filter", onlyExpr), need("consume", all(
		object(false, may("amount", orOurExpr(whole(1, 1_000_000_000))), may("for", durationShape), may("while", onlyExpr), may("until", onlyExpr)),
		one("amount", "while", "until"))), may("foreach", anything)) // foreach is decoded with its tasks

	callShapes = map[string]shape{
		"http": object(false, need("method", someText), need("endpoint", endpointShape), may("headers", headers), may("body", anything),
			may("query", orExpr(mapOf(scalarText))), httpOutput, redirect),
		"openapi": object(false, need("document", resourceShape), need("operationId", someText), may("parameters", parameters),
			may("authentication", authShape), httpOutput, redirect),
		"grpc": object(false, may("proto", resourceShape), need("service", object(false, need("name", someText), need("host", host),
			may("port", orOurExpr(whole(0, 65535))), may("authentication", authShape))), need("method", someText), may("arguments", messages), may("metadata", headers)),
		"asyncapi": all(object(false, need("document", resourceShape), may("channel", someText), may("operation", someText),
			may("server", object(false, need("name", someText), may("variables", parameters))),
			may("protocol", oneOfWords("amqp", "amqp1", "anypointmq", "googlepubsub", "http", "ibmmq", "jms", "kafka", "mercure", "mqtt", "mqtt5", "nats", "pulsar", "redis", "sns", "solace", "sqs", "stomp", "ws")),
			may("message", message), may("subscription", subscription), may("authentication", authShape)),
			one("operation", "channel"), one("message", "subscription")),
		"a2a": object(false, need("method", oneOfWords("message/send", "message/stream", "tasks/get", "tasks/list", "tasks/cancel", "tasks/resubscribe",
			"tasks/pushNotificationConfig/set", "tasks/pushNotificationConfig/get", "tasks/pushNotificationConfig/list", "tasks/pushNotificationConfig/delete", "agent/getAuthenticatedExtendedCard")),
			may("agentCard", resourceShape), may("server", endpointShape), may("parameters", freeParams)),
		"mcp": object(true, need("method", oneOfWords("tools/list", "tools/call", "prompts/list", "prompts/get", "resources/list", "resources/read", "resources/templates/list")),
			need("transport", all(object(true, may("http", object(true, need("endpoint", endpointShape), may("headers", headers))),
				may("stdio", object(true, need("command", someText), may("arguments", listOf(text)), may("environment", mapOf(scalarText)))),
				may("options", mapOf(scalarText))), one("http", "stdio"))),
			may("protocolVersion", text), may("parameters", freeParams), may("timeout", durationShape),
			may("client", object(true, need("name", text), need("version", text)))),
	}
	callDSL   = map[string]string{"http": "DSL 58", "openapi": "DSL 71", "grpc": "DSL 68", "asyncapi": "DSL 73", "a2a": "DSL 78", "mcp": "DSL 81"}
	authPaths = map[string]string{ // the first that is there counts
		"http": "endpoint.authentication", "openapi": "authentication document.endpoint.authentication", "grpc": "service.authentication proto.endpoint.authentication",
		"asyncapi": "authentication document.endpoint.authentication", "a2a": "agentCard.endpoint.authentication server.authentication", "mcp": "transport.http.endpoint.authentication",
	}
)

// messages are one message, or a list of those that a client streams (DSL 70).
func messages(d *decoder, n *source.Node, a at) {
	if n.Kind == ListValue {
		listOf(parameters)(d, n, a)
		return
	}
	parameters(d, n, a)
}

// host is a host name (DSL 69), with the scheme before it that says whether TLS is used.
func host(d *decoder, n *source.Node, a at) {
	t, ok := n.Scalar.(string)
	if ok && source.IsDynamic(t) {
		return
	}
	bare := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(t, "https://"), "http://"), ".", "-")
	if !ok || !labelPattern.MatchString(bare) {
		d.report(Finding{Pos: n.Pos, Rule: a.section + "/value", DSL: "DSL 69", Message: fmt.Sprintf("%s is %s", a.what, n.Describe()), Allowed: "it must be a host name of at most 63 letters, digits, hyphens and dots; https:// before it asks for TLS"})
	}
}

func (d *decoder) call(t *Task, name, with, n *source.Node) {
	c := &Call{Pos: name.Pos}
	t.Call = c
	c.Name = d.str(name, at{"call", "call", "DSL 58-85"}, someText)
	if with != nil {
		c.With = toValue(with)
	}
	if s, protocol := callShapes[c.Name]; protocol {
		a := at{"call", "with", callDSL[c.Name]}
		if with == nil {
			d.missing(n, at{"call", "call: " + c.Name, callDSL[c.Name]}, "with")
			return
		}
		s(d, with, a)
		if c.Name == "a2a" && with.Kind == MapValue && with.Field("agentCard") == nil && with.Field("server") == nil {
			d.invalid(with, a, "missing-property", "with has neither agentCard nor server", "one of them says where the agent is")
		}
		c.Auth = d.authAt(with, authPaths[c.Name])
		if f := with.Field("subscription").Field("foreach"); c.Name == "asyncapi" && f != nil {
			c.Foreach = d.foreach(f, at{"foreach", "with.subscription.foreach", "DSL 76"}, t.Reference+"/with/subscription/foreach/do")
		}
		return
	}
	d.functionName(c.Name, name)
	if with == nil {
		if d.isMap(c.Name) {
			d.missing(n, at{"map", "call: map", "D36"}, "with")
		}
		return
	}
	if d.isMap(c.Name) {
		c.Map = d.mapCall(with, t.Reference)
		return
	}
	if s, ok := with.Scalar.(string); ok && source.IsWrapped(s) {
		d.report(Finding{Pos: with.Pos, Severity: SeverityHint, Rule: "portable/function-arguments", DSL: "DSL 84", Message: "with is an expression", Allowed: "other runtimes want a map"})
		return
	}
	mapOf(anything)(d, with, at{"call", "with", "DSL 84"})
}

// authAt decodes the authentication at the first of some paths of a call's
// arguments, whose findings the call's shape has reported already.
func (d *decoder) authAt(with *source.Node, paths string) *Auth {
	for path := range strings.FieldsSeq(paths) {
		n := with
		for step := range strings.SplitSeq(path, ".") {
			n = n.Field(step)
		}
		if n != nil {
			quiet := decoder{use: d.use}
			return quiet.auth(n, at{}, true)
		}
	}
	return nil
}

// functionName checks the catalogue of name:version@catalog (DSL 84, D23).
// Whether a plain name exists is for the package check, which knows the default catalogue.
func (d *decoder) functionName(name string, n *source.Node) {
	if name == "" || IsURI(name) {
		return
	}
	base, catalog, found := strings.Cut(name, "@")
	if found && catalog != "default" {
		d.resolve(n, "catalogs", catalog, "DSL 21, DSL 84")
	}
	if _, version, has := strings.Cut(base, ":"); has && !semverPattern.MatchString(version) {
		d.report(Finding{Pos: n.Pos, Rule: "call/function-version", DSL: "DSL 84", Message: fmt.Sprintf("the function %s has the version %s", source.Quote(name), source.Quote(version)), Allowed: "it must be a semantic version: name:1.0.0@catalog"})
	} else if found && !has {
		d.report(Finding{Pos: n.Pos, Rule: "call/function-version", DSL: "DSL 84", Message: fmt.Sprintf("the function %s has no version", source.Quote(name)), Allowed: "a function of a catalogue is written name:1.0.0@catalog"})
	}
}

// isMap reports whether a call of name is the fan-out of the default catalogue (D36, D37).
func (d *decoder) isMap(name string) bool {
	base, catalog, found := strings.Cut(name, "@")
	fn, version, versioned := strings.Cut(base, ":")
	if fn != "map" || found && catalog != "default" || versioned && version != "1.0.0" {
		return false
	}
	if versioned {
		return !slices.Contains(d.use["catalogs"], "default")
	}
	return !slices.Contains(d.use["functions"], "map")
}

// mapCall is the fan-out (D36).
func (d *decoder) mapCall(with *source.Node, ref string) *Map {
	a := at{"map", "with", "D36"}
	m := &Map{Pos: with.Pos, Each: "item", At: "index", OnError: "fail"}
	if !d.properties(with, a, false, []string{"in", "each", "at", "limit", "onError", "do"}) {
		return m
	}
	if in := with.Field("in"); in != nil {
		m.In = d.collection(in, a.in("in"))
	} else {
		d.missing(with, a, "in")
	}
	m.Each = d.variable(with.Field("each"), a.in("each"), m.Each)
	m.At = d.variable(with.Field("at"), a.in("at"), m.At)
	if l := with.Field("limit"); l != nil {
		orExpr(whole(1, 10_000))(d, l, a.in("limit"))
		m.Limit = valueOf(l)
	}
	if o := with.Field("onError"); o != nil {
		m.OnError = d.str(o, a.in("onError"), oneOfWords("fail", "continue"))
	}
	if b := with.Field("do"); b != nil {
		m.Do = d.taskList(b, a.in("do"), ref+"/with/do", false)
	} else {
		d.missing(with, a, "do")
	}
	return m
}
