package journaltest

import (
	"errors"
	"fmt"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

func (s suite) prune(r journal.Retention) (deleted int) {
	s.Helper()
	for range 1000 {
		n, more, err := s.Store.Prune(s.Context(), r, time.Second)
		s.must(err)
		deleted += n
		if !more {
			return deleted
		}
	}
	s.Fatal("pruning has no end")
	return deleted
}

func (s suite) left() (out string) {
	s.Helper()
	rows, _, err := s.Store.Runs(s.Context(), journal.Query{Limit: 1000})
	s.must(err)
	for _, r := range rows {
		out += fmt.Sprint(r.ID[15])
	}
	return out
}

func pruneKeepsWhatItMust(s suite) {
	b := &journal.Batch{}
	for n := range byte(8) { // 0-3 of one workflow, 4-7 of another
		st := start(n)
		st.At = base.Add(time.Duration(n) * time.Hour)
		st.Labels = map[string]string{"n": fmt.Sprint(n)}
		if n >= 4 {
			st.Workflow = "ops/other:1.0.0"
		}
		b.Starts = append(b.Starts, st)
		b.Appends = append(b.Appends, row(n, 1), row(n, 2))
		b.Keys = append(b.Keys, journal.Key{Scope: "s", Key: fmt.Sprint(n), Run: st.ID})
		if n != 1 { // 1 lives on
			b.Updates = append(b.Updates, ended(n, st.At.Add(time.Minute)))
		}
	}
	s.commit(b)
	s.same("nothing is old", 0, s.prune(journal.Retention{Keep: 100, For: 48 * time.Hour, Now: base.Add(9 * time.Hour)}))
	// Ended before base+5h: 0, 2, 3, 4.
	s.same("old", 4, s.prune(journal.Retention{Keep: 100, For: 4 * time.Hour, Now: base.Add(9 * time.Hour)}))
	s.same("left", "7651", s.left())
	for n := range byte(8) {
		_, err := s.Store.Load(s.Context(), id(n))
		_, kerr := s.Store.FindKey(s.Context(), "s", fmt.Sprint(n))
		gone := n == 0 || n == 2 || n == 3 || n == 4
		if gone != errors.Is(err, journal.ErrNotFound) || gone != errors.Is(kerr, journal.ErrNotFound) {
			s.Errorf("run %d: %v, key: %v", n, err, kerr)
		}
	}
	s.same("beyond the number", 1, s.prune(journal.Retention{Keep: 2, For: 1000 * time.Hour, Now: base.Add(9 * time.Hour)}))
	s.same("left", "761", s.left())
	s.same("rows of the run that lives", 2, len(s.load(id(1)).Rows))
	s.commit(&journal.Batch{Appends: []journal.Row{row(1, 3)}, Updates: []journal.RunUpdate{ended(1, base.Add(time.Hour))}})
	s.same("ended meanwhile", 1, s.prune(journal.Retention{Keep: 100, For: time.Hour, Now: base.Add(5 * time.Hour)}))
	s.begin(20)
	s.same("a new run after that", 1, len(s.load(id(20)).Rows))
}

func pruneKeepsPayloadsThatAreNamed(s suite) {
	s.begin(1, 2, 3)
	payload := func(text string, n byte) journal.Payload {
		return journal.Payload{Digest: event.Digest([]byte(text)), Data: []byte(text), Run: id(n)}
	}
	forever := payload("forever", 1)
	forever.Run = event.RunID{}
	s.commit(&journal.Batch{Payloads: []journal.Payload{payload("both", 1), payload("one", 1), payload("both", 2), forever, payload("forever", 1)}})
	s.commit(update(ended(1, base), ended(3, base)))
	s.same("deleted", 2, s.prune(journal.Retention{For: time.Minute, Now: base.Add(time.Hour)}))
	there := func(text string) bool {
		_, err := s.Store.Payload(s.Context(), event.Digest([]byte(text)))
		if err != nil && !errors.Is(err, journal.ErrNotFound) {
			s.Error(err)
		}
		return err == nil
	}
	s.same("payloads", []bool{true, false, true}, []bool{there("both"), there("one"), there("forever")})
	s.commit(update(ended(2, base)))
	s.same("deleted", 1, s.prune(journal.Retention{For: time.Minute, Now: base.Add(time.Hour)}))
	s.same("payloads", []bool{false, false, true}, []bool{there("both"), there("one"), there("forever")})
}

func pruneKeepsEventsThatAreWaitedFor(s suite) {
	late := start(2)
	late.At = base.Add(time.Hour)
	s.commit(&journal.Batch{
		Starts:        []journal.StartRow{start(1), late},
		Subscriptions: []journal.Subscription{{Run: id(1), Activation: "0", Types: []string{"a"}}, {Run: id(2), Activation: "0", Types: []string{"b"}}},
		Events:        []journal.CloudEvent{cloudEvent("1", "a", base), cloudEvent("2", "b", base), cloudEvent("3", "a", base.Add(time.Hour))},
	})
	left := func() (out string) {
		events, err := s.Store.CloudEvents(s.Context(), 0, nil, 100)
		s.must(err)
		for _, e := range events {
			out += e.ID
		}
		return out
	}
	s.prune(journal.Retention{Events: 30 * time.Minute, Now: base.Add(time.Hour)})
	s.same("events", "13", left())
	s.commit(update(ended(1, base)))
	s.prune(journal.Retention{Events: 30 * time.Minute, Now: base.Add(time.Hour)})
	s.same("events", "3", left())
	b := &journal.Batch{Events: []journal.CloudEvent{cloudEvent("4", "a", base.Add(2*time.Hour))}}
	s.prune(journal.Retention{Events: time.Minute, Now: base.Add(2 * time.Hour)})
	s.commit(b)
	if b.Events[0].Sequence <= 3 {
		s.Errorf("sequence %d was used before", b.Events[0].Sequence)
	}
}

func othersAreToldOfChanges(s suite) {
	s.begin(1)
	changed := s.Store.Changed()
	other := s.Again(s.T)
	s.must(other.Commit(s.Context(), &journal.Batch{Inbox: []journal.InboxRow{fact(1, "a")}}))
	select {
	case <-changed:
	case <-s.Context().Done():
		s.Fatal("nobody told")
	}
	ids, _ := s.due(s.Store, 0, false)
	s.same("due", []event.RunID{id(1)}, ids)
}

func aClosedStoreSaysSo(s suite) {
	s.begin(1)
	s.Store.Changed()
	s.must(s.Store.Close())
	s.must(s.Store.Close())
	ctx := s.Context()
	for what, err := range map[string]error{
		"commit": s.Store.Commit(ctx, &journal.Batch{Appends: []journal.Row{row(1, 2)}}),
		"load":   second(s.Store.Load(ctx, id(1))),
		"run":    second(s.Store.Run(ctx, id(1))),
		"claim":  s.Store.Claim(ctx, id(1)),
		"inbox":  second(s.Store.Inbox(ctx, id(1))),
		"find":   second(s.Store.Abandoned(ctx, 1)),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			s.Errorf("%s: %v", what, err)
		}
	}
	if !s.Durable {
		return
	}
	again := s.Again(s.T)
	rec, err := again.Load(ctx, id(1))
	s.must(err)
	s.same("rows", []journal.Row{row(1, 1)}, rec.Rows)
	s.must(again.Claim(ctx, id(1)))
}
