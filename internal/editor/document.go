package editor

// definition is the top level (DSL 1-9). It is left open, as in the
// specification: what is unknown there is a warning.
func definition() shape {
	return open(
		need("document", "Who the workflow is.", object(
			need("dsl", "The version of the language.", saying(plus(pattern(`^1\.`+versionTail+`$`), shape{"examples": []any{"1.0.3"}}), "version 1 of the language is understood, such as 1.0.3")),
			need("namespace", "What the workflow belongs to.", ref("label")),
			need("name", "The name of the workflow.", ref("label")),
			need("version", "The version of the workflow.", ref("version")),
			may("title", "A title for people.", text),
			may("summary", "What it does, in Markdown.", text),
			may("tags", "Words to find it by.", anyMap),
			may("metadata", "Anything else; the settings of Downbeat are under `downbeat`.", open(may("downbeat", "", ref("documentSettings")))))),
		may("input", "What a run takes: schema, then from.", ref("input")),
		may("use", "What tasks refer to by name.", ref("use")),
		need("do", "The tasks, in the order of their execution.", ref("tasks")),
		may("timeout", "How long a run may take; this timeout cannot be caught.", ref("timeoutRef")),
		may("output", "What a run gives.", ref("output")),
		may("schedule", "What starts runs by itself.", ref("schedule")),
		may("evaluate", "How expressions are read.", object(
			may("language", "The language of expressions.", plus(someText, shape{"default": "jq", "examples": []any{"jq"}})),
			may("mode", "strict: only what is in ${ } is an expression; loose: any string may be one.", plus(words("strict", "loose"), shape{"default": "strict"})))),
	)
}

// useDefs are the use section and what stands in it (DSL 13-21).
func useDefs() shape {
	return shape{
		"use": object(
			may("authentications", "Authentication policies by name.", mapOf(ref("authenticationPolicy"))),
			may("catalogs", "Catalogues of functions by name.", mapOf(object(need("endpoint", "Where the catalogue is.", ref("endpoint"))))),
			may("errors", "Errors that tasks raise by name.", mapOf(ref("error"))),
			may("extensions", "Tasks that run before and after tasks of a kind.", listOf(named(ref("extension")))),
			may("functions", "Tasks that can be called by name.", mapOf(ref("task"))),
			may("retries", "Retry policies by name.", mapOf(ref("retry"))),
			may("secrets", "The secrets that expressions may read as $secrets.", listOf(someText)),
			may("timeouts", "Timeouts by name.", mapOf(ref("timeout")))),
		"extension": object(
			need("extend", "The kind of task to extend.", words("call", "composite", "emit", "for", "listen", "raise", "run", "set", "switch", "try", "wait", "all")),
			may("when", "Only where this holds.", ref("expression")),
			may("before", "Tasks before the extended one.", ref("tasks")),
			may("after", "Tasks after the extended one.", ref("tasks"))),
		"error": object(
			need("type", "A URI that names the type of error.", plus(ref("uri"), shape{"examples": errorTypes()})),
			need("status", "The status, as of HTTP.", orExpr(whole(100, 599))),
			may("instance", "Where it happened; the task by default.", text),
			may("title", "What happened, in a few words.", text),
			may("detail", "What happened in this case.", text)),
		"retry": object(
			may("when", "Retry only when this holds of the error.", ref("expression")),
			may("exceptWhen", "Do not retry when this holds of the error.", ref("expression")),
			may("delay", "How long to wait before a retry.", ref("duration")),
			may("backoff", "How the delay grows.", exactly(object(may("constant", "The same delay each time.", anyMap),
				may("linear", "One, two, three … delays.", anyMap), may("exponential", "One, two, four … delays.", anyMap)), "constant", "linear", "exponential")),
			may("limit", "When to give up.", object(
				may("attempt", "", object(may("count", "How many retries after the first attempt.", whole(0, 1_000_000)),
					may("duration", "How long one attempt may take.", ref("duration")))),
				may("duration", "How long all attempts may take together.", ref("duration")))),
			may("jitter", "A random time that is added to the delay.", object(need("from", "The least.", ref("duration")), need("to", "The most.", ref("duration"))))),
		"retryRef":             anyOf(ref("retry"), plus(text, shape{"description": "The name of a policy of use.retries."})),
		"authenticationPolicy": authentication(false),
		"authentication":       authentication(true),
		"basic":                credentials(),
		"digest":               credentials(),
		"bearer":               anyOf(object(need("token", "The token; ${ $secrets.name } keeps it out of the file.", text)), ref("secretSettings")),
		"oauth2": anyOf(object(append([]property{may("endpoints", "Paths of the authority, when they are not the usual ones.",
			open(may("token", "", ref("uri")), may("revocation", "", ref("uri")), may("introspection", "", ref("uri"))))}, openID()...)...), ref("secretSettings")),
		"oidc":           anyOf(object(openID()...), ref("secretSettings")),
		"secretSettings": object(need("use", "The name of a secret whose keys are these settings.", someText)),
		"token":          object(need("token", "", text), need("type", "", text)),
	}
}

func errorTypes() []any {
	var out []any
	for _, name := range []string{"configuration", "validation", "expression", "authentication", "authorization", "timeout", "communication", "runtime"} {
		out = append(out, "https://open-workflow-specification.org/spec/1.0.0/errors/"+name)
	}
	return out
}

// authentication is a policy; where it is used it may be the name of one (DSL 154-165).
func authentication(named bool) shape {
	props := []property{
		may("basic", "User name and password.", ref("basic")), may("bearer", "A token.", ref("bearer")),
		may("digest", "User name and password, never sent in clear.", ref("digest")), may("oauth2", "OAuth 2.0.", ref("oauth2")), may("oidc", "OpenID Connect.", ref("oidc")),
	}
	names := []string{"basic", "bearer", "digest", "oauth2", "oidc"}
	if named {
		props = append(props, may("use", "The name of a policy of use.authentications.", someText))
		names = append(names, "use")
	}
	return exactly(object(props...), names...)
}

func credentials() shape {
	return anyOf(object(need("username", "", text), need("password", "${ $secrets.name } keeps it out of the file.", text)), ref("secretSettings"))
}

// openID are the settings that oauth2 and oidc share.
func openID() []property {
	grants := words("authorization_code", "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange")
	return []property{
		need("authority", "The URI of the authority that gives tokens.", ref("uri")),
		need("grant", "How the token is asked for.", orExpr(grants)),
		may("client", "Who asks.", object(may("id", "", text), may("secret", "", text), may("assertion", "", text),
			may("authentication", "How the client proves who it is.", plus(words("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"), shape{"default": "client_secret_post"})))),
		may("request", "How the request is written.", open(may("encoding", "", words("application/x-www-form-urlencoded", "application/json")))),
		may("issuers", "Who may have issued the token.", listOf(text)),
		may("scopes", "", listOf(text)),
		may("audiences", "", listOf(text)),
		may("username", "Of the grant password.", text),
		may("password", "Of the grant password.", text),
		may("subject", "The token to exchange.", ref("token")),
		may("actor", "The token of the one who acts.", ref("token")),
	}
}

// settingDefs are metadata.downbeat of the document and of a task (D38).
func settingDefs() shape {
	return shape{
		"length": plus(anyOf(ref("durationText"), ref("durationMap")), shape{"description": "How long: PT15M or {minutes: 15}."}),
		"documentSettings": plus(object(
			may("concurrency", "How many runs may be active at once.", object(
				need("limit", "How many, for each key.", whole(1, 1_000_000)),
				may("key", "An expression on the input; runs with the same result count together.", ref("expression")),
				may("on", "What becomes of a run too many.", plus(words("queue", "reject", "replace"), shape{"default": "queue"})))),
			may("priority", "Order in the queue; higher is sooner.", plus(whole(-10, 10), shape{"default": 0})),
			may("locks", "Named locks that are held while the run is active.", listOf(someText)),
			may("calendar", "The calendar of change windows and freezes that it obeys.", someText),
			may("schedule", "What stands beside the schedule of the language.", object(
				may("timezone", "A name such as Europe/Berlin.", someText),
				may("jitter", "A random time that is added to each start.", ref("length")),
				may("missed", "What becomes of starts missed while nothing ran.", plus(words("skip", "latest", "all"), shape{"default": "latest"})),
				may("paused", "Start nothing for now.", plus(boolean, shape{"default": false})))),
			may("endpoint", "Publishes the workflow as an API.", object(
				may("method", "", words("GET", "POST", "PUT", "PATCH", "DELETE")),
				may("path", "Begins with /.", pattern("^/")),
				may("mode", "", words("sync", "async", "stream")),
				may("durability", "", words("strict", "express")),
				may("rate", "", anything), may("cors", "", anything), may("mock", "", anything))),
			may("webhook", "A signed webhook that starts it.", object(need("provider", "", someText), may("secret", "The name of the secret.", someText), may("filter", "", text))),
			may("manual", "What the work takes a person.", ref("length")),
			may("retention", "How long finished runs are kept.", object(
				may("keep", "How many.", whole(1, 1_000_000_000)), may("for", "How long.", ref("length")))),
			may("sensitive", "JSON pointers of what is masked in views and logs.", listOf(shape{"type": "string", "pattern": "^(/|$)", "examples": []any{"/customer/iban"}})),
			may("shell", "The shell of `run: shell` on Windows.", words("cmd", "powershell"))),
			shape{"description": "Settings of Downbeat: whether, when, where and how durably the workflow runs, never what it computes. Other runtimes ignore them."}),
		"taskSettings": plus(object(
			may("on", "Labels of the agents that may carry the task out.", mapOf(scalar)),
			may("resources", "What the task takes.", object(
				may("cpu", "", shape{"type": "number", "exclusiveMinimum": 0}), may("memory", "", anything), may("slots", "", whole(1, 1000)))),
			may("interrupted", "What to do when a crash leaves it unknown whether an attempt took effect.", plus(words("repeat", "fault"), shape{"default": "repeat"})),
			may("cache", "Reuse of an earlier result.", object(need("key", "", text), may("for", "", ref("duration")))),
			may("workspace", "The working directory of processes: run, task, or a name.", plus(someText, shape{"examples": []any{"run", "task"}})),
			may("registry", "The secret with the credentials of a container's registry.", someText)),
			shape{"description": "Settings of Downbeat for this task. Other runtimes ignore them."}),
	}
}
