package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/report"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// hurry is how long an interrupted process goes on tidying up.
const hurry = 500 * time.Millisecond

// how tells why following a run ended.
type how uint8

const (
	runEnded       how = iota + 1
	waitPassed         // --wait
	wasInterrupted     // a second Ctrl-C
	wasStopped         // a signal to end, in an orderly way
)

// follower follows one live run of this process.
type follower struct {
	a    *app
	node *server.Node
	id   event.RunID
	feed *engine.Feed
	sink *server.Sink     // --lifecycle; nil: none
	wait <-chan time.Time // --wait; nil: as long as it takes

	title string
	begun time.Time
	past  *view.Run // of a resumed run: what was before

	show       progress.Display
	result     engine.Result
	cancelling bool
	missed     bool // updates were left out
}

// display chooses how a run is shown: a live tree, plain lines, or nothing.
func (a *app) display(title string, begun time.Time) progress.Display {
	switch {
	case a.flags.quiet:
		return progress.Silent{W: a.err}
	case a.term.Live:
		return progress.NewScreen(a.err, a.term, title, begun)
	}
	return progress.NewLines(a.err, a.term.Style, title, begun)
}

// follow shows the run until it ends or the user has enough. The first Ctrl-C
// cancels the run and goes on following; the second leaves it, resumable.
func (f *follower) follow(ctx context.Context) (how, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	f.begin()
	updates := make(chan batch)
	go f.pump(ctx, updates)
	ended := make(chan error, 1)
	go func() {
		var err error
		f.result, err = f.node.Control.Wait(ctx, f.id)
		ended <- err
	}()
	ticker := f.a.clock.NewTicker(progress.FrameTime)
	defer ticker.Stop()
	f.a.notes.Hold(f.a.term.Live && !f.a.flags.quiet)
	defer func() {
		f.a.notes.Hold(false)
		f.passNotes()
		f.show.Close(f.a.clock.Now())
	}()
	var drained <-chan time.Time
	for {
		select {
		case u, open := <-updates:
			if !open {
				updates = nil
				if drained != nil {
					f.amend(ctx)
					return runEnded, nil
				}
				continue
			}
			f.apply(u)
		case err := <-ended:
			if err != nil {
				return 0, fmt.Errorf("follow run %s: %w", f.id, err)
			}
			if updates == nil {
				f.amend(ctx)
				return runEnded, nil
			}
			drained = f.a.clock.NewTimer(time.Second).C // the feed ends by itself at once
		case <-drained:
			return runEnded, nil
		case <-ticker.C:
			f.passNotes()
			f.show.Tick(f.a.clock.Now())
		case s := <-f.a.signals:
			if s != os.Interrupt {
				return wasStopped, nil
			}
			if !f.cancelling {
				f.cancel(ctx)
				continue
			}
			return wasInterrupted, nil
		case <-f.wait:
			return waitPassed, nil
		}
	}
}

// begin chooses the display and shows what was before.
func (f *follower) begin() {
	if f.past != nil {
		f.begun = f.past.StartedAt
	}
	f.show = f.a.display(f.title, f.begun)
	if f.past == nil {
		return
	}
	if l, lines := f.show.(*progress.Lines); lines {
		l.Know(f.past) // what was before was told before
		return
	}
	progress.CatchUp(f.show, nil, f.past)
}

// batch is what a feed gave at once.
type batch struct {
	updates []engine.Update
	dropped int // left out, because the reader was slow
}

// amend shows the run anew when updates were left out of its feed.
func (f *follower) amend(ctx context.Context) {
	s, live := f.show.(*progress.Screen)
	if !f.missed || !live {
		return
	}
	if r, err := f.node.Control.Get(ctx, f.id); err == nil {
		s.Reset(r)
	}
}

// pump hands the feed's updates over until it ends.
func (f *follower) pump(ctx context.Context, to chan<- batch) {
	defer close(to)
	for {
		u, dropped, err := f.feed.Next(ctx)
		if err != nil {
			return
		}
		f.tell(ctx, u, dropped)
		select {
		case to <- batch{u, dropped}:
		case <-ctx.Done():
			return
		}
	}
}

// tell passes on what happened to the run to who asked for it by --lifecycle.
func (f *follower) tell(ctx context.Context, us []engine.Update, dropped int) {
	if f.sink == nil {
		return
	}
	for i := range us {
		if u := &us[i]; u.Run == f.id && u.Transition != nil {
			f.sink.Add(ctx, u.At, u.Transition)
		}
	}
	if dropped > 0 {
		f.sink.Missed(dropped)
	}
}

func (f *follower) apply(b batch) {
	f.missed = f.missed || b.dropped > 0
	for i := range b.updates {
		u := &b.updates[i]
		switch {
		case u.Run != f.id:
		case u.Transition != nil:
			f.show.Add(u.At, u.Transition)
		case u.Log != nil:
			f.show.Log(u.At, u.Log.Activation, u.Log.Text)
		}
	}
}

func (f *follower) passNotes() {
	for _, n := range f.a.notes.Take() {
		f.show.Note(n)
	}
}

func (f *follower) cancel(ctx context.Context) {
	f.cancelling = true
	f.show.Note("cancelling; press Ctrl-C again to leave the run as it is, to be resumed later")
	if err := f.node.Control.Cancel(ctx, f.id, "user", "interrupted from the keyboard"); err != nil && !errors.Is(err, engine.ErrEnded) {
		f.show.Note("cancel: " + err.Error())
	}
}

// leave ends the node, which leaves its live runs to be resumed, and says how.
func (a *app) leave(node *server.Node, why how, ids ...event.RunID) error {
	if why == wasInterrupted {
		// The user wants to be gone. What a task has started outside and does not
		// end at once is ended when the run is resumed: its identity is journaled.
		a.abandon(node)
	} else if err := a.stop(node); err != nil {
		return err
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = id.String()
	}
	resume := fmt.Sprintf("go on with: downbeat runs resume %s%s", strings.Join(words, " "), a.dataFlag())
	if why == waitPassed {
		return &exit{code: exitWaited, err: errors.New("the run has not ended within --wait; it is interrupted and nothing of it is lost"), hint: resume}
	}
	return &exit{code: exitInterrupted, err: errors.New("interrupted; nothing of the run is lost"), hint: resume}
}

// abandon gives the node a moment to end, and then leaves it to the end of the process.
func (a *app) abandon(node *server.Node) {
	a.abandoned = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = node.Close(context.Background()) // the journal holds all that matters
	}()
	select {
	case <-done:
	case <-a.clock.NewTimer(hurry).C:
	}
}

// stop ends the node in an orderly way.
func (a *app) stop(node *server.Node) error {
	if a.abandoned {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.conf.Grace+5*time.Second)
	defer cancel()
	return node.Close(ctx)
}

// waitTimer is the channel that ends --wait; nil without.
func (a *app) waitTimer(text string) (<-chan time.Time, error) {
	if text == "" {
		return nil, nil
	}
	d, err := patience(text)
	if err != nil {
		return nil, err
	}
	return a.clock.NewTimer(d).C, nil
}

// patience reads --wait: a Go duration (30s) or one of ISO 8601 (PT30S).
func patience(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	if d, err := value.ParseDuration(text); err == nil && d.Std() > 0 {
		return d.Std(), nil
	}
	return 0, usage("", "--wait %s: want a duration such as 30s, 5m or PT30S", text)
}

// ending tells in words how a run ended, on stderr.
func (a *app) ending(ctx context.Context, n *server.Node, r *view.Run, by report.Author) {
	p := a.term.Style
	if r.Status == event.Faulted {
		if by.Definition == nil {
			by = recorded(ctx, n, r)
		}
		id, _ := event.ParseRunID(r.ID)
		report.Ending{Run: r, By: by, Lines: a.logsOf(ctx, n, id), Retry: a.retries(r), Flags: a.dataFlag()}.Fault(a.err, p)
		return
	}
	if a.flags.quiet || !a.term.Live {
		return // the line of the run's end has told it
	}
	took := progress.Short(r.EndedAt.Sub(r.StartedAt)) + report.TasksIn(r)
	switch r.Status {
	case event.Completed:
		_, _ = fmt.Fprintln(a.err, p.Good("completed")+p.Dim(" in "+took))
	case event.Cancelled:
		_, _ = fmt.Fprintln(a.err, p.Warn("cancelled")+p.Dim(" after "+took))
	case event.Pending, event.Running, event.Waiting, event.Suspended, event.Faulted:
	}
}

// recorded is the definition by which a run goes, as its store has it; none
// when it is not there: the rest tells enough.
func recorded(ctx context.Context, n *server.Node, r *view.Run) report.Author {
	id, err := event.ParseRunID(r.ID)
	if err != nil {
		return report.Author{}
	}
	src, err := n.Control.Definition(ctx, id)
	if err != nil {
		return report.Author{}
	}
	def, _ := bundle.Decode(src)
	return report.Author{Source: src, Definition: def}
}

// retries reports that there is a command that retries this run; a child is
// retried through the run that called it.
func (a *app) retries(r *view.Run) bool {
	return r.Parent == "" && slices.ContainsFunc(a.runsCommand().Commands(), func(c *cobra.Command) bool { return c.Name() == "retry" })
}

// dataFlag is " --data DIR" when this process was told one, so that commands
// that are printed can be copied.
func (a *app) dataFlag() string {
	if a.flags.data == "" {
		return ""
	}
	return " --data " + progress.ShellWord(a.flags.data)
}
