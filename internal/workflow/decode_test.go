package workflow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const head = "document: {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0}\n"

// Each script in testdata is a definition and what Decode finds in it: `decode`
// a whole one, `do` the tasks of one, `use` its use section; `tasks` prints the
// tasks with their references.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			src, lines := d.Input+"\n", 0
			switch d.Cmd {
			case "do", "tasks":
				src, lines = head+"do:\n"+src, 2
			case "use":
				src, lines = head+"do: []\nuse:\n "+strings.ReplaceAll(d.Input, "\n", "\n ")+"\n", 3
			}
			def, findings := workflow.Decode([]byte(src))
			var b strings.Builder
			for _, f := range findings {
				f.Pos.Line -= lines
				fmt.Fprintf(&b, "%s [%s] %s", strings.TrimPrefix(f.Format(""), ":"), f.DSL, f.Reference)
				b.WriteByte('\n')
			}
			if d.Cmd == "tasks" && def != nil {
				def.Walk(func(t *workflow.Task, parents []*workflow.Task) bool {
					fmt.Fprintf(&b, "%s%s %s\n", strings.Repeat(" ", len(parents)), t.Kind, t.Reference)
					return true
				})
			}
			if b.Len() == 0 {
				return "ok\n"
			}
			return strings.ReplaceAll(b.String(), "] \n", "]\n")
		})
	})
}

func decode(t *testing.T, src string) *workflow.Definition {
	t.Helper()
	def, findings := workflow.Decode([]byte(src))
	if def == nil {
		for _, f := range findings {
			t.Log(f.Format("definition"))
		}
		t.Fatal("no definition")
	}
	return def
}

// D30: scalars are those of YAML 1.2's core schema.
func TestScalars(t *testing.T) {
	t.Parallel()
	def := decode(t, head+`do:
- a:
    set: {on: on, yes: yes, day: 2026-07-29, stamp: 2026-07-29T12:00:00Z, hex: 0x1F, oct: 0o17, int: -12, plus: +3, float: 1.5, exp: 1e3,
      nul: ~, empty: , yep: True, text: "12", tagged: !!str 12, forced: !!int "12", colon: 12:30:45, under: 1_000, big: 123456789012345678901234567890}
`)
	want := "map[big:123456789012345678901234567890 colon:12:30:45 day:2026-07-29 empty:<nil> exp:1000 float:1.5 forced:12 hex:31 int:-12 nul:<nil> oct:15 on:on plus:3 stamp:2026-07-29T12:00:00Z tagged:12 text:12 under:1_000 yep:true yes:yes]"
	if diff := cmp.Diff(want, fmt.Sprint(def.Do[0].Set.Any)); diff != "" {
		t.Error(diff)
	}
	if v := def.Do[0].Set.Field("tagged"); v.Scalar != "12" {
		t.Errorf("!!str 12 is %T", v.Scalar)
	}
	if v := def.Do[0].Set.Field("on"); v.Scalar != "on" {
		t.Errorf("on is %T", v.Scalar)
	}
}

// DSL 1: JSON and YAML of the same content are the same definition.
func TestJSON(t *testing.T) {
	t.Parallel()
	json := "\xef\xbb\xbf{\n\t\"document\": {\"dsl\": \"1.0.3\", \"namespace\": \"test\", \"name\": \"test\", \"version\": \"1.0.0\"},\n" +
		"\t\"do\":\t[{\"a\": {\"set\": {\"s\": \"\\ud83d\\ude00 \\/ \\u00e9\", \"n\": [1, -2.5e3, true, null, {}]}}}]\n}\n"
	yaml := head + "do:\n- a:\n    set:\n      s: \"\U0001F600 / é\"\n      n: [1, -2500.0, true, null, {}]\n"
	a, b := decode(t, json), decode(t, yaml)
	if diff := cmp.Diff(a.Literal, b.Literal); diff != "" {
		t.Error(diff)
	}
	if got := a.Do[0].Pos; got != (workflow.Pos{Line: 3, Col: 10}) {
		t.Errorf("the task a is at %v", got)
	}
	if a.Digest == b.Digest || len(a.Digest) != len("sha256:")+64 {
		t.Errorf("digests %s and %s", a.Digest, b.Digest)
	}
}

// What a definition says arrives in the types, defaults filled in.
func TestDefaults(t *testing.T) {
	t.Parallel()
	def := decode(t, head+`do:
- l: {for: {in: .x}, do: []}                                        # DSL 98
- t: {try: [], catch: {}}                                           # DSL 108, DSL 110
- r: {run: {shell: {command: ls}}}                                  # DSL 131, DSL 132
- w: {run: {workflow: {namespace: a, name: b}, await: false}}       # DSL 141
- f: {fork: {branches: []}}                                         # DSL 103
- s: {listen: {to: {any: [], until: false}}, foreach: {}}           # DSL 120, DSL 121, DSL 124, DSL 125
- m: {call: map, with: {in: [1], do: []}}                           # D36
- x: {if: true, wait: PT1S, metadata: {downbeat: {on: {os: linux}}}}
evaluate: {}
`)
	l, s, m := def.Do[0].For, def.Do[5].Listen, def.Do[6].Call.Map
	got := []any{
		l.Each, l.At, def.Do[1].Try.As, def.Do[2].Run.Await, def.Do[2].Run.Return, def.Do[3].Run.Await, def.Do[3].Run.Workflow.Version,
		def.Do[4].Fork.Compete, s.Read, s.To.Mode, s.To.UntilFalse, len(s.To.Filters), s.Foreach.Item, s.Foreach.At, m.Each, m.At, m.OnError,
		def.Do[7].If.Source, def.Do[7].Downbeat.On["os"], def.Do[7].Downbeat.Interrupted, def.Evaluate.Language, def.Evaluate.Loose,
	}
	want := []any{
		"item", "index", "error", true, "stdout", false, "latest", false, "data", workflow.Any, true, 0, "item", "index", "item", "index", "fail",
		"true", "linux", "repeat", "jq", false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// D37: a function of the document called map is not the fan-out, nor one of another catalogue.
func TestMapOrFunction(t *testing.T) {
	t.Parallel()
	def := decode(t, head+"use: {functions: {map: {set: {a: 1}}}}\ndo:\n- a: {call: map, with: {anything: 1}}\n- b: {call: 'map:1.0.0@default', with: {in: [], do: []}}\n")
	if def.Do[0].Call.Map != nil || def.Do[1].Call.Map == nil {
		t.Error("map of the document, then of the default catalogue, expected")
	}
}

// The names of use are found.
func TestFind(t *testing.T) {
	t.Parallel()
	def := decode(t, head+`do:
- a: {try: [], catch: {retry: r}, timeout: t}
- b: {call: http, with: {method: get, endpoint: {uri: 'https://x.y', authentication: {use: a}}}}
use:
  authentications: {a: {basic: {use: s}}}
  errors: {e: {type: 'https://x.y', status: 400}}
  functions: {f: {set: {a: 1}}}
  retries: {r: {delay: PT1S, backoff: {linear: {}}, limit: {attempt: {count: 3, duration: PT1M}, duration: PT1H}, jitter: {from: PT0S, to: PT1S}}}
  timeouts: {t: {after: {minutes: 2}}}
  secrets: [s]
  catalogs: {c: {endpoint: https://x.y}}
`)
	if def.FindAuth("a") == nil || def.FindError("e") == nil || def.FindFunction("f") == nil || def.FindRetry("r") == nil ||
		def.FindTimeout("t") == nil || def.FindCatalog("c") == nil || !def.HasSecret("s") {
		t.Error("a name is not found")
	}
	if def.FindAuth("x") != nil || def.FindError("x") != nil || def.FindFunction("x") != nil || def.FindRetry("x") != nil || def.FindTimeout("x") != nil || def.HasSecret("x") {
		t.Error("a name is found that is not there")
	}
	if def.FindAuth("a").Secret != "s" || def.Do[1].Call.Auth.Use != "a" {
		t.Error("the authentication is not read")
	}
	if r := def.RetryPolicy(def.Do[0].Try); r == nil || *r.AttemptCount != 3 || r.Backoff != "linear" {
		t.Errorf("retry policy %+v", r)
	}
	if d, ok := def.TimeoutAfter(def.Do[0].Timeout).Literal(); !ok || d.String() != "PT2M" {
		t.Errorf("timeout %v", d)
	}
}

// D38: the settings of the document.
func TestSettings(t *testing.T) {
	t.Parallel()
	def := decode(t, `document:
  {dsl: '1.0.3', namespace: test, name: test, version: 1.0.0, metadata: {other: 1, downbeat: {concurrency: {limit: 2, key: .x, on: reject}, priority: -3,
  locks: [a, '${ .b }'], calendar: c, schedule: {timezone: Europe/Berlin, jitter: PT5S, paused: true}, endpoint: {method: POST, path: /x, mode: sync},
  webhook: {provider: github, secret: s}, manual: PT15M, retention: {keep: 5, for: P1D}, sensitive: [/a], shell: cmd}}}
do: []
`)
	s := def.Downbeat
	got := []any{
		s.Concurrency.Limit, s.Concurrency.Key.Source, s.Concurrency.On, s.Priority, len(s.Locks), s.Calendar, s.Schedule.Jitter.String(), s.Schedule.Missed,
		s.Schedule.Paused, s.Endpoint.Field("path").String(), s.Manual.String(), s.Retention.Keep, s.Retention.For.String(), s.Sensitive[0], s.Shell,
	}
	want := []any{2, ".x", "reject", -3, 2, "c", "5s", "latest", true, "/x", "15m0s", 5, "24h0m0s", "/a", "cmd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// DSL 39-48: the table of variables, as the specification has it.
func TestScope(t *testing.T) {
	t.Parallel()
	for site, want := range map[workflow.Site]string{
		workflow.WorkflowInputSite:  "[$secrets $workflow $runtime]",
		workflow.IfSite:             "[$context $secrets $task $workflow $runtime]",
		workflow.InputFromSite:      "[$context $secrets $task $workflow $runtime]",
		workflow.BodySite:           "[$context $input $secrets $task $workflow $runtime $authorization]",
		workflow.OutputSite:         "[$context $input $secrets $task $workflow $runtime $authorization]",
		workflow.ExportSite:         "[$context $input $output $secrets $task $workflow $runtime $authorization]",
		workflow.WorkflowOutputSite: "[$context $secrets $workflow $runtime]",
		workflow.NoSite:             "[]",
	} {
		if got := fmt.Sprint(workflow.Scope(site, nil)); got != want {
			t.Errorf("%s: %s instead of %s", site, got, want)
		}
	}
	if got := fmt.Sprint(workflow.Scope(workflow.NoSite, []string{"item", "$index"})); got != "[$item $index]" {
		t.Error(got)
	}
}
