package tape_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/tape"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

const flow = `
document: {dsl: '1.0.3', namespace: test, name: sync, version: '1.0.0'}
use: {secrets: [token, account]}
do:
  - login:
      call: http
      with: {method: post, endpoint: 'http://x.example/login', headers: {Authorization: '${ $secrets.token + $secrets.account.name }'}}
  - each:
      call: map
      with:
        in: '["a", "b", "c"]'
        limit: 1
        do:
          - copy: {run: {shell: {command: copy, arguments: ['${ $item }']}}}
  - ok: {listen: {to: {one: {with: {type: com.x.ok}}}}}
  - kid: {run: {workflow: {namespace: test, name: kid}}}
`

// recorded is what must come of the journal below, to the letter.
const recorded = `workflow: sync.yaml
cases:
  - name: as it was
    id: '01890a5d-ac96-774b-bcce-b302099a8057'
    input: {'n': 1}
    start: '2026-03-01T10:00:00Z'
    secrets:
      account: {name: '{account.name}'}
      token: '{token}'
    mocks:
      - task: login
        output: {note: '${ "costs ${ 5 }" }', session: 'for {token}'}
        delay: PT0.25S
      - {task: copy, when: '$iteration == [0]', output: A, delay: PT1S}
      - {task: copy, when: '$iteration == [1]', output: B, delay: PT1S}
      - {task: copy, when: '$iteration == [2]', output: B, delay: PT1S}
      - task: kid
        error: {status: 503, type: communication, title: Down}
        delay: PT1S
    events:
      - at: PT1H3.25S
        event: {id: '7', type: com.x.ok, data: 'by {account.name}', source: /x, specversion: '1.0'}
    expect:
      status: faulted
      error: {status: 503, type: communication, instance: /do/3/kid}
      path: [login, each, copy, copy, copy, ok, kid]
`

func TestARecordingSaysWhatHappenedAndNoSecret(t *testing.T) {
	t.Parallel()
	def, findings := workflow.Decode([]byte(flow))
	if def == nil {
		t.Fatal(findings)
	}
	id, _ := event.ParseRunID("01890a5d-ac96-774b-bcce-b302099a8057")
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	var events []event.Event
	add := func(after time.Duration, b event.Body) {
		at = at.Add(after)
		events = append(events, event.Event{At: at, Body: b})
	}
	add(0, &event.RunStarted{Run: id, Revision: 1, Input: value.FromAny(map[string]any{"n": 1})})
	add(0, &event.SecretsResolved{Secrets: []event.Secret{
		{Name: "token", Value: value.FromAny("s3cr3t")}, {Name: "account", Value: value.FromAny(map[string]any{"name": "ada@x"})},
	}})
	add(250*time.Millisecond, &event.TaskCompleted{Activation: "0", Attempt: 1, Output: value.FromAny(map[string]any{"session": "for s3cr3t", "note": "costs ${ 5 }"})})
	add(time.Second, &event.TaskCompleted{Activation: "1.m0.0", Attempt: 1, Output: value.FromAny("A")})
	add(time.Second, &event.TaskCompleted{Activation: "1.m1.0", Attempt: 1, Output: value.FromAny("B")})
	add(time.Second, &event.TaskCompleted{Activation: "1.m2.0", Attempt: 1, Output: value.FromAny("B")})
	add(time.Hour, &event.CloudEventReceived{Sequence: 1, Event: value.FromAny(map[string]any{
		"specversion": "1.0", "id": "7", "source": "/x", "type": "com.x.ok", "data": "by ada@x",
	})})
	add(time.Second, &event.ChildEnded{Activation: "3", Attempt: 1, Status: event.Faulted, Error: &event.Problem{Type: event.TypePrefix + "communication", Status: 503, Title: "Down"}})
	got, err := tape.Record("as it was", rehearse.Definition{File: "sync.yaml", Workflow: def}, program.Options{}, events)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got); strings.Contains(s, "s3cr3t") || strings.Contains(s, "ada@x") {
		t.Errorf("a secret stands in the recording:\n%s", s)
	}
	if d := cmp.Diff(recorded, string(got)); d != "" {
		t.Error(d)
	}
	s, findings := rehearse.Decode(got)
	if s == nil {
		t.Fatal(findings)
	}
	r, findings := rehearse.Link(s, rehearse.Definition{File: "sync.yaml", Workflow: def}, nil, program.Options{})
	if r == nil {
		t.Fatal(findings)
	}
	if res := r.Play(s.Cases[0]); !res.Passed() {
		t.Errorf("%+v", res.Failures)
	}
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	t.Parallel()
	def, _ := workflow.Decode([]byte(flow))
	for want, events := range map[string][]event.Event{
		"no events":          nil,
		"retried or forked":  {{Body: &event.RunForked{}}},
		"has not started":    {{Body: &event.CancelRequested{}}},
		"event 2 of 2: mach": {{Body: &event.RunStarted{}}, {Body: &event.RunStarted{}}},
	} {
		if _, err := tape.Record("x", rehearse.Definition{File: "w", Workflow: def}, program.Options{}, events); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
