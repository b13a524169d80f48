package editor

// eventDefs are what listens for cloud events and what sends them (DSL 95-97,
// 119-129, 168-174).
func eventDefs() shape {
	until := func(more ...shape) shape {
		return plus(anyOf(append([]shape{{"const": false, "description": "Never ends by itself."}}, more...)...),
			shape{"description": "What ends the listening: a condition on the events so far, another event, or false."})
	}
	strategy := func(until, never shape) shape {
		return anyOf(
			about(object(need("one", "One event.", ref("filter")), may("until", "", never)), "One event."),
			object(need("any", "Any of these events; an empty list is every event.", listOf(ref("filter"))), may("until", "", until)),
			object(need("all", "All of these events.", listOf(ref("filter"))), may("until", "", never)))
	}
	return shape{
		"strategy":    strategy(until(shape{"type": "string", "pattern": `\S`}, shape{"const": true}, ref("endStrategy")), until()),
		"endStrategy": strategy(until(), until()),
		"filter": object(
			need("with", "Attributes the event must have: constants, regular expressions or expressions.",
				plus(open(may("id", "", text), may("source", "", text), may("type", "", text), may("time", "", text), may("subject", "", text),
					may("datacontenttype", "", text), may("dataschema", "", text), may("data", "", anything)), shape{"minProperties": 1})),
			may("correlate", "What ties the events to this run.", mapOf(open(
				need("from", "An expression on the event that gives the key.", ref("expression")),
				may("expect", "What the key must be; without it the first one seen fixes it.", scalar))))),
		"read": shape{"type": "string", "enum": values("data", "envelope", "raw"), "default": "data"},
		"listen": object(need("to", "Which events to wait for.", ref("strategy")),
			may("read", "What of each event is read: its data, the whole envelope, or the raw bytes.", ref("read"))),
		"foreach": object(
			may("item", "The variable of the event.", plus(ref("variable"), shape{"default": "item"})),
			may("at", "The variable of its number, from 0.", plus(ref("variable"), shape{"default": "index"})),
			may("do", "What to do with each event, one after another.", ref("tasks")),
			may("output", "What of each result goes into the output.", ref("output")),
			may("export", "What of each result goes into $context.", ref("export"))),
		"emit": object(need("event", "", open(need("with", "The attributes of the cloud event; id, source, time and specversion are filled in.", open(
			need("type", "What kind of event it is.", plus(text, shape{"examples": []any{"com.example.order.placed.v1"}})),
			may("id", "", text),
			may("source", "Where it comes from.", ref("uri")),
			may("time", "When it happened.", anyOf(ref("dynamic"), pattern(timeStamp))),
			may("subject", "What it is about.", text),
			may("datacontenttype", "", text),
			may("dataschema", "", ref("uri")),
			may("data", "Its content.", anything)))))),
		"schedule": plus(object(
			may("every", "Start again after this time.", ref("duration")),
			may("cron", "Five fields: minute, hour, day of month, month, day of week.", saying(plus(pattern(cron), shape{"examples": []any{"0 3 * * *", "*/15 * * * *"}}), "it has five fields: minute, hour, day of month, month, day of week")),
			may("after", "Start again this long after the end of the last run.", ref("duration")),
			may("on", "Start for these events; they are the input, as a list.", ref("strategy")),
			may("read", "How the events of `on` are read.", ref("read"))),
			when(has("read"), has("on"))),
	}
}
