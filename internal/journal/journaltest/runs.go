package journaltest

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

func whatIsCommittedIsRead(s suite) {
	st := journal.StartRow{
		ID: id(1), Digest: "sha256:d", Workflow: "ops/patch:2.1.0", Trigger: "child", Parent: id(9), At: base, Priority: -3, Status: event.Running,
		Embedded: true, Directory: "/srv/x", Owned: true, Labels: map[string]string{"os": "linux", "a.b": `"q"`},
	}
	s.commit(&journal.Batch{
		Definitions: []journal.Definition{{Digest: "sha256:d", Source: []byte("source")}},
		Starts:      []journal.StartRow{st},
		Appends:     []journal.Row{row(1, 1), row(1, 2)},
	})
	want := journal.RunRow{
		ID: id(1), Digest: "sha256:d", Workflow: "ops/patch:2.1.0", Trigger: "child", Parent: id(9), StartedAt: base, Priority: -3, Status: event.Running,
		Embedded: true, Directory: "/srv/x", Labels: st.Labels, Owner: string(s.Store.Owner()), OwnerAlive: true,
	}
	rec := s.load(id(1))
	s.same("run", want, rec.Run)
	s.same("rows", []journal.Row{row(1, 1), row(1, 2)}, rec.Rows)
	s.same("run of the reader", want, *s.row(id(1)))

	s.commit(&journal.Batch{
		Appends: []journal.Row{row(1, 3)},
		Updates: []journal.RunUpdate{{ID: id(1), Status: event.Faulted, EndedAt: base.Add(time.Minute), Error: "it broke", Ended: true}},
	})
	want.Status, want.EndedAt, want.Error, want.Owner, want.OwnerAlive = event.Faulted, base.Add(time.Minute), "it broke", "", false
	s.same("ended run", want, *s.row(id(1)))
	rows, err := s.Store.Journal(s.Context(), id(1), 1, 1)
	s.must(err)
	s.same("a page of the journal", []journal.Row{row(1, 2)}, rows)
	src, err := s.Store.Definition(s.Context(), "sha256:d")
	s.must(err)
	s.same("definition", "source", string(src))
	for what, err := range map[string]error{
		"load":       second(s.Store.Load(s.Context(), id(7))),
		"run":        second(s.Store.Run(s.Context(), id(7))),
		"journal":    second(s.Store.Journal(s.Context(), id(7), 0, 1)),
		"claim":      s.Store.Claim(s.Context(), id(7)),
		"definition": second(s.Store.Definition(s.Context(), "sha256:x")),
		"payload":    second(s.Store.Payload(s.Context(), event.Digest(nil))),
		"key":        second(s.Store.FindKey(s.Context(), "a", "b")),
		"append":     s.Store.Commit(s.Context(), &journal.Batch{Appends: []journal.Row{row(7, 1)}}),
	} {
		if !errors.Is(err, journal.ErrNotFound) {
			s.Errorf("%s of what is not there: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func aRefusedBatchLeavesNothing(s suite) {
	s.begin(1)
	good := func(b *journal.Batch) *journal.Batch {
		b.Definitions = append(b.Definitions, journal.Definition{Digest: "sha256:e", ID: "a/b:1.0.0", Source: []byte("e")})
		b.Starts = append(b.Starts, start(2))
		b.Appends = append(b.Appends, row(2, 1), row(1, 2))
		b.Events = []journal.CloudEvent{{ID: "1", Source: "s", Type: "t", At: base}}
		b.Inbox = []journal.InboxRow{{Run: id(1), Kind: journal.InboxCancel, Key: "k", At: base}}
		return b
	}
	for what, b := range map[string]*journal.Batch{
		"gap":         {Appends: []journal.Row{row(1, 4)}},
		"taken":       {Appends: []journal.Row{row(1, 1)}},
		"unknown run": {Appends: []journal.Row{row(8, 1)}},
		"update":      {Updates: []journal.RunUpdate{{ID: id(8), Status: event.Waiting}}},
		"snapshot":    {Snapshots: []journal.Snapshot{{Run: id(8), Sequence: 1, State: []byte("s")}}},
	} {
		if err := s.Store.Commit(s.Context(), good(b)); err == nil {
			s.Errorf("%s: no error", what)
		}
		if rec := s.load(id(1)); len(rec.Rows) != 1 || !rec.Run.WakeAt.IsZero() {
			s.Errorf("%s: left %v", what, rec)
		}
		if _, err := s.Store.Run(s.Context(), id(2)); !errors.Is(err, journal.ErrNotFound) {
			s.Errorf("%s: left a run: %v", what, err)
		}
		if _, _, err := s.Store.FindDefinition(s.Context(), "a/b:1.0.0"); !errors.Is(err, journal.ErrNotFound) {
			s.Errorf("%s: left a definition: %v", what, err)
		}
		if ev, err := s.Store.CloudEvents(s.Context(), 0, nil, 9); err != nil || len(ev) > 0 {
			s.Errorf("%s: left an event: %v", what, err)
		}
	}
	s.commit(good(&journal.Batch{})) // and what was refused can be stored afterwards
	s.same("rows", 2, len(s.load(id(1)).Rows))
}

func sequencesHaveNoGaps(s suite) {
	s.begin(1)
	for what, r := range map[string]journal.Row{"again": row(1, 1), "gap": row(1, 3), "zero": row(1, 0)} {
		if err := s.Store.Commit(s.Context(), &journal.Batch{Appends: []journal.Row{r}}); !errors.Is(err, journal.ErrConflict) {
			s.Errorf("%s: %v", what, err)
		}
	}
	s.commit(&journal.Batch{Appends: []journal.Row{row(1, 2), row(1, 3)}})
	s.same("rows", 3, len(s.load(id(1)).Rows))
}

func aStartThatExistsIsSkipped(s suite) {
	s.begin(1, 2)
	again := start(1)
	again.Workflow, again.Status = "other/one:1.0.0", event.Pending
	b := &journal.Batch{Starts: []journal.StartRow{again, start(3)}, Appends: []journal.Row{row(1, 1), row(3, 1), row(2, 2)}}
	b.Appends[0].Data = []byte("other")
	s.commit(b)
	s.same("existed", []bool{true, false}, []bool{b.Starts[0].Existed, b.Starts[1].Existed})
	rec := s.load(id(1))
	s.same("run", "default/hello:1.0.0", rec.Run.Workflow)
	s.same("rows", []journal.Row{row(1, 1)}, rec.Rows)
	s.same("rows of the new one", 1, len(s.load(id(3)).Rows))

	other := s.Again(s.T)
	b = &journal.Batch{Starts: []journal.StartRow{again}, Appends: []journal.Row{row(1, 1)}}
	s.must(other.Commit(s.Context(), b))
	s.same("existed for another owner", true, b.Starts[0].Existed)
	b.Appends = []journal.Row{row(1, 2)}
	if err := other.Commit(s.Context(), b); !errors.Is(err, journal.ErrNotOwner) {
		s.Errorf("another owner appended: %v", err)
	}
	b = &journal.Batch{Starts: []journal.StartRow{start(1)}, Updates: []journal.RunUpdate{ended(1, base)}}
	if err := s.Store.Commit(s.Context(), b); !errors.Is(err, journal.ErrConflict) {
		s.Errorf("a start that existed ended the run: %v", err)
	}
	b = &journal.Batch{Starts: []journal.StartRow{start(4), start(4)}, Appends: []journal.Row{row(4, 1), row(4, 1)}}
	s.commit(b)
	s.same("twice in one batch", []bool{false, true}, []bool{b.Starts[0].Existed, b.Starts[1].Existed})
	s.commit(&journal.Batch{Appends: []journal.Row{row(1, 2), row(4, 2)}})
}

func onlyTheOwnerAppends(s suite) {
	s.begin(1, 2)
	free := start(3)
	free.Owned, free.WakeAt, free.Status = false, base.Add(time.Hour), event.Waiting
	s.commit(&journal.Batch{Starts: []journal.StartRow{free}, Appends: []journal.Row{row(3, 1)}})
	other := s.Again(s.T)
	refused := func(st Store, n byte, sequence int64) {
		s.Helper()
		for what, b := range map[string]*journal.Batch{
			"append":   {Appends: []journal.Row{row(n, sequence)}},
			"update":   {Updates: []journal.RunUpdate{{ID: id(n), Status: event.Suspended}}},
			"snapshot": {Snapshots: []journal.Snapshot{{Run: id(n), Sequence: 1, State: []byte("s")}}},
			"listen":   {Subscriptions: []journal.Subscription{{Run: id(n), Activation: "0"}}},
		} {
			if err := st.Commit(s.Context(), b); !errors.Is(err, journal.ErrNotOwner) {
				s.Errorf("%s by one who is not the owner: %v", what, err)
			}
		}
	}
	refused(other, 1, 2)
	refused(s.Store, 3, 2) // nobody's
	if err := other.Claim(s.Context(), id(1)); !errors.Is(err, journal.ErrNotOwner) {
		s.Errorf("claimed a run of a living owner: %v", err)
	}
	s.must(other.Claim(s.Context(), id(3)))
	s.must(other.Claim(s.Context(), id(3)))
	s.must(other.Commit(s.Context(), &journal.Batch{Appends: []journal.Row{row(3, 2)}}))
	refused(s.Store, 3, 3)

	s.commit(update(journal.RunUpdate{ID: id(2), Release: true, WakeAt: base}))
	s.same("released", "", s.row(id(2)).Owner)
	refused(s.Store, 2, 2)
	ids, _ := s.due(other, 0, true)
	s.same("due for the other", []event.RunID{id(2)}, ids)
	refused(s.Store, 2, 2)
	s.must(other.Commit(s.Context(), &journal.Batch{Appends: []journal.Row{row(2, 2)}}))
	s.commit(update(ended(1, base)))
	refused(s.Store, 1, 2)
}

func runsOfTheDeadAreFound(s suite) {
	dead := s.Again(s.T)
	b := &journal.Batch{}
	for n := range byte(5) {
		b.Starts = append(b.Starts, start(n+1))
		b.Appends = append(b.Appends, row(n+1, 1))
	}
	b.Updates = []journal.RunUpdate{ended(5, base)}
	s.must(dead.Commit(s.Context(), b))
	abandoned, err := s.Store.Abandoned(s.Context(), 100)
	s.must(err)
	s.same("abandoned while the owner lives", 0, len(abandoned))
	s.same("alive", true, s.row(id(1)).OwnerAlive)
	s.must(dead.Close())
	s.same("alive", false, s.row(id(1)).OwnerAlive)
	abandoned, err = s.Store.Abandoned(s.Context(), 3)
	s.must(err)
	s.same("a page", 3, len(abandoned))
	for range 3 {
		abandoned, err = s.Store.Abandoned(s.Context(), 2)
		s.must(err)
		for _, a := range abandoned {
			s.must(s.Store.Claim(s.Context(), a.ID))
			s.commit(&journal.Batch{Appends: []journal.Row{{Run: a.ID, Sequence: 2, At: base, Data: []byte("mine")}}})
		}
	}
	s.same("all are taken", 0, len(abandoned))
	for n := range byte(4) {
		s.same("owner", string(s.Store.Owner()), s.row(id(n+1)).Owner)
	}
	s.must(second(s.Store.Abandoned(s.Context(), 2)))
}

func embeddedRunsAreInterrupted(s suite) {
	dead := s.Again(s.T)
	st := start(1)
	st.Embedded = true
	s.must(dead.Commit(s.Context(), &journal.Batch{Starts: []journal.StartRow{st}, Appends: []journal.Row{row(1, 1)}}))
	s.must(dead.Close())
	abandoned, err := s.Store.Abandoned(s.Context(), 10)
	s.must(err)
	s.same("abandoned", []journal.Abandoned{{ID: id(1), Embedded: true}}, abandoned)
	abandoned, err = s.Store.Abandoned(s.Context(), 10)
	s.must(err)
	s.same("told once", 0, len(abandoned))
	s.same("interrupted", true, s.row(id(1)).Interrupted)
	s.commit(&journal.Batch{Inbox: []journal.InboxRow{{Run: id(1), Kind: journal.InboxCancel, Key: "c", At: base}}})
	ids, _ := s.due(s.Store, time.Hour, true)
	s.same("a server takes none", 0, len(ids))
	s.must(s.Store.Claim(s.Context(), id(1)))
	s.same("interrupted after it was claimed", false, s.row(id(1)).Interrupted)
	ids, _ = s.due(s.Store, time.Hour, false)
	s.same("the fact is still there", []event.RunID{id(1)}, ids)
}

func dueRunsComeOldestFirst(s suite) {
	b := &journal.Batch{}
	for n := range byte(6) {
		st := start(n + 1)
		st.WakeAt = base.Add(time.Duration(10-n) * time.Second)
		st.Owned = n%2 == 0
		st.Status = event.Waiting
		b.Starts = append(b.Starts, st)
	}
	s.commit(b)
	ids, next := s.due(s.Store, 0, true)
	s.same("nothing yet", 0, len(ids))
	s.same("the earliest", base.Add(5*time.Second), next)
	ids, next = s.due(s.Store, 0, false)
	s.same("nothing yet", 0, len(ids))
	s.same("the earliest own", base.Add(6*time.Second), next)
	ids, next = s.due(s.Store, 8*time.Second, false)
	s.same("own", []event.RunID{id(5), id(3)}, ids)
	s.same("the next own", base.Add(10*time.Second), next)
	ids, next = s.due(s.Store, 8*time.Second, true)
	slices.SortFunc(ids, func(a, b event.RunID) int { return bytes.Compare(a[:], b[:]) })
	s.same("own and nobody's", []event.RunID{id(3), id(4), id(5), id(6)}, ids)
	s.same("the next", base.Add(9*time.Second), next)
	s.same("claimed", string(s.Store.Owner()), s.row(id(6)).Owner)
	s.commit(update(journal.RunUpdate{ID: id(6), WakeAt: journal.NoWake}, journal.RunUpdate{ID: id(5), WakeAt: base.Add(time.Hour)}, ended(4, base)))
	ids, next = s.due(s.Store, 8*time.Second, true)
	s.same("what is left", []event.RunID{id(3)}, ids)
	s.same("the next", base.Add(9*time.Second), next)
	ids, _, err := s.Store.Due(s.Context(), base.Add(2*time.Hour), true, 2)
	s.must(err)
	s.same("a page", 2, len(ids))
}

func snapshotsShortenLoading(s suite) {
	s.begin(1)
	s.commit(&journal.Batch{Appends: []journal.Row{row(1, 2), row(1, 3)}, Snapshots: []journal.Snapshot{{Run: id(1), Sequence: 2, State: []byte("two")}}})
	rec := s.load(id(1))
	s.same("snapshot", &journal.Snapshot{Run: id(1), Sequence: 2, State: []byte("two")}, rec.Snapshot)
	s.same("rows after it", []journal.Row{row(1, 3)}, rec.Rows)
	s.commit(&journal.Batch{Snapshots: []journal.Snapshot{{Run: id(1), Sequence: 3, State: []byte("three")}}})
	rec = s.load(id(1))
	s.same("the last one counts", "three", string(rec.Snapshot.State))
	s.same("rows after it", 0, len(rec.Rows))
	rows, err := s.Store.Journal(s.Context(), id(1), 0, 100)
	s.must(err)
	s.same("the journal is whole", 3, len(rows))
}

func endedRunsCanBeReopened(s suite) {
	s.begin(1)
	b := update(ended(1, base.Add(time.Second)))
	b.Updates[0].Error = "broken"
	s.commit(b)
	other := s.Again(s.T)
	s.must(other.Claim(s.Context(), id(1)))
	s.must(other.Commit(s.Context(), &journal.Batch{Appends: []journal.Row{row(1, 2)}, Updates: []journal.RunUpdate{{ID: id(1), Status: event.Running, Digest: "corrected"}}}))
	r := s.row(id(1))
	s.same("definition", "corrected", r.Digest)
	s.same("status", event.Running, r.Status)
	s.same("end", time.Time{}, r.EndedAt)
	s.same("error", "", r.Error)
	s.same("owner", string(other.Owner()), r.Owner)
	s.commit(&journal.Batch{Inbox: []journal.InboxRow{{Run: id(1), Kind: journal.InboxCancel, Key: "c", At: base}}})
	ids, _ := s.due(other, 0, false)
	s.same("it can be woken", []event.RunID{id(1)}, ids)
}

func manyRunsInOneBatch(s suite) {
	b := &journal.Batch{}
	for n := range byte(200) {
		b.Starts = append(b.Starts, start(n))
	}
	for sequence := range int64(5) {
		for n := range byte(200) {
			b.Appends = append(b.Appends, row(n, sequence+1))
		}
	}
	for n := range byte(100) {
		b.Updates = append(b.Updates, ended(n, base.Add(time.Second)))
	}
	s.commit(b)
	for _, n := range []byte{0, 99, 100, 199} {
		rec := s.load(id(n))
		s.same("rows", 5, len(rec.Rows))
		s.same("ended", n < 100, rec.Run.Status.Ended())
	}
	rows, _, err := s.Store.Runs(s.Context(), journal.Query{Limit: 1000, Statuses: []event.Status{event.Completed}})
	s.must(err)
	s.same("listed", 100, len(rows))
}
