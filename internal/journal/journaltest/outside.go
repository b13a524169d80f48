package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

func fact(n byte, key string) journal.InboxRow {
	return journal.InboxRow{Run: id(n), Kind: journal.InboxCancel, Key: key, Data: []byte(key), At: base}
}

func aFactWakesItsRun(s suite) {
	s.begin(1, 2)
	s.commit(update(journal.RunUpdate{ID: id(2), WakeAt: base.Add(time.Hour), Release: true}))
	other := s.Again(s.T)
	b := &journal.Batch{Inbox: []journal.InboxRow{fact(1, "a"), fact(2, "a"), fact(1, "b")}}
	s.must(other.Commit(s.Context(), b))
	ids, _ := s.due(s.Store, 0, true)
	s.same("due", 2, len(ids))
	inbox, err := s.Store.Inbox(s.Context(), id(1))
	s.must(err)
	s.same("inbox", []journal.InboxRow{b.Inbox[0], b.Inbox[2]}, inbox)
	// The owner clears, then looks, then takes the facts: in between nothing is lost.
	s.commit(update(journal.RunUpdate{ID: id(1), WakeAt: journal.NoWake}))
	ids, _ = s.due(s.Store, 0, false)
	s.same("due after it was cleared", []event.RunID{id(2)}, ids)
	s.commit(&journal.Batch{Appends: []journal.Row{row(1, 2)}, InboxDone: []int64{inbox[0].ID}})
	inbox, err = s.Store.Inbox(s.Context(), id(1))
	s.must(err)
	s.same("what is left", []journal.InboxRow{b.Inbox[2]}, inbox)
}

// A fact or an event that comes while its run is falling asleep must not wait for a timer.
func aSleepingRunKeepsItsWake(s suite) {
	s.begin(1, 2, 3)
	s.commit(&journal.Batch{Inbox: []journal.InboxRow{fact(1, "a"), fact(2, "a"), fact(3, "a")}})
	s.commit(update(
		journal.RunUpdate{ID: id(1), WakeAt: base.Add(time.Hour), Release: true},
		journal.RunUpdate{ID: id(2), WakeAt: journal.NoWake, Asleep: true},
		journal.RunUpdate{ID: id(3), WakeAt: journal.NoWake},
	))
	ids, next := s.due(s.Store, 0, true)
	s.same("due", 2, len(ids))
	s.same("next", time.Time{}, next)
	for _, i := range ids {
		if i == id(3) {
			s.Error("the run that was told to forget is due")
		}
	}
}

func aFactIsStoredOnce(s suite) {
	s.begin(1)
	b := &journal.Batch{Inbox: []journal.InboxRow{fact(1, "a")}}
	s.commit(b)
	again := &journal.Batch{Inbox: []journal.InboxRow{fact(1, "a"), fact(1, ""), fact(1, "")}}
	s.commit(again)
	s.same("id", b.Inbox[0].ID, again.Inbox[0].ID)
	inbox, err := s.Store.Inbox(s.Context(), id(1))
	s.must(err)
	s.same("facts; those without a key are not compared", 3, len(inbox))
}

func factsForEndedRunsAreDropped(s suite) {
	s.begin(1, 2)
	s.commit(&journal.Batch{Inbox: []journal.InboxRow{fact(1, "early")}})
	s.commit(&journal.Batch{Updates: []journal.RunUpdate{ended(1, base)}, Inbox: []journal.InboxRow{fact(2, "of a child that ended")}})
	b := &journal.Batch{Inbox: []journal.InboxRow{fact(1, "late"), fact(77, "unknown"), fact(2, "fine")}}
	s.commit(b)
	s.same("gone", []bool{true, true, false}, []bool{b.Inbox[0].Gone, b.Inbox[1].Gone, b.Inbox[2].Gone})
	inbox, err := s.Store.Inbox(s.Context(), id(1))
	s.must(err)
	s.same("inbox of the ended run", 0, len(inbox))
	ids, _ := s.due(s.Store, time.Hour, true)
	s.same("due", []event.RunID{id(2)}, ids)
}

func cloudEvent(name, kind string, at time.Time) journal.CloudEvent {
	return journal.CloudEvent{ID: name, Source: "test", Type: kind, Data: []byte(`{"id":"` + name + `"}`), At: at}
}

func eventsAreOrderedAndStoredOnce(s suite) {
	b := &journal.Batch{Events: []journal.CloudEvent{cloudEvent("1", "a", base), cloudEvent("2", "b", base.Add(time.Second)), cloudEvent("1", "a", base)}}
	s.commit(b)
	s.same("known", []bool{false, false, true}, []bool{b.Events[0].Known, b.Events[1].Known, b.Events[2].Known})
	s.same("sequence of the known one", b.Events[0].Sequence, b.Events[2].Sequence)
	late := &journal.Batch{Events: []journal.CloudEvent{cloudEvent("3", "a", base.Add(-time.Hour)), cloudEvent("4", "c", base.Add(time.Minute))}}
	s.must(s.Again(s.T).Commit(s.Context(), late))
	read := func(after int64, limit int, types ...string) (names string) {
		s.Helper()
		events, err := s.Store.CloudEvents(s.Context(), after, types, limit)
		s.must(err)
		last, at := after, time.Time{}
		for _, e := range events {
			if e.Sequence <= last || e.At.Before(at) {
				s.Errorf("sequence %d at %s after %d at %s", e.Sequence, e.At, last, at)
			}
			last, at = e.Sequence, e.At
			names += e.ID
		}
		return names
	}
	s.same("all", "1234", read(0, 10))
	s.same("a page", "12", read(0, 2))
	s.same("after", "34", read(b.Events[1].Sequence, 10))
	s.same("of a type", "13", read(0, 10, "a"))
	s.same("of types", "134", read(0, 10, "c", "a", "x"))
	s.same("of no type that is there", "", read(0, 10, "x"))
	events, err := s.Store.CloudEvents(s.Context(), 0, nil, 1)
	s.must(err)
	s.same("content", b.Events[:1], events)
}

func eventsWakeSubscribers(s suite) {
	s.begin(1, 2, 3, 4)
	s.commit(&journal.Batch{Subscriptions: []journal.Subscription{
		{Run: id(1), Activation: "0", Types: []string{"a", "b"}},
		{Run: id(2), Activation: "0"},
		{Run: id(3), Activation: "0", Types: []string{"c"}},
		{Run: id(3), Activation: "1", Types: []string{"a"}},
		{Run: id(4), Activation: "0", Types: []string{"a"}},
	}})
	s.commit(&journal.Batch{
		Unsubscribe: []journal.Subscription{{Run: id(3), Activation: "1"}},
		Updates:     []journal.RunUpdate{ended(4, base)},
	})
	due := func(names ...journal.CloudEvent) string {
		s.Helper()
		s.must(s.Again(s.T).Commit(s.Context(), &journal.Batch{Events: names}))
		ids, _ := s.due(s.Store, 0, false)
		var out strings.Builder
		b := &journal.Batch{}
		for n := range byte(5) {
			for _, i := range ids {
				if i == id(n) {
					fmt.Fprint(&out, n)
					b.Updates = append(b.Updates, journal.RunUpdate{ID: i, WakeAt: journal.NoWake})
				}
			}
		}
		s.commit(b)
		return out.String()
	}
	s.same("a", "12", due(cloudEvent("1", "a", base)))
	s.same("c", "23", due(cloudEvent("2", "c", base)))
	s.same("d", "2", due(cloudEvent("3", "d", base)))
	s.same("known", "", due(cloudEvent("3", "d", base)))
}

func payloadsAreStoredByDigest(s suite) {
	s.begin(1)
	for _, data := range [][]byte{bytes.Repeat([]byte("pattern "), 20_000), noise(100_000), []byte("small"), {}} {
		digest := event.Digest(data)
		p := journal.Payload{Digest: digest, Data: data, Run: id(1)}
		s.commit(&journal.Batch{Payloads: []journal.Payload{p, p}})
		got, err := s.Store.Payload(s.Context(), digest)
		s.must(err)
		if !bytes.Equal(data, got) {
			s.Errorf("%d bytes came back as %d others", len(data), len(got))
		}
	}
}

// noise is what cannot be compressed.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func versionsNeverChange(s suite) {
	deploy := func(name, digest string) error {
		return s.Store.Commit(s.Context(), &journal.Batch{Definitions: []journal.Definition{{Digest: digest, ID: name, Source: []byte(digest)}}})
	}
	for _, v := range []string{"0.9.0", "1.10.0", "1.9.0", "1.10.0-rc.1"} {
		s.must(deploy("ops/a:"+v, "sha256:"+v))
	}
	s.must(deploy("ops/ab:9.0.0", "sha256:other"))
	s.must(deploy("ops/a:1.9.0", "sha256:1.9.0"))
	if err := deploy("ops/a:1.9.0", "sha256:changed"); !errors.Is(err, journal.ErrConflict) {
		s.Errorf("a version was changed: %v", err)
	}
	find := func(name string) string {
		s.Helper()
		digest, resolved, err := s.Store.FindDefinition(s.Context(), name)
		s.must(err)
		return digest + " " + resolved
	}
	s.same("exact", "sha256:1.9.0 ops/a:1.9.0", find("ops/a:1.9.0"))
	s.same("latest", "sha256:1.10.0 ops/a:1.10.0", find("ops/a:latest"))
	for _, name := range []string{"ops/a:2.0.0", "ops/b:latest", "nothing"} {
		if _, _, err := s.Store.FindDefinition(s.Context(), name); !errors.Is(err, journal.ErrNotFound) {
			s.Errorf("%s: %v", name, err)
		}
	}
}

func keysBelongToOneRun(s suite) {
	s.begin(1, 2)
	k := journal.Key{Scope: "ann", Key: "k", Run: id(1)}
	s.commit(&journal.Batch{Keys: []journal.Key{k, {Scope: "bob", Key: "k", Run: id(2)}}})
	s.commit(&journal.Batch{Keys: []journal.Key{k}})
	k.Run = id(2)
	if err := s.Store.Commit(s.Context(), &journal.Batch{Keys: []journal.Key{k}}); !errors.Is(err, journal.ErrConflict) {
		s.Errorf("a key was given to another run: %v", err)
	}
	run, err := s.Store.FindKey(s.Context(), "ann", "k")
	s.must(err)
	s.same("run", id(1), run)
}

func listsArePaged(s suite) {
	b := &journal.Batch{}
	for n := range byte(10) {
		st := start(n)
		st.At = base.Add(time.Duration(n) * time.Minute)
		if n%2 == 1 {
			st.Workflow = "ops/other:2.0.0"
		}
		if n == 5 {
			st.Workflow = "ops/other:3.0.0"
		}
		if n >= 7 {
			st.Labels = map[string]string{"os": "linux"}
		}
		b.Starts = append(b.Starts, st)
	}
	b.Updates = []journal.RunUpdate{ended(3, base), {ID: id(5), Status: event.Faulted, EndedAt: base, Ended: true}}
	s.commit(b)
	list := func(q journal.Query) (out string) {
		s.Helper()
		for range 20 {
			rows, next, err := s.Store.Runs(s.Context(), q)
			s.must(err)
			for _, r := range rows {
				out += fmt.Sprint(r.ID[15])
			}
			if next == "" {
				return out
			}
			if len(rows) == 0 {
				s.Fatal("an empty page with more to come")
			}
			q.Cursor = next
		}
		s.Fatal("the list has no end")
		return out
	}
	s.same("newest first", "9876543210", list(journal.Query{Limit: 3}))
	s.same("pages of one", "9876543210", list(journal.Query{Limit: 1}))
	s.same("exact pages", "9876543210", list(journal.Query{Limit: 5}))
	s.same("by workflow", "97531", list(journal.Query{Workflow: "ops/other", Limit: 2}))
	s.same("by version", "9731", list(journal.Query{Workflow: "ops/other:2.0.0", Limit: 2}))
	s.same("of no workflow", "", list(journal.Query{Workflow: "ops/none"}))
	s.same("by status", "53", list(journal.Query{Statuses: []event.Status{event.Completed, event.Faulted}}))
	s.same("since", "98", list(journal.Query{Since: base.Add(8 * time.Minute)}))
	s.same("by label", "987", list(journal.Query{Label: "os=linux", Limit: 1}))
	s.same("by another label", "", list(journal.Query{Label: "os=bsd"}))
	if _, _, err := s.Store.Runs(s.Context(), journal.Query{Cursor: "?"}); err == nil {
		s.Error("a cursor of nobody's was taken")
	}
}

func groupsCountLiveRuns(s suite) {
	b := &journal.Batch{}
	for n := range byte(3) {
		st := start(n)
		st.Concurrency = "deploy"
		b.Starts = append(b.Starts, st)
	}
	s.commit(b)
	s.commit(update(ended(1, base)))
	n, err := s.Store.Active(s.Context(), "deploy")
	s.must(err)
	s.same("live runs", 2, n)
	n, err = s.Store.Active(s.Context(), "other")
	s.must(err)
	s.same("live runs of another group", 0, n)
}
