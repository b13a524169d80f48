package history_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// D41: exactly the events accepted since the run started are early, however
// many there are before.
func TestEarlyEventsBeginAtTheStart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		store := journal.NewMemory()
		base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var at []time.Time
		now := base
		for i := range rapid.IntRange(0, 60).Draw(rt, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "gap")) * time.Second)
			at = append(at, now)
			b := journal.Batch{Events: []journal.CloudEvent{{ID: fmt.Sprint(i), Source: "/x", Type: "t", Data: []byte("{}"), At: now}}}
			if err := store.Commit(t.Context(), &b); err != nil {
				rt.Fatal(err)
			}
		}
		since := base.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "since")) * time.Second)
		h := history.New(store, store, nil)
		a := h.Ask(t.Context(), event.RunID{1}, history.Question{Listens: true, Since: since})
		if a.Err != nil {
			rt.Fatal(a.Err)
		}
		want := 0
		for _, x := range at {
			if !x.Before(since) {
				want++
			}
		}
		if len(a.Fresh) != want || len(a.Early) != 0 {
			rt.Fatalf("%d events, want %d", len(a.Fresh), want)
		}
		// One that listens later sees those up to the cursor as early.
		a = h.Ask(t.Context(), event.RunID{1}, history.Question{Listens: true, Known: true, Early: true, Cursor: int64(len(at)), Since: since})
		if a.Err != nil || len(a.Early) != want || len(a.Fresh) != 0 {
			rt.Fatalf("%d early, %d fresh, want %d, 0; %v", len(a.Early), len(a.Fresh), want, a.Err)
		}
	})
}

func state(t *testing.T) (*program.Program, *history.State) {
	t.Helper()
	def, _ := workflow.Decode([]byte("document: {dsl: '1.0.3', namespace: n, name: w, version: '1.0.0'}\ndo:\n  - a: {call: noop}\n  - b: {wait: PT5S}\n"))
	p, err := program.Compile(def, program.Options{Functions: []string{"noop"}})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &history.State{First: at, At: at.Add(time.Second), Cursor: 7, View: view.New(), Machine: machine.New(p)}
	s.Started = &event.RunStarted{Run: event.RunID{1}, Name: "w", Input: value.FromJSON([]byte(`{"n":1}`))}
	step, err := s.Machine.Apply(event.Event{At: at, Body: s.Started})
	if err != nil {
		t.Fatal(err)
	}
	for i := range step.Transitions {
		s.View.Add(at, &step.Transitions[i])
	}
	s.Attempts.Note(&event.AttemptStarted{Activation: "0", Attempt: 1, Handle: history.Handle("shell", value.FromAny("pid 1"))})
	return p, s
}

func TestStateIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	p, s := state(t)
	b := s.Append(nil)
	got, err := history.ReadState(p, b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Append(nil), b) || got.Machine.Hash() != s.Machine.Hash() || !got.First.Equal(s.First) || got.Cursor != 7 {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff(s.View.Tasks(), got.View.Tasks()); d != "" {
		t.Error(d)
	}
	kind, handle, ok := got.Attempts.Find("0", 1)
	if kind != "shell" || handle != "pid 1" || !ok {
		t.Errorf("%q %v %v", kind, handle, ok)
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	p, s := state(t)
	b := s.Append(nil)
	for i := range b {
		if _, err := history.ReadState(p, b[:i]); err == nil {
			t.Errorf("cut at %d it is read", i)
		}
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 0xff
		_, _ = history.ReadState(p, damaged) // it must not panic
	}
}

func TestAttemptsAreForgottenWithTheirAnswer(t *testing.T) {
	t.Parallel()
	var a history.Attempts
	for _, body := range []event.Body{
		&event.AttemptStarted{Activation: "0", Attempt: 1, Handle: history.Handle("x", value.FromAny("first"))},
		&event.AttemptStarted{Activation: "0", Attempt: 1, Handle: history.Handle("x", value.FromAny("second"))},
		&event.AttemptStarted{Activation: "1", Attempt: 1, Handle: history.Handle("x", value.FromAny("other"))},
		&event.TimerFired{},
	} {
		a.Note(body)
	}
	if _, h, ok := a.Find("0", 1); !ok || h != "second" {
		t.Errorf("found %v %v", h, ok)
	}
	for i, body := range []event.Body{
		&event.TaskCompleted{Activation: "0", Attempt: 1},
		&event.TaskCancelled{Activation: "1", Attempt: 1},
	} {
		a.Note(body)
		if len(a) != 1-i {
			t.Errorf("%d are left after %T", len(a), body)
		}
	}
}

// A handle that continues the one before is found with it.
func TestHandlesThatContinue(t *testing.T) {
	var a history.Attempts
	note := func(attempt int, handle map[string]any) {
		a.Note(&event.AttemptStarted{Activation: "0", Attempt: attempt, Handle: history.Handle("k", value.FromAny(handle))})
	}
	note(1, map[string]any{"n": 1})
	note(2, map[string]any{"n": 2})
	note(2, map[string]any{"n": 3, "continues": true})
	note(1, map[string]any{"n": 4})
	kind, got, ok := a.Find("0", 2)
	want := []any{map[string]any{"n": 2}, map[string]any{"n": 3, "continues": true}}
	if d := cmp.Diff(want, got); d != "" || kind != "k" || !ok {
		t.Errorf("%q %v %s", kind, ok, d)
	}
	if _, got, _ := a.Find("0", 1); cmp.Diff(map[string]any{"n": 4}, got) != "" {
		t.Errorf("the last that stands alone: %v", got)
	}
	a.Note(&event.TaskCompleted{Activation: "0", Attempt: 2})
	if _, _, ok := a.Find("0", 2); ok {
		t.Error("found after the answer")
	}
}
