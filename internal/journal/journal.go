// Package journal is the port of run storage: what the engine and the use cases
// need of a database, said in their words. Adapters live under store/; every one
// of them passes the laws in journaltest.
package journal

import (
	"context"
	"errors"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Errors that callers compare.
var (
	// ErrNotFound: no such run, definition or payload.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the version exists with other content, or the sequence is taken.
	ErrConflict = errors.New("conflict")
	// ErrNotOwner: the run belongs to another process.
	ErrNotOwner = errors.New("not the owner of the run")
	// ErrClosed: the store is closed, for good after a failed sync.
	ErrClosed = errors.New("store is closed")
	// ErrBusy: another process held the write lock for too long; nothing of the batch is stored.
	ErrBusy = errors.New("database is busy")
	// ErrFull: the disk is full; nothing of the batch is stored.
	ErrFull = errors.New("disk full")
	// ErrCorrupt: the database file is damaged.
	ErrCorrupt = errors.New("database is corrupt")
)

// Store is what the engine needs. One goroutine calls Commit at a time; all
// other methods may be called beside it.
type Store interface {
	// Commit stores a batch as one transaction. When it returns nil everything
	// in it is durable. On an error nothing of it is stored. Starts that exist
	// already are skipped and reported in the batch (StartRow.Existed).
	Commit(ctx context.Context, b *Batch) error
	// Load returns a run: its row, its last snapshot, and the journal rows after it. ErrNotFound.
	Load(ctx context.Context, id event.RunID) (*Record, error)
	// Payload returns values that were stored by digest. ErrNotFound.
	Payload(ctx context.Context, digest string) ([]byte, error)
	// Definition returns a source by digest. ErrNotFound.
	Definition(ctx context.Context, digest string) ([]byte, error)
	// Due returns at most limit live runs of this owner, or of nobody when claim
	// is set, whose wake time is at or before now, oldest first; with claim it
	// makes this owner theirs by a conditional update. It also returns the earliest wake time after now.
	Due(ctx context.Context, now time.Time, claim bool, limit int) (due []event.RunID, next time.Time, err error)
	// Claim makes this owner the owner of a run that nobody, or an ended owner, has. ErrNotOwner, ErrNotFound.
	Claim(ctx context.Context, id event.RunID) error
	// Abandoned returns live runs whose owner has ended, at most limit, and marks runs that only
	// `runs resume` may continue (Embedded) as interrupted.
	Abandoned(ctx context.Context, limit int) ([]Abandoned, error)
	// Inbox returns the facts waiting for a run, in the order of their arrival.
	Inbox(ctx context.Context, id event.RunID) ([]InboxRow, error)
	// CloudEvents returns accepted events after a sequence, of the given types (none: all), in order, at most limit.
	CloudEvents(ctx context.Context, after int64, types []string, limit int) ([]CloudEvent, error)
	// Changed returns a channel that receives when another process may have written (a poke, or the fallback).
	Changed() <-chan struct{}
}

// Owner of runs: this process. The store makes one when it is opened.
type Owner string

// Batch is one transaction: everything that has piled up, of all runs.
type Batch struct {
	Definitions   []Definition
	Starts        []StartRow
	Appends       []Row
	Updates       []RunUpdate
	Snapshots     []Snapshot
	Payloads      []Payload
	Subscriptions []Subscription
	Unsubscribe   []Subscription
	Inbox         []InboxRow
	InboxDone     []int64
	Events        []CloudEvent
	Keys          []Key
	Schedules     []Schedule
}

// Definition is a source, stored once by digest. With ID set the version is
// also deployed under that name ("namespace/name:version").
type Definition struct {
	Digest, ID string
	Source     []byte
}

// StartRow makes a row for a new run (insert if absent). When the run exists,
// its row of sequence 1 in the same batch is skipped too; a batch that would
// also update such a run is refused with ErrConflict.
type StartRow struct {
	ID          event.RunID
	Digest      string
	Workflow    string // "namespace/name:version"
	Trigger     string
	Parent      event.RunID // zero: none
	At          time.Time
	Priority    int
	Concurrency string // key of its concurrency group, "" none
	Status      event.Status
	Embedded    bool // started by `downbeat run`: only `runs resume` continues it
	Directory   string
	Owned       bool // this owner's; else nobody's, with WakeAt
	WakeAt      time.Time
	Labels      map[string]string
	Existed     bool // set by Commit: the row was there already
}

// Row is one journal row: the events of one commit of one run.
type Row struct {
	Run      event.RunID
	Sequence int64 // of the row, from 1, without gaps
	At       time.Time
	Revision uint32
	Hash     uint64
	Data     []byte // encoded events, sealed when the run has secrets
}

// RunUpdate changes the row of a run. Zero fields stay as they are. Facts and
// cloud events wake a run by making it due at once. An owner that has it in
// memory clears that with NoWake and then looks, so nothing is missed.
type RunUpdate struct {
	ID      event.RunID
	Status  event.Status
	EndedAt time.Time
	Error   string    // title of the error
	WakeAt  time.Time // earliest due time; NoWake clears it
	Release bool      // owner becomes nobody
	Asleep  bool      // the run has left memory (Release implies it): what woke it meanwhile stays, whatever WakeAt says
	Ended   bool      // owner, wake time, subscriptions and inbox are cleared
	Digest  string    // of the definition that it goes on with
}

// NoWake as RunUpdate.WakeAt says that nothing is due.
var NoWake = time.Unix(0, 0).UTC()

// Snapshot is the state of a run after a journal row; the last one is kept.
type Snapshot struct {
	Run      event.RunID
	Sequence int64
	State    []byte
}

// Payload is a value over 64 KiB, stored once by digest. It is kept while a run
// that named it is there; without a run it is kept for ever.
type Payload struct {
	Digest string
	Data   []byte
	Run    event.RunID // whose journal row names it
}

// Subscription says that a run wants cloud events of these types (none: all).
type Subscription struct {
	Run        event.RunID
	Activation event.Activation
	Types      []string
}

// InboxKind tells what a fact in the inbox is.
type InboxKind uint8

// The facts that others leave for a run.
const (
	InboxCancel InboxKind = iota + 1
	InboxSuspend
	InboxResume
	InboxChildEnded
	InboxEvents // cloud events may be there: look
)

// InboxRow is one fact for a run from elsewhere. Key makes it once per run.
// Storing one makes the run due at once.
type InboxRow struct {
	ID   int64 // set by the store
	Run  event.RunID
	Kind InboxKind
	Key  string
	Data []byte // encoded event, "" for InboxEvents
	At   time.Time
	Gone bool // set by Commit: the run has ended or is not known; the fact was dropped
}

// CloudEvent is an accepted event. Commit gives it the next sequence unless an
// event with the same source and id is there already, and makes due every run
// with a matching subscription.
type CloudEvent struct {
	Sequence         int64
	ID, Source, Type string
	Data             []byte // the envelope, structured JSON
	At               time.Time
	Known            bool // set by Commit: it was there already
}

// Key is an idempotency key of a caller and the run that it started.
type Key struct {
	Scope, Key string
	Run        event.RunID
}

// Record is a run as stored.
type Record struct {
	Run      RunRow
	Snapshot *Snapshot
	Rows     []Row // after the snapshot
}

// RunRow is what lists and searches show of a run.
type RunRow struct {
	ID               event.RunID
	Digest, Workflow string
	Status           event.Status
	StartedAt        time.Time
	EndedAt          time.Time
	Trigger          string
	Parent           event.RunID
	Owner            string // "" nobody
	OwnerAlive       bool
	WakeAt           time.Time
	Error            string
	Priority         int
	Embedded         bool
	Interrupted      bool
	Directory        string
	Labels           map[string]string
}

// Abandoned is a live run whose owner has ended.
type Abandoned struct {
	ID       event.RunID
	Embedded bool
}

// Reader answers questions about committed state.
type Reader interface {
	// Runs lists runs, newest first; next is "" at the end.
	Runs(ctx context.Context, q Query) (rows []RunRow, next string, err error)
	// Run returns one row. ErrNotFound.
	Run(ctx context.Context, id event.RunID) (*RunRow, error)
	// Journal returns rows of a run after a sequence, at most limit.
	Journal(ctx context.Context, id event.RunID, after int64, limit int) ([]Row, error)
	// FindDefinition resolves "namespace/name:version" (version may be "latest": the highest semantic version). ErrNotFound.
	FindDefinition(ctx context.Context, id string) (digest, resolved string, err error)
	// FindKey returns the run of an idempotency key. ErrNotFound.
	FindKey(ctx context.Context, scope, key string) (event.RunID, error)
	// Active counts live runs of a concurrency group.
	Active(ctx context.Context, group string) (int, error)
}

// Query selects runs.
type Query struct {
	Statuses []event.Status
	Workflow string // "namespace/name" or with version; "" all
	Since    time.Time
	Label    string // key=value
	Cursor   string
	Limit    int // at most 1,000; 0 means 50
}

// Keeper looks after the size of the store.
type Keeper interface {
	// Prune deletes ended runs beyond the retention, at most for the given time; more is true when it stopped early.
	Prune(ctx context.Context, r Retention, budget time.Duration) (deleted int, more bool, err error)
	// Checkpoint moves the write-ahead log into the database.
	Checkpoint(ctx context.Context) error
	// Backup writes a consistent copy to a file that must not exist.
	Backup(ctx context.Context, file string) error
}

// Retention is how long finished runs are kept: both bounds hold.
type Retention struct {
	Keep   int           // a workflow
	For    time.Duration // since the end
	Now    time.Time
	Events time.Duration // accepted cloud events
	// Of says what a definition asks for its own workflow, 0: as above. The
	// definition of a workflow's newest run counts. nil: none asks for anything.
	Of func(definition []byte) (keep int, age time.Duration)
}

// Asked is the retention of the workflow whose newest run has this definition.
func (r Retention) Asked(definition []byte) Retention {
	if r.Of == nil || len(definition) == 0 {
		return r
	}
	keep, age := r.Of(definition)
	if keep > 0 {
		r.Keep = keep
	}
	if age > 0 {
		r.For = age
	}
	return r
}
