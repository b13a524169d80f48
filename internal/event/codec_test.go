package event_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

var sameRaw = cmp.Comparer(func(a, b value.Raw) bool {
	return a.IsZero() == b.IsZero() && bytes.Equal(a.JSON(), b.JSON())
})

var at = time.Date(2026, 11, 21, 4, 5, 6, 789012000, time.UTC)

func raw(s string) value.Raw { return value.FromJSON([]byte(s)) }

func one(body event.Body) []event.Event { return []event.Event{{At: at, Body: body}} }

var id1, id2 = event.RunID{1, 2, 3, 15: 16}, event.RunID{0xff, 15: 0xee}

var problem = event.Problem{
	Type: event.TypePrefix + event.Communication, Status: 503, Title: "Service Unavailable", Detail: "no answer", Instance: "/do/0/call",
	More: map[string]any{"exitCode": 3, "stderr": "x"},
}

var started = event.RunStarted{
	Run: id1, Revision: 1, Definition: "sha256:aa", Namespace: "default", Name: "hello", Version: "1.0.0",
	Definitions: []event.Named{{Name: "a/b:latest", ID: "a/b:1.2.3", Digest: "sha256:bb"}, {}},
	Input:       raw(`{"a":[1,2]}`), Trigger: "child",
	Parent: &event.Parent{Run: id2, Activation: "0.i5.2~1", Attempt: 2, Await: true}, Depth: 3,
	Labels: map[string]string{"os": "linux", "a": "", "": "b"}, Runtime: "0.1.0", Directory: "/tmp/x",
}

// golden holds one or more events for every kind; testdata/codec_v1.txt holds their bytes.
var golden = []struct {
	name   string
	events []event.Event
}{
	{"none", nil},
	{"run-started", one(&started)},
	{"run-started-empty", one(&event.RunStarted{})},
	{"task-completed", one(&event.TaskCompleted{Activation: "2~1", Attempt: 1, Output: raw(`null`), Authorization: &event.Authorization{Scheme: "Bearer", Parameter: "p"}})},
	{"task-completed-no-output", one(&event.TaskCompleted{Activation: "0", Attempt: 7})},
	{"task-failed", one(&event.TaskFailed{Activation: "1", Attempt: 300, Error: problem})},
	{"task-cancelled", one(&event.TaskCancelled{Activation: "1", Attempt: 1, Unknown: true})},
	{"attempt-started", one(&event.AttemptStarted{Activation: "1", Attempt: 1, Handle: raw(`{"pid":1}`)})},
	{"timer-fired", one(&event.TimerFired{Timer: "t:1"})},
	{"cloud-event-received", one(&event.CloudEventReceived{Sequence: 1 << 40, Event: raw(`{"id":"e"}`), Listener: "3"})},
	{"child-ended", one(&event.ChildEnded{Activation: "4", Attempt: 1, Child: id2, Status: event.Faulted, Error: &problem})},
	{"child-ended-well", one(&event.ChildEnded{Activation: "4", Attempt: 1, Child: id2, Status: event.Completed, Output: raw(`1.5`)})},
	{"secrets-resolved", one(&event.SecretsResolved{Secrets: []event.Secret{{Name: "db", Version: "3", Value: raw(`"s"`)}, {}}, Missing: []string{"x", ""}})},
	{"cancel-requested", one(&event.CancelRequested{By: "ann", Reason: "why not"})},
	{"suspend-requested", one(&event.SuspendRequested{By: "ann", Reason: "lunch"})},
	{"resume-requested", one(&event.ResumeRequested{By: "ann"})},
	{"evaluation-stopped", one(&event.EvaluationStopped{Ordinal: 1<<64 - 1, Reason: "time"})},
	{"sliced", one(&event.Sliced{Slices: 4})},
	{"run-ended", one(&event.RunEnded{Status: event.Cancelled, Output: raw(`{}`), Error: &event.Problem{}, Tasks: []byte{0, 1, 2}})},
	{"run-reopened", one(&event.RunReopened{Definition: "sha256:cc", State: []byte("state"), By: "bob"})},
	{"run-forked", one(&event.RunForked{Start: started, From: id2, Sequence: 12, State: []byte{9}})},
	{"several-with-times", []event.Event{
		{At: at, Body: &event.Sliced{Slices: 1}},
		{At: at, Body: &event.TimerFired{}},
		{At: at.Add(time.Second), Body: &event.TimerFired{Timer: strings.Repeat("long", 40)}},
		{At: at, Body: &event.ResumeRequested{}},
	}},
}

func goldenBytes(t testing.TB) map[string]string {
	t.Helper()
	f, err := os.Open("testdata/codec_v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, b, ok := strings.Cut(s.Text(), " "); ok && name != "#" {
			m[name] = b
		}
	}
	return m
}

// A journal of the first release must be readable for ever, and the same facts
// must give the same bytes: a line of the file is never changed.
func TestGoldenBytesOfEveryKind(t *testing.T) {
	lines := goldenBytes(t)
	for _, g := range golden {
		want, ok := lines[g.name]
		got := hex.EncodeToString(event.Append(nil, g.events, nil))
		if !ok {
			t.Errorf("no line for this one yet; it would be:\n%s %s", g.name, got)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: bytes (-want +got):\n%s", g.name, diff)
		}
		b, err := hex.DecodeString(want)
		if err != nil {
			t.Fatal(err)
		}
		events, err := event.Decode(b, nil)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if diff := cmp.Diff(g.events, events, sameRaw, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", g.name, diff)
		}
	}
}

func TestLargeValuesLeaveTheRow(t *testing.T) {
	big := raw(`"` + strings.Repeat("x", event.MaxInline) + `"`)
	fits := raw(`"` + strings.Repeat("x", event.MaxInline-2) + `"`)
	events := []event.Event{
		{At: at, Body: &event.TaskCompleted{Activation: "0", Output: big}},
		{At: at, Body: &event.TaskCompleted{Activation: "1", Output: big}},
		{At: at, Body: &event.TaskCompleted{Activation: "2", Output: fits}},
	}
	var ext event.Externals
	b := event.Append(nil, events, &ext)
	if len(ext.Values) != 1 || ext.Values[0].Digest != event.Digest(big.JSON()) || !bytes.Equal(ext.Values[0].Data, big.JSON()) {
		t.Fatalf("want the value once, got %d", len(ext.Values))
	}
	if len(b) > event.MaxInline+200 {
		t.Errorf("the row has %d bytes", len(b))
	}
	got, err := event.Decode(b, func(digest string) ([]byte, error) {
		if digest != ext.Values[0].Digest {
			return nil, fmt.Errorf("asked for %s", digest)
		}
		return ext.Values[0].Data, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events, got, sameRaw); diff != "" {
		t.Error(diff)
	}
	lost := errors.New("lost")
	if _, err := event.Decode(b, func(string) ([]byte, error) { return nil, lost }); !errors.Is(err, lost) {
		t.Errorf("want the error of whoever fetches, got %v", err)
	}
	if _, err := event.Decode(b, nil); err == nil {
		t.Error("a value kept elsewhere was read without anybody to fetch it")
	}
	if inline := event.Append(nil, events, nil); len(inline) < 3*event.MaxInline {
		t.Errorf("without externals all values stay: %d bytes", len(inline))
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	// Sliced{Slices: 4} with fields 99 of every wire type before and after it.
	extra := "9806" + "01" + "9906" + "0102030405060708" + "9a06" + "02aabb" + "9b06" + "01cc" + "9d06" + "01020304"
	body := "00" + extra + "0808" + extra
	b, err := hex.DecodeString("01" + "0e" + fmt.Sprintf("%02x", len(body)/2) + body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []event.Event{{At: time.UnixMicro(0).UTC(), Body: &event.Sliced{Slices: 4}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadBytesAreErrors(t *testing.T) {
	for name, b := range map[string]string{
		"nothing": "", "later format": "02", "unknown kind": "011201" + "00", "huge kind": "01ffff0301" + "00",
		"no time": "010600", "cut off length": "0106ff", "length past the end": "010605" + "00",
		"field number 0": "0106020001", "wrong wire type": "0106030008" + "01", "unknown wire type": "010602009f",
		"status out of range": "010f0300" + "0808", "run id too short": "0101040000" + "0a0101",
		"digest too short": "0102040000" + "1b01aa", "endless varint": "01ffffffffffffffffffffffff",
	} {
		raw, err := hex.DecodeString(b)
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := event.Decode(raw, nil); err == nil {
			t.Errorf("%s: no error, but %v", name, got)
		}
	}
	for _, g := range golden {
		whole := event.Append(nil, g.events, nil)
		for n := range whole {
			_, _ = event.Decode(whole[:n], nil) // must not panic
		}
	}
}

// drawn makes events of the kinds that carry the most, with arbitrary content.
func drawn(t *rapid.T) []event.Event {
	str := rapid.String()
	anyRaw := rapid.Custom(func(t *rapid.T) value.Raw {
		if rapid.Bool().Draw(t, "none") {
			return value.Raw{}
		}
		return value.FromAny(map[string]any{str.Draw(t, "k"): str.Draw(t, "v")})
	})
	act := rapid.Custom(func(t *rapid.T) event.Activation { return event.Activation(str.Draw(t, "a")) })
	attempt := rapid.IntRange(-1<<31, 1<<31-1)
	var before int64
	body := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) event.Body {
			return &event.TaskCompleted{Activation: act.Draw(t, "a"), Attempt: attempt.Draw(t, "n"), Output: anyRaw.Draw(t, "o")}
		}),
		rapid.Custom(func(t *rapid.T) event.Body {
			return &event.TaskFailed{Activation: act.Draw(t, "a"), Attempt: attempt.Draw(t, "n"), Error: event.Problem{Type: str.Draw(t, "t"), Status: attempt.Draw(t, "s"), Detail: str.Draw(t, "d")}}
		}),
		rapid.Custom(func(t *rapid.T) event.Body {
			return &event.RunStarted{Name: str.Draw(t, "n"), Input: anyRaw.Draw(t, "i"), Labels: rapid.MapOf(str, str).Draw(t, "l")}
		}),
		rapid.Custom(func(t *rapid.T) event.Body {
			return &event.SecretsResolved{Secrets: []event.Secret{{Name: str.Draw(t, "n"), Value: anyRaw.Draw(t, "v")}}, Missing: rapid.SliceOf(str).Draw(t, "m")}
		}),
		rapid.Custom(func(t *rapid.T) event.Body {
			return &event.RunEnded{Status: event.Status(rapid.IntRange(0, 7).Draw(t, "s")), Output: anyRaw.Draw(t, "o"), Tasks: rapid.SliceOf(rapid.Byte()).Draw(t, "t")}
		}),
	)
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) event.Event {
		before += rapid.Int64Range(0, 1<<45).Draw(t, "at")
		return event.Event{At: time.UnixMicro(before).UTC(), Body: body.Draw(t, "body")}
	})).Draw(t, "events")
}

func TestNothingIsLostOnTheWayThroughBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawn(t)
		b := event.Append([]byte("before"), events, nil)
		got, err := event.Decode(b[6:], nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events, got, sameRaw, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if again := event.Append([]byte("before"), got, nil); !bytes.Equal(b, again) {
			t.Fatal("the same events gave other bytes")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, b := range goldenBytes(f) {
		if b, err := hex.DecodeString(b); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := event.Decode(b, func(string) ([]byte, error) { return []byte("{}"), nil })
		if err != nil {
			return
		}
		again, err := event.Decode(event.Append(nil, events, nil), nil)
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if diff := cmp.Diff(events, again, sameRaw, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	events := one(&event.TaskCompleted{Activation: "0.i5.2", Attempt: 1, Output: raw(`{"a":1,"b":"` + strings.Repeat("x", 200) + `"}`)})
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.Append(buf[:0], events, nil)
	}
}

func BenchmarkDecode(b *testing.B) {
	buf := event.Append(nil, one(&event.TaskCompleted{Activation: "0.i5.2", Attempt: 1, Output: raw(`{"a":1,"b":"` + strings.Repeat("x", 200) + `"}`)}), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Decode(buf, nil); err != nil {
			b.Fatal(err)
		}
	}
}
