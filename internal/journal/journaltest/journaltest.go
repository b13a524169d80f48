// Package journaltest holds the laws that every store of runs must pass.
package journaltest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// Store is every port of one store.
type Store interface {
	journal.Store
	journal.Reader
	journal.Keeper
	journal.Schedules
	Owner() journal.Owner
	Close() error
}

// Bundle is one store for one test: the first owner, and how to get more.
type Bundle struct {
	Store Store
	// Again opens the same data as another owner.
	Again func(t *testing.T) Store
	// Durable: what Close leaves can be opened by Again.
	Durable bool
}

// suite is a bundle with what the laws need.
type suite struct {
	*testing.T
	Bundle
}

// base is the time at which the tests' runs start.
var base = time.Date(2026, 11, 21, 4, 5, 6, 789012000, time.UTC)

// Exercise holds a store to all the laws. setup makes an empty one.
func Exercise(t *testing.T, setup func(t *testing.T) Bundle) {
	t.Helper()
	for name, law := range map[string]func(s suite){
		"WhatIsCommittedIsRead":            whatIsCommittedIsRead,
		"ARefusedBatchLeavesNothing":       aRefusedBatchLeavesNothing,
		"SequencesHaveNoGaps":              sequencesHaveNoGaps,
		"AStartThatExistsIsSkipped":        aStartThatExistsIsSkipped,
		"OnlyTheOwnerAppends":              onlyTheOwnerAppends,
		"RunsOfTheDeadAreFound":            runsOfTheDeadAreFound,
		"EmbeddedRunsAreInterrupted":       embeddedRunsAreInterrupted,
		"DueRunsComeOldestFirst":           dueRunsComeOldestFirst,
		"AFactWakesItsRun":                 aFactWakesItsRun,
		"ASleepingRunKeepsItsWake":         aSleepingRunKeepsItsWake,
		"AFactIsStoredOnce":                aFactIsStoredOnce,
		"FactsForEndedRunsAreDropped":      factsForEndedRunsAreDropped,
		"EventsAreOrderedAndStoredOnce":    eventsAreOrderedAndStoredOnce,
		"EventsWakeSubscribers":            eventsWakeSubscribers,
		"SnapshotsShortenLoading":          snapshotsShortenLoading,
		"PayloadsAreStoredByDigest":        payloadsAreStoredByDigest,
		"VersionsNeverChange":              versionsNeverChange,
		"KeysBelongToOneRun":               keysBelongToOneRun,
		"ListsArePaged":                    listsArePaged,
		"GroupsCountLiveRuns":              groupsCountLiveRuns,
		"EndedRunsCanBeReopened":           endedRunsCanBeReopened,
		"PruneKeepsWhatItMust":             pruneKeepsWhatItMust,
		"PruneKeepsPayloadsThatAreNamed":   pruneKeepsPayloadsThatAreNamed,
		"PruneKeepsEventsThatAreWaitedFor": pruneKeepsEventsThatAreWaitedFor,
		"OthersAreToldOfChanges":           othersAreToldOfChanges,
		"AClosedStoreSaysSo":               aClosedStoreSaysSo,
		"SchedulesAreRemembered":           schedulesAreRemembered,
		"OneOfTwoMovesASchedule":           oneOfTwoMovesASchedule,
		"ManyRunsInOneBatch":               manyRunsInOneBatch,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			law(suite{t, setup(t)})
		})
	}
}

func (s suite) commit(b *journal.Batch) {
	s.Helper()
	if err := s.Store.Commit(s.Context(), b); err != nil {
		s.Fatal(err)
	}
}

func (s suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s suite) same(what string, want, got any) {
	s.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (s suite) row(id event.RunID) *journal.RunRow {
	s.Helper()
	r, err := s.Store.Run(s.Context(), id)
	s.must(err)
	return r
}

func (s suite) load(id event.RunID) *journal.Record {
	s.Helper()
	r, err := s.Store.Load(s.Context(), id)
	s.must(err)
	return r
}

// due asks for what is due at an offset from base.
func (s suite) due(st Store, after time.Duration, claim bool) ([]event.RunID, time.Time) {
	s.Helper()
	ids, next, err := st.Due(s.Context(), base.Add(after), claim, 100)
	s.must(err)
	return ids, next
}

func id(n byte) event.RunID { return event.RunID{1, 2, 3, 15: n} }

// start is the start of an own run.
func start(n byte) journal.StartRow {
	return journal.StartRow{
		ID: id(n), Digest: "sha256:d", Workflow: "default/hello:1.0.0", Trigger: "manual", At: base, Status: event.Running, Owned: true,
	}
}

func row(n byte, sequence int64) journal.Row {
	return journal.Row{Run: id(n), Sequence: sequence, At: base.Add(time.Duration(sequence) * time.Second), Revision: 1, Hash: 1<<63 + uint64(sequence), Data: []byte{n, byte(sequence)}}
}

// begin starts own runs with a first row each.
func (s suite) begin(ns ...byte) {
	s.Helper()
	b := &journal.Batch{}
	for _, n := range ns {
		b.Starts = append(b.Starts, start(n))
		b.Appends = append(b.Appends, row(n, 1))
	}
	s.commit(b)
}

func update(us ...journal.RunUpdate) *journal.Batch { return &journal.Batch{Updates: us} }

func ended(n byte, at time.Time) journal.RunUpdate {
	return journal.RunUpdate{ID: id(n), Status: event.Completed, EndedAt: at, Ended: true}
}
