// Package progress shows people what happens to a run while it happens: as a
// live tree on a terminal, as plain lines elsewhere. The command line feeds it
// with transitions; it is told the time and starts nothing.
package progress

import (
	"bytes"
	"io"
	"slices"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

// Display shows what happens to a run while it happens. One goroutine uses it.
type Display interface {
	// Add takes the next transition of the run.
	Add(at time.Time, t *machine.Transition)
	// Log takes a line that a task printed.
	Log(at time.Time, a event.Activation, line string)
	// Note shows a message beside the progress.
	Note(text string)
	// Tick is called once every [FrameTime].
	Tick(now time.Time)
	// Close ends the display; what was shown last stays on the screen.
	Close(now time.Time)
}

// Screen draws the live tree of a run, in place, on a terminal.
type Screen struct {
	w     io.Writer
	term  Terminal
	title string
	tree  *tree
	notes []string
	begun time.Time

	frame  int
	drawn  []string // the lines that stand on the screen
	width  int      // of the terminal when they were drawn
	height int
	hidden bool // the cursor
}

// FrameTime is the time between two redraws: 12 a second.
const FrameTime = time.Second / 12

// NewScreen returns a display for a run that began at begun.
func NewScreen(w io.Writer, t Terminal, title string, begun time.Time) *Screen {
	return &Screen{w: w, term: t, title: title, tree: newTree(), begun: begun}
}

// Add takes the next transition.
func (s *Screen) Add(at time.Time, t *machine.Transition) { s.tree.add(at, t) }

// Log keeps a line to be shown under its task.
func (s *Screen) Log(_ time.Time, a event.Activation, line string) { s.tree.log(a, line) }

// Note shows a message under the tree.
func (s *Screen) Note(text string) { s.notes = append(s.notes, text) }

// Reset makes the tree anew from a look at the run.
func (s *Screen) Reset(r *view.Run) {
	s.tree = newTree()
	CatchUp(s, nil, r)
}

// Tick draws a frame.
func (s *Screen) Tick(now time.Time) {
	s.frame++
	width, height := s.term.Size()
	s.paint(s.lines(now, width, height-1), width, height)
}

// lastRows is how many lines the last frame may have: it stays, and can be
// scrolled, but is no place for thousands of tasks.
const lastRows = 100

// Close draws the last frame, which may be higher than the terminal.
func (s *Screen) Close(now time.Time) {
	width, height := s.term.Size()
	s.paint(s.lines(now, width, max(height-1, lastRows)), width, height)
	if s.hidden {
		_, _ = io.WriteString(s.w, "\x1b[?25h")
		s.hidden = false
	}
	s.drawn = nil
}

func (s *Screen) lines(now time.Time, width, height int) []string {
	p := s.term.Style
	room := 0
	if height > 0 {
		room = max(3, height-1-len(s.notes))
	}
	body := s.tree.draw(p, now, s.frame, width, room)
	out := make([]string, 0, len(body)+1+len(s.notes))
	tail := ""
	if !s.tree.status.Ended() {
		tail = p.Dim("  " + Short(now.Sub(s.begun)))
		if s.tree.ended >= manyTasks {
			tail += p.Dim("  " + Plural(s.tree.ended, "task") + " done")
		}
		switch s.tree.status {
		case event.Suspended:
			tail += p.Warn("  suspended")
		case event.Waiting:
			tail += p.Busy("  waiting")
		case event.Pending, event.Running, event.Cancelled, event.Faulted, event.Completed:
		}
	}
	// The identity of the run is cut before the time is.
	title := fit(s.title, max(8, width-lipgloss.Width(tail)))
	out = append(out, fit(p.Bold(title)+tail, width))
	out = append(out, body...)
	for _, n := range s.notes {
		out = append(out, fit(p.Warn(n), width))
	}
	return out
}

// manyTasks is from when on their number is told beside the time.
const manyTasks = 100

// paint replaces what stands on the screen by lines, in one write. Lines that
// stand there already are left alone; others are overwritten and never blanked
// first, so that nothing flickers even where a terminal shows half a frame.
func (s *Screen) paint(lines []string, width, height int) {
	same := s.width == width && s.height == height
	if same && slices.Equal(lines, s.drawn) && s.hidden {
		return
	}
	var frame bytes.Buffer
	frame.WriteString("\x1b[?2026h") // terminals that know it show the frame at once
	if !s.hidden {
		frame.WriteString("\x1b[?25l")
		s.hidden = true
	}
	// Lines that were drawn wider than the terminal is now take several rows.
	rows := 0
	for _, l := range s.drawn {
		rows += max(1, (lipgloss.Width(l)+width-1)/width)
	}
	if rows > 0 {
		frame.WriteString("\x1b[" + itoa(rows) + "A")
	}
	frame.WriteString("\r")
	same = same && len(s.drawn) < height // else the upper ones have left the screen
	for i, l := range lines {
		if !same || i >= len(s.drawn) || s.drawn[i] != l {
			frame.WriteString(l)
			if lipgloss.Width(l) < width {
				frame.WriteString("\x1b[K") // after a full row it would eat the last column
			}
		}
		frame.WriteString("\r\n")
	}
	frame.WriteString("\x1b[J\x1b[?2026l")
	_, _ = s.w.Write(frame.Bytes())
	s.drawn, s.width, s.height = lines, width, height
}

// Silent shows nothing but notes.
type Silent struct{ W io.Writer }

// Add shows nothing.
func (Silent) Add(time.Time, *machine.Transition) {}

// Log shows nothing.
func (Silent) Log(time.Time, event.Activation, string) {}

// Note prints a message.
func (s Silent) Note(text string) { _, _ = io.WriteString(s.W, text+"\n") }

// Tick does nothing.
func (Silent) Tick(time.Time) {}

// Close does nothing.
func (Silent) Close(time.Time) {}

var (
	_ Display = (*Screen)(nil)
	_ Display = (*Lines)(nil)
	_ Display = Silent{}
)
