// Package control holds what people and programs do with runs: start, follow,
// cancel, suspend, resume, look at, and send events. Command line and API call
// it; it checks, makes durable, and only then answers.
package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/history"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Errors that callers compare.
var (
	// ErrEnded: the run has ended; nothing more can be done to it.
	ErrEnded = engine.ErrEnded
	// ErrNoLog: the attempt printed nothing, or its log is gone.
	ErrNoLog = errors.New("no log")
)

// InvalidError says that a definition cannot be run.
type InvalidError = engine.InvalidError

// StartRequest asks for a new run.
type StartRequest = engine.StartRequest

// Entry is one journal row with its events.
type Entry = history.Entry

// Options is what a Control works on.
type Options struct {
	Engine *engine.Engine
	Store  journal.Store
	Reader journal.Reader
	Clock  lifecycle.Clock
	// LogFile says where the output of an attempt is kept.
	LogFile func(run event.RunID, a event.Activation, attempt int) string
}

// Control is the use cases. It is safe for concurrent use.
type Control struct{ o Options }

// New returns the use cases over an engine and its store.
func New(o Options) *Control { return &Control{o} }

// Start starts a run; it is durable when Start returns. With a key, the run
// that an earlier start with that key made is returned instead of a second one.
func (c *Control) Start(ctx context.Context, q StartRequest) (event.RunID, error) {
	if q.Key != "" {
		id, err := c.o.Reader.FindKey(ctx, q.KeyScope, q.Key)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, journal.ErrNotFound) {
			return event.RunID{}, fmt.Errorf("look for the key of the start: %w", err)
		}
	}
	id, err := c.o.Engine.Submit(ctx, q)
	if err != nil && q.Key != "" && (errors.Is(err, journal.ErrConflict) || errors.Is(err, engine.ErrRejected)) {
		// Somebody was faster with the same key; that run may be the one that leaves no room.
		if old, findErr := c.o.Reader.FindKey(ctx, q.KeyScope, q.Key); findErr == nil {
			return old, nil
		}
	}
	return id, err
}

// Wait returns how a run ended, whichever process carries it out.
func (c *Control) Wait(ctx context.Context, id event.RunID) (engine.Result, error) {
	return c.o.Engine.Wait(ctx, id)
}

// Get shows a run with its tasks, as committed.
func (c *Control) Get(ctx context.Context, id event.RunID) (*view.Run, error) {
	return c.o.Engine.Show(ctx, id)
}

// List lists runs, newest first.
func (c *Control) List(ctx context.Context, q journal.Query) ([]journal.RunRow, string, error) {
	return c.o.Reader.Runs(ctx, q)
}

// Journal reads the journal of a run after a sequence.
func (c *Control) Journal(ctx context.Context, id event.RunID, after int64, limit int) ([]Entry, error) {
	return c.o.Engine.Journal(ctx, id, after, limit)
}

// Watch follows a run that is live in this process; engine.ErrElsewhere otherwise.
func (c *Control) Watch(_ context.Context, id event.RunID) (*engine.Feed, error) {
	f := engine.NewFeed(0)
	if err := c.o.Engine.Watch(id, f); err != nil {
		return nil, fmt.Errorf("watch run %s: %w", id, err)
	}
	return f, nil
}

// Cancel asks a run to end, whoever owns it. Durable when it returns nil.
func (c *Control) Cancel(ctx context.Context, id event.RunID, by, reason string) error {
	return c.act(ctx, id, journal.InboxCancel, "cancel", &event.CancelRequested{By: by, Reason: reason})
}

// Suspend asks a run to let no new command leave (D40).
func (c *Control) Suspend(ctx context.Context, id event.RunID, by, reason string) error {
	return c.act(ctx, id, journal.InboxSuspend, "suspend", &event.SuspendRequested{By: by, Reason: reason})
}

// Resume lets a suspended run go on.
func (c *Control) Resume(ctx context.Context, id event.RunID, by string) error {
	return c.act(ctx, id, journal.InboxResume, "resume", &event.ResumeRequested{By: by})
}

func (c *Control) act(ctx context.Context, id event.RunID, kind journal.InboxKind, verb string, body event.Body) error {
	key := verb
	if kind != journal.InboxCancel { // cancelling twice is cancelling once; suspending is not
		key = verb + " " + engine.NewRunID(c.o.Clock.Now()).String()
	}
	if err := c.o.Engine.Tell(ctx, id, kind, key, body); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// Continue goes on with an interrupted run of a process that has ended.
func (c *Control) Continue(ctx context.Context, id event.RunID, f *engine.Feed) error {
	return c.o.Engine.Continue(ctx, id, f)
}

// Interrupted lists the runs that wait for Continue, the oldest last.
func (c *Control) Interrupted(ctx context.Context) ([]journal.RunRow, error) {
	if _, err := c.o.Store.Abandoned(ctx, 1000); err != nil {
		return nil, fmt.Errorf("find interrupted runs: %w", err)
	}
	var out []journal.RunRow
	q := journal.Query{Statuses: []event.Status{event.Pending, event.Running, event.Waiting, event.Suspended}, Limit: 1000}
	for {
		rows, next, err := c.o.Reader.Runs(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("find interrupted runs: %w", err)
		}
		for i := range rows {
			if rows[i].Interrupted {
				out = append(out, rows[i])
			}
		}
		if next == "" {
			return out, nil
		}
		q.Cursor = next
	}
}

// LogFile is the output of one attempt.
type LogFile struct {
	Reference, Name string
	Activation      event.Activation
	Attempt         int
	Iteration       []int
	Path            string
}

// LogRow is one line of output.
type LogRow struct {
	At           time.Time
	Stream, Text string
}

// Logs lists the outputs of a run's attempts that are there, in the order of the tasks.
func (c *Control) Logs(ctx context.Context, id event.RunID) ([]LogFile, error) {
	run, err := c.o.Engine.Show(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []LogFile
	for i := range run.Tasks {
		t := &run.Tasks[i]
		for attempt := 1; attempt <= t.Attempts; attempt++ {
			path := c.o.LogFile(id, t.Activation, attempt)
			if _, err := os.Stat(path); err == nil {
				out = append(out, LogFile{t.Reference, t.Name, t.Activation, attempt, t.Iteration, path})
			}
		}
	}
	return out, nil
}

// Rows reads the lines of a log and calls each for every one.
func (f LogFile) Rows(each func(LogRow) error) error {
	_, err := f.rows(0, true, each)
	return err
}

// RowsFrom reads the complete lines of a log from an offset on, for a log that
// grows, and returns the offset to go on from.
func (f LogFile) RowsFrom(offset int64, each func(LogRow) error) (int64, error) {
	return f.rows(offset, false, each)
}

// rows reads from an offset on; last: also a line that is not complete.
func (f LogFile) rows(offset int64, last bool, each func(LogRow) error) (int64, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return offset, ErrNoLog
		}
		return offset, fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return offset, fmt.Errorf("read log: %w", err)
	}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && (err == nil || last) {
			offset += int64(len(line))
			if err := each(parseRow(strings.TrimSuffix(line, "\n"))); err != nil {
				return offset, err
			}
		}
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, fmt.Errorf("read log: %w", err)
		}
	}
}

func parseRow(line string) LogRow {
	stamp, rest, ok := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok || err != nil {
		return LogRow{Text: line}
	}
	stream, text, _ := strings.Cut(rest, " ")
	return LogRow{At: at, Stream: stream, Text: text}
}

// SendEvents accepts cloud events: structured JSON objects with id, source and
// type. They are durable when it returns; those that were there already are marked Known.
func (c *Control) SendEvents(ctx context.Context, events []map[string]any) ([]journal.CloudEvent, error) {
	const maxEvent = 1 << 20
	now := c.o.Clock.Now()
	b := journal.Batch{}
	for i, ev := range events {
		ce, err := accept(ev, now)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		if len(ce.Data) > maxEvent {
			return nil, fmt.Errorf("event %d: it has %d bytes; at most 1 MiB is accepted", i+1, len(ce.Data))
		}
		b.Events = append(b.Events, ce)
	}
	if len(b.Events) == 0 {
		return nil, nil
	}
	if err := c.o.Engine.Commit(ctx, &b); err != nil {
		return nil, fmt.Errorf("accept events: %w", err)
	}
	return b.Events, nil
}

// accept checks an envelope and fills in what the standard leaves to the receiver.
func accept(ev map[string]any, now time.Time) (journal.CloudEvent, error) {
	attribute := func(name string) (string, error) {
		s, _ := ev[name].(string)
		if s == "" {
			return "", fmt.Errorf("the attribute %q is required and must be a non-empty string (CloudEvents 1.0)", name)
		}
		return s, nil
	}
	var ce journal.CloudEvent
	var err error
	if ce.ID, err = attribute("id"); err != nil {
		return ce, err
	}
	if ce.Source, err = attribute("source"); err != nil {
		return ce, err
	}
	if ce.Type, err = attribute("type"); err != nil {
		return ce, err
	}
	if v, ok := ev["specversion"]; ok && v != "1.0" {
		return ce, fmt.Errorf("specversion %v is not supported; it must be \"1.0\"", v)
	}
	whole := make(map[string]any, len(ev)+1)
	maps.Copy(whole, ev)
	whole["specversion"] = "1.0"
	ce.Data, ce.At = value.JSON(value.Normalize(whole)), now
	return ce, nil
}
